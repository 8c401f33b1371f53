//! Checks for the host programs that a build needs, before it starts.
//!
//! ```
//! use kraft_build::tools::{Needed, check, is_new_enough};
//!
//! let flex = Needed {
//!     program: "no-such-program".to_owned(),
//!     package: "flex",
//!     purpose: "compile the tools of KConfig",
//! };
//! let missing = check(vec![flex]).expect_err("it is not installed");
//! assert!(missing.cure().contains("flex"));
//! assert!(is_new_enough("GNU Make 4.3"));
//! assert!(!is_new_enough("GNU Make 3.81"));
//! ```

use std::ffi::{OsStr, OsString};
use std::path::Path;

use kraft_sys::tool;

/// The minimum version of GNU make for Unikraft's Makefile.
const OLDEST_MAKE: (u32, u32) = (4, 1);

/// A program that a build needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub program: String,
    /// The Debian package that contains it.
    pub package: &'static str,
    /// Its purpose: `compile for arm64`.
    pub purpose: &'static str,
}

/// Programs are missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} needed and not found: {}", plural(missing), list(missing))]
pub struct Missing {
    /// The programs.
    pub missing: Vec<Needed>,
}

impl Missing {
    /// Returns the command that installs the missing programs.
    pub fn cure(&self) -> String {
        let mut packages: Vec<&str> = self.missing.iter().map(|m| m.package).collect();
        packages.sort_unstable();
        packages.dedup();
        format!("apt install {}", packages.join(" "))
    }
}

fn plural(missing: &[Needed]) -> &'static str {
    if missing.len() == 1 {
        "one program is"
    } else {
        "several programs are"
    }
}

fn list(missing: &[Needed]) -> String {
    let each: Vec<String> = missing
        .iter()
        .map(|needed| format!("`{}` to {}", needed.program, needed.purpose))
        .collect();
    each.join(", ")
}

/// Returns the programs needed to build this core; `cross` is the prefix of the cross compiler.
///
/// They follow from Unikraft's Makefile and from the content of the core: a core with the sources
/// of KConfig's tools compiles them, others use Debian's.
pub fn needed(core: &Path, make: &OsStr, cross: Option<&str>) -> Vec<Needed> {
    let mut all = vec![
        need(&make.to_string_lossy(), "make", "run the build"),
        need("bash", "bash", "run the build's scripts"),
        need("gcc", "gcc", "compile programs of the build itself"),
        need("sed", "sed", "run the build's scripts"),
        need("grep", "grep", "run the build's scripts"),
        need("awk", "gawk", "run the build's scripts"),
        need("sha256sum", "coreutils", "run the build's scripts"),
    ];
    let kconfig = core.join("support/kconfig");
    if kconfig.join("lexer.l").exists() || kconfig.join("zconf.l").exists() {
        all.push(need("flex", "flex", "compile the tools of KConfig"));
        all.push(need("bison", "bison", "compile the tools of KConfig"));
    } else if !kconfig.exists() {
        all.push(need(
            "kconfig-conf",
            "kconfig-frontends-nox",
            "configure the kernel",
        ));
    }
    if core.join("support/scripts").is_dir() {
        all.push(need(
            "python3",
            "python3",
            "put boot headers into the kernel",
        ));
    }
    let prefix = cross.unwrap_or_default();
    let (compiler, binutils, purpose) = packages(prefix);
    if !prefix.is_empty() {
        all.push(need(&format!("{prefix}gcc"), compiler, purpose));
    }
    for program in ["ld", "ar", "nm", "objcopy", "strip"] {
        let purpose = if prefix.is_empty() {
            "link the kernel"
        } else {
            purpose
        };
        all.push(need(&format!("{prefix}{program}"), binutils, purpose));
    }
    all
}

fn packages(prefix: &str) -> (&'static str, &'static str, &'static str) {
    match prefix {
        "aarch64-linux-gnu-" => (
            "gcc-aarch64-linux-gnu",
            "binutils-aarch64-linux-gnu",
            "compile for arm64",
        ),
        "x86_64-linux-gnu-" => (
            "gcc-x86-64-linux-gnu",
            "binutils-x86-64-linux-gnu",
            "compile for x86_64",
        ),
        "arm-linux-gnueabihf-" => (
            "gcc-arm-linux-gnueabihf",
            "binutils-arm-linux-gnueabihf",
            "compile for arm",
        ),
        _ => ("gcc", "binutils", "compile for the target"),
    }
}

fn need(program: &str, package: &'static str, purpose: &'static str) -> Needed {
    Needed {
        program: program.to_owned(),
        package,
        purpose,
    }
}

/// Searches every program in the search path.
pub fn check(needed: Vec<Needed>) -> Result<(), Missing> {
    let missing: Vec<Needed> = needed
        .into_iter()
        .filter(|needed| tool::locate(OsStr::new(&needed.program)).is_none())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Missing { missing })
    }
}

/// Returns the name of GNU make: `gmake` if that exists.
pub fn make() -> OsString {
    let gmake = OsStr::new("gmake");
    if cfg!(target_os = "macos") && tool::locate(gmake).is_some() {
        return gmake.to_owned();
    }
    "make".into()
}

/// Returns whether a version, as printed by `make --version` (`GNU Make 4.3`), is new enough.
pub fn is_new_enough(version: &str) -> bool {
    let Some(number) = version
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("GNU Make "))
    else {
        return false;
    };
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    let major = parts.next().flatten().unwrap_or(0);
    let minor = parts.next().flatten().unwrap_or(0);
    (major, minor) >= OLDEST_MAKE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_builds_name_the_package_of_the_compiler() {
        let dir = tempfile::tempdir().unwrap();
        let needed = needed(dir.path(), OsStr::new("make"), Some("aarch64-linux-gnu-"));
        let gcc = needed
            .iter()
            .find(|n| n.program == "aarch64-linux-gnu-gcc")
            .unwrap();
        assert_eq!(gcc.package, "gcc-aarch64-linux-gnu");
        assert!(!needed.iter().any(|n| n.program == "flex"));
    }

    #[test]
    fn missing_programs_are_reported_with_an_install_command() {
        let missing = check(vec![
            need("surely-not-a-program-1", "flex", "parse"),
            need("surely-not-a-program-2", "bison", "parse"),
            need("sh", "dash", "run"),
        ])
        .unwrap_err();
        assert_eq!(
            missing.to_string(),
            "several programs are needed and not found: `surely-not-a-program-1` to parse, \
             `surely-not-a-program-2` to parse"
        );
        assert_eq!(missing.cure(), "apt install bison flex");
    }

    #[test]
    fn versions_of_make_are_compared_as_numbers() {
        assert!(is_new_enough("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu"));
        assert!(is_new_enough("GNU Make 4.10"));
        assert!(!is_new_enough("GNU Make 3.82"));
        assert!(!is_new_enough("bmake"));
    }
}
