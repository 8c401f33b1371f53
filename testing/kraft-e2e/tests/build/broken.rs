//! Broken things on the way from sources to kernels: one clear error each, and nothing that is
//! used afterwards.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use kraft_e2e::harness::{Bench, Outcome, eventually};
use kraft_e2e::program;
use kraft_e2e::source::{
    build_and_boot, copy, git, kraft_in, make_archive, make_repository, replace, skipped, workshop,
};
use kraft_e2e::web::{Web, answer};

/// Makes a project of two libraries in its workshop, unless nothing can be built here.
fn two_libs() -> Option<(Bench, PathBuf)> {
    if skipped() {
        return None;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    Some((bench, app))
}

/// Makes an empty directory to serve files from.
fn served(bench: &Bench) -> PathBuf {
    let dir = bench.path().join("served");
    std::fs::create_dir(&dir).unwrap();
    dir
}

/// Replaces a text in the Kraftfile of a project.
fn edit(app: &Path, old: &str, new: &str) {
    replace(&app.join("Kraftfile"), old, new);
}

fn fails(bench: &Bench, app: &Path, code: i32, says: &[&str]) -> Outcome {
    let outcome = kraft_in(bench, app, &["build", "--http-retries", "1"]).exits(code);
    for text in says {
        assert!(outcome.stderr.contains(text), "no `{text}`: {outcome:?}");
    }
    outcome
}

#[test]
fn a_missing_program_is_named_with_its_package_before_anything_is_built() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let programs = bench.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for dir in ["/usr/bin", "/bin"] {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let name = entry.file_name();
            if name != "kconfig-conf" && name != "aarch64-linux-gnu-gcc" {
                let _ = std::os::unix::fs::symlink(entry.path(), programs.join(name));
            }
        }
    }
    let mut command = bench.command(["build"]);
    command.current_dir(&app).env("PATH", &programs);
    let outcome = Outcome::of(&mut command).exits(7);
    assert!(
        outcome.stderr.contains("`kconfig-conf` to configure"),
        "{outcome:?}"
    );
    assert!(
        outcome.stderr.contains("apt install kconfig-frontends-nox"),
        "{outcome:?}"
    );
    assert!(!app.join(".config.two-libs_qemu-x86_64").exists());
    edit(&app, "qemu/x86_64", "qemu/arm64");
    let mut command = bench.command(["build"]);
    command.current_dir(&app).env("PATH", &programs);
    let outcome = Outcome::of(&mut command).exits(7);
    assert!(
        outcome.stderr.contains("gcc-aarch64-linux-gnu"),
        "{outcome:?}"
    );
}

#[test]
fn a_compiler_error_is_shown_at_its_line() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let main = app.join("main.c");
    replace(&main, "count();", "count(counter);");
    let outcome = fails(
        &bench,
        &app,
        6,
        &["main.c:7:", "counter", "two-libs_qemu-x86_64.log"],
    );
    assert!(outcome.stderr.contains("^^^^^^^"), "{outcome:?}");
    replace(&main, "count(counter);", "missing();");
    replace(&main, "int main", "void missing(void);\nint main");
    fails(
        &bench,
        &app,
        6,
        &["undefined reference to `missing'", "main.c"],
    );
    replace(&main, "missing();", "count();");
    let _ = build_and_boot(&bench, &app, &[]);
}

#[test]
fn a_kconfig_error_is_shown_at_its_line() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let options = app.join("../../libs/lib-count/Config.uk");
    replace(&options, "range 1 9", "rnage 1 9");
    fails(&bench, &app, 6, &["Config.uk:"]);
}

#[test]
fn an_unknown_version_is_reported_with_similar_ones() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let library = app.join("../../libs/lib-count");
    make_repository(&library);
    let url = format!("file://{}", library.canonicalize().unwrap().display());
    let with = |version: &str| format!("{url}\n    version: {version}");
    edit(&app, "../../libs/lib-count", &with("stabel"));
    fails(
        &bench,
        &app,
        3,
        &["no branch, tag or commit `stabel`", "`stable`"],
    );
    let commit = "0123456789abcdef0123456789abcdef01234567";
    edit(&app, "stabel", commit);
    fails(&bench, &app, 3, &[commit]);
    assert!(!app.join(".unikraft/libs/count").exists());
    // The first digits of a commit that is there are enough.
    let head = git(&library, ["rev-parse", "HEAD"]);
    edit(&app, commit, &format!("'{}'", &head[..9]));
    let _ = build_and_boot(&bench, &app, &[]);
}

#[test]
fn failures_of_servers_are_different_errors() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let served = served(&bench);
    make_archive(
        &app.join("../../libs/lib-count"),
        &served.join("good.tar.gz"),
    );
    std::fs::write(served.join("bad.tar.gz"), b"no archive at all").unwrap();
    let web = Web::with_trick(
        &served,
        Arc::new(|asked| match asked {
            "GET /busy.tar.gz" => Some(answer("503 Service Unavailable", &[], b"")),
            "GET /denied.tar.gz" => Some(answer("401 Unauthorized", &[], b"")),
            "GET /loop.tar.gz" => Some(answer("302 Found", &[("Location", "/loop.tar.gz")], b"")),
            "GET /short.tar.gz" => {
                Some(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort".to_vec())
            }
            _ => None,
        }),
    );
    let mut old = "../../libs/lib-count".to_owned();
    for (name, code, says) in [
        ("absent.tar.gz", 3, "404"),
        ("busy.tar.gz", 4, "503"),
        ("denied.tar.gz", 5, "401"),
        ("loop.tar.gz", 4, "in circles"),
        ("short.tar.gz", 4, "cannot download"),
        ("bad.tar.gz", 1, "cannot unpack lib/count"),
    ] {
        let new = web.url(name);
        edit(&app, &old, &new);
        fails(&bench, &app, code, &[says, &new]);
        assert!(!app.join(".unikraft/libs/count").exists());
        old = new;
    }
    let gone = "http://127.0.0.1:9/x.tar.gz";
    edit(&app, &old, gone);
    fails(&bench, &app, 4, &[gone, "refused"]);
    let ssh = "ssh://git@127.0.0.1:9/lib-count.git";
    edit(&app, gone, ssh);
    fails(&bench, &app, 4, &[ssh]);
    edit(&app, ssh, &web.url("good.tar.gz"));
    let _ = build_and_boot(&bench, &app, &[]);
}

#[test]
fn a_changed_archive_is_rejected() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let served = served(&bench);
    let library = app.join("../../libs/lib-count");
    make_archive(&library, &served.join("count.tar.gz"));
    let web = Web::serve(&served);
    edit(&app, "../../libs/lib-count", &web.url("count.tar.gz"));
    let _ = kraft_in(&bench, &app, &["build"]).success();
    replace(&library.join("count.c"), "count ", "COUNT ");
    make_archive(&library, &served.join("count.tar.gz"));
    std::fs::remove_dir_all(app.join(".unikraft")).unwrap();
    std::fs::remove_dir_all(bench.path().join("data")).unwrap();
    fails(
        &bench,
        &app,
        1,
        &["checksum of lib/count", "count.tar.gz", "expected"],
    );
    assert!(!app.join(".unikraft/libs/count").exists());
    let moved = kraft_in(&bench, &app, &["update", "count"]).success();
    assert!(moved.stdout.contains("lib/count"), "{moved:?}");
    assert!(build_and_boot(&bench, &app, &[]).contains("COUNT 1\n"));
}

#[test]
fn an_archive_with_paths_outside_is_rejected_and_writes_nothing() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let evil = bench.path().join("evil");
    std::fs::create_dir(&evil).unwrap();
    let pack = |script: &str| {
        let packed = std::process::Command::new("python3")
            .args([
                "-c",
                &format!(
                    "import tarfile,io\nt=tarfile.open('evil.tar.gz','w:gz')\n{script}\nt.close()"
                ),
            ])
            .current_dir(&evil)
            .status()
            .unwrap();
        assert!(packed.success());
    };
    let path = evil.join("evil.tar.gz");
    edit(&app, "../../libs/lib-count", path.to_str().unwrap());
    for script in [
        "i=tarfile.TarInfo('x/../../escaped'); t.addfile(i, io.BytesIO(b''))",
        "i=tarfile.TarInfo('/tmp/escaped'); t.addfile(i, io.BytesIO(b''))",
        "i=tarfile.TarInfo('x/l'); i.type=tarfile.SYMTYPE; i.linkname='/etc'; t.addfile(i)",
        "i=tarfile.TarInfo('x/l'); i.type=tarfile.SYMTYPE; i.linkname='d'; t.addfile(i)\n\
         i=tarfile.TarInfo('x/l/escaped'); t.addfile(i, io.BytesIO(b''))",
        "i=tarfile.TarInfo('x/d'); i.type=tarfile.CHRTYPE; t.addfile(i)",
        "i=tarfile.TarInfo('x/h'); i.type=tarfile.LNKTYPE; i.linkname='../../etc/passwd'; t.addfile(i)",
    ] {
        pack(script);
        fails(&bench, &app, 1, &["cannot unpack lib/count"]);
        assert!(!app.join(".unikraft/libs/count").exists(), "{script}");
    }
}

#[test]
fn an_interrupted_build_stops_and_the_next_one_is_complete() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    // A source that takes its time, so that there is something to interrupt.
    replace(
        &app.join("Makefile.uk"),
        "APPTWOLIBS_SRCS-y",
        "$(BUILD_DIR)/apptwolibs/main.o: $(BUILD_DIR)/slow\n$(BUILD_DIR)/slow:\n\t@touch $(BUILD_DIR)/waiting; \
         [ -e $(APP_BASE)/fast ] || sleep 600\n\nAPPTWOLIBS_SRCS-y",
    );
    let mut command = bench.command(["build"]);
    command
        .current_dir(&app)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let work = app.join(".unikraft/make/two-libs_qemu-x86_64");
    eventually("the build waits", || work.join("waiting").exists());
    let signal = |name: &str, pid: u32| {
        let sent = std::process::Command::new("kill")
            .args([name, &pid.to_string()])
            .status();
        assert!(sent.unwrap().success());
    };
    signal("-INT", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("interrupted"), "{text}");
    // What it had started is gone with it.
    let left = std::process::Command::new("pgrep")
        .args(["-f", work.to_str().unwrap()])
        .output();
    assert_eq!(String::from_utf8_lossy(&left.unwrap().stdout), "");
    std::fs::write(app.join("fast"), b"").unwrap();
    let _ = build_and_boot(&bench, &app, &[]);
}

#[test]
fn a_killed_fetch_leaves_nothing_that_is_used() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let served = served(&bench);
    let core = copy("core", &bench.path().join("packed"));
    make_archive(&core, &served.join("core.tar.gz"));
    let web = Web::serve(&served);
    edit(&app, "../../core", &web.url("core.tar.gz"));
    for delay in [0, 5, 10, 20, 40, 80, 160] {
        let mut command = bench.command(["build"]);
        command
            .current_dir(&app)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let _ = child.kill();
        let _ = child.wait();
        let place = app.join(".unikraft/unikraft");
        if place.exists() {
            assert!(place.join("build.mk").is_file() && place.join(".kraft-origin").is_file());
        }
    }
    let _ = build_and_boot(&bench, &app, &[]);
}

#[test]
fn a_rejected_ssh_key_is_reported() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    let ssh = bench.path().join("ssh");
    program::script(
        &ssh,
        "echo 'git@example.test: Permission denied (publickey).' >&2\nexit 255\n",
    );
    let url = "git@example.test:libs/lib-count.git";
    edit(&app, "../../libs/lib-count", url);
    let mut command = bench.command(["build"]);
    command.current_dir(&app).env("GIT_SSH_COMMAND", &ssh);
    let outcome = Outcome::of(&mut command).exits(5);
    for text in [url, "Permission denied (publickey)", "git ls-remote"] {
        assert!(outcome.stderr.contains(text), "no `{text}`: {outcome:?}");
    }
}

#[test]
fn a_full_disk_is_reported_and_a_retry_with_space_succeeds() {
    let Some((bench, app)) = two_libs() else {
        return;
    };
    std::fs::create_dir(app.join(".unikraft")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k tmpfs '{0}/.unikraft' && cd '{0}' && exec \"$KRAFT\" build",
        app.display()
    );
    let inner = bench.command([""; 0]);
    let mut outer = std::process::Command::new("unshare");
    outer
        .args(["--map-root-user", "--mount", "bash", "-euc", &script])
        .env_clear();
    for (key, value) in inner.get_envs() {
        outer.env(key, value.unwrap_or_default());
    }
    outer.env("KRAFT", inner.get_program());
    let outcome = Outcome::of(&mut outer);
    if outcome.stderr.contains("unshare") || outcome.stderr.contains("mount:") {
        return kraft_e2e::harness::skip("this host lets nobody mount a small disk");
    }
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    let told =
        outcome.stderr.contains("the disk is full") || outcome.stderr.contains("No space left");
    assert!(told, "{outcome:?}");
    let _ = build_and_boot(&bench, &app, &[]);
}
