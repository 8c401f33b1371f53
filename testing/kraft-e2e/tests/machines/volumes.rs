//! Named volumes, as root and as an ordinary user: data that outlives machines, what is in use, what
//! killed commands leave, and copies into and out of them that no link leads astray.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, Outcome, has_builtin_runtime, skip, wrapped};
use kraft_e2e::registry::installed;
use serde_json::Value;

/// Writes and reads files, makes links and directories that cannot be entered, or waits.
const NOTES: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int failed(const char *what) { perror(what); return 1; }
int main(int count, char **words) {
    char text[256];
    for (int i = 1; i < count; i += 3) {
        const char *verb = words[i], *path = words[i + 1], *value = words[i + 2];
        if (!strcmp(verb, "write")) {
            FILE *file = fopen(path, "w");
            if (!file || fprintf(file, "%s", value) < 0 || fclose(file)) return failed(path);
        } else if (!strcmp(verb, "read")) {
            FILE *file = fopen(path, "r");
            if (!file || !fgets(text, sizeof text, file)) return failed(path);
            printf("%s%s\n", value, text);
        } else if (!strcmp(verb, "link")) {
            if (symlink(value, path)) return failed(path);
        } else if (!strcmp(verb, "closed")) {
            if (mkdir(path, 0700) || chdir(path) || mkdir(value, 0700)) return failed(path);
            if (chmod(value, 0) || chdir("/") || chmod(path, 0)) return failed(path);
        } else {
            printf("waiting\n");
            fflush(stdout);
            for (;;) pause();
        }
    }
    return 0;
}
"#;

/// The user id of the ordinary user.
const USER: u32 = 1000;

/// A home with the program, of the user who runs the tests or of an ordinary one.
struct Place {
    bench: Bench,
    kraft: PathBuf,
    /// The command that becomes the user; empty for the user who runs the tests.
    user: Vec<String>,
}

impl Place {
    /// Makes a home; `None` (and said so) if no guest runs here.
    fn new(ordinary: bool) -> Option<Self> {
        let why = if !has_builtin_runtime() {
            Some("the built-in runtime is not built: make runtime")
        } else if !installed("gcc") {
            Some("gcc is not installed: scripts/setup.sh test")
        } else if ordinary && !rustix::process::geteuid().is_root() {
            Some("only root can become another user")
        } else {
            None
        };
        if let Some(why) = why {
            skip(why);
            return None;
        }
        let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
        let source = bench.path().join("notes.c");
        fs::write(&source, NOTES).unwrap();
        let mut compile = Command::new("gcc");
        compile.args(["-static", "-w", "-o"]);
        compile.arg(bench.path().join("notes")).arg(&source);
        assert!(compile.status().unwrap().success());
        let kraft = bench.kraft_copy();
        let mut user = Vec::new();
        if ordinary {
            fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o755)).unwrap();
            user.extend(bench.hand_over(USER));
        }
        Some(Self { bench, kraft, user })
    }

    fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let command = self.bench.command_of(&self.kraft, args);
        let Some((program, words)) = self.user.split_first() else {
            return command;
        };
        let mut wrapper = Command::new(program);
        wrapper.args(words);
        wrapped(wrapper, &command)
    }

    fn kraft<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    fn ok<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        self.kraft(args).success().stdout
    }

    /// Insists on failure, and returns what was reported.
    fn fails<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let outcome = self.kraft(args);
        assert_ne!(outcome.code, Some(0), "{}", outcome.command);
        outcome.stderr
    }

    fn volume(&self, name: &str) -> Option<Value> {
        let all: Value = serde_json::from_str(&self.ok(["vol", "ls", "-o", "json"])).unwrap();
        let all = all.as_array().unwrap().iter();
        all.clone().find(|it| it["name"] == name).cloned()
    }

    fn data(&self, volume: &str) -> PathBuf {
        self.bench
            .runtime()
            .join("volumes")
            .join(volume)
            .join("data")
    }

    /// Runs the program in a machine of its own, and returns what it printed.
    fn notes(&self, volume: &str, words: &[&str]) -> Outcome {
        let run = ["run", "--rm", "-v", volume, "./notes"];
        let mut outcome = self.kraft(run.iter().chain(words).copied());
        outcome.stdout = outcome.stdout.replace('\r', "");
        outcome
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.bench.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        if !self.user.is_empty() {
            self.bench.hand_over(USER);
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.bench.path().join(name)).unwrap()
    }
}

#[test]
fn an_anonymous_volume_belongs_to_one_machine() {
    let Some(place) = Place::new(false) else {
        return;
    };
    let volumes = || -> Vec<String> {
        let all: Value = serde_json::from_str(&place.ok(["vol", "ls", "-o", "json"])).unwrap();
        let all = all.as_array().unwrap().iter();
        all.map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let run = |name: &str, more: &[&str]| {
        let run = ["run", "--name", name, "-v", "/cache"];
        let words = [
            "./notes", "write", "/cache/a", "x", "read", "/cache/a", "got ",
        ];
        place.kraft(run.iter().chain(more).chain(&words).copied())
    };
    // Gone with a machine that is removed when it ends, and with one that cannot be started.
    assert!(run("a", &["--rm"]).success().stdout.contains("got x"));
    assert_eq!(volumes(), [""; 0]);
    assert_ne!(run("a", &["--rm", "-v", "./notes:/x"]).code, Some(0));
    assert_eq!(volumes(), [""; 0]);
    // Otherwise it stays, and `rm -v` removes it, unless another machine mounts it.
    let _ = run("one", &["-v", "named:/named"]).success();
    let _ = run("two", &[]).success();
    let all = volumes();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(fs::read(place.data(&all[0]).join("a")).unwrap(), b"x");
    place.ok(["rm", "two"]);
    assert_eq!(volumes().len(), 3);
    place.ok(["rm", "-v", "one"]);
    let left = volumes();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&"named".to_owned()), "{left:?}");
}

#[test]
fn data_outlives_machines() {
    outlives(false);
}

#[test]
fn data_outlives_machines_of_an_ordinary_user() {
    outlives(true);
}

fn outlives(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let first = place.notes(
        "data:/data",
        &["write", "/data/a", "hello", "closed", "/data/x", "y"],
    );
    assert_eq!(first.success().stdout, "");
    assert_eq!(
        fs::read_to_string(place.data("data").join("a")).unwrap(),
        "hello"
    );
    let second = place.notes("data:/other", &["read", "/other/a", "it says "]);
    assert!(second.success().stdout.contains("it says hello\n"));

    let third = place.notes(
        "data:/data:ro",
        &["read", "/data/a", "still ", "write", "/data/a", "bad"],
    );
    assert!(third.stdout.contains("still hello\n"), "{}", third.stdout);
    assert!(third.stdout.contains("Read-only"), "{}", third.stdout);
    assert_eq!(third.code, Some(1));
    assert_eq!(
        fs::read_to_string(place.data("data").join("a")).unwrap(),
        "hello"
    );

    assert_eq!(place.volume("data").unwrap()["status"], "Pending");
    // Also the directories that the guest closed.
    assert_eq!(place.ok(["vol", "rm", "data"]), "data\n");
    assert_eq!(place.volume("data"), None);
    let left = fs::read_dir(place.bench.runtime().join("volumes")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_volume_that_a_machine_mounts_is_not_removed() {
    let Some(place) = Place::new(false) else {
        return;
    };
    place.ok(["vol", "create", "--label", "a=1", "data"]);
    assert!(
        place
            .fails(["vol", "create", "data"])
            .contains("already exists")
    );
    place.ok([
        "run",
        "-d",
        "-n",
        "m",
        "-v",
        "data:/data:ro",
        "./notes",
        "wait",
        "",
        "",
    ]);
    let refused = |state: &str| {
        let error = place.fails(["vol", "rm", "data"]);
        assert!(error.contains("in use by machine `m`"), "{state}: {error}");
        assert_eq!(place.ok(["vol", "prune", "--force"]), "", "{state}");
        let volume = place.volume("data").unwrap();
        assert_eq!(volume["status"], "Bound");
        assert_eq!(volume["machines"], serde_json::json!(["m"]));
    };
    refused("running");
    place.ok(["stop", "m"]);
    refused("stopped");
    let inspected: Value = serde_json::from_str(&place.ok(["vol", "inspect", "data"])).unwrap();
    assert_eq!(inspected["metadata"]["labels"]["a"], "1");
    assert_eq!(inspected["status"]["machines"][0]["destination"], "/data");
    assert_eq!(inspected["status"]["machines"][0]["readOnly"], true);

    let forced = place.kraft(["vol", "rm", "--force", "data"]).success();
    assert!(
        forced.stderr.contains("machine `m` loses volume `data`"),
        "{}",
        forced.stderr
    );
    let error = place.fails(["start", "m"]);
    assert!(
        error.contains("its volume") && error.contains("cannot be read"),
        "{error}"
    );

    // A record that cannot be read may be that of a user.
    place.ok(["vol", "create", "other"]);
    let id = place.bench.machine("m").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let record = place
        .bench
        .runtime()
        .join("machines")
        .join(&id)
        .join("record.json");
    fs::write(&record, "{").unwrap();
    let error = place.fails(["vol", "rm", "other"]);
    assert!(error.contains("cannot read machine"), "{error}");
    let error = place.fails(["vol", "prune", "--force"]);
    assert!(error.contains("cannot read machine"), "{error}");
    assert!(place.volume("other").is_some());
    place.ok(["rm", "--force", &id]);
    // Without a terminal there is no answer.
    assert!(place.fails(["vol", "prune"]).contains("--force"));
    assert_eq!(place.ok(["vol", "prune", "--force"]), "other\n");
}

#[test]
fn of_two_that_create_a_volume_at_once_one_succeeds_and_machines_share_it() {
    let Some(place) = Place::new(false) else {
        return;
    };
    let at_once = |lines: &[Vec<&str>]| -> usize {
        let start = |words: &Vec<&str>| {
            let mut command = place.command(words.iter().copied());
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let children: Vec<Child> = lines.iter().map(start).collect();
        let ended = children.into_iter().map(|mut child| child.wait().unwrap());
        ended.filter(std::process::ExitStatus::success).count()
    };
    let creates = vec![vec!["vol", "create", "one"]; 4];
    assert_eq!(at_once(&creates), 1);
    let runs = vec![vec!["run", "--no-start", "-v", "two:/data", "./notes"]; 4];
    assert_eq!(at_once(&runs), 4);
    let users = place.volume("two").unwrap()["machines"].clone();
    assert_eq!(users.as_array().unwrap().len(), 4);
}

/// Returns how many processes a test kills.
fn kills() -> u32 {
    let asked = std::env::var("KRAFT_TORTURE").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(12)
}

impl Place {
    /// Runs `kraft` and returns how long it took, so that kills can be spread over that time.
    fn timed<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Duration {
        let began = Instant::now();
        self.ok(args);
        began.elapsed()
    }

    fn killed<'a>(&self, args: impl IntoIterator<Item = &'a str>, after: Duration) {
        let mut command = self.command(args);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Returns the names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_killed_command_leaves_no_incomplete_volume() {
    let Some(place) = Place::new(false) else {
        return;
    };
    let whole = place.timed(["vol", "create", "data"]);
    let data = place.data("new");
    for kill in 0..kills() {
        let after = whole * kill / kills();
        place.killed(["vol", "create", "new"], after);
        if place.volume("new").is_none() {
            place.ok(["vol", "create", "new"]);
        }
        assert_eq!(names(&data), [""; 0]);
        for file in 0..50 {
            fs::write(data.join(file.to_string()), "text").unwrap();
        }
        place.killed(["vol", "rm", "new"], after);
        if place.volume("new").is_some() {
            assert_eq!(names(&data).len(), 50, "half of a volume was removed");
            place.ok(["vol", "rm", "new"]);
        }
        place.ok(["vol", "create", "new"]);
        assert_eq!(names(&data), [""; 0]);
        let volumes = place.bench.runtime().join("volumes");
        assert_eq!(names(&volumes), ["data", "new"], "something is left");
        place.ok(["vol", "rm", "new"]);
    }
}

#[test]
fn a_killed_copy_leaves_the_old_file_or_the_new_one() {
    let Some(place) = Place::new(false) else {
        return;
    };
    place.ok([
        "run",
        "--no-start",
        "-n",
        "m",
        "-v",
        "data:/data",
        "./notes",
    ]);
    let size = 4 << 20;
    let [old, new] = ["a", "b"].map(|letter| letter.repeat(size));
    place.write("old", &old);
    place.write("new", &new);
    let whole = place.timed(["cp", "old", "m:/data/file"]);
    let mut replaced = 0;
    for kill in 0..kills() {
        place.killed(["cp", "new", "m:/data/file"], whole * kill / kills());
        let file = fs::read_to_string(place.data("data").join("file")).unwrap();
        assert!(file == old || file == new, "{} bytes", file.len());
        replaced += u32::from(file == new);
        place.ok(["cp", "old", "m:/data/file"]);
    }
    assert!(replaced < kills(), "none was killed in time");
}

#[test]
fn files_are_copied_into_and_out_of_volumes() {
    copies(false);
}

#[test]
fn files_are_copied_into_and_out_of_volumes_by_an_ordinary_user() {
    copies(true);
}

fn copies(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    place.write("local/sub/file", "from the host");
    place.write("shared/x", "");
    let volumes = [
        "-v",
        "data:/data",
        "-v",
        "./shared:/data/shared",
        "-v",
        "data:/again:ro",
    ];
    let run = [&["run", "--no-start", "-n", "m"], &volumes[..]].concat();
    // What the guest does: it reads what was copied in, and writes links that lead out.
    let words = [
        "./notes",
        "read",
        "/data/local/sub/file",
        "got ",
        "write",
        "/data/out",
        "from the guest",
        "link",
        "/data/absolute",
        "/etc",
        "link",
        "/data/up",
        "../../../..",
        "link",
        "/data/inside",
        "local",
        "wait",
        "",
        "",
    ];
    place.ok(run.iter().chain(&words).copied());
    let copied = place.kraft(["cp", "./local", "m:/data"]).success();
    assert!(copied.stderr.contains("copied 1 file"), "{}", copied.stderr);
    place.ok(["start", "-d", "m"]);
    let log = place.bench.path().join("log");
    kraft_e2e::harness::eventually("the guest waits", || {
        let text = place.kraft(["logs", "m"]).stdout;
        fs::write(&log, &text).unwrap();
        text.contains("waiting")
    });
    assert!(place.read("log").contains("got from the host"));

    // Out of the running machine: a file, a directory by its name, its contents.
    place.ok(["cp", "m:/data/out", "."]);
    assert_eq!(place.read("out"), "from the guest");
    place.ok(["cp", "m:/data/inside/sub/file", "renamed"]);
    assert_eq!(place.read("renamed"), "from the host");
    // What a link leads to, on both sides.
    std::os::unix::fs::symlink("out", place.bench.path().join("link")).unwrap();
    place.ok(["cp", "-L", "link", "m:/data/whole"]);
    place.ok(["cp", "link", "m:/data/link"]);
    for from in ["m:/data/whole", "m:/data/link"] {
        place.ok(["cp", "--follow-link", from, "followed"]);
        assert_eq!(place.read("followed"), "from the guest", "{from}");
    }
    place.ok(["cp", "m:/data", "backup"]);
    place.ok(["cp", "m:/data/local/.", "backup"]);
    assert_eq!(place.read("backup/sub/file"), "from the host");
    let way_out = place.bench.path().join("backup/absolute");
    assert_eq!(fs::read_link(way_out).unwrap(), Path::new("/etc"));
    place.ok(["cp", "out", "m:/data/shared/y"]);
    assert_eq!(place.read("shared/y"), "from the guest");

    // As an archive, out and in.
    let archive = place.bench.path().join("local.tar");
    let mut command = place.command(["cp", "m:/data/local", "-"]);
    let written = command.stdout(Stdio::piped()).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    fs::write(&archive, written.stdout).unwrap();
    let listed = Command::new("tar").arg("-tf").arg(&archive).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert_eq!(listed, "local/\nlocal/sub/\nlocal/sub/file\n");
    let mut command = place.command(["cp", "-", "m:/data/shared"]);
    command.stdin(fs::File::open(&archive).unwrap());
    let outcome = Outcome::of(&mut command).success();
    assert!(
        outcome.stderr.contains("copied 1 file"),
        "{}",
        outcome.stderr
    );
    assert_eq!(place.read("shared/local/sub/file"), "from the host");

    // No link leads out of the volume, in either direction.
    for out in ["m:/data/absolute/passwd", "m:/data/up/etc/passwd"] {
        let error = place.fails(["cp", out, "stolen"]);
        assert!(error.contains("symbolic link"), "{error}");
        assert!(!place.bench.path().join("stolen").exists());
    }
    for into in ["m:/data/absolute", "m:/data/absolute/x", "m:/data/up/tmp/x"] {
        let error = place.fails(["cp", "out", into]);
        assert!(error.contains("symbolic link"), "{error}");
    }
    // Nor do links that the guest left in the copy, or had in the place of a directory.
    place.write("tree/absolute/kraft-e2e", "bad");
    let error = place.fails(["cp", "tree/.", "m:/data"]);
    assert!(error.contains("absolute"), "{error}");
    assert!(!Path::new("/etc/kraft-e2e").exists());
    symlink("/etc", place.bench.path().join("backup/sub/link")).unwrap();
    place.write("local/sub2/link/kraft-e2e", "bad");
    place.ok(["cp", "local/sub2", "m:/data/local/sub"]);
    fs::rename(
        place.data("data").join("local/sub/sub2/link"),
        place.data("data").join("local/sub/link"),
    )
    .unwrap();
    let error = place.fails(["cp", "m:/data/local/.", "backup"]);
    assert!(error.contains("link"), "{error}");
    assert!(!Path::new("/etc/kraft-e2e").exists());

    for (words, part) in [
        (["cp", "m:/etc/passwd", "."], "is not in a volume"),
        (["cp", "m:/data/../etc/passwd", "."], "is not in a volume"),
        (
            ["cp", "m:/data/nothing", "."],
            "`/data/nothing` does not exist",
        ),
        (["cp", "out", "m:/again/x"], "mounted read-only"),
        (["cp", "out", "m:/data/no/x"], "cannot open"),
        (["cp", "local", "m:/data/out"], "is not a directory"),
        (["cp", "out", "other"], "names a machine"),
        (["cp", "m:/data", "m:/data"], "at once"),
        (["cp", "-", "out"], "into or out of a machine"),
        (["cp", "nobody:/data", "."], "no machine `nobody`"),
    ] {
        let error = place.fails(words);
        assert!(error.contains(part), "{words:?}: {error}");
    }
}
