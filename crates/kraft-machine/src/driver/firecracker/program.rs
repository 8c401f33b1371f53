//! Firecracker's program: which one, and its version.

use std::fmt;
use std::time::Duration;

use kraft_sys::tool::{self, Tool};

use super::jail;
use crate::driver::{Installed, Origin, ProgramError};

/// Debian has no package: it is a single file.
pub(super) const ORIGIN: Origin =
    Origin::Releases("https://github.com/firecracker-microvm/firecracker/releases");

/// The oldest version that can run machines, with the reason.
const OLDEST: (Version, &str) = (
    Version(1, 4, 0),
    "older ones have no entropy device, and guests wait for random numbers",
);

/// How long it may take to print its version.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns Firecracker's program and its first arguments; `configured` overrides it and may hold
/// arguments after blanks.
pub(super) fn program(configured: Option<&str>) -> Vec<String> {
    let words = configured.unwrap_or_default().split_whitespace();
    let words: Vec<String> = words.map(str::to_owned).collect();
    if words.is_empty() {
        vec!["firecracker".to_owned()]
    } else {
        words
    }
}

/// Returns Firecracker's own program and its first arguments, without a jailer around it.
pub(super) fn firecracker(program: &[String]) -> Vec<String> {
    if !jail::is_jailer(program) {
        return program.to_vec();
    }
    jail::exec_file(program).into_iter().cloned().collect()
}

/// Finds Firecracker and checks its version.
pub(super) fn find(configured: Option<&str>) -> Result<Installed, ProgramError> {
    let words = firecracker(&program(configured));
    let name = words.first().cloned().unwrap_or_default();
    let path = tool::locate(name.as_ref()).ok_or(ProgramError::NotFound {
        program: name,
        origin: ORIGIN,
    })?;
    let program = path.display().to_string();
    let output = Tool::new(&path)
        .args(words.iter().skip(1))
        .args(["--version"])
        .limit(TIMEOUT)
        .run()
        .map_err(|source| ProgramError::NoVersion {
            program: program.clone(),
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.lines().next().unwrap_or_default().to_owned();
    tracing::debug!(program, text, "asked Firecracker for its version");
    let (oldest, why) = OLDEST;
    match Version::parse(&text) {
        None => Err(ProgramError::Unrecognized {
            program,
            vmm: "Firecracker",
            text,
        }),
        Some(version) if version < oldest => Err(ProgramError::TooOld {
            program,
            vmm: "Firecracker",
            version: version.to_string(),
            oldest: oldest.to_string(),
            why,
        }),
        Some(version) => Ok(Installed {
            program: path,
            version: version.to_string(),
            limitation: None,
        }),
    }
}

/// A version of Firecracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Finds the version in what `firecracker --version` prints: `Firecracker v1.10.1`.
    fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_prefix("Firecracker v")?;
        let number = number.split(|c: char| !c.is_ascii_digit() && c != '.');
        let mut parts = number.take(1).flat_map(|it| it.split('.')).map(str::parse);
        let mut part = || parts.next()?.ok();
        Some(Self(part()?, part()?, part().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed() {
        for (text, version) in [
            ("Firecracker v1.10.1", Some(Version(1, 10, 1))),
            ("Firecracker v1.14.0-dev", Some(Version(1, 14, 0))),
            ("Firecracker v1.4", Some(Version(1, 4, 0))),
            ("Firecracker", None),
            ("", None),
            ("QEMU emulator version 10.0.2", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version(1, 10, 0) > Version(1, 4, 0));
    }

    #[test]
    fn another_program_and_an_old_one_are_reported_with_the_reason() {
        let error = |program: &str| find(Some(program)).unwrap_err();
        assert!(matches!(
            error("/no/such/firecracker"),
            ProgramError::NotFound { .. }
        ));
        let other = error("echo hello").to_string();
        assert!(
            other.ends_with("does not look like Firecracker: it prints `hello --version`"),
            "{other}"
        );
        assert_eq!(
            error("echo Firecracker v1.3.9").to_string(),
            "Firecracker 1.3.9 is too old: 1.4.0 or newer is needed (older ones have no entropy device, \
             and guests wait for random numbers)"
        );
    }
}
