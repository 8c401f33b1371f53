//! The same with the real Unikraft core: run where `KRAFT_UNIKRAFT` names a directory that holds
//! clones of `unikraft` and `app-helloworld`; skipped everywhere else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_e2e::harness::Bench;
use kraft_e2e::source::{compiled, kraft_in, replace, write};

fn clones() -> Option<PathBuf> {
    let given = std::env::var_os("KRAFT_UNIKRAFT").map(PathBuf::from);
    // The core alone may be named, too: the others are beside it.
    let given = given.map(|dir| match dir.join("Makefile.uk").exists() {
        true => dir.parent().unwrap().to_owned(),
        false => dir,
    });
    if given.is_none() {
        // For developers with the sources; not required on any host.
        eprintln!("SKIPPED: KRAFT_UNIKRAFT names no clones of unikraft and app-helloworld");
    }
    given
}

fn helloworld(bench: &Bench, clones: &Path) -> PathBuf {
    let app = bench.path().join("helloworld");
    std::fs::create_dir(&app).unwrap();
    for file in ["main.c", "monkey.h", "Makefile.uk", "Config.uk"] {
        std::fs::copy(clones.join("app-helloworld").join(file), app.join(file)).unwrap();
    }
    write(
        &app.join("Kraftfile"),
        &format!(
            "spec: v0.6\nname: helloworld\nunikraft:\n  source: file://{}\n  version: staging\n\
             targets:\n- qemu/x86_64\n- fc/x86_64\n- qemu/arm64\n",
            clones.join("unikraft").display()
        ),
    );
    app
}

#[test]
fn helloworld_builds_for_three_targets_and_boots() {
    let Some(clones) = clones() else { return };
    let bench = Bench::new().limit(Duration::from_mins(90));
    let app = helloworld(&bench, &clones);
    let built = kraft_in(&bench, &app, &["build", "--all"]).success();
    assert_eq!(built.stdout.lines().count(), 3, "{built:?}");
    for target in ["qemu/x86_64", "qemu/arm64"] {
        let run = kraft_in(&bench, &app, &["run", "--rm", "-t", target]).success();
        assert!(run.stdout.contains("Hello world!"), "{target}: {run:?}");
    }
    let again = kraft_in(&bench, &app, &["build", "--all"]).success();
    assert!(again.stderr.contains("nothing has changed"), "{again:?}");
    // Another place, the same pins: the same bytes.
    let other = bench.path().join("another/place");
    std::fs::create_dir_all(&other).unwrap();
    for file in [
        "main.c",
        "monkey.h",
        "Makefile.uk",
        "Config.uk",
        "Kraftfile",
        "kraft.lock",
    ] {
        std::fs::copy(app.join(file), other.join(file)).unwrap();
    }
    let _ = kraft_in(&bench, &other, &["build", "--all", "--locked", "--offline"]).success();
    for target in ["qemu-x86_64", "fc-x86_64", "qemu-arm64"] {
        let kernel = format!(".unikraft/build/helloworld_{target}");
        let same = std::fs::read(app.join(&kernel)).unwrap()
            == std::fs::read(other.join(&kernel)).unwrap();
        assert!(same, "{target} differs");
    }
    let text = std::fs::read_to_string(app.join("main.c")).unwrap();
    write(
        &app.join("main.c"),
        &text.replace("Hello world!", "Hello again!"),
    );
    let _ = kraft_in(&bench, &app, &["build", "-t", "qemu/x86_64"]).success();
    assert_eq!(compiled(&app, "helloworld_qemu-x86_64"), 1);
    let lost = kraft_in(
        &bench,
        &app,
        &["set", "--force", "LIBVFSCORE_AUTOMOUNT_UP=y"],
    );
    let _ = lost.success();
    let outcome = kraft_in(&bench, &app, &["build", "-t", "qemu/x86_64"]).exits(6);
    assert!(
        outcome
            .stderr
            .contains("CONFIG_LIBVFSCORE_AUTOMOUNT_UP=y was dropped"),
        "{outcome:?}"
    );
}

#[test]
fn a_project_with_a_library_builds_and_boots() {
    let Some(clones) = clones() else { return };
    let bench = Bench::new().limit(Duration::from_mins(90));
    let app = helloworld(&bench, &clones);
    let library = bench.path().join("lib-greet");
    write(
        &library.join("Config.uk"),
        "menuconfig LIBGREET\n\tbool \"greet: greets\"\n\tdefault n\n\nif LIBGREET\n\n\
         config LIBGREET_TIMES\n\tint \"How often\"\n\trange 1 5\n\tdefault 1\n\nendif\n",
    );
    write(
        &library.join("Makefile.uk"),
        "$(eval $(call addlib_s,libgreet,$(CONFIG_LIBGREET)))\n\nLIBGREET_SRCS-y += $(LIBGREET_BASE)/greet.c\n",
    );
    write(
        &library.join("greet.c"),
        "#include <stdio.h>\n\nvoid greet(void)\n{\n\tfor (int i = 0; i < CONFIG_LIBGREET_TIMES; i++)\n\
         \t\tprintf(\"greetings %d\\n\", i + 1);\n}\n",
    );
    write(
        &app.join("main.c"),
        "extern void greet(void);\n\nint main(void)\n{\n\tgreet();\n\treturn 0;\n}\n",
    );
    replace(
        &app.join("Kraftfile"),
        "targets:\n- qemu/x86_64\n- fc/x86_64\n- qemu/arm64\n",
        "libraries:\n  greet:\n    source: ../lib-greet\n    kconfig:\n      CONFIG_LIBGREET_TIMES: 2\n\
         targets:\n- qemu/x86_64\n- fc/x86_64\n- qemu/arm64\n",
    );
    for target in ["qemu/x86_64", "qemu/arm64"] {
        let _ = kraft_in(&bench, &app, &["build", "-t", target]).success();
        let run = kraft_in(&bench, &app, &["run", "--rm", "-t", target]).success();
        assert!(run.stdout.contains("greetings 2"), "{target}: {run:?}");
        assert!(!run.stdout.contains("greetings 3"), "{target}: {run:?}");
    }
    let _ = kraft_in(&bench, &app, &["build", "-t", "fc/x86_64"]).success();
}
