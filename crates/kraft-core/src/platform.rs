//! Platforms: the virtual machine monitors a unikernel is built for.
//!
//! ```
//! use kraft_core::platform::Platform;
//!
//! let platform: Platform = "qemu".parse()?;
//! assert_eq!(platform, Platform::Qemu);
//! assert_eq!(platform.title(), "QEMU");
//! assert!("docker".parse::<Platform>().is_err());
//! # Ok::<(), kraft_core::platform::UnknownPlatform>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform, named as in KraftKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Platform {
    /// QEMU, with or without KVM.
    #[serde(rename = "qemu")]
    Qemu,
    /// Firecracker.
    #[serde(rename = "fc")]
    Firecracker,
    /// Xen.
    #[serde(rename = "xen")]
    Xen,
}

impl Platform {
    /// Every platform, in the order they are offered to users.
    pub const ALL: [Self; 3] = [Self::Qemu, Self::Firecracker, Self::Xen];

    /// Returns the short name used in Kraftfiles, flags, images and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "fc",
            Self::Xen => "xen",
        }
    }

    /// Returns the name of its virtual machine monitor for messages.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::Firecracker => "Firecracker",
            Self::Xen => "Xen",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of a supported platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown platform `{0}`: expected qemu (or kvm), fc (or firecracker) or xen")]
pub struct UnknownPlatform(pub String);

impl FromStr for Platform {
    type Err = UnknownPlatform;

    /// Parses a name as users type it; the aliases `kvm` and `firecracker` are accepted.
    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        match text {
            "qemu" | "kvm" => Ok(Self::Qemu),
            "fc" | "firecracker" => Ok(Self::Firecracker),
            "xen" => Ok(Self::Xen),
            _ => Err(UnknownPlatform(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_parsed() {
        for platform in Platform::ALL {
            assert_eq!(platform.name().parse(), Ok(platform));
        }
        assert_eq!("kvm".parse(), Ok(Platform::Qemu));
        assert_eq!("firecracker".parse(), Ok(Platform::Firecracker));
        assert_eq!(
            "linuxu".parse::<Platform>(),
            Err(UnknownPlatform("linuxu".into()))
        );
    }
}
