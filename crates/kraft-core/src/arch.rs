//! Processor architectures a unikernel can be built for.
//!
//! ```
//! use kraft_core::arch::Arch;
//!
//! let arch: Arch = "arm64".parse()?;
//! assert_eq!(arch.name(), "arm64");
//! assert!("sparc".parse::<Arch>().is_err());
//! # Ok::<(), kraft_core::arch::UnknownArch>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A processor architecture, named as in KraftKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM.
    Arm,
}

/// The architecture of this host, by the name that Rust gives it.
pub const HOST: &str = std::env::consts::ARCH;

impl Arch {
    /// Returns the architecture of this host; `None` if no unikernel can be built for it.
    pub fn host() -> Option<Self> {
        HOST.parse().ok()
    }

    /// Every architecture, in the order they are offered to users.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Arm64, Self::Arm];

    /// Returns the name used in Kraftfiles, flags, images and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
            Self::Arm => "arm",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of a supported architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{0}`: expected x86_64, arm64 or arm")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    /// Parses a name as users type it; the aliases `amd64` and `aarch64` are accepted.
    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        match text {
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            "arm" => Ok(Self::Arm),
            _ => Err(UnknownArch(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_of_other_tools_are_parsed() {
        for arch in Arch::ALL {
            assert_eq!(arch.name().parse(), Ok(arch));
        }
        assert_eq!("amd64".parse(), Ok(Arch::X86_64));
        assert_eq!("aarch64".parse(), Ok(Arch::Arm64));
        assert_eq!("X86_64".parse::<Arch>(), Err(UnknownArch("X86_64".into())));
    }
}
