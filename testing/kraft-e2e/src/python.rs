//! Python with packages of PyPI, in virtual environments below `target`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::harness::repository;

/// Returns a Python that has packages of PyPI; `None` if there is no `venv`, or PyPI cannot be reached.
///
/// They are installed once, in `target/NAME`: another version needs another name.
pub fn with(name: &str, packages: &[&str]) -> Option<PathBuf> {
    static FOUND: Mutex<BTreeMap<String, Option<PathBuf>>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = found.entry(name.to_owned());
    entry.or_insert_with(|| install(name, packages)).clone()
}

fn install(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let dir = repository().join("target").join(name);
    let python = dir.join("bin/python");
    if dir.join("complete").exists() {
        return Some(python);
    }
    let new = repository().join(format!("target/{name}.{}", std::process::id()));
    let run = |command: &mut Command| command.output().ok().filter(|done| done.status.success());
    run(Command::new("python3").args(["-m", "venv"]).arg(&new))?;
    let pip = ["-m", "pip", "install", "--quiet"];
    run(Command::new(new.join("bin/python"))
        .args(pip)
        .arg("--disable-pip-version-check")
        .args(packages))?;
    fs::write(new.join("complete"), "").ok()?;
    // Its interpreter finds its packages from wherever it is.
    if fs::rename(&new, &dir).is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    Some(python)
}
