//! Projects begun, libraries added and made, catalogs read, kernels looked into.

use kraft_e2e::harness::Bench;
use kraft_e2e::source::{
    boot, build_and_boot, git, kraft_in, make_archive, make_repository, replace, skipped, workshop,
    write,
};
use kraft_e2e::web::Web;
use serde_json::Value;

#[test]
fn a_project_is_created_from_the_files_in_its_directory() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let app = bench.path().join("begun");
    write(
        &app.join("main.c"),
        "#include <print.h>\n\nint main(void)\n{\n\tput_text(\"begun\\n\");\n\treturn 0;\n}\n",
    );
    let begun = kraft_in(&bench, &app, &["init"]).success();
    assert!(
        begun.stdout.contains("Kraftfile") && begun.stdout.contains("Makefile.uk"),
        "{begun:?}"
    );
    let _ = kraft_in(&bench, &app, &["check"]).success();
    let again = kraft_in(&bench, &app, &["init"]).exits(1);
    assert!(again.stderr.contains("--force"), "{again:?}");
    replace(
        &app.join("Kraftfile"),
        "version: stable",
        &format!("source: {}", place.join("core").display()),
    );
    assert!(build_and_boot(&bench, &app, &[]).contains("begun\n"));

    write(&bench.path().join("docker/Dockerfile"), "FROM scratch\n");
    let _ = bench.kraft(["init", "docker"]).success();
    let text = std::fs::read_to_string(bench.path().join("docker/Kraftfile")).unwrap();
    assert!(
        text.contains("rootfs: ./Dockerfile") && text.contains("runtime: "),
        "{text}"
    );
    assert!(bench.path().join("docker/.dockerignore").is_file());
    let nothing = bench.kraft(["init", "empty"]).exits(3);
    assert!(nothing.stderr.contains("--template"), "{nothing:?}");
}

#[test]
fn a_new_library_is_created_and_added() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let missing = bench.kraft(["lib", "create"]).exits(2);
    for text in [
        "project name cannot be empty",
        "version cannot be empty",
        "author name cannot be empty",
    ] {
        assert!(missing.stderr.contains(text), "{missing:?}");
    }
    let words = [
        "lib",
        "create",
        "greet",
        "--version",
        "1.2.3",
        "--author-name",
        "A",
        "--author-email",
        "a@example.org",
    ];
    let _ = bench.kraft(words).success();
    let library = bench.path().join("lib-greet");
    for file in [
        "Config.uk",
        "Makefile.uk",
        "main.c",
        "README.md",
        "COPYING.md",
        "CONTRIBUTING.md",
        "CODING_STYLE.md",
    ] {
        assert!(library.join(file).is_file(), "{file}");
    }
    let _ = kraft_in(&bench, &app, &["lib", "add", library.to_str().unwrap()]).success();
    let said = build_and_boot(&bench, &app, &[]);
    assert!(said.contains("config CONFIG_LIBGREET \"1\""), "{said}");
    let _ = kraft_in(&bench, &app, &["lib", "remove", "greet"]).success();
    assert!(
        !std::fs::read_to_string(app.join("Kraftfile"))
            .unwrap()
            .contains("greet")
    );
    assert!(!app.join(".unikraft/libs/greet").exists() && library.exists());
    let unknown = kraft_in(&bench, &app, &["lib", "remove", "greet"]).exits(3);
    assert!(
        unknown
            .stderr
            .contains("library `greet` does not exist in the project"),
        "{unknown:?}"
    );
}

#[test]
fn a_catalog_over_http_resolves_the_components_of_a_project() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let served = bench.path().join("served");
    std::fs::create_dir_all(served.join("git")).unwrap();
    let web = Web::serve(&served);
    make_archive(&place.join("libs/lib-hello"), &served.join("hello.tar.gz"));
    make_repository(&place.join("core"));
    let bare = served.join("git/unikraft.git");
    git(
        bench.path(),
        [
            "clone",
            "--quiet",
            "--bare",
            place.join("core").to_str().unwrap(),
            bare.to_str().unwrap(),
        ],
    );
    write(
        &served.join("index.yaml"),
        "manifests:\n- {name: hello, type: lib, manifest: ./libs/hello.yaml}\n- {name: unikraft, type: core, manifest: ./unikraft.yaml}\n",
    );
    write(
        &served.join("libs/hello.yaml"),
        &format!(
            "name: hello\ntype: lib\ndescription: says hello\nchannels:\n- {{name: stable, default: true, resource: {}}}\n",
            web.url("hello.tar.gz")
        ),
    );
    write(
        &served.join("unikraft.yaml"),
        &format!(
            "name: unikraft\ntype: core\norigin: {0}\nprovider: git\nchannels:\n- {{name: stable, default: true, resource: {0}}}\n",
            web.url("git/unikraft.git")
        ),
    );
    let _ = bench
        .kraft([
            "pkg",
            "unsource",
            "https://manifests.kraftkit.sh/index.yaml",
        ])
        .success();
    let _ = bench
        .kraft(["pkg", "source", &web.url("index.yaml")])
        .success();
    let nonsense = bench
        .kraft(["pkg", "source", &web.url("absent.yaml")])
        .exits(3);
    assert!(nonsense.stderr.contains("404"), "{nonsense:?}");
    let _ = bench.kraft(["pkg", "update"]).success();
    web.asked();
    let _ = bench.kraft(["pkg", "update"]).success();
    assert_eq!(
        web.asked().len(),
        3,
        "each document is asked about once, and none is sent"
    );
    let rows = bench.packages(&["--libs"]);
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(
        (&rows[0]["name"], &rows[0]["version"]),
        (&Value::from("hello"), &Value::from("stable"))
    );

    let app = bench.path().join("by-name");
    write(
        &app.join("Kraftfile"),
        "spec: v0.6\nname: by-name\nunikraft: stable\ntargets:\n- qemu/x86_64\n",
    );
    write(
        &app.join("Makefile.uk"),
        "$(eval $(call addlib,appx))\nAPPX_SRCS-y += $(APPX_BASE)/main.c\n",
    );
    write(
        &app.join("main.c"),
        "#include <hello.h>\n\nint main(void)\n{\n\thello();\n\treturn 0;\n}\n",
    );
    let _ = kraft_in(&bench, &app, &["lib", "add", "hello:stable"]).success();
    assert!(build_and_boot(&bench, &app, &[]).contains("hello to the world\n"));
    let wrong = kraft_in(&bench, &app, &["lib", "add", "helo"]).exits(3);
    assert!(
        wrong.stderr.contains("library `helo` not found"),
        "{wrong:?}"
    );
    let _ = bench.kraft(["pkg", "pull", "lib/hello:stable"]).success();
}

#[test]
fn the_libraries_of_a_kernel_are_listed_and_their_sizes_add_up() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let json = |words: &[&str]| -> Value {
        let outcome = kraft_in(&bench, &app, words).success();
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    let probe = json(&["x", "probe", "-o", "json"]);
    let names: Vec<&str> = probe["libraries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|library| library["name"].as_str().unwrap())
        .collect();
    for name in ["libmini", "libhello", "libcount", "apptwolibs"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(probe["libraries"][0]["license"], "BSD-3-Clause");

    let sum = |rows: &Value, field: &str| -> u64 {
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row[field].as_u64().unwrap())
            .sum()
    };
    let sections = json(&["size", "--sections", "-o", "json"]);
    let symbols = json(&["size", "--symbols", "-o", "json"]);
    let libraries = json(&["size", "-o", "json"]);
    let whole = sum(&sections, "size");
    assert_eq!(sum(&symbols, "size"), whole);
    assert_eq!(sum(&libraries, "total"), whole);
    // As another reader of ELF files sees it.
    let kernel = app.join(".unikraft/build/two-libs_qemu-x86_64.dbg");
    let said = std::process::Command::new("readelf")
        .args(["-SW"])
        .arg(&kernel)
        .output()
        .unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let loaded: u64 = text
        .lines()
        .filter_map(|line| {
            line.split_once("] ")
                .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>())
        })
        .filter(|words| words.len() > 7 && words[6].contains('A'))
        .map(|words| u64::from_str_radix(words[4], 16).unwrap())
        .sum();
    assert_eq!(whole, loaded, "{text}");
    let hello = symbols
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "hello")
        .unwrap();
    assert_eq!(hello["library"], "libhello");

    let before = bench.path().join("before.dbg");
    std::fs::copy(&kernel, &before).unwrap();
    replace(
        &app.join("main.c"),
        "return 0;",
        "for (volatile int i = 0; i < 9; i++)\n\t\t;\n\treturn 0;",
    );
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let changes = json(&[
        "size",
        "--symbols",
        before.to_str().unwrap(),
        ".",
        "-o",
        "json",
    ]);
    let main = changes
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "main")
        .unwrap();
    assert!(main["change"].as_i64().unwrap() > 0, "{changes}");
}

#[test]
fn downloads_of_libraries_are_fetched_in_advance() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let app = place.join("apps/app-two-libs");
    let served = bench.path().join("served");
    write(
        &bench.path().join("upstream-1.0/data.h"),
        "#define FROM_UPSTREAM \"fetched\"\n",
    );
    std::fs::create_dir(&served).unwrap();
    make_archive(
        &bench.path().join("upstream-1.0"),
        &served.join("upstream.tar.gz"),
    );
    let web = Web::serve(&served);
    let library = place.join("libs/lib-count");
    replace(
        &library.join("Makefile.uk"),
        "LIBCOUNT_SRCS-y",
        &format!(
            "LIBCOUNT_URL = {}\nLIBCOUNT_CINCLUDES-y += -I$(BUILD_DIR)/libcount/origin/upstream-1.0\n\nLIBCOUNT_SRCS-y",
            web.url("upstream.tar.gz")
        ),
    );
    replace(
        &library.join("count.c"),
        "#include \"count.h\"",
        "#include \"count.h\"\n#include <data.h>",
    );
    replace(
        &library.join("count.c"),
        "put_text(\"count \")",
        "put_text(FROM_UPSTREAM \" count \")",
    );
    // Whether all options hold is the business of a build.
    let kraftfile = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    replace(
        &app.join("Kraftfile"),
        "CONFIG_LIBMINI_HEAP_PAGES: 32",
        "CONFIG_LIBMINI_HEAP_PAGES: many",
    );
    let _ = kraft_in(&bench, &app, &["build"]).exits(6);
    let _ = kraft_in(&bench, &app, &["fetch"]).success();
    assert_eq!(web.asked(), ["GET /upstream.tar.gz"]);
    write(&app.join("Kraftfile"), &kraftfile);
    let _ = kraft_in(&bench, &app, &["--offline", "build"]).success();
    assert!(build_and_boot(&bench, &app, &[]).contains("fetched count 1\n"));
    assert_eq!(web.asked(), [""; 0]);

    // A copy of the whole project with patched sources: unpacked again, and not downloaded.
    let unpacked = ".unikraft/make/two-libs_qemu-x86_64/libcount/origin/upstream-1.0/data.h";
    replace(&app.join(unpacked), "fetched", "patched");
    let copied = bench.path().join("copied");
    let (from, to) = (place.to_str().unwrap(), copied.to_str().unwrap());
    let copy = std::process::Command::new("cp")
        .args(["-r", from, to])
        .status();
    assert!(copy.unwrap().success());
    let app = copied.join("apps/app-two-libs");
    let _ = kraft_in(&bench, &app, &["--offline", "build"]).success();
    assert!(boot(&bench, &app, &[]).contains("fetched count 1\n"));
    let again = kraft_in(&bench, &app, &["build"]).success();
    assert!(again.stderr.contains("nothing has changed"), "{again:?}");
    assert_eq!(web.asked(), [""; 0]);
}

#[test]
fn a_download_that_fails_in_make_is_reported_by_its_url() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let app = place.join("apps/app-two-libs");
    let served = bench.path().join("served");
    std::fs::create_dir(&served).unwrap();
    let web = Web::serve(&served);
    let url = web.url("upstream-2.0.tar.gz");
    replace(
        &place.join("libs/lib-count/Makefile.uk"),
        "LIBCOUNT_SRCS-y",
        &format!("LIBCOUNT_URL = {url}\nLIBCOUNT_SRCS-y"),
    );
    for words in [&["build"][..], &["fetch"], &["--offline", "build"]] {
        let offline = words[0] == "--offline";
        let outcome = kraft_in(&bench, &app, words).exits(4);
        let told = format!("could not download `{url}`");
        assert!(outcome.stderr.contains(&told), "{outcome:?}");
        assert!(outcome.stderr.contains("`kraft fetch`"), "{outcome:?}");
        assert_eq!(outcome.stderr.contains("as kraft is offline"), offline);
        assert_eq!(web.asked().is_empty(), offline, "{words:?}");
    }
    // What makefiles clone is not cloned offline, either.
    replace(
        &place.join("libs/lib-count/Makefile.uk"),
        &format!("LIBCOUNT_URL = {url}\n"),
        "fetch: clone-count\nclone-count:\n\t@printf '  GIT     libcount\\n'; \
         git clone -q https://192.0.2.1/x.git $(BUILD_DIR)/x\n",
    );
    let outcome = kraft_in(&bench, &app, &["--offline", "build"]).exits(4);
    assert!(
        outcome
            .stderr
            .contains("libcount cannot be cloned, as kraft is offline"),
        "{outcome:?}"
    );
}

#[test]
fn a_missing_catalog_without_a_network_is_a_network_error() {
    let bench = Bench::new();
    let app = bench.path().join("app");
    write(
        &app.join("Kraftfile"),
        "spec: v0.6\nname: app\nunikraft: stable\ntargets: [qemu/x86_64]\n",
    );
    for words in [&["build"][..], &["fetch"], &["update"]] {
        let outcome = kraft_in(&bench, &app, &[&["--offline"], words].concat()).exits(4);
        assert!(outcome.stderr.contains("kraft is offline"), "{outcome:?}");
        assert!(outcome.stderr.contains("`kraft pkg update`"), "{outcome:?}");
    }
}

#[test]
fn cleaning_needs_neither_the_network_nor_the_components() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let never = bench.path().join("never");
    write(
        &never.join("Kraftfile"),
        "spec: v0.6\nname: never\ntemplate: https://192.0.2.1/app-x.git\nunikraft: stable\n\
         libraries: {lwip: stable}\ntargets: [qemu/x86_64]\n",
    );
    for words in [&["clean"][..], &["clean", "--proper"]] {
        let _ = kraft_in(&bench, &never, words).success();
        assert!(!never.join(".unikraft").exists());
    }
    // Built from a repository, which is gone with everything that came from it.
    make_repository(&place.join("core"));
    let app = place.join("apps/app-two-libs");
    let remote = format!("source: file://{}", place.join("core").display());
    let pinned = format!("{remote}\n  version: stable");
    replace(&app.join("Kraftfile"), "source: ../../core", &pinned);
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let kernel = app.join(".unikraft/build/two-libs_qemu-x86_64");
    std::fs::rename(place.join("core"), place.join("away")).unwrap();
    let _ = kraft_in(&bench, &app, &["clean"]).success();
    assert!(!kernel.exists());
    assert!(app.join(".unikraft/make/two-libs_qemu-x86_64").is_dir());
    let _ = kraft_in(&bench, &app, &["--offline", "build"]).success();
    std::fs::remove_dir_all(app.join(".unikraft/unikraft")).unwrap();
    std::fs::remove_dir_all(bench.path().join("data")).unwrap();
    let _ = kraft_in(&bench, &app, &["clean"]).success();
    assert!(!kernel.exists());
    assert!(!app.join(".unikraft/make/two-libs_qemu-x86_64").exists());
    // And back: what was configured before is no edit by hand.
    std::fs::rename(place.join("away"), place.join("core")).unwrap();
    let built = kraft_in(&bench, &app, &["build"]).success();
    assert!(!built.stderr.contains("by hand"), "{built:?}");
}

#[test]
fn packages_of_a_removed_source_are_not_listed() {
    let bench = Bench::new();
    let listed = |flag: &str| -> Vec<String> {
        let rows = bench.packages(&[flag]);
        let names = rows.as_array().unwrap().iter();
        names
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for name in ["lib-one", "fork", "core-copy"] {
        let dir = bench.path().join("repositories").join(name);
        write(&dir.join("Config.uk"), "config X\n");
        make_repository(&dir);
        let bare = bench.path().join(name);
        let (dir, bare) = (dir.to_str().unwrap(), bare.to_str().unwrap());
        git(bench.path(), ["clone", "--quiet", "--bare", dir, bare]);
    }
    let url = |name: &str| format!("file://{}", bench.path().join(name).display());
    bench.ok([
        "pkg",
        "unsource",
        "https://manifests.kraftkit.sh/index.yaml",
    ]);
    // A name that does not say what it is can be given one.
    let refused = bench.kraft(["pkg", "source", &url("fork")]);
    assert_ne!(refused.code, Some(0));
    assert!(
        refused
            .stderr
            .contains(&format!("`lib-NAME={}` gives it one", url("fork"))),
        "{refused:?}"
    );
    let (two, core) = (
        format!("lib-two={}", url("fork")),
        format!("unikraft={}", url("core-copy")),
    );
    bench.ok(["pkg", "source", &url("lib-one"), &two, &core]);
    bench.ok(["pkg", "update"]);
    assert_eq!(listed("--libs"), ["one", "two"]);
    assert_eq!(listed("--core"), ["unikraft"]);
    bench.ok(["--offline", "pkg", "unsource", &two]);
    assert_eq!(listed("--libs"), ["one"]);
    bench.ok(["pkg", "unsource", &core]);
    assert_eq!(listed("--core"), [""; 0]);
    assert_eq!(listed("--libs"), ["one"]);
    bench.ok(["pkg", "unsource", &url("lib-one")]);
    assert_eq!(listed("--libs"), [""; 0]);
}

#[test]
fn a_mirror_configured_in_git_serves_components_of_a_catalog() {
    let bench = Bench::new();
    let place = bench.path().join("work/lib-one");
    write(&place.join("Config.uk"), "config LIBONE\n");
    make_repository(&place);
    let (from, to) = (
        place.to_str().unwrap(),
        bench.path().join("mirror/lib-one.git"),
    );
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    git(
        bench.path(),
        ["clone", "--quiet", "--bare", from, to.to_str().unwrap()],
    );
    let catalog = bench.path().join("index.yaml");
    write(
        &catalog,
        "name: one\ntype: lib\norigin: https://forge.invalid/lib-one.git\nprovider: github\nchannels:\n\
         - {name: stable, default: true, resource: https://forge.invalid/lib-one/stable.tar.gz}\n",
    );
    bench.ok([
        "pkg",
        "unsource",
        "https://manifests.kraftkit.sh/index.yaml",
    ]);
    bench.ok(["pkg", "source", catalog.to_str().unwrap()]);
    bench.ok(["pkg", "update"]);
    let pull = ["pkg", "pull", "lib/one:stable", "--http-retries", "0"];
    assert_ne!(bench.kraft(pull).code, Some(0));
    write(
        &bench.path().join(".gitconfig"),
        &format!(
            "[url \"file://{}/\"]\n\tinsteadOf = https://forge.invalid/\n",
            bench.path().join("mirror").display()
        ),
    );
    bench.ok(pull);
}
