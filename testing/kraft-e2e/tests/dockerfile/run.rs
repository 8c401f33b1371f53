//! From a Dockerfile to a machine that runs what it says.

use std::fs;

use kraft_e2e::dockerfiles::{base_tar, push_base};
use kraft_e2e::guest::{Report, mini, push_runtime};
use kraft_e2e::harness::Bench;
use kraft_e2e::registry::Registry;
use kraft_e2e::source::{build_and_boot, kraft_in, skipped, workshop, write};

const DOCKERFILE: &str = "FROM scratch AS texts\nCOPY etc/ /etc/\nFROM scratch\n\
    COPY --from=texts /etc /etc\nENV COLOUR=blue SIZE=\"very large\"\n\
    ENTRYPOINT [\"@cat:/etc/motd\"]\nCMD [\"from the image\"]\n";

/// A registry that has our guest as a runtime, and a project beside it; `None` (and said so) if
/// there is none here.
fn project(kraftfile: &str) -> Option<(Registry, Bench, String)> {
    let registry = Registry::plain()?;
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
    let dir = bench.path().join("project");
    fs::create_dir_all(dir.join("etc")).unwrap();
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("etc/motd"), "out of a Dockerfile\n").unwrap();
    fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    if !kraftfile.is_empty() {
        let text = kraftfile.replace("RUNTIME", &runtime);
        fs::write(dir.join("Kraftfile"), text).unwrap();
    }
    Some((registry, bench, runtime))
}

#[test]
fn a_project_boots_with_the_files_arguments_and_environment_of_its_image() {
    let kraftfile = "spec: v0.6\nruntime: RUNTIME\nrootfs: ./Dockerfile\n\
                     volumes: [./data:/data]\nenv: {COLOUR: red}\n";
    let Some((_registry, bench, _)) = project(kraftfile) else {
        return;
    };
    let outcome = bench.kraft(["run", "--rm", "project"]).success();
    assert!(
        outcome.stdout.contains("out of a Dockerfile"),
        "{}",
        outcome.stdout
    );
    let report = Report::parse(&outcome.stdout);
    assert_eq!(report.args, ["@cat:/etc/motd", "from the image"]);
    // The Kraftfile takes precedence over the image.
    assert!(
        report.env.contains(&"COLOUR=red".to_owned()),
        "{:?}",
        report.env
    );
    assert!(
        report.env.contains(&"SIZE=very large".to_owned()),
        "{:?}",
        report.env
    );
    assert!(
        report.fstab.iter().any(|entry| entry.contains(":/data:")),
        "{:?}",
        report.fstab
    );
    assert!(
        outcome.stderr.contains("with kraft itself"),
        "{}",
        outcome.stderr
    );

    let again = bench
        .kraft(["run", "--rm", "project", "@cat:/etc/motd", "typed"])
        .success();
    assert!(again.stderr.contains("is up to date"), "{}", again.stderr);
    assert_eq!(
        Report::parse(&again.stdout).args,
        ["@cat:/etc/motd", "typed"]
    );
}

#[test]
fn a_command_of_the_kraftfile_replaces_that_of_the_image() {
    let kraftfile = "spec: v0.6\nruntime: RUNTIME\nrootfs: ./Dockerfile\n\
                     cmd: ['@cat:/etc/motd', of the project]\n";
    let Some((_registry, bench, _)) = project(kraftfile) else {
        return;
    };
    let outcome = bench.kraft(["run", "--rm", "project"]).success();
    assert_eq!(
        Report::parse(&outcome.stdout).args,
        ["@cat:/etc/motd", "of the project"]
    );
}

#[test]
fn a_directory_with_only_a_dockerfile_is_run_and_packaged() {
    let Some((registry, bench, runtime)) = project("") else {
        return;
    };
    let outcome = bench
        .kraft(["run", "--rm", "--runtime", &runtime, "project"])
        .success();
    assert!(
        outcome.stdout.contains("out of a Dockerfile"),
        "{}",
        outcome.stdout
    );
    let name = registry.name("packaged:1");
    let args = [
        "pkg",
        "--name",
        &name,
        "--runtime",
        &runtime,
        "--push",
        "project",
    ];
    bench.ok(args);
    bench.ok(["pkg", "rm", &name]);
    let outcome = bench.kraft(["run", "--rm", &name]).success();
    assert!(
        outcome.stdout.contains("out of a Dockerfile"),
        "{}",
        outcome.stdout
    );
    let report = Report::parse(&outcome.stdout);
    assert_eq!(report.args, ["@cat:/etc/motd", "from the image"]);
    assert!(
        report.env.contains(&"COLOUR=blue".to_owned()),
        "{:?}",
        report.env
    );
    // Without a runtime it is the built-in one.
    let lone = bench.kraft(["--offline", "run", "--dry-run", "project"]);
    assert!(lone.stderr.contains("built-in runtime"), "{}", lone.stderr);
}

#[test]
fn an_image_of_a_registry_is_a_root_filesystem() {
    let Some((registry, bench, runtime)) = project("") else {
        return;
    };
    let Some(tar) = base_tar(bench.path()) else {
        return;
    };
    let image = registry.name("base:1");
    push_base(&registry, &tar, &image);
    let source = format!("oci://{image}");
    let args = [
        "run",
        "--rm",
        "--runtime",
        &runtime,
        "--rootfs",
        &source,
        "project",
    ];
    let outcome = bench
        .kraft(args.iter().chain(&["@cat:/etc/passwd"]))
        .success();
    assert!(outcome.stdout.contains("web:x:33"), "{}", outcome.stdout);
    let report = Report::parse(&outcome.stdout);
    assert!(
        report.env.contains(&"BASE=yes".to_owned()),
        "{:?}",
        report.env
    );
}

#[test]
fn a_program_that_cannot_start_is_reported_before_the_machine_boots() {
    let kraftfile = "spec: v0.6\nruntime: RUNTIME\nrootfs: ./Dockerfile\ncmd: [/bin/app]\n";
    let Some((_registry, bench, runtime)) = project(kraftfile) else {
        return;
    };
    let warned = |dockerfile: &str, expected: &str| {
        fs::write(bench.path().join("project/Dockerfile"), dockerfile).unwrap();
        let outcome = bench.kraft(["run", "--rm", "project"]);
        assert!(
            outcome.stderr.contains(expected),
            "{expected}: {}",
            outcome.stderr
        );
    };
    let own = bench.path().join("project/app");
    fs::copy("/proc/self/exe", own).unwrap();
    warned(
        "FROM scratch\nCOPY etc /etc\n",
        "there is no `/bin/app` in the root filesystem",
    );
    warned(
        "FROM scratch\nCOPY app /bin/app.new\nCOPY app /app\n",
        "did you mean `/app`?",
    );
    warned(
        "FROM scratch\nCOPY --chmod=644 app /bin/app\n",
        "`/bin/app` is not executable",
    );
    warned(
        "FROM scratch\nCOPY --chmod=755 app /bin/app\n",
        "is loaded by `/lib",
    );
    // A program alone, on what loads it.
    let outcome = bench.kraft(["run", "--rm", "--runtime", &runtime, "project/app", "x"]);
    assert!(
        outcome.stderr.contains("is a Linux program: running it on"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_project_that_is_built_from_source_takes_its_files_from_a_dockerfile() {
    if skipped() {
        return;
    }
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let app = workshop(&bench).join("apps/app-two-libs");
    let kraftfile = fs::read_to_string(app.join("Kraftfile")).unwrap();
    write(
        &app.join("Kraftfile"),
        &format!("{kraftfile}rootfs: ./Dockerfile\n"),
    );
    write(
        &app.join("Dockerfile"),
        "FROM scratch\nCOPY motd /etc/\nENV FROM=image\nCMD [\"@cat:/etc/motd\"]\n",
    );
    write(&app.join("motd"), "beside the kernel\n");
    let console = build_and_boot(&bench, &app, &[]);
    assert!(console.contains("beside the kernel"), "{console}");
    assert!(console.contains("env \"FROM=image\""), "{console}");
    // The archive stands where KraftKit puts it.
    assert!(app.join(".unikraft/build/initramfs-x86_64.cpio").is_file());
    // What is built has not become part of what it is built from.
    let again = kraft_in(&bench, &app, &["build"]).success();
    assert!(again.stderr.contains("is up to date"), "{}", again.stderr);
    // Inside the kernel, where it asks for that.
    let inside = kraftfile.replace(
        "    CONFIG_LIBMINI_HEAP_PAGES: 32\n",
        "    CONFIG_LIBMINI_HEAP_PAGES: 32\n    CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD: 'y'\n",
    );
    write(
        &app.join("Kraftfile"),
        &format!("{inside}rootfs: ./Dockerfile\n"),
    );
    write(&app.join("motd"), "inside the kernel\n");
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let run = kraft_in(&bench, &app, &["run", "--rm", ".", "@cat:/etc/motd"]).success();
    assert!(run.stdout.contains("inside the kernel"), "{}", run.stdout);
    // As a runtime, that kernel runs what others bring, and its image names nothing of this host.
    let _ = kraft_in(&bench, &app, &["pkg", "--name", "localhost/rt:v1", "."]).success();
    let inspected = kraft_in(&bench, &app, &["pkg", "inspect", "localhost/rt:v1"]).success();
    let home = bench.path().display().to_string();
    assert!(!inspected.stdout.contains(&home), "{}", inspected.stdout);
    let user = bench.path().join("user");
    write(
        &user.join("Kraftfile"),
        "spec: v0.6\nruntime: localhost/rt:v1\nrootfs: ./Dockerfile\n",
    );
    write(
        &user.join("Dockerfile"),
        "FROM scratch\nCOPY motd /etc/\nCMD [\"@cat:/etc/motd\"]\n",
    );
    write(&user.join("motd"), "on a runtime\n");
    let run = kraft_in(&bench, &user, &["run", "--rm", "."]).success();
    assert!(run.stdout.contains("on a runtime"), "{}", run.stdout);
}
