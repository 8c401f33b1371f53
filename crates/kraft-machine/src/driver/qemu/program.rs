//! QEMU's program: which one, its version, and what it can do.

use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::MachineSpec;
use kraft_sys::tool::{self, Tool};

use crate::driver::{Installed, Limitation, Origin, ProgramError};

/// The oldest version that understands our command line.
pub(super) const OLDEST: Version = Version(4, 2, 0);

/// The first version whose translator has RDSEED, which Unikraft's random numbers need.
const RDSEED: Version = Version(8, 0, 0);

/// How long QEMU may take to print its version.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The file name of QEMU's small x86 firmware in its own directories.
pub(super) const FAST_FIRMWARE: &str = "qboot.rom";

/// Returns QEMU's program for an architecture and its first arguments; `configured` overrides it
/// and may hold arguments after blanks.
pub(super) fn program(arch: Arch, configured: Option<&str>) -> Vec<String> {
    let words: Vec<String> = configured
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        vec![program_name(arch).to_owned()]
    } else {
        words
    }
}

/// Returns the usual name of QEMU's program for an architecture.
const fn program_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
        Arch::Arm => "qemu-system-arm",
    }
}

/// Returns where the program comes from.
pub(super) const fn origin(arch: Arch) -> Origin {
    Origin::Package(match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Arm64 | Arch::Arm => "qemu-system-arm",
    })
}

/// Finds the QEMU for an architecture and checks its version.
pub(super) fn find(arch: Arch, configured: Option<&str>) -> Result<Installed, ProgramError> {
    let words = program(arch, configured);
    let name = words.first().cloned().unwrap_or_default();
    let path = tool::locate(name.as_ref()).ok_or_else(|| ProgramError::NotFound {
        program: name,
        origin: origin(arch),
    })?;
    let program = path.display().to_string();
    let output = Tool::new(&path)
        .args(words.iter().skip(1))
        .args(["-version"])
        .limit(TIMEOUT)
        .run()
        .map_err(|source| ProgramError::NoVersion {
            program: program.clone(),
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.lines().next().unwrap_or_default().to_owned();
    tracing::debug!(program, text, "asked QEMU for its version");
    match Version::parse(&text) {
        None => Err(ProgramError::Unrecognized {
            program,
            vmm: "QEMU",
            text,
        }),
        Some(version) if version < OLDEST => Err(ProgramError::TooOld {
            program,
            vmm: "QEMU",
            version: version.to_string(),
            oldest: OLDEST.to_string(),
            why: "older ones do not know the options that kraft uses",
        }),
        Some(version) => Ok(Installed {
            program: path,
            version: version.to_string(),
            limitation: limitation(version, arch),
        }),
    }
}

fn limitation(version: Version, arch: Arch) -> Option<Limitation> {
    (version < RDSEED && arch == Arch::X86_64).then_some(Limitation {
        what: "without KVM it lacks RDSEED, which Unikraft needs",
        hint: "install QEMU 8 or newer (Debian 12: from bookworm-backports)",
    })
}

/// A version of QEMU: major, minor, micro.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version(u32, u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Finds the version in what `qemu-system-… -version` prints:
    /// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
    fn parse(text: &str) -> Option<Self> {
        let (_, after) = text.lines().next()?.split_once(" version ")?;
        let number = after
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()?;
        let mut parts = number.split('.').map(str::parse);
        let mut part = || parts.next()?.ok();
        Some(Self(part()?, part()?, part().unwrap_or(0)))
    }
}

/// Returns whether QEMU may be confined: not if its configured arguments do that themselves, or
/// configure a network device that another program sets up.
pub(super) fn can_be_sandboxed(program: &[String]) -> bool {
    let starts_programs = |word: &String| {
        let value = |kind: &str| {
            word.strip_prefix(kind)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        };
        word.trim_start_matches('-') == "sandbox"
            || value("tap")
            || value("bridge")
            || word.contains("exec:")
    };
    !program.iter().skip(1).any(starts_programs)
}

/// Returns whether QEMU's log says that it cannot be confined: it was built without that, or the
/// kernel has no filters for system calls.
pub(super) fn refused_sandbox(log: &str) -> bool {
    log.contains("sandbox") || log.contains("seccomp")
}

/// Returns whether QEMU's small, fast x86 firmware is installed beside the program and can boot
/// this kind of kernel.
///
/// qboot does not route the legacy interrupt controller to the processor. Linux and the built-in
/// runtime do that themselves; Unikraft relies on the firmware for it and would sleep for ever.
pub(super) fn has_fast_firmware(spec: &MachineSpec, program: &[String]) -> bool {
    let boots = match spec.boot {
        BootProtocol::LinuxBzImage => true,
        BootProtocol::Pvh => matches!(spec.guest, Guest::Runtime | Guest::Other),
        BootProtocol::Multiboot | BootProtocol::Arm64Image | BootProtocol::Linux64 => false,
    };
    let installed = || {
        let program = tool::locate(OsStr::new(program.first()?))?;
        let prefix = program.parent()?.parent()?;
        Some(prefix.join("share/qemu").join(FAST_FIRMWARE).is_file())
    };
    boots && installed().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_parsed() {
        for (text, version) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright",
                Some(Version(10, 0, 2)),
            ),
            ("QEMU emulator version 4.2.0", Some(Version(4, 2, 0))),
            ("QEMU emulator version 9.1", Some(Version(9, 1, 0))),
            (
                "QEMU emulator version 8.2.94 (v9.0.0-rc4)",
                Some(Version(8, 2, 94)),
            ),
            ("QEMU emulator version x", None),
            ("", None),
            ("GNU bash, version 5.2", Some(Version(5, 2, 0))),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version(4, 10, 0) > OLDEST && Version(4, 1, 9) < OLDEST);
    }

    #[test]
    fn a_configured_program_may_have_arguments() {
        assert_eq!(program(Arch::Arm64, None), ["qemu-system-aarch64"]);
        assert_eq!(program(Arch::Arm64, Some("  ")), ["qemu-system-aarch64"]);
        assert_eq!(
            program(Arch::X86_64, Some("/opt/qemu -L /opt/share")),
            ["/opt/qemu", "-L", "/opt/share"]
        );
    }

    #[test]
    fn arguments_that_start_programs_disable_the_sandbox() {
        let may = |line: &str| can_be_sandboxed(&program(Arch::X86_64, Some(line)));
        for line in [
            "",
            "qemu",
            "/opt/sandbox/qemu -L /tap",
            "qemu -netdev user,id=a",
        ] {
            assert!(may(line), "{line}");
        }
        for line in [
            "qemu -sandbox off",
            "qemu --sandbox on",
            "qemu -netdev tap,id=a,script=/etc/up",
            "qemu -nic bridge,br=br0",
            "qemu -nic tap",
            "qemu -incoming exec:cat",
        ] {
            assert!(!may(line), "{line}");
        }
    }

    #[test]
    fn a_program_that_is_not_qemu_is_reported() {
        let error = |program: &str| find(Arch::X86_64, Some(program)).unwrap_err();
        assert!(matches!(
            error("/no/such/qemu"),
            ProgramError::NotFound { .. }
        ));
        assert!(matches!(error("false"), ProgramError::NoVersion { .. }));
        let other = error("echo hello").to_string();
        assert!(
            other.ends_with("does not look like QEMU: it prints `hello -version`"),
            "{other}"
        );
        let old = error("echo QEMU emulator version 4.1.9").to_string();
        assert_eq!(
            old,
            "QEMU 4.1.9 is too old: 4.2.0 or newer is needed (older ones do not know the options that kraft uses)"
        );
    }

    #[test]
    fn only_an_old_qemu_for_x86_has_a_limitation() {
        for (version, arch, limited) in [
            (Version(7, 2, 0), Arch::X86_64, true),
            (Version(7, 2, 0), Arch::Arm64, false),
            (Version(8, 0, 0), Arch::X86_64, false),
        ] {
            assert_eq!(limitation(version, arch).is_some(), limited, "{version}");
        }
    }
}
