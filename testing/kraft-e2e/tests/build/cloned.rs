//! A project that was cloned is hostile: what it holds leads kraft nowhere outside of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use kraft_e2e::harness::{Bench, Outcome, wrapped};

const KRAFTFILE: &str = "spec: v0.6\nname: x\nunikraft: {source: ./core}\ntargets: [qemu/x86_64]\n";

fn project(bench: &Bench) -> std::path::PathBuf {
    let dir = bench.path().join("project");
    for below in ["core", ".unikraft/build", ".unikraft/make"] {
        fs::create_dir_all(dir.join(below)).unwrap();
    }
    fs::write(dir.join("Kraftfile"), KRAFTFILE).unwrap();
    fs::create_dir_all(bench.path().join("precious")).unwrap();
    fs::write(bench.path().join("precious/file"), "precious").unwrap();
    dir
}

fn in_project(bench: &Bench, dir: &Path, words: &[&str]) -> Outcome {
    Outcome::of(bench.command(words.iter().copied()).current_dir(dir))
}

fn is_untouched(bench: &Bench) -> bool {
    let names = fs::read_dir(bench.path().join("precious")).unwrap().count();
    let text = fs::read_to_string(bench.path().join("precious/file"));
    names == 1 && text.is_ok_and(|text| text == "precious")
}

#[test]
fn links_that_leave_the_project_are_refused_and_nothing_is_written_through_them() {
    for (link, target) in [
        (".unikraft", "../precious"),
        (".unikraft/.probe", "../../precious/file"),
        (".unikraft/build", "../../precious"),
        (".unikraft/make", "../../precious"),
        (".unikraft/libs", "../../precious"),
        ("kraft.lock", "../precious/file"),
        ("kraft.lock", "../precious/new"),
        (".config.x_qemu-x86_64", "../precious/file"),
        (".unikraft/build/x_qemu-x86_64", "../../../precious/file"),
    ] {
        let bench = Bench::new();
        let dir = project(&bench);
        let at = dir.join(link);
        let _ = fs::remove_dir_all(&at);
        symlink(target, &at).unwrap();
        for words in [["update"], ["fetch"]] {
            let outcome = in_project(&bench, &dir, &words);
            assert!(
                is_untouched(&bench),
                "{link}: {words:?}: {}",
                outcome.stderr
            );
            if link != ".unikraft/.probe" {
                assert!(
                    outcome.stderr.contains("is a symbolic link to"),
                    "{link}: {}",
                    outcome.stderr
                );
            }
        }
        for words in [
            &["clean"][..],
            &["clean", "--proper"],
            &["build", "--locked"],
        ] {
            drop(in_project(&bench, &dir, words));
            assert!(is_untouched(&bench), "{link}: {words:?}");
        }
    }
}

#[test]
fn clean_removes_only_what_a_build_can_have_made() {
    let bench = Bench::new();
    let dir = project(&bench);
    let product = |path: &str| {
        let path = bench.path().join("precious").join(path);
        serde_json::json!({ "path": path, "size": 8, "time": 0 })
    };
    let state = serde_json::json!({
        "version": 1, "inputs": "x", "configuration": "x", "settled": {}, "edits": {},
        "products": [product("file"), product("")], "objects": 1,
    });
    fs::write(
        dir.join(".unikraft/make/x_qemu-x86_64.json"),
        state.to_string(),
    )
    .unwrap();
    for words in [&["clean"][..], &["clean", "--proper"]] {
        drop(in_project(&bench, &dir, words));
        assert!(is_untouched(&bench), "{words:?}");
    }
}

#[test]
fn init_writes_through_no_link() {
    let bench = Bench::new();
    let dir = bench.path().join("cloned");
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all(bench.path().join("precious")).unwrap();
    fs::write(bench.path().join("precious/file"), "precious").unwrap();
    fs::write(
        dir.join("Dockerfile"),
        "FROM scratch\nCOPY x /\nCMD [\"/x\"]\n",
    )
    .unwrap();
    symlink("../precious/file", dir.join(".gitignore")).unwrap();
    let outcome = in_project(&bench, &dir, &["init"]);
    assert!(is_untouched(&bench), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(".gitignore"), "{}", outcome.stderr);
}

#[test]
fn a_fifo_in_place_of_a_file_is_an_error_and_never_a_hang() {
    for name in ["Kraftfile", "kraft.lock", ".config.x_qemu-x86_64"] {
        let bench = Bench::new();
        let dir = project(&bench);
        let _ = fs::remove_file(dir.join(name));
        let made = Command::new("mkfifo").arg(dir.join(name)).status();
        assert!(made.unwrap().success());
        // The harness fails what does not end.
        for words in [&["update"][..], &["check"], &["clean"]] {
            drop(in_project(&bench, &dir, words));
        }
    }
}

#[test]
fn directories_are_private_under_any_umask() {
    let bench = Bench::new();
    let dir = project(&bench);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$@\"", "sh"]);
    let mut command = wrapped(shell, bench.command(["pkg", "ls"]).current_dir(dir));
    drop(Outcome::of(&mut command).success());
    let mut seen = 0;
    let mut left = vec![bench.path().to_owned()];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_symlink() {
            continue;
        }
        seen += 1;
        let mode = found.permissions().mode();
        assert_eq!(mode & 0o022, 0, "{} is {mode:o}", path.display());
        if found.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    assert!(seen > 5, "{seen}");
}
