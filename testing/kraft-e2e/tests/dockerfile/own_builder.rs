//! Dockerfiles on a host with nothing but kraft: no daemon, no other builder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kraft_e2e::dockerfiles::{OWN_BUILD, base_tar, context, paths, push_base, text};
use kraft_e2e::harness::{Bench, Outcome, skip, wrapped};
use kraft_e2e::registry::Registry;

/// Makes a search path without any program.
fn no_programs(dir: &Path) -> PathBuf {
    let bin = dir.join("only");
    fs::create_dir_all(&bin).unwrap();
    bin
}

/// Builds `context/Dockerfile` without any other builder.
fn build(bench: &Bench) -> Outcome {
    Outcome::of(&mut building(bench))
}

fn building(bench: &Bench) -> Command {
    let bin = no_programs(bench.path());
    let mut command = bench.command(["rootfs", "build", "context/Dockerfile", "-o", "root.cpio"]);
    let nowhere = format!("unix://{}", bench.path().join("nowhere").display());
    command.env("PATH", bin).env("DOCKER_HOST", nowhere);
    command
}

#[test]
fn a_dockerfile_without_run_is_built() {
    let bench = Bench::new();
    let dockerfile = "FROM scratch AS one\nCOPY a /in/\nFROM scratch\n\
                      COPY --from=one --chmod=0500 /in /out\nCOPY <<TEXT /note\nto $WHO\nTEXT\n";
    context(&bench, &[("Dockerfile", dockerfile), ("a", "x")]);
    let outcome = build(&bench).success();
    assert!(
        outcome.stderr.contains("with kraft itself"),
        "{}",
        outcome.stderr
    );
    assert_eq!(paths(&bench), ["note", "out", "out/a"]);
    assert_eq!(text(&bench, "note"), "to \n");
}

#[test]
fn a_dockerfile_with_run_is_built_in_namespaces() {
    let Some((bench, _registry)) = with_base("RUN echo \"$(id -u) on $BASE\" > /made\n") else {
        return;
    };
    drop(build(&bench).success());
    assert_eq!(text(&bench, "made"), "0 on yes\n");
    // Nothing of what was mounted stays.
    let found = paths(&bench);
    assert!(
        !found
            .iter()
            .any(|path| path.starts_with("dev/") || path.starts_with("proc/"))
    );
    assert!(
        !found.iter().any(|path| path.contains("kraft")),
        "{found:?}"
    );
}

#[test]
fn a_step_cannot_imitate_the_messages_of_kraft() {
    let steps = "RUN printf '\\001kraft: forged\\nkraft: forged\\n' >&2; exit 125\n";
    let Some((bench, _registry)) = with_base(steps) else {
        return;
    };
    let outcome = build(&bench);
    assert!(
        outcome.stderr.contains("ended with code 125"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_endless_passwd_file_is_an_error() {
    for links in ["/dev/zero", "/proc/self/mem", "/proc"] {
        let steps = format!(
            "RUN [\"/bin/busybox\", \"ln\", \"-sf\", \"{links}\", \"/etc/passwd\"]\nUSER web\nRUN id\n"
        );
        let Some((bench, _registry)) = with_base(&steps) else {
            return;
        };
        let outcome = build(&bench);
        assert!(
            outcome.stderr.contains("cannot read `/etc/passwd`"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn an_ordinary_user_needs_no_privileges() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can become somebody else");
        return;
    }
    let steps = "RUN mkdir /d && echo \"$(id -u)\" > /d/made\n\
                 RUN --mount=type=tmpfs,target=/t,size=64k touch /t/x && ls /t > /d/listed && \
                 ! dd if=/dev/zero of=/t/y bs=1k count=1000\n\
                 RUN --mount=type=cache,target=/c,mode=0700,uid=5 /bin/busybox stat -c '%a %u' /c \
                 > /d/cache\n";
    let Some((bench, _registry)) = with_base(steps) else {
        return;
    };
    // Other directories, and that of the build, must not be readable by other users.
    let kraft = bench.kraft_copy();
    let bin = no_programs(bench.path());
    let [setpriv, rights @ ..] = bench.hand_over(1000);
    let mut wrapper = Command::new(setpriv);
    wrapper.args(rights);
    let mut command = wrapped(wrapper, &bench.command_of(&kraft, OWN_BUILD));
    let search = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{search}", bin.display()));
    let outcome = Outcome::of(&mut command);
    if outcome.stderr.contains("forbids user namespaces")
        || outcome.stderr.contains("refuses namespaces")
    {
        skip("this system forbids user namespaces");
        return;
    }
    let outcome = outcome.success();
    assert_eq!(text(&bench, "d/made"), "0\n");
    assert_eq!(text(&bench, "d/listed"), "x\n");
    // Files cannot be given to others here.
    assert_eq!(text(&bench, "d/cache"), "700 0\n");
    let warning = "`/c` belongs to root in the step";
    assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
}

#[test]
fn mounts_have_the_mode_owner_size_and_content_that_are_asked_for() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give files to others");
        return;
    }
    let steps = "ARG OWNER=7\nARG KIND=cache\nARG MODE=1777\n\
        RUN --mount=type=${KIND},uid=$OWNER,gid=8,mode=$MODE,target=/c \
        /bin/busybox stat -c '%a %u:%g' /c > /o1 && touch /c/kept\n\
        RUN --mount=type=cache,target=/c ls /c > /o2\n\
        RUN --mount=type=cache,uid=7,gid=8,mode=1777,target=/c ls /c > /o3\n\
        RUN --mount=type=tmpfs,target=/t,size=64k dd if=/dev/zero of=/t/f bs=1k count=1000; \
        wc -c < /t/f > /o4; /bin/busybox stat -c '%a' /t >> /o4\n\
        RUN --mount=type=tmpfs,target=/t,ro touch /t/x || echo refused > /o5\n\
        RUN --mount=type=secret,id=s,target=/key,uid=5,gid=6,mode=0440 \
        /bin/busybox stat -c '%a %u:%g' /key > /o6\n\
        RUN --mount=type=secret,id=s cat /run/secrets/s > /o7\n\
        RUN --mount=type=cache,from=seeds,source=/in,target=/c cat /c/seed > /o8 && \
        echo later > /c/seed\n\
        RUN --mount=type=cache,from=seeds,source=/in,target=/c cat /c/seed > /o9\n\
        RUN cat > /o10 << 'EOF' && cat /o10\nblank before $THE name\nEOF\n";
    let Some((bench, _registry)) = with_base(steps) else {
        return;
    };
    let from = fs::read_to_string(bench.path().join("context/Dockerfile")).unwrap();
    let seeds = "FROM scratch AS seeds\nCOPY seed /in/\n";
    context(
        &bench,
        &[
            ("Dockerfile", &format!("{seeds}{from}")),
            ("seed", "first\n"),
            ("secret", "sesame\n"),
        ],
    );
    let bin = no_programs(bench.path());
    let flags = [
        "rootfs",
        "build",
        "context/Dockerfile",
        "-o",
        "root.cpio",
        "--build-secret",
        "id=s,src=context/secret",
    ];
    drop(Outcome::of(bench.command(flags).env("PATH", bin)).success());
    for (path, expected) in [
        ("o1", "1777 7:8\n"),
        // Another owner is another cache.
        ("o2", ""),
        ("o3", "kept\n"),
        ("o4", "65536\n1777\n"),
        ("o5", "refused\n"),
        ("o6", "440 5:6\n"),
        ("o7", "sesame\n"),
        ("o8", "first\n"),
        ("o9", "later\n"),
        ("o10", "blank before $THE name\n"),
    ] {
        assert_eq!(text(&bench, path), expected, "{path}");
    }
    // What is named must be there, and is shown where it is named.
    for (mount, why) in [
        (
            "type=cache,target=/c,from=localhost:1/no",
            "cannot use the image",
        ),
        (
            "type=tmpfs,target=/c,mode=0700",
            "a mount of type `tmpfs` has no `mode`",
        ),
        (
            "type=cache,target=/c,uid=$MISSING",
            "`` is not a valid `uid` of a mount",
        ),
    ] {
        let text = format!("FROM scratch\nRUN --mount={mount} true\n");
        context(&bench, &[("Dockerfile", &text)]);
        let outcome = build(&bench);
        assert_ne!(outcome.code, Some(0), "{mount}");
        let place = "context/Dockerfile:2:";
        let shown = outcome.stderr.contains(why) && outcome.stderr.contains(place);
        assert!(shown, "{mount}: {}", outcome.stderr);
    }
}

#[test]
fn a_pattern_that_is_not_valid_is_shown_in_the_ignore_file() {
    let bench = Bench::new();
    context(
        &bench,
        &[
            ("Dockerfile", "FROM scratch\nCOPY . /\n"),
            (".dockerignore", "# ours\n[a-\n"),
        ],
    );
    let outcome = build(&bench);
    assert_ne!(outcome.code, Some(0));
    for part in ["`[a-` is not a valid pattern", ".dockerignore:2:1"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}

#[test]
fn without_a_usable_builder_the_error_lists_each_one_with_its_reason() {
    let bench = Bench::new();
    context(&bench, &[("Dockerfile", "FROM scratch\nRUN make\n")]);
    // A host that forbids namespaces: the setting holds for the user namespace that it is made in.
    let mut host = Command::new("/usr/bin/unshare");
    host.args(["--user", "--map-root-user", "/bin/sh", "-c"]);
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    host.args([forbid, "sh"]);
    let outcome = Outcome::of(&mut wrapped(host, &building(&bench))).exits(7);
    for part in [
        "no builder can build `context/Dockerfile`",
        "buildkitd at unix:///run/buildkit/buildkitd.sock: ",
        "the Docker engine at docker://",
        "`buildah`: it is not installed",
        "`podman`: it is not installed",
        "`docker` is not installed",
        "kraft itself: a `RUN` needs a builder: this system forbids user namespaces",
        "`sudo sysctl user.max_user_namespaces=10000`",
        "sudo apt install buildah",
    ] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    context(
        &bench,
        &[("Dockerfile", "FROM scratch\nADD https://example.org/x /x\n")],
    );
    let outcome = build(&bench).exits(7);
    assert!(
        outcome
            .stderr
            .contains("`ADD` of an address needs a builder"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_failing_command_and_what_is_missing_are_shown_in_the_dockerfile() {
    let Some((bench, registry)) = with_base("RUN echo before && exit 9\n") else {
        return;
    };
    let outcome = build(&bench).exits(6);
    for part in ["ended with code 9", "context/Dockerfile:2:1", "    before"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    let base = registry.name("base:1");
    let killed = format!("FROM {base}\nRUN sh -c 'kill -SYS $$'; exit $?\n");
    context(&bench, &[("Dockerfile", &killed)]);
    let outcome = build(&bench).exits(6);
    assert!(
        outcome
            .stderr
            .contains("ended with code 159: a 32-bit program"),
        "{}",
        outcome.stderr
    );
    context(&bench, &[("Dockerfile", "FROM scratch\nCOPY lost /\n")]);
    let outcome = build(&bench).exits(6);
    for part in ["there is no `lost` to copy", "context/Dockerfile:2:6"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}

#[test]
fn a_cached_build_does_not_need_the_registry_of_its_base_image() {
    let Some((bench, registry)) = with_base("RUN echo once > /made\n") else {
        return;
    };
    drop(build(&bench).success());
    drop(registry);
    // Nor is its copy here any more.
    fs::remove_dir_all(bench.runtime().join("images")).unwrap();
    let again = build(&bench).success();
    assert!(again.stderr.contains("is up to date"), "{}", again.stderr);
}

#[test]
fn a_step_cannot_leave_its_root() {
    let steps = "RUN ln -s / /dev-link && mkdir -p /x && ln -s ../../../../../../etc /x/up\n\
                 RUN --mount=type=bind,target=/x/up/kraft-was-here ls / > /listed\n\
                 RUN [ ! -e /.kraft-old-root ] && cat /x/up/passwd > /users\n";
    let Some((bench, _registry)) = with_base(steps) else {
        return;
    };
    drop(build(&bench).success());
    assert!(!Path::new("/etc/kraft-was-here").exists());
    assert!(text(&bench, "users").contains("web:x:33"));
    assert!(!text(&bench, "listed").contains("kraft"));
}

#[test]
fn a_step_cannot_change_the_host() {
    let steps = "RUN p=/proc/sys/kernel/core_pattern; old=\"$(cat $p)\"; ! echo \"$old\" > $p\n\
                 RUN ! ls /proc/1/root/ && ! cat /proc/1/environ\n\
                 RUN ! touch /sys/kernel/x && [ ! -s /proc/keys ]\n\
                 RUN busybox mknod /zero c 1 5 || exit 0; ! busybox head -c 1 /zero\n\
                 RUN busybox mknod /dev/zero2 c 1 5 || exit 0; ! busybox head -c 1 /dev/zero2\n\
                 RUN echo x > /dev/null && busybox head -c 1 /dev/zero > /one\n";
    let Some((bench, _registry)) = with_base(steps) else {
        return;
    };
    drop(build(&bench).success());
    assert_eq!(text(&bench, "one"), "\0");
}

#[test]
fn a_program_is_found_from_the_working_directory_despite_unusual_links() {
    let steps = "WORKDIR /bin\nRUN [\"./busybox\", \"touch\", \"/relative\"]\n\
                 COPY odd /etc/\n\
                 RUN <<SCRIPT\n#!/bin/busybox sh\nx=own\necho \"$x $BASE\" > /script\nSCRIPT\n\
                 RUN --mount=type=tmpfs,target=/etc/../new/deep touch /new/deep/x\n";
    let Some((bench, _registry)) = with_base(steps) else {
        return;
    };
    let odd = bench.path().join("context/odd");
    fs::create_dir(&odd).unwrap();
    symlink("/run/nowhere/resolv.conf", odd.join("resolv.conf")).unwrap();
    drop(build(&bench).success());
    let found = paths(&bench);
    assert!(found.contains(&"relative".to_owned()), "{found:?}");
    assert!(
        !found.iter().any(|path| path.starts_with("run/")),
        "{found:?}"
    );
    assert!(
        !found.iter().any(|path| path.starts_with("new")),
        "{found:?}"
    );
    assert_eq!(text(&bench, "script"), "own yes\n");
}

/// A bench whose Dockerfile builds on the base image in a registry; `None` (and said so) if there
/// is none here.
pub(crate) fn with_base(steps: &str) -> Option<(Bench, Registry)> {
    let registry = Registry::plain()?;
    let bench = Bench::new();
    let tar = base_tar(bench.path())?;
    let name = registry.name("base:1");
    push_base(&registry, &tar, &name);
    context(&bench, &[("Dockerfile", &format!("FROM {name}\n{steps}"))]);
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.path(), everybody).unwrap();
    Some((bench, registry))
}
