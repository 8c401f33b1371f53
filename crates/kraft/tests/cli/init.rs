//! New projects: detected sources, written files, and files that are never overwritten.

use crate::probe::elf;
use crate::support::Home;

/// Validates a project and returns it.
fn sound(home: &Home, dir: &str) -> serde_json::Value {
    let _ = home.kraft(&["check", dir]).exits(0);
    home.json(&["check", dir, "-o", "json"])
}

fn text(home: &Home, path: &str) -> String {
    std::fs::read_to_string(home.path().join(path)).unwrap()
}

#[test]
fn an_empty_directory_gets_a_first_program() {
    let home = Home::new();
    let outcome = home.kraft(&["init", "hello", "-t", "c"]).exits(0);
    insta::assert_snapshot!(outcome.stdout, @r"
    hello/main.c
    hello/Makefile.uk
    hello/.gitignore
    hello/Kraftfile
    ");
    assert!(outcome.stderr.contains("kraft build"), "{}", outcome.stderr);
    let project = sound(&home, "hello");
    assert_eq!(project["name"], "hello");
    assert_eq!(project["targets"][0]["platform"], "qemu");
    assert_eq!(text(&home, "hello/.gitignore"), ".unikraft\n.config.*\n");
}

#[test]
fn an_empty_directory_without_a_type_is_an_error_and_nothing_is_written() {
    let home = Home::new();
    let outcome = home.kraft(&["init", "empty"]).exits(3);
    assert!(
        outcome.stderr.contains("--template python"),
        "{}",
        outcome.stderr
    );
    assert!(!home.path().join("empty").exists());
    let _ = home
        .kraft(&["init", "empty", "--type", "dockerfile"])
        .exits(3);
    let _ = home.kraft(&["init", "empty", "--type", "binary"]).exits(3);
    assert!(!home.path().join("empty").exists());
}

#[test]
fn sources_are_found_in_directories_and_odd_names_are_reported() {
    let home = Home::new();
    for file in [
        "main.c",
        "src/grün.c",
        "src/deep/b.S",
        "src/my file.c",
        ".git/no.c",
        "tests/no.c",
    ] {
        home.write(&format!("My App/{file}"), "");
    }
    home.write("My App/include/a.h", "");
    let outcome = home.kraft(&["init", "My App"]).exits(0);
    assert!(
        outcome.stderr.contains("rename src/my file.c"),
        "{}",
        outcome.stderr
    );
    insta::assert_snapshot!(text(&home, "My App/Makefile.uk"), @r"
    $(eval $(call addlib,appmyapp))

    APPMYAPP_CINCLUDES-y += -I$(APPMYAPP_BASE)/include
    APPMYAPP_CXXINCLUDES-y += -I$(APPMYAPP_BASE)/include

    APPMYAPP_SRCS-y += $(APPMYAPP_BASE)/main.c
    APPMYAPP_SRCS-y += $(APPMYAPP_BASE)/src/deep/b.S
    APPMYAPP_SRCS-y += $(APPMYAPP_BASE)/src/grün.c
    ");
    assert_eq!(sound(&home, "My App")["name"], "myapp");
}

#[test]
fn the_command_stays_in_the_dockerfile() {
    let home = Home::new();
    home.write(
        "web/Dockerfile",
        "FROM scratch\nCOPY a /a\nENTRYPOINT [\"/a\"]\nCMD [\"-x\", \"$HOME\"]\n",
    );
    home.write("web/main.c", "");
    let outcome = home
        .kraft(&["init", "web", "--name", "w", "--runtime", "base:7"])
        .exits(0);
    assert!(
        outcome
            .stderr
            .contains("the project is made from the Dockerfile"),
        "{}",
        outcome.stderr
    );
    let project = sound(&home, "web");
    // A change there is seen by the next run.
    assert_eq!(project["cmd"], serde_json::Value::Null);
    assert_eq!(project["name"], "w");
    assert_eq!(project["runtime"]["version"], "7");
    assert!(text(&home, "web/.dockerignore").contains(".unikraft\n"));
    assert!(!home.path().join("web/Makefile.uk").exists());
}

#[test]
fn a_program_gets_a_root_filesystem_but_a_kernel_does_not() {
    let home = Home::new();
    home.write(
        "run/tool",
        elf(
            &[(".text", 6, b"code"), (".interp", 2, b"/lib/ld.so\0")],
            &[],
        ),
    );
    let outcome = home.kraft(&["init", "run"]).exits(0);
    assert!(outcome.stderr.contains("`kraft run`"), "{}", outcome.stderr);
    assert_eq!(sound(&home, "run")["cmd"], serde_json::json!(["/tool"]));
    assert!(home.path().join("run/rootfs/tool").is_file());

    // The shell of this host, with its loader and its libraries if it has any.
    home.write("shell/tool", std::fs::read("/bin/sh").unwrap());
    let _ = home.kraft(&["init", "shell"]).exits(0);
    let root = home.path().join("shell/rootfs");
    let loaders = ["lib", "lib64"].map(|dir| root.join(dir).is_dir());
    assert!(root.join("tool").is_file() && loaders.contains(&true));

    home.write("boot/k", elf(&[(".uk_inittab", 2, b"-")], &[]));
    let _ = home.kraft(&["init", "boot"]).exits(0);
    assert_eq!(sound(&home, "boot")["runtime"]["kernel"], "./k");
}

#[test]
fn existing_files_are_not_overwritten() {
    let home = Home::new();
    home.write("p/main.c", "mine");
    home.write("p/Makefile.uk", "mine");
    home.write("p/.gitignore", "*.o");
    home.write("p/kraft.yaml", "mine");
    let outcome = home.kraft(&["init", "p"]).exits(1);
    assert!(
        outcome.stderr.contains("kraft.yaml` already exists"),
        "{}",
        outcome.stderr
    );
    assert_eq!(text(&home, "p/.gitignore"), "*.o");

    let outcome = home.kraft(&["init", "p", "--force"]).exits(0);
    assert_eq!(outcome.stdout, "p/.gitignore\np/kraft.yaml\n");
    assert_eq!(text(&home, "p/main.c"), "mine");
    assert_eq!(text(&home, "p/Makefile.uk"), "mine");
    assert_eq!(text(&home, "p/.gitignore"), "*.o\n.unikraft\n.config.*\n");
    let _ = sound(&home, "p");
}

#[test]
fn an_invalid_name_is_an_error_before_anything_is_written() {
    let home = Home::new();
    let outcome = home
        .kraft(&["init", "p", "--type", "c", "--name", "a/b"])
        .exits(2);
    assert!(
        outcome.stderr.contains("must not contain `/`"),
        "{}",
        outcome.stderr
    );
    assert!(!home.path().join("p").exists());
}

/// The files of a directory, the beginning of its base image, and parts of the Dockerfile that it gets.
type Language = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static [&'static str],
);

const LANGUAGES: &[Language] = &[
    (
        &[("package.json", r#"{"main": "web.js"}"#), ("web.js", "")],
        "node:",
        &[r#"CMD ["node","web.js"]"#],
    ),
    (
        &[("requirements.txt", "flask\n"), ("app.py", "")],
        "python:",
        &["pip install", "\"flask\""],
    ),
    (
        &[("go.mod", "module x\n"), ("main.go", "package main\n")],
        "golang:",
        &["FROM scratch"],
    ),
    (
        &[
            ("Cargo.toml", "[package]\nname = \"x\"\n"),
            ("src/main.rs", ""),
        ],
        "rust:",
        &["/src/target/release/x /x"],
    ),
    (
        &[("composer.json", "{}"), ("index.php", "")],
        "php:",
        &["-S"],
    ),
    (&[("Gemfile", ""), ("app.rb", "")], "ruby:", &["app.rb"]),
    (&[("pom.xml", "")], "maven:", &["/app.jar"]),
    (&[("build.gradle", "")], "gradle:", &["/app.jar"]),
    (&[("mix.exs", "app: :shop,")], "elixir:", &["/app/bin/shop"]),
    (
        &[("deno.json", "{}"), ("main.ts", "")],
        "denoland/deno:",
        &["main.ts"],
    ),
    (&[("index.html", "<p>")], "busybox:", &["httpd"]),
];

#[test]
fn each_language_gets_a_dockerfile_and_says_how_to_run_it() {
    let home = Home::new();
    for (number, (files, base, parts)) in LANGUAGES.iter().enumerate() {
        let dir = format!("app{number}");
        for (name, content) in *files {
            home.write(&format!("{dir}/{name}"), content);
        }
        // Sources of other projects below it do not make it one in C.
        home.write(&format!("{dir}/node_modules/x/binding.c"), "");
        let preview = home.kraft(&["init", &dir, "--dry-run"]).exits(0);
        assert!(!home.path().join(&dir).join("Kraftfile").exists());
        let outcome = home.kraft(&["init", &dir]).exits(0);
        let dockerfile = text(&home, &format!("{dir}/Dockerfile"));
        assert!(dockerfile.contains(&format!("FROM {base}")), "{dockerfile}");
        for part in *parts {
            assert!(dockerfile.contains(part), "{part}: {dockerfile}");
        }
        assert!(preview.stdout.contains(&dockerfile), "{}", preview.stdout);
        assert!(
            outcome.stderr.contains("kraft run -p "),
            "{}",
            outcome.stderr
        );
        assert!(
            !outcome.stdout.contains("Makefile.uk"),
            "{}",
            outcome.stdout
        );
        let project = sound(&home, &dir);
        assert_eq!(project["rootfs"]["path"], "./Dockerfile", "{project}");
        assert!(text(&home, &format!("{dir}/.dockerignore")).contains(".unikraft\n"));
    }
}

#[test]
fn a_dockerfile_and_a_compose_file_come_before_the_language() {
    let home = Home::new();
    home.write("a/package.json", "{}");
    home.write("a/Dockerfile", "FROM scratch\nCMD [\"/a\"]\n");
    let outcome = home.kraft(&["init", "a"]).exits(0);
    assert!(
        !outcome.stdout.contains("a/Dockerfile"),
        "{}",
        outcome.stdout
    );
    home.write("b/compose.yaml", "services: {}\n");
    home.write("b/main.py", "");
    let outcome = home.kraft(&["init", "b"]).exits(0);
    assert_eq!(outcome.stdout, "");
    assert!(
        outcome.stderr.contains("kraft compose up"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn flags_choose_the_type_and_one_of_several_programs() {
    let home = Home::new();
    home.write("go/go.mod", "module x\n");
    home.write("go/cmd/one/main.go", "package main\n");
    home.write("go/cmd/two/main.go", "package main\n");
    let outcome = home.kraft(&["init", "go"]).exits(2);
    assert!(outcome.stderr.contains("one, two"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("--program NAME"),
        "{}",
        outcome.stderr
    );
    let _ = home.kraft(&["init", "go", "--program", "two"]).exits(0);
    assert!(text(&home, "go/Dockerfile").contains("./cmd/two\n"));

    home.write("both/tool", elf(&[(".text", 6, b"code")], &[]));
    home.write("both/other", elf(&[(".text", 6, b"code")], &[]));
    home.write("both/main.c", "");
    let _ = home.kraft(&["init", "both", "--program", "tool"]).exits(0);
    assert_eq!(sound(&home, "both")["cmd"], serde_json::json!(["/tool"]));

    home.write("none/package.json", "{}");
    let outcome = home.kraft(&["init", "none"]).exits(3);
    assert!(
        outcome.stderr.contains("--program FILE"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_template_is_written_into_a_new_directory() {
    let home = Home::new();
    for name in ["c", "node", "python", "go", "rust", "php", "static"] {
        let dir = format!("new/{name}");
        let _ = home.kraft(&["init", &dir, "--template", name]).exits(0);
        let _ = sound(&home, &dir);
    }
    assert!(text(&home, "new/python/main.py").contains("Hello from a unikernel!"));
    let outcome = home.kraft(&["init", "x", "--template", "cobol"]).exits(3);
    assert!(
        outcome.stderr.contains("c, node, python"),
        "{}",
        outcome.stderr
    );
    let url = "file:///nonexistent/x.git";
    let outcome = home.kraft(&["init", "new", "--template", url]).exits(1);
    assert!(
        outcome.stderr.contains("`new` is not empty"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn c_sources_are_those_at_the_top_and_in_src() {
    let home = Home::new();
    for file in [
        "main.cpp",
        "src/a.cc",
        "lib/no.c",
        "src/vendor/no.c",
        "target/no.c",
    ] {
        home.write(&format!("cpp/{file}"), "");
    }
    let _ = home.kraft(&["init", "cpp"]).exits(0);
    let makefile = text(&home, "cpp/Makefile.uk");
    assert!(makefile.contains("/main.cpp\n") && makefile.contains("/src/a.cc\n"));
    assert!(!makefile.contains("no.c"), "{makefile}");
    assert!(text(&home, "cpp/Kraftfile").contains("libcxx: stable"));
}
