//! Release files: static programs, archives, packages, an SBOM, checksums, and what installs them.
//!
//! ```text
//! cargo metadata ─► Description ─┐
//! cargo build ─► programs ───────┼─► stage ─► .tar.gz, .deb, .rpm ─┬─► SHA256SUMS
//! xtask man, kraft completion ───┘                                 └─► install.sh, kraft.rb, flake.nix
//! ```
//!
//! Everything is made from one description: the package `kraft` in `cargo metadata`. The same sources
//! and tools give the same bytes: times are `SOURCE_DATE_EPOCH`, or that of the commit.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a chore runs programs and reads the environment; an index into JSON does not panic"
)]

mod package;
mod run;
mod sbom;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::run::{output, run};
use crate::{Outcome, complain, man};

/// The targets of a release.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

/// What is made.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the files are written
    #[arg(long, default_value = "target/dist")]
    out: PathBuf,

    /// Build only for this target
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,

    /// Use this program for a target instead of building it
    #[arg(long, value_name = "TARGET=FILE")]
    binary: Vec<String>,
}

/// What packages say about kraft, from `cargo metadata`.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) license: String,
    pub(crate) repository: String,
    /// The seconds since 1970 of every file.
    pub(crate) epoch: u64,
}

/// A program of the release, with the directory of everything that is installed with it.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) target: String,
    /// `kraft-VERSION-TARGET`, the directory of the archive.
    pub(crate) dir: PathBuf,
}

/// Makes the files of a release.
pub(crate) fn exec(root: &Path, args: &Args) -> Outcome {
    let out = root.join(&args.out);
    let description = describe(root)?;
    fs::create_dir_all(&out).map_err(|error| complain("create", &out, &error))?;
    let programs = programs(root, args, &description)?;
    let man = out.join("man");
    man::exec(&man)?;
    let mut made = Vec::new();
    let mut skipped = Vec::new();
    let sbom = out.join(format!("kraft-{}.cdx.json", description.version));
    write(&sbom, &sbom::of(root, &description)?)?;
    made.push(sbom);
    let mut staged = Vec::new();
    for (target, program) in &programs {
        let staging = stage(root, &out, &description, target, program, &programs)?;
        made.push(package::archive(&staging, &description)?);
        for packaged in [
            package::deb(root, &staging, &description)?,
            package::rpm(root, &staging, &description)?,
        ] {
            match packaged {
                Ok(file) => made.push(file),
                Err(why) => skipped.push(why),
            }
        }
        staged.push(staging);
    }
    let sums = checksums(&made)?;
    for name in ["install.sh", "kraft.rb", "flake.nix"] {
        let template = root.join("packaging").join(name);
        let text =
            fs::read_to_string(&template).map_err(|error| complain("read", &template, &error))?;
        let file = out.join(name);
        write(&file, &fill(&text, &description, &sums))?;
        made.push(file);
    }
    let lines: Vec<String> = checksums(&made)?
        .iter()
        .map(|(name, sum)| format!("{sum}  {name}\n"))
        .collect();
    write(&out.join("SHA256SUMS"), &lines.concat())?;
    for staging in &staged {
        remove(&staging.dir)?;
    }
    remove(&man)?;
    skipped.sort();
    skipped.dedup();
    let notices: Vec<String> = skipped
        .iter()
        .map(|why| format!("\ndist: skipped {why}"))
        .collect();
    Ok(format!(
        "dist: made {} files in {}{}",
        made.len() + 1,
        out.display(),
        notices.concat()
    ))
}

fn describe(root: &Path) -> Result<Description, Vec<String>> {
    let metadata = sbom::metadata(root, &["--no-deps"])?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let kraft = packages.clone().find(|package| package["name"] == "kraft");
    let kraft = kraft.ok_or_else(|| vec!["there is no package `kraft`".to_owned()])?;
    let text = |key: &str| kraft[key].as_str().unwrap_or_default().to_owned();
    let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => epoch,
        Err(_) => output(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(root),
        )?,
    };
    let epoch = epoch
        .trim()
        .parse()
        .map_err(|_| vec![format!("`SOURCE_DATE_EPOCH={epoch}`: expected seconds")])?;
    Ok(Description {
        version: text("version"),
        summary: text("description"),
        license: text("license"),
        repository: text("repository"),
        epoch,
    })
}

/// Builds the programs, or finds those that are given; by target.
fn programs(
    root: &Path,
    args: &Args,
    description: &Description,
) -> Result<BTreeMap<String, PathBuf>, Vec<String>> {
    let mut programs = BTreeMap::new();
    for binary in &args.binary {
        let (target, file) = binary
            .split_once('=')
            .ok_or_else(|| vec![format!("`--binary {binary}`: expected TARGET=FILE")])?;
        programs.insert(target.to_owned(), PathBuf::from(file));
    }
    let targets: Vec<&str> = match args.target.as_slice() {
        [] if programs.is_empty() => TARGETS.to_vec(),
        targets => targets.iter().map(String::as_str).collect(),
    };
    for target in targets {
        // The processor of another host needs a C compiler for it, which zig has.
        let is_own = target.starts_with(std::env::consts::ARCH);
        let build = if is_own { "build" } else { "zigbuild" };
        let mut cargo = Command::new("cargo");
        cargo
            .args([build, "--release", "--locked", "--package", "kraft"])
            .args(["--target", target])
            .env("SOURCE_DATE_EPOCH", description.epoch.to_string())
            .current_dir(root);
        if is_own {
            let compiler = format!("CC_{}", target.replace('-', "_"));
            cargo.env(compiler, "musl-gcc");
        }
        if root.join("runtime/build/kraft-runtime-x86_64.xz").is_file() {
            cargo.args(["--features", "kraft/builtin-runtime"]);
        }
        run(&mut cargo)?;
        let program = root.join("target").join(target).join("release/kraft");
        programs.insert(target.to_owned(), program);
    }
    Ok(programs)
}

/// Collects what is installed with a program.
fn stage(
    root: &Path,
    out: &Path,
    description: &Description,
    target: &str,
    program: &Path,
    programs: &BTreeMap<String, PathBuf>,
) -> Result<Staged, Vec<String>> {
    let dir = out.join(format!("kraft-{}-{target}", description.version));
    remove(&dir)?;
    let completions = dir.join("completions");
    fs::create_dir_all(&completions).map_err(|error| complain("create", &completions, &error))?;
    copy(program, &dir.join("kraft"))?;
    for name in ["LICENSE", "README.md", "CHANGELOG.md"] {
        copy(&root.join(name), &dir.join(name))?;
    }
    run(Command::new("cp")
        .args(["-r", "--"])
        .args([out.join("man"), root.join("schema")])
        .arg(&dir))?;
    for (shell, name) in [("bash", "kraft"), ("zsh", "_kraft"), ("fish", "kraft.fish")] {
        write(&completions.join(name), &completion(shell, programs)?)?;
    }
    Ok(Staged {
        target: target.to_owned(),
        dir,
    })
}

/// Has the first program that runs on this host print a completion.
fn completion(shell: &str, programs: &BTreeMap<String, PathBuf>) -> Result<String, Vec<String>> {
    let mut last = vec!["there is no program to print completions with".to_owned()];
    for program in programs.values() {
        match output(Command::new(program).args(["completion", shell])) {
            Ok(text) => return Ok(text),
            Err(complaints) => last = complaints,
        }
    }
    Err(last)
}

/// Returns the checksums of files by their names.
fn checksums(files: &[PathBuf]) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut sums = BTreeMap::new();
    for file in files {
        let line = output(Command::new("sha256sum").arg("--").arg(file))?;
        let sum = line.split(' ').next().unwrap_or_default().to_owned();
        let name = file.file_name().unwrap_or_default();
        sums.insert(name.to_string_lossy().into_owned(), sum);
    }
    Ok(sums)
}

/// Fills in a template. A target that is not part of the release has no checksum.
fn fill(text: &str, description: &Description, sums: &BTreeMap<String, String>) -> String {
    let sum = |target: &str| {
        let name = format!("kraft-{}-{target}.tar.gz", description.version);
        sums.get(&name).cloned().unwrap_or_default()
    };
    text.replace("@VERSION@", &description.version)
        .replace("@DESCRIPTION@", &description.summary)
        .replace("@LICENSE@", &description.license)
        .replace("@REPOSITORY@", &description.repository)
        .replace("@SHA256_X86_64@", &sum(TARGETS[0]))
        .replace("@SHA256_AARCH64@", &sum(TARGETS[1]))
}

fn write(path: &Path, text: &str) -> Result<(), Vec<String>> {
    fs::write(path, text).map_err(|error| complain("write", path, &error))
}

fn copy(from: &Path, to: &Path) -> Result<(), Vec<String>> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| complain("copy", from, &error))
}

fn remove(dir: &Path) -> Result<(), Vec<String>> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(complain("remove", dir, &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a release of a script in place of the program, and returns its directory.
    fn release() -> (tempfile::TempDir, Outcome) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("kraft");
        fs::write(&program, "#!/bin/sh\necho \"$@\"\n").unwrap();
        run(Command::new("chmod").arg("755").arg(&program)).unwrap();
        let args = Args {
            out: dir.path().join("out"),
            target: Vec::new(),
            binary: vec![format!("{}={}", TARGETS[0], program.display())],
        };
        let outcome = exec(crate::root(), &args);
        (dir, outcome)
    }

    /// Returns whether a program is installed; if not, prints that the test is skipped.
    fn installed(program: &str) -> bool {
        let found = run::is_installed(program);
        if !found {
            eprintln!("SKIPPED: {program} is not installed");
        }
        found
    }

    #[test]
    fn a_release_is_installed_by_its_script_and_verified() {
        let (dir, outcome) = release();
        outcome.unwrap();
        let out = dir.path().join("out");
        let install = |sums: &str| {
            let prefix = dir.path().join("prefix");
            fs::write(out.join("SHA256SUMS"), sums).unwrap();
            let installed = run(Command::new("sh")
                .arg(out.join("install.sh"))
                .env("KRAFT_DOWNLOAD", &out)
                .env("PREFIX", &prefix));
            (prefix, installed)
        };
        let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
        if std::env::consts::ARCH == "x86_64" {
            let wrong = sums.replace(['0', '1'], "2");
            assert!(install(&wrong).1.is_err());
            let (prefix, installed) = install(&sums);
            installed.unwrap();
            let said = output(Command::new(prefix.join("bin/kraft")).arg("version"));
            assert_eq!(said.unwrap(), "version\n");
            assert!(prefix.join("share/man/man1/kraft-run.1").is_file());
            assert!(prefix.join("share/zsh/site-functions/_kraft").is_file());
        }
        let formula = fs::read_to_string(out.join("kraft.rb")).unwrap();
        assert!(!formula.contains("@VERSION@"), "{formula}");
        assert!(
            sums.contains(".tar.gz\n") && sums.contains(".cdx.json\n"),
            "{sums}"
        );
    }

    #[test]
    fn a_debian_package_has_the_program_the_manual_and_the_unit() {
        if !installed("dpkg-deb") {
            return;
        }
        let (dir, outcome) = release();
        outcome.unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let deb = dir.path().join(format!("out/kraft_{version}_amd64.deb"));
        let listed = output(Command::new("dpkg-deb").arg("--contents").arg(&deb)).unwrap();
        for path in [
            "./usr/bin/kraft",
            "./usr/share/man/man1/kraft-run.1.gz",
            "./usr/share/bash-completion/completions/kraft",
            "./usr/lib/systemd/system/kraft-machines.service",
            "./usr/share/doc/kraft/copyright",
            "./usr/share/kraft/schema/output.schema.json",
        ] {
            assert!(listed.contains(&format!("{path}\n")), "{path}: {listed}");
        }
        assert!(
            listed.lines().all(|line| line.contains("root/root")),
            "{listed}"
        );
        let field = output(
            Command::new("dpkg-deb")
                .arg("--field")
                .arg(&deb)
                .arg("Recommends"),
        );
        assert!(field.unwrap().contains("qemu-system-x86"));
    }

    #[test]
    fn a_package_of_fedora_has_the_program_the_manual_and_the_schemas() {
        if !installed("rpmbuild") || !installed("rpm") {
            return;
        }
        let (dir, outcome) = release();
        outcome.unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let rpm = dir.path().join(format!("out/kraft-{version}-1.x86_64.rpm"));
        let listed = output(Command::new("rpm").args(["-qpl", "--"]).arg(&rpm)).unwrap();
        for path in [
            "/usr/bin/kraft",
            "/usr/share/man/man1/kraft-run.1.gz",
            "/usr/share/zsh/site-functions/_kraft",
            "/usr/lib/systemd/system/kraft-machines.service",
            "/usr/share/kraft/schema/output.schema.json",
        ] {
            assert!(listed.lines().any(|line| line == path), "{path}: {listed}");
        }
    }
}
