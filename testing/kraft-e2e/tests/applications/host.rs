//! Programs of this host, with the scripts of the applications: no package is needed.

use std::fs;
use std::path::Path;
use std::process::Command;

use kraft_e2e::harness::{has_builtin_runtime, repository, skip};

use crate::catalog::{BASH, PYTHON};
use crate::guest::Guest;

/// Copies programs into a root filesystem, with the libraries that they are linked with.
pub(crate) fn copy(root: &Path, programs: &[&str]) {
    for program in programs {
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let libraries = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for file in libraries.chain([*program]) {
            let to = root.join(file.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        }
    }
}

/// Runs a script of testing/kraft-e2e/applications on a root filesystem.
fn run(root: &Path, memory: u32, program: &[&str], script: &str, expected: (&str, i32)) {
    fs::create_dir_all(root.join("tmp")).unwrap();
    let from = repository()
        .join("testing/kraft-e2e/applications")
        .join(script);
    fs::copy(from, root.join("script")).unwrap();
    let guest = Guest::new(root, "x86_64", memory);
    let outcome = guest.run(&[], &[program, &["/script"]].concat()).unwrap();
    assert_eq!(outcome.stdout, expected.0, "{}", outcome.stderr);
    assert_eq!(outcome.code, Some(expected.1));
}

/// Returns whether this host has programs, and the runtime is built.
pub(crate) fn here(programs: &[&str]) -> bool {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return false;
    }
    let missing = programs
        .iter()
        .find(|program| !Path::new(program).is_file());
    if let Some(program) = missing {
        skip(&format!("{program} does not exist on this host"));
    }
    missing.is_none() && cfg!(target_arch = "x86_64")
}

#[test]
fn bash_scripts_have_traps_and_jobs() {
    let tools = [
        "seq", "tr", "sort", "paste", "sleep", "cat", "comm", "timeout",
    ];
    let mut programs = vec!["/bin/bash".to_owned()];
    programs.extend(tools.iter().map(|tool| format!("/usr/bin/{tool}")));
    let programs: Vec<_> = programs.iter().map(String::as_str).collect();
    if !here(&programs) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    copy(root.path(), &programs);
    run(
        root.path(),
        64,
        &["/bin/bash"],
        "bash/files/srv/script.sh",
        (BASH, 3),
    );
}

#[test]
fn python_has_threads_processes_and_asyncio() {
    let python = "/usr/bin/python3";
    if !here(&[python]) {
        return;
    }
    let query = "import sysconfig; print(sysconfig.get_path('stdlib'))";
    let told = Command::new(python).args(["-c", query]).output().unwrap();
    let library = String::from_utf8(told.stdout).unwrap().trim().to_owned();
    let root = tempfile::tempdir().unwrap();
    let modules = fs::read_dir(format!("{library}/lib-dynload"))
        .into_iter()
        .flatten();
    let modules = modules.map(|entry| entry.unwrap().path().display().to_string());
    let modules: Vec<_> = modules.collect();
    copy(
        root.path(),
        &modules.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    copy(root.path(), &[python]);
    let to = root.path().join(library.trim_start_matches('/'));
    for part in [
        "",
        "asyncio",
        "collections",
        "concurrent",
        "concurrent/futures",
        "ctypes",
        "encodings",
        "email",
        "importlib",
        "json",
        "logging",
        "multiprocessing",
        "multiprocessing/dummy",
        "re",
        "sqlite3",
        "urllib",
        "unittest",
    ] {
        fs::create_dir_all(to.join(part)).unwrap();
        for entry in fs::read_dir(Path::new(&library).join(part))
            .into_iter()
            .flatten()
        {
            let entry = entry.unwrap().path();
            if entry.extension().is_some_and(|kind| kind == "py") {
                fs::copy(&entry, to.join(part).join(entry.file_name().unwrap())).unwrap();
            }
        }
    }
    run(
        root.path(),
        192,
        &[python],
        "python/files/srv/threads.py",
        (PYTHON, 0),
    );
}

#[test]
fn ab_reports_of_lost_requests_are_failures() {
    let report = |complete: u32, failed: u32| {
        format!("Complete requests:      {complete}\nFailed requests:        {failed}\n")
    };
    let judge = |text: &str| crate::clients::ab_lost_none(text, 200);
    judge(&report(200, 0)).unwrap();
    for bad in [
        report(199, 0),
        report(200, 1),
        report(200, 0) + "Non-2xx responses: 3\n",
        String::new(),
    ] {
        assert!(judge(&bad).is_err(), "{bad}");
    }
}
