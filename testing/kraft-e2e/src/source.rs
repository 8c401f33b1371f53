//! Sources of unikernels: the repository's own core, libraries and applications, as directories,
//! repositories and archives.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bench, Outcome, repository, skip};
use crate::registry::installed;

/// Returns why nothing can be built on this host, if it cannot.
pub fn obstacle() -> Option<&'static str> {
    for program in ["make", "gcc", "kconfig-conf", "git"] {
        if !installed(program) {
            return Some(
                "make, gcc, git or kconfig-frontends-nox is not installed: scripts/setup.sh test",
            );
        }
    }
    None
}

/// Says that a test is skipped if nothing can be built here; returns whether it is.
pub fn skipped() -> bool {
    if let Some(obstacle) = obstacle() {
        skip(obstacle);
        return true;
    }
    false
}

/// Copies one of the repository's directories of sources below a directory, without what was built
/// in it.
pub fn copy(what: &str, to: &Path) -> PathBuf {
    let target = to.join(Path::new(what).file_name().unwrap());
    copy_tree(&repository().join("guests").join(what), &target);
    target
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text == ".unikraft" || text.starts_with(".config") || text == "kraft.lock" {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Copies core, libraries and applications into a place of a test's own, laid out as in the
/// repository; returns that place.
pub fn workshop(bench: &Bench) -> PathBuf {
    let place = bench.path().join("workshop");
    for (what, below) in [
        ("core", ""),
        ("libs/lib-hello", "libs"),
        ("libs/lib-count", "libs"),
        ("apps/app-two-libs", "apps"),
        ("apps/app-template", "apps"),
        ("apps/app-templated", "apps"),
        ("apps/app-four-targets", "apps"),
    ] {
        copy(what, &place.join(below));
    }
    place
}

/// Runs git in a directory and insists on success; returns what it said.
pub fn git<const N: usize>(dir: &Path, words: [&str; N]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args([
            "-c",
            "init.defaultBranch=stable",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(words)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a repository out of a directory, with a branch `stable` and a tag `RELEASE-0.1.0`.
pub fn make_repository(dir: &Path) {
    git(dir, ["init", "--quiet", "-b", "stable"]);
    git(dir, ["add", "--all"]);
    git(dir, ["commit", "--quiet", "-m", "one"]);
    git(dir, ["tag", "RELEASE-0.1.0"]);
}

/// Packs a directory as forges do: everything in one directory.
pub fn make_archive(dir: &Path, to: &Path) {
    let packed = Command::new("tar")
        .arg("-czf")
        .arg(to)
        .arg("-C")
        .arg(dir.parent().unwrap())
        .arg(dir.file_name().unwrap())
        .status()
        .unwrap();
    assert!(packed.success());
}

/// Writes a file, and the directories above it.
pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Replaces a text in a file, which must have it.
pub fn replace(path: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "no `{old}` in {}", path.display());
    std::fs::write(path, text.replace(old, new)).unwrap();
}

/// Runs kraft in a directory.
pub fn kraft_in(bench: &Bench, dir: &Path, words: &[&str]) -> Outcome {
    let mut command = bench.command(words);
    command.current_dir(dir);
    Outcome::of(&mut command)
}

/// Builds a project and boots it; returns what the machine said.
pub fn build_and_boot(bench: &Bench, project: &Path, flags: &[&str]) -> String {
    let _ = kraft_in(bench, project, &[&["build"], flags].concat()).success();
    boot(bench, project, flags)
}

/// Boots what was built in a project; returns what the machine said.
pub fn boot(bench: &Bench, project: &Path, flags: &[&str]) -> String {
    let run = kraft_in(bench, project, &[&["run", "--rm"], flags].concat()).success();
    assert!(run.stdout.contains("\nbye\n"), "{run:?}");
    run.stdout
}

/// Returns how many objects the last build of a kernel compiled.
pub fn compiled(project: &Path, kernel: &str) -> usize {
    let log = project.join(format!(".unikraft/build/{kernel}.log"));
    let text = std::fs::read_to_string(log).unwrap();
    text.lines()
        .filter(|line| line.starts_with("  CC ") || line.starts_with("  AS "))
        .count()
}
