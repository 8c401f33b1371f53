//! Steps of Dockerfiles that kraft itself executes run again when, and only when, something that
//! they can see has changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use kraft_e2e::dockerfiles::{base_tar, context, paths, push_base, text, tree};
use kraft_e2e::harness::{Bench, Outcome, eventually, skip, wrapped};
use kraft_e2e::registry::Registry;

/// A shell is all that the stages have.
const SHELL: &str = "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\n";

/// Who builds, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cook {
    /// The user who runs the tests, usually root.
    Own,
    /// An ordinary user.
    User,
    /// Root, with the cache on an overlay, over which the kernel mounts no other.
    OnOverlay,
}

/// A bench that builds.
struct Kitchen {
    bench: Bench,
    cook: Cook,
}

impl Kitchen {
    /// Returns a bench for each way to build that this host has.
    fn all() -> Vec<Self> {
        let all = if rustix::process::geteuid().is_root() {
            vec![Cook::Own, Cook::User, Cook::OnOverlay]
        } else {
            vec![Cook::Own]
        };
        all.into_iter().filter_map(Self::new).collect()
    }

    /// Returns the bench of the user who runs the tests.
    fn own() -> Option<Self> {
        Self::new(Cook::Own)
    }

    /// `None` (and said so) if commands cannot be run here.
    fn new(cook: Cook) -> Option<Self> {
        if !Path::new("/bin/busybox").is_file() {
            skip("busybox-static is not installed: scripts/setup.sh test");
            return None;
        }
        let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bench.path(), everybody).unwrap();
        fs::create_dir_all(bench.path().join("context")).unwrap();
        fs::copy("/bin/busybox", bench.path().join("context/busybox")).unwrap();
        bench.kraft_copy();
        let kitchen = Self { bench, cook };
        kitchen.write("Dockerfile", &format!("{SHELL}RUN true\n"));
        let outcome = kitchen.build(&[]);
        if outcome.stderr.contains("user namespaces") || outcome.stderr.contains("no namespaces") {
            skip("this system forbids user namespaces");
            return None;
        }
        drop(outcome.success());
        Some(kitchen)
    }

    fn write(&self, path: &str, text: &str) {
        context(&self.bench, &[(path, text)]);
    }

    fn path(&self, path: &str) -> PathBuf {
        self.bench.path().join("context").join(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let kraft = self.bench.path().join("kraft");
        let command = self.bench.command_of(&kraft, args);
        let wrapper = match self.cook {
            Cook::Own => return command,
            Cook::User => {
                let [setpriv, rights @ ..] = self.bench.hand_over(1000);
                let mut wrapper = Command::new(setpriv);
                wrapper.args(rights);
                wrapper
            }
            Cook::OnOverlay => self.on_overlay(),
        };
        wrapped(wrapper, &command)
    }

    /// The cache is in the upper directory of an overlay that exists while a command runs.
    fn on_overlay(&self) -> Command {
        let below = ["lower", "work"].map(|name| self.bench.path().join(name));
        for dir in &below {
            fs::create_dir_all(dir).unwrap();
        }
        let [lower, work] = below.map(|dir| dir.display().to_string());
        let upper = self.bench.runtime().join("dockerfiles");
        fs::create_dir_all(&upper).unwrap();
        let upper = upper.display();
        let mount = format!(
            "mount -t overlay overlay \
             -o lowerdir={lower},upperdir={upper},workdir={work} {upper} && exec \"$@\""
        );
        let mut wrapper = Command::new("unshare");
        wrapper.args(["--mount", "sh", "-c", &mount, "sh"]);
        wrapper
    }

    fn build_command(&self, flags: &[&str]) -> Command {
        let mut args = vec!["rootfs", "build", "context/Dockerfile", "-o", "root.cpio"];
        args.extend(flags);
        self.command(&args)
    }

    fn build(&self, flags: &[&str]) -> Outcome {
        Outcome::of(&mut self.build_command(flags))
    }

    fn dockerfile(&self, steps: &str) {
        self.write("Dockerfile", &format!("{SHELL}{steps}"));
    }

    /// Builds, and returns the steps that ran: each writes its name to a cache mount.
    fn ran(&self, flags: &[&str]) -> String {
        let log = self.log();
        if log.exists() {
            fs::remove_file(&log).unwrap();
        }
        drop(self.build(flags).success());
        self.logged()
    }

    fn log(&self) -> PathBuf {
        // As root, they are kept by whom root inside is outside.
        let kept = fs::read_dir(self.bench.runtime().join("dockerfiles"));
        let mut kept = kept.into_iter().flatten().flatten();
        let mounts = kept.find(|entry| entry.file_name().to_string_lossy().starts_with("mounts"));
        let mounts = mounts.map(|entry| entry.path()).unwrap_or_default();
        mounts.join("log/steps")
    }

    fn logged(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn layers(&self) -> PathBuf {
        self.bench.runtime().join("dockerfiles/layers")
    }

    fn archive(&self) -> Vec<u8> {
        fs::read(self.bench.path().join("root.cpio")).unwrap()
    }
}

/// A `RUN` that says that it ran, and does something.
fn step(name: &str, more: &str) -> String {
    flagged(name, "", more)
}

fn flagged(name: &str, flags: &str, more: &str) -> String {
    format!("RUN --mount=type=cache,id=log,target=/log {flags} echo {name} >> /log/steps; {more}\n")
}

#[test]
fn only_steps_that_can_see_a_change_run_again() {
    for kitchen in Kitchen::all() {
        let steps = [
            "ARG EARLY=1\n".to_owned(),
            step("one", "echo $EARLY > /one"),
            "COPY --exclude=**/skipped src /src\n".to_owned(),
            "ENV COLOUR=blue\n".to_owned(),
            step("two", "echo $COLOUR > /two"),
            "ARG LATE\nWORKDIR /work\n".to_owned(),
            flagged(
                "three",
                "--mount=type=bind,source=bound,target=/bound --mount=type=secret,id=key",
                "cat /src/* /bound/* > /three",
            )
            .replace("cat", "/bin/sh cat"),
            "LABEL a=b\nCMD [\"x\"]\n".to_owned(),
        ];
        let original = steps.concat();
        kitchen.write("src/a", "a");
        kitchen.write("src/skipped", "");
        kitchen.write("bound/b", "b");
        kitchen.write(".dockerignore", "**/*.log\n");
        kitchen.write("key", "secret");
        let secret = format!("id=key,src={}", kitchen.path("key").display());
        let ran = |more: &[&str]| {
            let mut flags = vec!["--no-rootfs-cache", "--build-secret", &secret];
            flags.extend(more);
            kitchen.ran(&flags)
        };
        kitchen.dockerfile(&original.replace("/bin/sh cat", "read x < /src/a; echo $x; echo"));
        assert_eq!(ran(&[]), "one two three");
        assert_eq!(ran(&[]), "");
        let current = || fs::read_to_string(kitchen.path("Dockerfile")).unwrap();
        let edit = |from: &str, to: &str| {
            let edited = current().replace(from, to);
            assert_ne!(edited, current());
            fs::write(kitchen.path("Dockerfile"), edited).unwrap();
        };

        // Unused files.
        for path in [
            "data/volume",
            "kraft.lock",
            ".config.x",
            "src/x.log",
            "src/skipped",
        ] {
            kitchen.write(path, "changed");
            assert_eq!(ran(&[]), "", "{path}");
        }
        fs::File::open(kitchen.path("src/a"))
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(ran(&[]), "", "a time");
        kitchen.write("key", "another secret");
        assert_eq!(ran(&[]), "", "the value of a secret");
        edit("LABEL a=b", "# of this image\nLABEL   a=c");
        edit("CMD [\"x\"]", "CMD [\"y\"]");
        edit("ARG LATE", "# a comment above a step\n\nARG LATE");
        assert_eq!(ran(&[]), "", "what no step sees");
        assert_eq!(ran(&["--build-arg", "UNKNOWN=1"]), "");
        assert_eq!(ran(&["--build-arg", "HTTP_PROXY=http://127.0.0.1:9"]), "");

        // What one takes.
        kitchen.write("src/a", "another");
        assert_eq!(ran(&[]), "two three", "a content");
        kitchen.write("src/new", "");
        assert_eq!(ran(&[]), "two three", "a name");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(kitchen.path("src/a"), executable).unwrap();
        assert_eq!(ran(&[]), "two three", "a mode");
        fs::remove_file(kitchen.path("src/new")).unwrap();
        std::os::unix::fs::symlink("a", kitchen.path("src/new")).unwrap();
        assert_eq!(ran(&[]), "two three", "a kind");
        kitchen.write("bound/b", "another");
        assert_eq!(ran(&[]), "three", "what is mounted");
        kitchen.write(".dockerignore", "**/*.log\nsrc/new\n");
        assert_eq!(ran(&[]), "two three", "what is ignored");

        // What they see besides files.
        assert_eq!(ran(&["--build-arg", "EARLY=2"]), "one two three");
        assert_eq!(ran(&["--build-arg", "LATE=2"]), "three");
        assert_eq!(ran(&["--build-arg", "LATE=2"]), "");
        edit("ENV COLOUR=blue", "ENV COLOUR=red");
        assert_eq!(ran(&[]), "two three", "a variable");
        edit("WORKDIR /work", "WORKDIR /works");
        assert_eq!(ran(&[]), "three", "a directory");
        edit(
            "COPY --exclude=**/skipped src /src",
            "COPY --exclude=**/skipped src /src/",
        );
        edit("WORKDIR /works", "USER 0\nWORKDIR /works");
        assert_eq!(ran(&[]), "two three", "an owner and a destination");
        edit("id=key", "id=other");
        assert_eq!(ran(&[]), "three", "the name of a secret");
        assert_eq!(ran(&["--build-network", "none"]), "one two three");

        // Back is what was there before.
        edit("ENV COLOUR=red", "ENV COLOUR=blue");
        edit("ENV COLOUR=blue", "ENV COLOUR=red");
        assert_eq!(ran(&[]), "");
        assert_eq!(ran(&["--build-no-cache"]), "one two three");
    }
}

#[test]
fn unused_files_of_the_context_do_not_invalidate_the_cache() {
    let Some(kitchen) = Kitchen::own() else {
        return;
    };
    kitchen.write("src/a", "a");
    kitchen.dockerfile("COPY src/ /src/\nRUN true\n");
    drop(kitchen.build(&[]).success());
    let is_up_to_date = || {
        kitchen
            .build(&[])
            .success()
            .stderr
            .contains("is up to date")
    };
    for path in [
        "data/written-by-a-guest",
        "kraft.lock",
        ".config.app_qemu-x86_64",
    ] {
        kitchen.write(path, "one");
        assert!(is_up_to_date(), "{path}");
        kitchen.write(path, "another");
        assert!(is_up_to_date(), "{path}");
    }
    kitchen.write("src/b", "");
    assert!(!is_up_to_date());
    assert!(is_up_to_date());
    // Files included by a copy of everything.
    kitchen.dockerfile("COPY . /all/\n");
    drop(kitchen.build(&[]).success());
    assert!(is_up_to_date());
    kitchen.write("kraft.lock", "a third");
    assert!(!is_up_to_date());
    assert_eq!(text(&kitchen.bench, "all/kraft.lock"), "a third");
}

/// What overlays have marks for, and what files on disk do not show an ordinary user.
const ODD: &str = "\
RUN for d in keep gone emptied moved; do /bin/sh mkdir $d; echo $d > /$d/f; done
RUN echo one > /one && /bin/sh ln /one /two && echo s > /script && /bin/sh chmod 4711 /script
RUN /bin/sh rm -r /gone && /bin/sh rm /keep/f && /bin/sh rm -r /emptied && /bin/sh mkdir /emptied
RUN echo new > /emptied/new && echo two >> /two && /bin/sh mv /moved /renamed
RUN /bin/sh mkdir /secret && echo hidden > /secret/f && /bin/sh chmod 0 /secret/f /secret
RUN /bin/sh mkfifo /pipe && /bin/sh ln -s nowhere /dangling && /bin/sh mkdir -m 555 /locked
RUN /bin/sh rm -r /renamed && echo file > /renamed
RUN /bin/sh mkdir -p /x/y && echo 1 > /x/y/z && /bin/sh rm -r /x && /bin/sh ln -s keep /x
RUN echo a > /h1 && /bin/sh ln /h1 /h2 && /bin/sh ln /h1 /h3 && /bin/sh rm /h1
RUN /bin/sh chown 33:44 /h2 || true
RUN /bin/sh mknod /device c 1 3 || true
";

#[test]
fn cached_steps_give_the_same_archive() {
    for kitchen in Kitchen::all() {
        let lines: Vec<&str> = ODD.lines().collect();
        let odd = format!("{}\n", lines.join("\n")).replace("/bin/sh ", "busybox ");
        let odd = format!("COPY --chmod=755 busybox /bin/busybox\nENV PATH=/bin\n{odd}");
        let last = "RUN busybox find / -xdev > /listed\n";
        kitchen.dockerfile(&format!("{odd}{last}"));
        drop(kitchen.build(&["--no-rootfs-cache"]).success());
        let (made, entries) = (kitchen.archive(), tree(&kitchen.bench));
        drop(kitchen.build(&["--no-rootfs-cache"]).success());
        assert!(kitchen.archive() == made, "another archive");
        // The last step alone, over what was kept.
        let other = last.replace("RUN busybox", "RUN   true && busybox");
        kitchen.dockerfile(&format!("{odd}{other}"));
        drop(kitchen.build(&["--no-rootfs-cache"]).success());
        assert_eq!(tree(&kitchen.bench), entries);
        assert!(kitchen.archive() == made, "another archive");
        drop(kitchen.build(&["--build-no-cache"]).success());
        assert!(kitchen.archive() == made, "another archive");

        let found = paths(&kitchen.bench);
        let there = |path: &str| found.contains(&path.to_owned());
        for path in [
            "keep",
            "emptied/new",
            "two",
            "renamed",
            "secret/f",
            "pipe",
            "x",
            "h3",
        ] {
            assert!(there(path), "{path}: {found:?}");
        }
        for path in [
            "gone",
            "keep/f",
            "emptied/f",
            "moved",
            "renamed/f",
            "x/y",
            "h1",
        ] {
            assert!(!there(path), "{path}: {found:?}");
        }
        assert_eq!(text(&kitchen.bench, "secret/f"), "hidden\n");
        // Devices cannot be created inside, not even by root of the host.
        assert!(!there("device"));
        let mode = |path: &str| {
            let entry = entries.iter().find(|entry| entry["path"] == path).unwrap();
            entry["mode"].clone()
        };
        assert!(mode("script").to_string().contains("4711"));
    }
}

#[test]
fn attributes_of_files_are_kept() {
    let Some(kitchen) = Kitchen::own() else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return skip("only root gives a file capabilities");
    }
    let tools: Vec<PathBuf> = ["setcap", "getcap"]
        .iter()
        .filter_map(|name| {
            let dirs = ["/usr/sbin", "/sbin"].map(Path::new);
            dirs.iter()
                .map(|dir| dir.join(name))
                .find(|path| path.exists())
        })
        .collect();
    if tools.len() < 2 {
        return skip("setcap is not installed: libcap2-bin");
    }
    for tool in &tools {
        let listed = Command::new("ldd").arg(tool).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let libraries = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for file in libraries.chain([tool.to_str().unwrap()]) {
            let to = kitchen.path(&format!("tools{file}"));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        }
    }
    let [setcap, getcap] = [0, 1].map(|at| tools[at].display().to_string());
    let look = format!("RUN {getcap} /app > /caps\n");
    kitchen.dockerfile(&format!(
        "COPY tools /\nRUN echo > /app\nRUN {setcap} cap_net_raw+ep /app\n{look}"
    ));
    drop(kitchen.build(&[]).success());
    let caps = text(&kitchen.bench, "caps");
    assert!(caps.contains("cap_net_raw"), "{caps}");
    let dockerfile = fs::read_to_string(kitchen.path("Dockerfile")).unwrap();
    fs::write(
        kitchen.path("Dockerfile"),
        dockerfile.replace("> /caps", ">> /caps"),
    )
    .unwrap();
    drop(kitchen.build(&[]).success());
    assert_eq!(text(&kitchen.bench, "caps"), caps);
}

#[test]
fn more_steps_than_overlay_layers_are_supported() {
    let Some(kitchen) = Kitchen::own() else {
        return;
    };
    let many: String = (0..70)
        .map(|number| format!("RUN echo {number} >> /all\n"))
        .collect();
    kitchen.dockerfile(&many);
    drop(kitchen.build(&[]).success());
    assert_eq!(text(&kitchen.bench, "all").lines().count(), 70);
    kitchen.dockerfile(&format!("{many}RUN echo 70 >> /all\n"));
    let outcome = kitchen.build(&[]).success();
    assert_eq!(text(&kitchen.bench, "all").lines().last(), Some("70"));
    assert!(outcome.stderr.contains("CACHED"), "{}", outcome.stderr);
}

#[test]
fn only_the_copied_files_of_a_stage_affect_the_cache() {
    let Some(kitchen) = Kitchen::own() else {
        return;
    };
    let made = step(
        "made",
        "read x < /src; echo ${x%%,*} > /out/app; echo $x > /log/x",
    );
    let dockerfile = format!(
        "FROM scratch AS base\nCOPY --chmod=755 busybox /bin/sh\n{}\
         FROM base AS tools\nWORKDIR /out\nCOPY src /src\n{made}\
         FROM base\nCOPY --from=tools /out /\n{}",
        step("base", "true"),
        step("last", "read x < /app; echo $x > /last"),
    );
    kitchen.write("src", "app one,comment");
    kitchen.write("Dockerfile", &dockerfile);
    let ran = || kitchen.ran(&["--no-rootfs-cache"]);
    assert_eq!(
        ran(),
        "base made last",
        "what two stages are built on runs once"
    );
    assert_eq!(ran(), "");
    kitchen.write("src", "app one,another comment");
    assert_eq!(ran(), "made");
    kitchen.write("src", "app two,");
    assert_eq!(ran(), "made last");
    assert_eq!(text(&kitchen.bench, "last"), "app two\n");
}

#[test]
fn an_image_is_unpacked_once_and_counts_by_its_digest() {
    let (Some(kitchen), Some(registry)) = (Kitchen::own(), Registry::plain()) else {
        return;
    };
    let Some(tar) = base_tar(kitchen.bench.path()) else {
        return;
    };
    let name = registry.name("base:1");
    push_base(&registry, &tar, &name);
    let build = |steps: &str| {
        kitchen.write("Dockerfile", &format!("FROM {name}\n{steps}"));
        kitchen.build(&[]).success().stderr
    };
    let one = step("one", "echo $BASE > /one");
    assert!(build(&one).contains("reading the image"));
    let again = build(&format!("COPY busybox /copied\n{one}"));
    assert!(!again.contains("reading the image"), "{again}");
    assert_eq!(text(&kitchen.bench, "one"), "yes\n");
    assert_eq!(kitchen.logged(), "one one");
}

#[test]
fn a_killed_build_keeps_its_finished_steps_and_nothing_partial() {
    for kitchen in Kitchen::all() {
        kitchen.dockerfile(&format!(
            "{}{}{}",
            step("one", "echo 1 > /one"),
            step(
                "two",
                "echo half > /half; [ -e /log/go ] || /bin/sh sleep 600; echo 2 > /two"
            )
            .replace("/bin/sh sleep", "exec -a sleep /bin/sh"),
            step("three", "echo 3 > /three"),
        ));
        let dockerfile = fs::read_to_string(kitchen.path("Dockerfile")).unwrap();
        let dockerfile = dockerfile.replace("exec -a sleep /bin/sh 600", "while :; do :; done");
        fs::write(kitchen.path("Dockerfile"), dockerfile).unwrap();
        // One that is being written has a longer name.
        let steps = || {
            let steps = fs::read_dir(kitchen.layers().join("steps")).unwrap();
            let names = steps.map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.len() == 64).count()
        };
        let before = steps();
        let mut build = kitchen
            .build_command(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the second step runs", || kitchen.logged() == "one two");
        eventually("the first step is kept", || steps() > before);
        build.kill().unwrap();
        build.wait().unwrap();
        fs::write(kitchen.log().with_file_name("go"), "").unwrap();
        let outcome = kitchen.build(&[]).success();
        assert_eq!(kitchen.logged(), "one two two three", "{}", outcome.stderr);
        let found = paths(&kitchen.bench);
        assert_eq!(found, ["bin", "bin/sh", "half", "one", "three", "two"]);
        let left: Vec<String> = fs::read_dir(kitchen.layers())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("new-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_step_that_fails_is_not_kept_and_those_before_it_are() {
    for kitchen in Kitchen::all() {
        kitchen.dockerfile(&format!(
            "{}{}",
            step("one", "true"),
            step("two", "echo x > /x; [ -e /log/go ]"),
        ));
        for _ in 0..2 {
            drop(kitchen.build(&[]).exits(6));
        }
        fs::write(kitchen.log().with_file_name("go"), "").unwrap();
        drop(kitchen.build(&[]).success());
        assert_eq!(kitchen.logged(), "one two two two");
    }
}

#[test]
fn concurrent_builds_give_the_same_result_and_keep_each_others_files() {
    for kitchen in Kitchen::all() {
        if kitchen.cook == Cook::OnOverlay {
            // Two mounts of it do not see each other's files.
            continue;
        }
        kitchen.write("src", "x");
        kitchen.dockerfile(&format!(
            "{}COPY src /src\n{}",
            step("one", "until [ -e /log/go ]; do :; done"),
            step("two", "echo $$ > /dev/null; echo 2 > /two"),
        ));
        let start = |out: &str| {
            let args = ["rootfs", "build", "context/Dockerfile", "-o", out];
            let mut command = kitchen.command(&args);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let (mut one, mut other) = (start("one.cpio"), start("other.cpio"));
        eventually("both run", || kitchen.logged() == "one one");
        drop(Outcome::of(&mut kitchen.command(&["store", "gc"])).success());
        fs::write(kitchen.log().with_file_name("go"), "").unwrap();
        assert!(one.wait().unwrap().success() && other.wait().unwrap().success());
        let read = |name: &str| fs::read(kitchen.bench.path().join(name)).unwrap();
        assert!(read("one.cpio") == read("other.cpio"));
        assert_eq!(kitchen.ran(&["--no-rootfs-cache"]), "");
        assert!(read("one.cpio") == kitchen.archive());
    }
}

#[test]
fn unused_cache_entries_are_removed_and_built_again() {
    for kitchen in Kitchen::all() {
        kitchen.dockerfile(&format!(
            "{}{}",
            step("one", "/bin/sh mkdir -p /d/e; echo > /d/e/f").replace("/bin/sh ", ""),
            step("two", "echo 2 > /two"),
        ));
        let dockerfile = fs::read_to_string(kitchen.path("Dockerfile")).unwrap();
        let dockerfile = dockerfile.replace("mkdir -p /d/e; echo > /d/e/f", "echo > /f");
        fs::write(kitchen.path("Dockerfile"), dockerfile).unwrap();
        drop(kitchen.build(&[]).success());
        let gc = |more: &[&str]| {
            let mut args = vec!["store", "gc", "-o", "json"];
            args.extend(more);
            let printed = Outcome::of(&mut kitchen.command(&args)).success().stdout;
            let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
            value["bytes"].as_u64().unwrap()
        };
        let layers = || fs::read_dir(kitchen.layers()).unwrap().count() - 1;
        // Those of the first build of the bench are of another Dockerfile, and as new.
        let before = layers();
        assert_eq!(gc(&[]), 0);
        assert_eq!(layers(), before);
        let long_ago = SystemTime::now() - Duration::from_hours(48);
        for entry in fs::read_dir(kitchen.layers().join("steps")).unwrap() {
            let file = fs::File::open(entry.unwrap().path()).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        let would = gc(&["--dry-run"]);
        assert!(would > 1_000_000, "{would}");
        assert_eq!(layers(), before);
        assert_eq!(gc(&[]), would);
        assert_eq!(layers(), 0);
        assert_eq!(kitchen.ran(&["--no-rootfs-cache"]), "one two");
        // What is used stays.
        for entry in fs::read_dir(kitchen.layers().join("steps")).unwrap() {
            let file = fs::File::open(entry.unwrap().path()).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        assert_eq!(kitchen.ran(&["--no-rootfs-cache"]), "");
        let _ = gc(&[]);
        assert_eq!(kitchen.ran(&["--no-rootfs-cache"]), "");
        // A layer that is gone is not taken to be there.
        for entry in fs::read_dir(kitchen.layers()).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("steps") {
                fs::remove_dir_all(path).unwrap();
            }
        }
        assert_eq!(kitchen.ran(&["--no-rootfs-cache"]), "one two");
    }
}

#[test]
fn secrets_are_in_nothing_that_is_kept() {
    for kitchen in Kitchen::all() {
        let secret = "a-secret-that-must-not-be-found";
        kitchen.write("key", secret);
        kitchen.write(".dockerignore", "key\n");
        kitchen.dockerfile(
            "RUN --mount=type=secret,id=key,env=KEY --mount=type=secret,id=key \
             read x < /run/secrets/key; [ \"$x\" = \"$KEY\" ] && echo ${#x} > /length\n",
        );
        let typed = format!("id=key,src={}", kitchen.path("key").display());
        drop(kitchen.build(&["--build-secret", &typed]).success());
        assert_eq!(
            text(&kitchen.bench, "length"),
            format!("{}\n", secret.len())
        );
        let found = Command::new("grep")
            .args(["-r", "-l", secret])
            .arg(kitchen.bench.runtime())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
}
