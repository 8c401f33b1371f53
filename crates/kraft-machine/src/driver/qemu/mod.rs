//! QEMU, 4.2 and newer: which program, what it can do, and what it is told while it runs.

use std::ffi::OsStr;

use kraft_core::arch::Arch;
use kraft_core::kernel::BootProtocol;
use kraft_sys::tool;

mod argv;

pub use argv::argv;
pub(crate) use argv::{KVM_ARM_BOARD, KVM_ARM_CPU, KVM_X86_BOARD, KVM_X86_CPU};

/// What QEMU reads from its diary's other end: without the handshake it writes no events, and it
/// is started with the guest held (`-S`), so that even a guest that ends at once is let go only
/// when its end will be written down.
pub(crate) const HANDSHAKE: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";

/// The oldest version whose command line we speak.
pub const OLDEST: Version = Version(4, 2, 0);

/// Returns QEMU's program for an architecture; `given` overrides it and may hold arguments after
/// blanks.
pub fn program(arch: Arch, given: Option<&str>) -> Vec<String> {
    let words: Vec<String> = given
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
pub const fn program_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
        Arch::Arm => "qemu-system-arm",
    }
}

/// Returns the Debian package that has the program.
pub const fn package(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Arm64 | Arch::Arm => "qemu-system-arm",
    }
}

/// A version of QEMU: major, minor, micro.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Finds the version in what `qemu-system-… -version` prints:
    /// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, after) = text.lines().next()?.split_once(" version ")?;
        let number = after
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()?;
        let mut parts = number.split('.').map(str::parse);
        let mut part = || parts.next()?.ok();
        Some(Self(part()?, part()?, part().unwrap_or(0)))
    }
}

/// Returns whether QEMU may be confined: not if the arguments that were configured for it do that
/// themselves, or ask for a network device that is set up by another program.
pub(crate) fn may_be_sandboxed(program: &[String]) -> bool {
    let needs_programs = |word: &String| {
        let value = |kind: &str| {
            word.strip_prefix(kind)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        };
        word.trim_start_matches('-') == "sandbox"
            || value("tap")
            || value("bridge")
            || word.contains("exec:")
    };
    !program.iter().skip(1).any(needs_programs)
}

/// Returns whether what QEMU printed says that it cannot be confined: it was built without that,
/// or the kernel has no filters for system calls.
pub(crate) fn refuses_sandbox(said: &str) -> bool {
    said.contains("sandbox") || said.contains("seccomp")
}

/// Tells whether QEMU's small, fast x86 firmware is installed beside the program and boots that
/// kind of kernel with all it needs.
///
/// qboot does not route the old interrupt controller to the processor. Linux does that itself;
/// Unikraft relies on the firmware for it and would sleep for ever.
pub(crate) fn has_fast_firmware(boot: BootProtocol, program: &[String]) -> bool {
    let boots = match boot {
        BootProtocol::LinuxBzImage => true,
        BootProtocol::Multiboot | BootProtocol::Arm64Image | BootProtocol::Linux64 => false,
    };
    let installed = || {
        let program = tool::locate(OsStr::new(program.first()?))?;
        let prefix = program.parent()?.parent()?;
        Some(prefix.join("share/qemu").join(FAST_FIRMWARE).is_file())
    };
    boots && installed().unwrap_or(false)
}

/// The file name of the small firmware, as QEMU finds it in its own directories.
pub(crate) const FAST_FIRMWARE: &str = "qboot.rom";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_distributions_print() {
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
    fn arguments_that_start_programs_keep_qemu_out_of_the_sandbox() {
        let may = |line: &str| may_be_sandboxed(&program(Arch::X86_64, Some(line)));
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
}
