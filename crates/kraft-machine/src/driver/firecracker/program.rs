//! Firecracker's program: which one, and its version.

use super::jail;
use crate::driver::program::{self, Known, Version};
use crate::driver::{Installed, Origin, ProgramError};

/// Debian has no package: it is a single file.
pub(super) const ORIGIN: Origin =
    Origin::Releases("https://github.com/firecracker-microvm/firecracker/releases");

const KNOWN: Known = Known {
    vmm: "Firecracker",
    origin: ORIGIN,
    option: "--version",
    parse: version,
    oldest: Version(1, 4, 0),
    why: "older ones have no entropy device, and guests wait for random numbers",
};

/// Returns Firecracker's program and its first arguments; `configured` overrides it and may hold
/// arguments after blanks.
pub(super) fn program(configured: Option<&str>) -> Vec<String> {
    program::words(configured, "firecracker")
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
    let (program, version) = KNOWN.find(&firecracker(&program(configured)))?;
    Ok(Installed {
        program,
        version: version.to_string(),
        limitation: None,
    })
}

/// Finds the version in what `firecracker --version` prints: `Firecracker v1.10.1`.
fn version(text: &str) -> Option<Version> {
    Version::at_start(text.trim().strip_prefix("Firecracker v")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed() {
        for (text, expected) in [
            ("Firecracker v1.10.1", Some(Version(1, 10, 1))),
            ("Firecracker v1.14.0-dev", Some(Version(1, 14, 0))),
            ("Firecracker v1.4", Some(Version(1, 4, 0))),
            ("Firecracker", None),
            ("", None),
            ("QEMU emulator version 10.0.2", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
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
