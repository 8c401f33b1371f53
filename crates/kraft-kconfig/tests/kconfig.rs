//! Compares kraft's KConfig with reference programs, and tests explanations of lost values.
//!
//! Small trees, one per feature, are resolved by kraft and by Debian's `kconfig-conf` from random
//! configurations. `KRAFT_UNIKRAFT` names the directory of a Unikraft core, whose tree is then
//! compared with its own `conf`. `KRAFT_KCONFIG_RUNS` changes the number of configurations.
#![expect(
    clippy::disallowed_methods,
    reason = "tests run programs in temporary directories"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests panic on errors"
)]

#[path = "kconfig/errors.rs"]
mod errors;
#[path = "kconfig/losses.rs"]
mod losses;
#[path = "kconfig/world.rs"]
mod world;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kraft_kconfig::DotConfig;
use kraft_kconfig::language::Tree;
use kraft_kconfig::resolve::Mode;
use world::{Chance, Disk, random_config};

fn runs() -> u64 {
    std::env::var("KRAFT_KCONFIG_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(500)
}

/// Reports that a test was skipped; an error where all tests are required.
fn skipped(needs: &str) {
    eprintln!("SKIPPED: needs {needs}");
    let required = std::env::var("KRAFT_E2E").is_ok_and(|value| value == "require");
    assert!(!required, "needs {needs}");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kconfig")
}

/// Returns the trees for all readers, and those of one more directory.
fn corpus(more: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in [folder(), folder().join(more)] {
        files.extend(
            fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    files.retain(|path| path.extension().is_some_and(|end| end == "kconfig"));
    files.sort();
    files
}

/// A reference program and its tree.
struct Reference {
    program: PathBuf,
    root: String,
    env: HashMap<String, String>,
    folder: tempfile::TempDir,
}

impl Reference {
    fn resolve(&self, config: &str, mode: Mode) -> String {
        let file = self.folder.path().join(".config");
        let mut command = Command::new(&self.program);
        match mode {
            Mode::Complete => {
                fs::write(&file, config).unwrap();
                command.arg("--olddefconfig");
            }
            Mode::Defconfig => {
                let from = self.folder.path().join("defconfig");
                fs::write(&from, config).unwrap();
                command.arg(format!("--defconfig={}", from.display()));
            }
        }
        let output = command
            .arg(&self.root)
            .current_dir(self.folder.path())
            .envs(&self.env)
            .env("KCONFIG_CONFIG", &file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", self.root);
        fs::read_to_string(&file).unwrap()
    }
}

/// Returns the lines that set something.
fn set_lines(text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// Resolves one configuration with both programs; returns the text.
fn compare(reference: &Reference, tree: &Tree, seed: u64, whole: bool) -> String {
    let mut chance = Chance::new(seed);
    let config = DotConfig::parse(&random_config(tree, &mut chance));
    let mode = if seed.is_multiple_of(2) {
        Mode::Complete
    } else {
        Mode::Defconfig
    };
    let mut wanted = reference.resolve(&config.text(), mode);
    let mut got = tree.resolve_as(&config, mode).text();
    if !whole {
        wanted = set_lines(&wanted);
        got = set_lines(&got);
    }
    if wanted != got {
        let differ = |a: &str, b: &str| -> Vec<String> {
            let there: Vec<&str> = b.lines().collect();
            a.lines()
                .filter(|line| !there.contains(line))
                .map(str::to_owned)
                .collect()
        };
        panic!(
            "{} with seed {seed} ({mode:?})\nonly theirs: {:#?}\nonly ours: {:#?}\nfrom:\n{}",
            reference.root,
            differ(&wanted, &got),
            differ(&got, &wanted),
            config.text()
        );
    }
    got
}

/// Compares many configurations, and checks that the results differ.
fn compare_all(reference: &Reference, tree: &Tree, whole: bool) {
    let texts: BTreeSet<String> = (0..runs())
        .map(|seed| compare(reference, tree, seed, whole))
        .collect();
    assert!(
        texts.len() as u64 > (runs() / 10).min(20),
        "only {} different ones",
        texts.len()
    );
}

/// Compares a tree with Debian's `conf` in an environment.
fn compare_with_debians(root: &str, env: &[(&str, String)]) {
    let program = PathBuf::from("kconfig-conf");
    if Command::new(&program).output().is_err() {
        return skipped("kconfig-conf (package kconfig-frontends-nox)");
    }
    let env: HashMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let disk = Disk { env: env.clone() };
    let tree = Tree::parse(root, &disk).unwrap_or_else(|errors| panic!("{errors}"));
    let reference = Reference {
        program,
        root: root.to_owned(),
        env,
        folder: tempfile::tempdir().unwrap(),
    };
    compare_all(&reference, &tree, false);
}

#[test]
fn small_trees_resolve_as_with_debians_conf() {
    let here = [("KRAFT_TEST_FOLDER", folder().display().to_string())];
    for path in corpus("older") {
        compare_with_debians(&path.display().to_string(), &here);
    }
}

#[test]
fn the_guest_core_resolves_as_with_debians_conf() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/core");
    let env = [
        ("srctree", core.display().to_string()),
        ("UK_FULLVERSION", "0.0.0".to_owned()),
        ("UK_BASE", core.display().to_string()),
        ("UK_APP", "/app".to_owned()),
        ("UK_DEFNAME", "app".to_owned()),
        ("KCONFIG_COMPONENTS", "/dev/null".to_owned()),
    ];
    compare_with_debians("Config.uk", &env);
}

/// Builds the `conf` of a Unikraft core, and returns the environment set by its Makefile.
fn unikraft(core: &str) -> Reference {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (app, out) = (at("app"), at("build"));
    fs::create_dir_all(&app).unwrap();
    fs::write(format!("{app}/Makefile.uk"), "").unwrap();
    let made = Command::new("make")
        .args(["-C", core, "defconfig"])
        .arg(format!("A={app}"))
        .arg(format!("O={out}"))
        .arg(format!("C={}", at("first")))
        .arg("UK_DEFCONFIG=/dev/null")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let core = fs::canonicalize(core).unwrap().display().to_string();
    let kconfig = format!("{out}/kconfig");
    let env = [
        ("CONFIG_", "CONFIG_".to_owned()),
        ("KCONFIG_AUTOCONFIG", format!("{kconfig}/auto.conf")),
        ("KCONFIG_AUTOHEADER", format!("{kconfig}/config.h")),
        ("KCONFIG_TRISTATE", format!("{kconfig}/tristate.config")),
        ("HOST_ARCH", "x86_64".to_owned()),
        ("BUILD_DIR", out.clone()),
        ("UK_BASE", core.clone()),
        ("UK_APP", app.clone()),
        ("UK_CONFIG", at(".config")),
        ("UK_FULLVERSION", "0.0.0~test".to_owned()),
        ("UK_CODENAME", "Test".to_owned()),
        ("UK_ARCH", "x86_64".to_owned()),
        ("UK_NAME", "app".to_owned()),
        ("KCONFIG_DIR", kconfig.clone()),
        ("KCONFIG_LIB_BASE", format!("{core}/lib")),
        (
            "KCONFIG_ELIB_DIRS",
            std::env::var("KRAFT_UNIKRAFT_LIBS").unwrap_or_default(),
        ),
        ("KCONFIG_PLAT_BASE", format!("{core}/plat")),
        ("KCONFIG_EPLAT_DIRS", String::new()),
        ("KCONFIG_DRIV_BASE", format!("{core}/drivers")),
        ("KCONFIG_EAPP_DIR", app.clone()),
        ("KCONFIG_EXCLUDEDIRS", String::new()),
    ];
    Reference {
        program: PathBuf::from(format!("{kconfig}/conf")),
        root: format!("{core}/Config.uk"),
        env: env
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        folder,
    }
}

#[test]
fn the_tree_of_a_unikraft_core_resolves_as_with_its_conf() {
    let Ok(core) = std::env::var("KRAFT_UNIKRAFT") else {
        eprintln!("SKIPPED: needs KRAFT_UNIKRAFT, the folder of a Unikraft core");
        return;
    };
    let mut reference = unikraft(&core);
    let disk = Disk {
        env: reference.env.clone(),
    };
    let tree = Tree::parse(&reference.root, &disk).unwrap_or_else(|errors| panic!("{errors}"));
    compare_all(&reference, &tree, true);
    for path in corpus("newer") {
        reference.root = path.display().to_string();
        let tree = Tree::parse(&reference.root, &disk).unwrap_or_else(|errors| panic!("{errors}"));
        compare_all(&reference, &tree, true);
    }
}
