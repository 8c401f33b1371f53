//! Dockerfiles built by the BuildKit inside a real Docker engine.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use kraft_e2e::dockerfiles::{base_tar, build, context, paths, text, tree};
use kraft_e2e::engines::Docker;
use kraft_e2e::harness::{Bench, eventually};

const BASE: &str = "kraft-test/base:1";

/// An engine that knows the base image, and a bench that is pointed at it; `None` (and said so) if
/// there is none here.
fn workshop() -> Option<(Docker, Bench)> {
    let docker = Docker::start()?;
    let bench = Bench::new();
    docker.import(&base_tar(bench.path())?, BASE);
    let host = format!("unix://{}", docker.socket().display());
    Some((
        docker,
        bench
            .env("DOCKER_HOST", &host)
            .env("KRAFTKIT_BUILDER", "docker"),
    ))
}

/// The engine has no bridge, so its commands have no network.
const ALONE: [&str; 2] = ["--build-network", "none"];

#[test]
fn stages_arguments_targets_secrets_and_ignore_files_are_supported() {
    let Some((_docker, bench)) = workshop() else {
        return;
    };
    let dockerfile = format!(
        "ARG GREETING=hello\n\
         FROM {BASE} AS made\n\
         ARG GREETING\n\
         RUN mkdir /out && echo \"$GREETING\" > /out/greeting\n\
         RUN --mount=type=secret,id=token cat /run/secrets/token | wc -c > /out/length\n\
         FROM made AS other\n\
         RUN echo other > /out/other\n\
         FROM scratch\n\
         COPY --from=made /out /out\n\
         COPY . /context/\n"
    );
    context(
        &bench,
        &[
            ("Dockerfile", &dockerfile),
            (
                ".dockerignore",
                "*.log\n!kept.log\ndeep/**\n!deep/er/kept\nDockerfile\n",
            ),
            ("a.txt", "a"),
            ("lost.log", "x"),
            ("kept.log", "x"),
            ("deep/lost", "x"),
            ("deep/er/kept", "x"),
            ("n\u{e4}me with blank", "x"),
        ],
    );
    fs::write(bench.path().join("token"), "12345").unwrap();
    let mut flags = ALONE.to_vec();
    flags.extend([
        "--build-arg",
        "GREETING=good day",
        "--build-secret",
        "id=token,src=token",
    ]);
    let outcome = build(&bench, &flags).success();
    assert!(
        outcome.stderr.contains("the Docker engine at docker://"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("12345"));
    assert_eq!(text(&bench, "out/greeting"), "good day\n");
    assert_eq!(text(&bench, "out/length").trim(), "5");
    assert_eq!(
        paths(&bench),
        [
            "context",
            "context/.dockerignore",
            "context/a.txt",
            "context/deep",
            "context/deep/er",
            "context/deep/er/kept",
            "context/kept.log",
            "context/n\u{e4}me with blank",
            "out",
            "out/greeting",
            "out/length"
        ]
    );
    flags.extend(["--build-target", "other"]);
    drop(build(&bench, &flags).success());
    assert_eq!(text(&bench, "out/other"), "other\n");
}

#[test]
fn a_foreign_platform_can_be_built_if_no_step_runs_programs() {
    let Some((_docker, bench)) = workshop() else {
        return;
    };
    context(
        &bench,
        &[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "x")],
    );
    drop(build(&bench, &["--arch", "arm64"]).success());
    assert_eq!(paths(&bench), ["a"]);
}

#[test]
fn errors_are_shown_at_their_line_of_the_dockerfile() {
    let Some((_docker, bench)) = workshop() else {
        return;
    };
    let failing = format!("FROM {BASE}\nRUN echo fine\n\nRUN echo oops >&2 && exit 3\n");
    context(&bench, &[("Dockerfile", &failing)]);
    let outcome = build(&bench, &ALONE).exits(6);
    for part in [
        "exit code: 3",
        "context/Dockerfile:4:1",
        "RUN echo oops",
        "    oops",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    context(&bench, &[("Dockerfile", "FROM scratch\nCOPYY a b\n")]);
    let outcome = build(&bench, &ALONE).exits(6);
    for part in ["context/Dockerfile:2:1", "did you mean `COPY`?"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    context(&bench, &[("Dockerfile", "FROM scratch\n\nCOPY gone /\n")]);
    let outcome = build(&bench, &ALONE).exits(6);
    assert!(
        outcome.stderr.contains("context/Dockerfile:3:1"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_interrupted_build_is_also_cancelled_in_the_daemon() {
    let Some((_docker, bench)) = workshop() else {
        return;
    };
    // A number of seconds that no other process sleeps.
    let nap = format!("{}", 100_000 + std::process::id());
    let dockerfile = format!("FROM {BASE}\nRUN sleep {nap}\n");
    context(&bench, &[("Dockerfile", &dockerfile)]);
    let mut command = bench.command(["rootfs", "build", "context/Dockerfile", "-o", "root.cpio"]);
    let mut child = command.args(ALONE).stderr(Stdio::null()).spawn().unwrap();
    let sleeps = || {
        let found = Command::new("pgrep")
            .args(["-f", &format!("^sleep {nap}")])
            .output();
        found.unwrap().status.success()
    };
    eventually("the step runs", sleeps);
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    // Not SIGINT: a test run in the background of a shell ignores it, and so do its children.
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.signal() == Some(15) || status.code() == Some(130),
        "{status:?}"
    );
    eventually("the daemon ends the step", || !sleeps());
}

#[test]
fn files_too_large_for_an_archive_are_an_error() {
    let Some((_docker, bench)) = workshop() else {
        return;
    };
    // Six gigabytes, of which nothing is on disk.
    let dockerfile =
        format!("FROM {BASE}\nRUN dd if=/dev/zero of=/huge bs=1 count=0 seek=6442450944\n");
    context(&bench, &[("Dockerfile", &dockerfile)]);
    let outcome = build(&bench, &ALONE).exits(1);
    for part in ["cannot add `huge`", "smaller than 4 GiB"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    assert!(!bench.path().join("root.cpio").exists());
}

#[test]
fn only_changed_files_of_a_large_context_are_sent() {
    let Some((_docker, bench)) = workshop() else {
        return;
    };
    let size: usize = if std::env::var_os("KRAFT_BIG").is_some() {
        2 << 30
    } else {
        64 << 20
    };
    context(
        &bench,
        &[("Dockerfile", "FROM scratch\nCOPY . /\n"), ("small", "one")],
    );
    let large = bench.path().join("context/large");
    let pattern: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let mut file = fs::File::create(large).unwrap();
    for _ in 0..size >> 20 {
        std::io::Write::write_all(&mut file, &pattern).unwrap();
    }
    let sent = || -> usize {
        let outcome = build(&bench, &["--log-level", "debug"]).success();
        let (before, _) = outcome
            .stderr
            .split_once(" bytes of the context were sent")
            .unwrap();
        before.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(sent() >= size);
    fs::write(bench.path().join("context/small"), "two!").unwrap();
    let again = sent();
    assert!(again < 4096, "{again} bytes travelled again");
    assert_eq!(text(&bench, "small"), "two!");
    assert_eq!(tree(&bench).len(), 3);
}

#[test]
fn an_unchanged_root_filesystem_is_not_rebuilt() {
    let Some((docker, bench)) = workshop() else {
        return;
    };
    let dockerfile = format!("FROM {BASE}\nCOPY a /a\n");
    context(&bench, &[("Dockerfile", &dockerfile), ("a", "one")]);
    let cached = |flags: &[&str]| {
        let outcome = build(&bench, flags).success();
        outcome.stderr.contains("is up to date")
    };
    assert!(!cached(&[]));
    assert!(cached(&[]));
    // A touch is no change, a write is one.
    fs::write(bench.path().join("context/a"), "one").unwrap();
    assert!(cached(&[]));
    fs::write(bench.path().join("context/a"), "two").unwrap();
    assert!(!cached(&[]));
    assert!(cached(&[]));
    assert!(!cached(&["--no-rootfs-cache"]));
    // The base image is another one now.
    let other = bench.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("new"), "x").unwrap();
    let tar = bench.path().join("other.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .args([other.as_path(), "-cf".as_ref(), &tar])
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    docker.import(&tar, BASE);
    assert!(!cached(&[]));
    assert_eq!(paths(&bench), ["a", "new"]);
}
