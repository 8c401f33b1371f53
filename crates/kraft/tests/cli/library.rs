//! New libraries.

use crate::support::Home;

const AUTHOR: [&str; 4] = [
    "--author-name",
    "Ann Author",
    "--author-email",
    "ann@example.com",
];

fn create(home: &Home, words: &[&str]) -> crate::support::Outcome {
    home.kraft(&[&["lib", "create"], words, &AUTHOR].concat())
}

fn text(home: &Home, path: &str) -> String {
    std::fs::read_to_string(home.path().join(path)).unwrap()
}

#[test]
fn all_missing_values_are_reported_together() {
    let home = Home::new();
    let outcome = home.kraft(&["--no-prompt", "lib", "create"]).exits(2);
    insta::assert_snapshot!(outcome.stderr, @r"
    error: project name cannot be empty
    error: version cannot be empty
    error: author name cannot be empty
    error: author email cannot be empty
    ");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_library_has_the_expected_files() {
    let home = Home::new();
    let words = [
        "hello-you",
        "-v",
        "1.2",
        "--description",
        "says \"hello\" for $HOME",
    ];
    assert_eq!(create(&home, &words).exits(0).stdout, "./lib-hello-you\n");
    let mut files: Vec<String> = std::fs::read_dir(home.path().join("lib-hello-you"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "CODING_STYLE.md",
            "CONTRIBUTING.md",
            "COPYING.md",
            "Config.uk",
            "Makefile.uk",
            "README.md",
            "main.c"
        ]
    );
    assert_eq!(
        text(&home, "lib-hello-you/Config.uk"),
        "menuconfig LIBHELLOYOU\n\tbool \"lib-hello-you: says 'hello' for HOME\"\n\tdefault n\n\n\
         if LIBHELLOYOU\n\nconfig LIBHELLOYOU_MAIN_FUNCTION\n\tbool \"Bring a main function\"\n\t\
         default n\n\thelp\n\t\tFor applications that are nothing but this library.\n\nendif\n"
    );
    insta::assert_snapshot!(text(&home, "lib-hello-you/Makefile.uk"), @r"
    $(eval $(call addlib_s,libhelloyou,$(CONFIG_LIBHELLOYOU)))

    LIBHELLOYOU_VERSION=1.2

    # Its sources, one line each:
    # LIBHELLOYOU_SRCS-y += $(LIBHELLOYOU_BASE)/FILE.c

    # Headers for who uses it:
    # CINCLUDES-$(CONFIG_LIBHELLOYOU) += -I$(LIBHELLOYOU_BASE)/include

    LIBHELLOYOU_SRCS-$(CONFIG_LIBHELLOYOU_MAIN_FUNCTION) += $(LIBHELLOYOU_BASE)/main.c
    ");
    assert!(text(&home, "lib-hello-you/COPYING.md").contains("Ann Author"));
}

#[test]
fn a_port_fetches_and_patches_its_upstream_sources() {
    let home = Home::new();
    let words = [
        "zlib",
        "--version",
        "1.3.1",
        "--origin",
        "https://example.com/zlib.tar.gz",
        "--patch-dir",
        "changes",
        "--no-provide-c-main",
        "--project-path",
        "libs/mine",
        "--copyright-holder",
        "A Company",
    ];
    let _ = create(&home, &words).exits(0);
    let makefile = text(&home, "libs/mine/lib-zlib/Makefile.uk");
    assert!(
        makefile.contains("LIBZLIB_URL=https://example.com/zlib.tar.gz\n"),
        "{makefile}"
    );
    assert!(makefile.contains("call patch,libzlib,"), "{makefile}");
    assert!(!makefile.contains("main.c"), "{makefile}");
    assert!(home.path().join("libs/mine/lib-zlib/changes").is_dir());
    assert!(text(&home, "libs/mine/lib-zlib/COPYING.md").contains("A Company"));
}

#[test]
fn the_repository_has_the_author_of_the_git_configuration() {
    let home = Home::new();
    home.write(
        ".gitconfig",
        "[user]\nname = Git User\nemail = git@example.com\n[commit]\ngpgSign = true\n",
    );
    let words = [
        "lib",
        "create",
        "hello",
        "--version",
        "1",
        "--git-init",
        "--initial-branch",
        "main",
    ];
    let _ = home.kraft(&words).exits(0);
    assert_eq!(text(&home, "lib-hello/.git/HEAD"), "ref: refs/heads/main\n");
    let log = text(&home, "lib-hello/.git/logs/HEAD");
    assert!(
        log.contains("Git User <git@example.com>") && log.contains("Start lib-hello"),
        "{log}"
    );
    assert!(text(&home, "lib-hello/README.md").contains("Git User <git@example.com>"));
}

#[test]
fn it_is_added_to_the_catalog_on_request() {
    let home = Home::new();
    home.configure("unikraft:\n  manifests: []\n");
    let _ = create(&home, &["hello", "--version", "1", "--update-refs"]).exits(0);
    assert!(text(&home, ".config/kraftkit/config.yaml").contains("/lib-hello"));
    assert!(home.ok(&["pkg", "ls", "--libs"]).contains("hello"));
}

#[test]
fn an_invalid_library_is_an_error_and_nothing_is_left_behind() {
    let home = Home::new();
    for (words, said) in [
        (
            &["../up", "--version", "1"][..],
            "cannot be the project name",
        ),
        (
            &["a", "--version", "1", "--library-kname", "LIB-A"],
            "cannot be the name of an option",
        ),
        (&["a", "--version", "1 2"], "cannot be the version"),
        (
            &["a", "--version", "1", "--origin", "http://x/$(shell id)"],
            "is not valid in a makefile",
        ),
        (
            &["a", "--version", "1", "--description", "a\nb"],
            "one line",
        ),
    ] {
        let outcome = create(&home, words).exits(2);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
    let _ = create(
        &home,
        &[
            "a",
            "--version",
            "1",
            "--git-init",
            "--initial-branch",
            "..",
        ],
    )
    .exits(1);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);

    home.write("lib-a/mine", "mine");
    let outcome = create(&home, &["a", "--version", "1"]).exits(1);
    assert!(
        outcome.stderr.contains("already exists"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        std::fs::read_dir(home.path().join("lib-a"))
            .unwrap()
            .count(),
        1
    );
}
