//! From sources to kernels that boot: components from everywhere, templates, targets, incremental
//! builds.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kraft_e2e::harness::Bench;
use kraft_e2e::source::{
    boot, build_and_boot, compiled, git, kraft_in, make_archive, make_repository, replace, skipped,
    workshop, write,
};
use kraft_e2e::web::Web;

const TWO_LIBS: &str = "two-libs_qemu-x86_64";

fn says_two_libs(said: &str) {
    for line in [
        "config CONFIG_LIBMINI_HEAP_PAGES \"32\"",
        "config CONFIG_LIBMINI_HEAP_BASE \"0x400000\"",
        "hello to two libraries!",
        "count 1",
        "count 2",
    ] {
        assert!(said.lines().any(|l| l == line), "no `{line}`: {said}");
    }
    assert!(!said.contains("count 3"), "{said}");
}

#[test]
fn a_project_with_two_libraries_builds_from_directories() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    says_two_libs(&build_and_boot(
        &bench,
        &place.join("apps/app-two-libs"),
        &[],
    ));
    assert!(!place.join("apps/app-two-libs/kraft.lock").exists());
    // What was linked to is as it was.
    for dir in ["core", "libs/lib-hello", "libs/lib-count"] {
        let names: Vec<String> = std::fs::read_dir(place.join(dir))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
    }
}

#[test]
fn a_project_builds_from_git_over_http_and_the_next_one_transfers_nothing() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let served = bench.path().join("served/git");
    for (dir, name) in [
        ("core", "unikraft.git"),
        ("libs/lib-hello", "lib-hello.git"),
        ("libs/lib-count", "lib-count.git"),
    ] {
        let dir = place.join(dir);
        make_repository(&dir);
        std::fs::create_dir_all(&served).unwrap();
        let target = served.join(name);
        git(
            &served,
            [
                "clone",
                "--quiet",
                "--bare",
                dir.to_str().unwrap(),
                target.to_str().unwrap(),
            ],
        );
    }
    let web = Web::serve(&bench.path().join("served"));
    let app = place.join("apps/app-two-libs");
    let kraftfile = app.join("Kraftfile");
    let url = |name: &str| web.url(&format!("git/{name}"));
    replace(&kraftfile, "../../core", &url("unikraft.git"));
    replace(
        &kraftfile,
        "../../libs/lib-hello",
        &format!("{}\n    version: stable", url("lib-hello.git")),
    );
    replace(
        &kraftfile,
        "../../libs/lib-count",
        &format!("{}\n    version: 0.1.0", url("lib-count.git")),
    );
    says_two_libs(&build_and_boot(&bench, &app, &[]));
    let lock = std::fs::read_to_string(app.join("kraft.lock")).unwrap();
    let commit = git(&place.join("libs/lib-count"), ["rev-parse", "HEAD"]);
    assert!(lock.contains(&commit), "{lock}");
    assert!(!web.asked().is_empty());

    // With the lock file no server is queried; without it, only for the branches.
    let second = bench.path().join("second");
    std::fs::create_dir(&second).unwrap();
    for file in ["Kraftfile", "Makefile.uk", "main.c"] {
        std::fs::copy(app.join(file), second.join(file)).unwrap();
    }
    std::fs::copy(app.join("kraft.lock"), second.join("kraft.lock")).unwrap();
    says_two_libs(&build_and_boot(&bench, &second, &[]));
    assert_eq!(web.asked(), [""; 0]);
    let third = bench.path().join("third");
    std::fs::create_dir(&third).unwrap();
    for file in ["Kraftfile", "Makefile.uk", "main.c"] {
        std::fs::copy(app.join(file), third.join(file)).unwrap();
    }
    let _ = kraft_in(&bench, &third, &["build"]).success();
    let asked = web.asked();
    assert!(
        !asked.iter().any(|request| request.starts_with("POST")),
        "{asked:?}"
    );
}

#[test]
fn a_project_builds_from_archives_over_http_and_the_next_one_transfers_nothing() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let served = bench.path().join("served");
    std::fs::create_dir(&served).unwrap();
    let web = Web::serve(&served);
    let app = place.join("apps/app-two-libs");
    for (dir, name, old) in [
        ("core", "core.tar.gz", "../../core"),
        ("libs/lib-hello", "lib-hello.tar.gz", "../../libs/lib-hello"),
        ("libs/lib-count", "lib-count.tar.gz", "../../libs/lib-count"),
    ] {
        make_archive(&place.join(dir), &served.join(name));
        replace(&app.join("Kraftfile"), old, &web.url(name));
    }
    says_two_libs(&build_and_boot(&bench, &app, &[]));
    let lock: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(app.join("kraft.lock")).unwrap()).unwrap();
    assert_eq!(
        lock["components"]["lib/hello"]["sha256"]
            .as_str()
            .unwrap()
            .len(),
        64
    );
    assert_eq!(web.asked().len(), 3);

    std::fs::remove_file(app.join("kraft.lock")).unwrap();
    std::fs::remove_dir_all(app.join(".unikraft")).unwrap();
    says_two_libs(&build_and_boot(&bench, &app, &[]));
    // Three questions whether anything changed, and three times no.
    assert_eq!(web.asked().len(), 3);
}

#[test]
fn a_template_is_completed_by_its_project() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let said = build_and_boot(&bench, &place.join("apps/app-templated"), &[]);
    for line in [
        "config CONFIG_LIBMINI_GREETING \"from the template\"",
        "config CONFIG_LIBMINI_HEAP_PAGES \"64\"",
        "the template runs /bin/app",
        "hello to a template",
    ] {
        assert!(said.lines().any(|l| l == line), "no `{line}`: {said}");
    }
}

#[test]
fn four_targets_are_built_in_one_run_or_each_alone() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-four-targets");
    let built = kraft_in(&bench, &app, &["build", "--all"]).success();
    let kernels: Vec<&str> = built.stdout.lines().collect();
    assert_eq!(kernels.len(), 4, "{built:?}");
    for target in ["qemu-x86_64", "fc-x86_64", "qemu-arm64", "fc-arm64"] {
        let kernel = app.join(format!(".unikraft/build/Four-Targets_{target}"));
        assert!(kernels.contains(&kernel.to_str().unwrap()), "{kernels:?}");
        assert!(
            kernel
                .with_file_name(format!("Four-Targets_{target}.dbg"))
                .is_file()
        );
        assert!(app.join(format!(".config.Four-Targets_{target}")).is_file());
    }
    for target in ["qemu/x86_64", "qemu/arm64"] {
        let said = boot(&bench, &app, &["-t", target]);
        assert!(said.contains("one source, four targets\n"), "{said}");
    }
    let one = kraft_in(
        &bench,
        &app,
        &["build", "--plat", "firecracker", "--arch", "aarch64"],
    )
    .success();
    assert!(one.stdout.trim_end().ends_with("_fc-arm64"), "{one:?}");
    let none = kraft_in(&bench, &app, &["build", "-t", "xen/x86_64"]).exits(3);
    assert!(
        none.stderr.contains("Four-Targets (qemu/x86_64)"),
        "{none:?}"
    );
}

#[test]
fn only_changed_files_are_compiled_again() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let _ = kraft_in(&bench, &app, &["build"]).success();
    assert!(compiled(&app, TWO_LIBS) > 10);
    let log = app.join(format!(".unikraft/build/{TWO_LIBS}.log"));
    let written = std::fs::metadata(&log).unwrap().modified().unwrap();
    let again = kraft_in(&bench, &app, &["build"]).success();
    assert!(again.stderr.contains("nothing has changed"), "{again:?}");
    assert_eq!(
        std::fs::metadata(&log).unwrap().modified().unwrap(),
        written
    );

    replace(&app.join("main.c"), "return 0;", "return 1;");
    let said = build_and_boot(&bench, &app, &[]);
    assert!(said.contains("main returned 1"), "{said}");
    assert_eq!(compiled(&app, TWO_LIBS), 1);

    replace(
        &app.join("Kraftfile"),
        "CONFIG_LIBCOUNT_TO: 2",
        "CONFIG_LIBCOUNT_TO: 4",
    );
    let said = build_and_boot(&bench, &app, &[]);
    assert!(said.contains("count 4\n"), "{said}");

    // What is gone is made again.
    std::fs::remove_file(app.join(format!(".unikraft/build/{TWO_LIBS}"))).unwrap();
    let again = kraft_in(&bench, &app, &["build"]).success();
    assert!(!again.stderr.contains("nothing has changed"), "{again:?}");
    assert!(boot(&bench, &app, &[]).contains("count 4\n"));
}

#[test]
fn manual_edits_stay_and_the_kraftfile_takes_precedence() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let edit = [
        "set",
        "-t",
        "qemu/x86_64",
        "LIBMINI_GREETING=hi",
        "LIBCOUNT_TO=7",
    ];
    let _ = kraft_in(&bench, &app, &edit).success();
    let said = build_and_boot(&bench, &app, &[]);
    assert!(
        said.contains("config CONFIG_LIBMINI_GREETING \"hi\""),
        "{said}"
    );
    assert!(
        said.contains("count 2\n") && !said.contains("count 3\n"),
        "{said}"
    );
    let _ = kraft_in(&bench, &app, &["set", "LIBCOUNT_TO=1"]).success();
    let said = build_and_boot(&bench, &app, &[]);
    assert!(
        said.contains("GREETING \"hi\"") && !said.contains("count 2\n"),
        "{said}"
    );
    let _ = kraft_in(&bench, &app, &["build", "--configure"]).success();
    assert!(boot(&bench, &app, &[]).contains("config CONFIG_LIBMINI_GREETING \"hello\""));
}

#[test]
fn variables_and_a_root_filesystem_become_part_of_a_kernel() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let mut text = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    text = text.replace(
        "    CONFIG_LIBMINI_HEAP_PAGES: 32\n",
        "    CONFIG_LIBMINI_HEAP_PAGES: 32\n    CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD: 'y'\n",
    );
    text.push_str("rootfs: ./rootfs\nenv:\n  FROM_FILE: a b\n");
    write(&app.join("Kraftfile"), &text);
    write(&app.join("rootfs/etc/motd"), "inside\n");
    let _ = kraft_in(&bench, &app, &["build", "--env", "TYPED=1"]).success();
    let run = kraft_in(&bench, &app, &["run", "--rm", ".", "@cat:/etc/motd"]).success();
    assert!(
        run.stdout.contains("file \"etc/motd\" 7\ninside\n"),
        "{run:?}"
    );
    for env in ["env \"FROM_FILE=a b\"", "env \"TYPED=1\""] {
        assert!(run.stdout.contains(env), "{run:?}");
    }
    // A changed file changes the kernel.
    write(&app.join("rootfs/etc/motd"), "another\n");
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let run = kraft_in(&bench, &app, &["run", "--rm", ".", "@cat:/etc/motd"]).success();
    assert!(run.stdout.contains("another\n"), "{run:?}");
    // An image of it has no layer for the root filesystem.
    let _ = kraft_in(&bench, &app, &["pkg", "--name", "two:v1"]).success();
    let image = bench.json(["pkg", "inspect", "two:v1", "-o", "json"]);
    assert!(
        !image.to_string().contains("/unikraft/bin/initrd"),
        "{image}"
    );
}

#[test]
fn everything_works_in_directories_with_unusual_names() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let odd = bench.path().join("mein ordner/größe $1 #2");
    std::fs::create_dir_all(odd.parent().unwrap()).unwrap();
    std::fs::rename(&place, &odd).unwrap();
    let app = odd.join("apps/app-two-libs");
    says_two_libs(&build_and_boot(&bench, &app, &[]));
    let again = kraft_in(&bench, &app, &["build"]).success();
    assert!(again.stderr.contains("nothing has changed"), "{again:?}");
    // A source that is changed there is seen.
    replace(
        &odd.join("libs/lib-hello/hello.c"),
        "hello to ",
        "good day to ",
    );
    let said = build_and_boot(&bench, &app, &[]);
    assert!(said.contains("good day to two libraries!"), "{said}");
    assert_eq!(compiled(&app, TWO_LIBS), 1);

    // From below, and by the name of the Kraftfile.
    let below = app.join("sub/dir");
    std::fs::create_dir_all(&below).unwrap();
    let _ = kraft_in(&bench, &below, &["build"]).success();
    std::fs::rename(app.join("Kraftfile"), app.join("Other.kraft")).unwrap();
    let named = kraft_in(&bench, &app, &["build", "-K", "Other.kraft"]).success();
    assert!(named.stdout.contains(TWO_LIBS), "{named:?}");
}

#[test]
fn a_read_only_project_is_built_in_the_data_directory() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    // Root writes wherever it wants: only another kind of wall holds it back.
    if rustix_is_root() {
        let script = format!(
            "mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && cd '{0}/apps/app-two-libs' && \
             \"$KRAFT\" build && \"$KRAFT\" run --rm",
            place.display()
        );
        let inner = bench.command([""; 0]);
        let mut outer = std::process::Command::new("unshare");
        outer.args(["--mount", "bash", "-euc", &script]).env_clear();
        for (key, value) in inner.get_envs() {
            outer.env(key, value.unwrap_or_default());
        }
        outer.env("KRAFT", inner.get_program());
        let outcome = kraft_e2e::harness::Outcome::of(&mut outer).success();
        says_two_libs(&outcome.stdout);
        return;
    }
    let app = place.join("apps/app-two-libs");
    read_only(&place, true);
    let said = build_and_boot(&bench, &app, &[]);
    read_only(&place, false);
    says_two_libs(&said);
}

/// Copies a file with its time, as `cp -p` does, over the one that is there.
fn put_back(saved: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-p").args([saved, to]).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_restored_source_with_its_old_time_is_compiled_again() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let odd = bench.path().join("odd place");
    std::fs::rename(&place, &odd).unwrap();
    for place in [workshop(&bench), odd] {
        let app = place.join("apps/app-two-libs");
        says_two_libs(&build_and_boot(&bench, &app, &[]));
        // A source of the application, one of a library, a header of the core.
        for (file, old, new, is_new) in [
            (
                "libs/lib-hello/hello.c",
                "hello to ",
                "good day to ",
                "good day to two libraries!",
            ),
            (
                "core/lib/mini/main.c",
                "put_text(\"bye\\n\");",
                "put_text(\"see you\\nbye\\n\");",
                "see you",
            ),
            (
                "core/lib/mini/report.h",
                "#define MINI_REPORT_H",
                "#define MINI_REPORT_H\n#define REPORT_FAREWELL 1",
                "",
            ),
        ] {
            let (file, saved) = (place.join(file), bench.path().join("saved"));
            put_back(&file, &saved);
            replace(&file, old, new);
            let said = build_and_boot(&bench, &app, &[]);
            assert!(said.contains(is_new), "{said}");
            // Over the old one; as a new file under the old name; with the time of the new one.
            put_back(&saved, &file);
            says_two_libs(&build_and_boot(&bench, &app, &[]));
            assert!(compiled(&app, TWO_LIBS) > 0, "{}", file.display());
            let newer = bench.path().join("newer");
            put_back(&file, &newer);
            replace(&newer, old, new);
            for way in ["mv", "touch"] {
                match way {
                    "mv" => std::fs::rename(&newer, &file).unwrap(),
                    _ => {
                        let text = std::fs::read(&saved).unwrap();
                        let time = std::fs::metadata(&file).unwrap().modified().unwrap();
                        std::fs::write(&file, text).unwrap();
                        let open = std::fs::File::options().append(true).open(&file).unwrap();
                        open.set_modified(time).unwrap();
                    }
                }
                let said = build_and_boot(&bench, &app, &[]);
                assert_eq!(
                    said.contains(is_new),
                    way == "mv" || is_new.is_empty(),
                    "{way}: {said}"
                );
            }
        }
        let again = kraft_in(&bench, &app, &["build"]).success();
        assert!(again.stderr.contains("nothing has changed"), "{again:?}");
        // One that was away meanwhile, and the build failed for it.
        let (file, saved) = (
            place.join("libs/lib-hello/hello.c"),
            bench.path().join("saved"),
        );
        put_back(&file, &saved);
        replace(&file, "hello to ", "good day to ");
        let _ = kraft_in(&bench, &app, &["build"]).success();
        std::fs::remove_file(&file).unwrap();
        let _ = kraft_in(&bench, &app, &["build"]).exits(6);
        put_back(&saved, &file);
        says_two_libs(&build_and_boot(&bench, &app, &[]));
    }
}

#[test]
fn restored_inputs_of_make_are_rebuilt_and_data_files_are_not_compiled() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    write(&app.join("rootfs/a.dat"), "a");
    write(&app.join("notes.md"), "a");
    let text = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    write(&app.join("Kraftfile"), &format!("{text}rootfs: ./rootfs\n"));
    says_two_libs(&build_and_boot(&bench, &app, &[]));
    let (rules, saved) = (app.join("Makefile.uk"), bench.path().join("saved"));
    put_back(&rules, &saved);
    let text = std::fs::read_to_string(&rules).unwrap();
    write(&rules, &format!("{text}\nCFLAGS-y += -DANOTHER\n"));
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let all = compiled(&app, TWO_LIBS);
    put_back(&saved, &rules);
    let _ = kraft_in(&bench, &app, &["build"]).success();
    assert!(compiled(&app, TWO_LIBS) >= all, "nothing was compiled");
    for data in ["rootfs/a.dat", "notes.md"] {
        let data = app.join(data);
        put_back(&data, &saved);
        write(&data, "other");
        let _ = kraft_in(&bench, &app, &["build"]).success();
        put_back(&saved, &data);
        let _ = kraft_in(&bench, &app, &["build"]).success();
        assert_eq!(compiled(&app, TWO_LIBS), 0, "{}", data.display());
    }
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn read_only(dir: &Path, yes: bool) {
    let mode = if yes { 0o555 } else { 0o755 };
    if !yes {
        std::fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
    }
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            read_only(&entry.path(), yes);
        }
    }
    std::fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn clean_removes_products_and_with_proper_the_build_directory() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let kernel = app.join(format!(".unikraft/build/{TWO_LIBS}"));
    let _ = kraft_in(&bench, &app, &["clean"]).success();
    assert!(!kernel.exists());
    assert!(app.join(format!(".config.{TWO_LIBS}")).exists());
    let _ = kraft_in(&bench, &app, &["build"]).success();
    assert!(kernel.exists());
    let _ = kraft_in(&bench, &app, &["clean", "--proper"]).success();
    assert!(!app.join(format!(".unikraft/make/{TWO_LIBS}")).exists());
    let built = kraft_in(&bench, &app, &["build"]).success();
    assert!(!built.stderr.contains("by hand"), "{built:?}");
    says_two_libs(&boot(&bench, &app, &[]));
}

#[test]
fn an_output_directory_is_honoured_and_a_built_kernel_can_be_packaged() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    replace(
        &app.join("Kraftfile"),
        "name: two-libs",
        "name: two-libs\noutdir: ./out",
    );
    let _ = kraft_in(&bench, &app, &["build"]).success();
    assert!(app.join(format!("out/{TWO_LIBS}")).is_file());
    says_two_libs(&boot(&bench, &app, &[]));
    let _ = kraft_in(&bench, &app, &["pkg", "--name", "two:v1"]).success();
    let run = bench.kraft(["run", "--rm", "two:v1"]).success();
    says_two_libs(&run.stdout);
    let again = kraft_in(&bench, &app, &["build"]).success();
    assert!(again.stderr.contains("nothing has changed"), "{again:?}");
}

#[test]
fn a_parent_make_shares_its_job_slots() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let inner = bench.command(["build"]);
    let makefile = bench.path().join("above.mk");
    let kraft = inner.get_program().to_str().unwrap();
    write(&makefile, &format!("all:\n\t+'{kraft}' build\n"));
    let mut above = std::process::Command::new("make");
    above
        .args(["-j3", "-C"])
        .arg(&app)
        .arg("-f")
        .arg(&makefile)
        .env_clear();
    for (key, value) in inner.get_envs() {
        above.env(key, value.unwrap_or_default());
    }
    let _ = kraft_e2e::harness::Outcome::of(&mut above).success();
    let log = app.join(format!(".unikraft/build/{TWO_LIBS}.log"));
    let text = std::fs::read_to_string(log).unwrap();
    assert!(!text.contains(" -j"), "{text}");
    assert!(!text.contains("jobserver"), "{text}");
}
