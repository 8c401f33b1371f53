//! Reconstructs a Kraftfile and `.config` options from the records in a kernel.
//! A kernel does not record everything: sources of libraries are missing, as is which of them
//! belong to the core, and few kernels embed their configuration. The generated text marks what is
//! guessed or missing.

use std::fmt::Write as _;

use super::libinfo::LibInfo;
use crate::arch::Arch;
use crate::platform::Platform;

/// Prefixes of library names in Unikraft's own tree (`lib`, `drivers` and `plat` of 0.17).
const CORE_FAMILIES: [&str; 7] = [
    "libuk",
    "libposix_",
    "libvirtio_",
    "libxen",
    "libkvm",
    "libarm",
    "libmini",
];

/// Unikraft's libraries without such a prefix.
const CORE_LIBRARIES: [&str; 10] = [
    "lib9pfs",
    "libcontext",
    "libdevfs",
    "libfdt",
    "libisrlib",
    "libnolibc",
    "libramfs",
    "libsyscall_shim",
    "libubsan",
    "libvfscore",
];

/// Options that follow from the target, or from the build host.
const FOLLOWING: [&str; 8] = [
    "CONFIG_UK_APP",
    "CONFIG_UK_BASE",
    "CONFIG_UK_NAME",
    "CONFIG_UK_DEFNAME",
    "CONFIG_UK_FULLVERSION",
    "CONFIG_UK_CODENAME",
    "CONFIG_UK_ARCH",
    "CONFIG_HOST_ARCH",
];

/// Known facts about a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Name of the generated project.
    pub name: &'a str,
    /// Its architecture.
    pub arch: Arch,
    /// Its platform.
    pub platform: Platform,
    /// Its library records.
    pub info: &'a LibInfo<'a>,
    /// Options of the embedded configuration, strings without quotes.
    pub config: Option<&'a [(&'a str, &'a str)]>,
}

impl Facts<'_> {
    /// Returns a Kraftfile in format v0.6 for the kernel.
    #[must_use]
    pub fn kraftfile(&self) -> String {
        let mut text = String::from(
            "# Written by `kraft x probe` from the records in a kernel.\n\
             # A kernel does not record where its components came from.\n\
             spec: v0.6\n",
        );
        let name = self.name.replace(char::is_control, "-");
        let _ = writeln!(text, "name: {}", quoted(&name));
        let version = self
            .info
            .core
            .as_ref()
            .and_then(|core| core.version.as_deref());
        text.push_str("unikraft:\n");
        match version {
            Some(full) => {
                // `0.17.0~eaf6fda1` is the release and the commit.
                let release = full.split('~').next().unwrap_or(full);
                let _ = writeln!(
                    text,
                    "  version: {}{}",
                    quoted(release),
                    built_from(full, release)
                );
            }
            None => text.push_str("  version: stable # not recorded\n"),
        }
        if let Some(config) = self.config {
            text.push_str("  kconfig:\n");
            for (name, value) in config
                .iter()
                .filter(|(name, value)| !value.is_empty() && is_asked_for(name))
            {
                let _ = writeln!(text, "    {name}: {}", quoted(value));
            }
        } else {
            text.push_str("  # The kernel has no embedded configuration.\n");
        }
        let mut heading = "libraries:\n";
        for library in &self.info.libraries {
            let Some(name) = library.name.as_deref().and_then(external) else {
                continue;
            };
            text.push_str(heading);
            heading = "";
            let _ = writeln!(
                text,
                "  {}:\n    version: stable # not recorded",
                quoted(name)
            );
        }
        let _ = write!(text, "targets:\n- {}/{}\n", self.platform, self.arch);
        text
    }

    /// Returns the names of options known to be `y` in a kernel without an embedded configuration:
    /// those of its target and of its libraries.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let arch = match self.arch {
            Arch::X86_64 => "CONFIG_ARCH_X86_64",
            Arch::Arm64 => "CONFIG_ARCH_ARM_64",
            Arch::Arm => "CONFIG_ARCH_ARM_32",
        };
        let platform = match self.platform {
            Platform::Qemu => ["CONFIG_PLAT_KVM", "CONFIG_KVM_VMM_QEMU"].as_slice(),
            Platform::Firecracker => &["CONFIG_PLAT_KVM", "CONFIG_KVM_VMM_FIRECRACKER"],
            Platform::Xen => &["CONFIG_PLAT_XEN"],
        };
        let libraries = self
            .info
            .libraries
            .iter()
            .filter_map(|library| library.name.as_deref())
            .filter(|name| name.starts_with("lib") && is_plain(name));
        let target = platform.iter().chain([&arch]);
        target
            .map(|option| (*option).to_owned())
            .chain(libraries.map(|name| format!("CONFIG_{}", name.to_ascii_uppercase())))
            .collect()
    }
}

/// Returns a comment about the commit, if the kernel recorded one that is valid in a comment.
fn built_from(full: &str, release: &str) -> String {
    if full == release || !full.bytes().all(|byte| byte.is_ascii_graphic()) {
        return String::new();
    }
    format!(" # built from {full}")
}

/// Returns the Kraftfile name of an external library.
fn external(name: &str) -> Option<&str> {
    let own = CORE_LIBRARIES.contains(&name)
        || CORE_FAMILIES.iter().any(|family| name.starts_with(family));
    if own || !is_plain(name) {
        return None;
    }
    name.strip_prefix("lib").filter(|name| !name.is_empty())
}

fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns whether a user may have set an option: it follows neither from the target nor from the
/// build host.
fn is_asked_for(name: &str) -> bool {
    let families = [
        "CONFIG_ARCH_",
        "CONFIG_PLAT_",
        "CONFIG_KVM_VMM_",
        "CONFIG_HAVE_",
        "CONFIG_CC_",
        "CONFIG_LD_",
    ];
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && !FOLLOWING.contains(&name) && !families.iter().any(|family| name.starts_with(family))
}

/// Returns a quoted string, valid in YAML and JSON, whose value is not changed by variable
/// expansion.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::libinfo::Info;
    use crate::kraftfile;

    fn info(version: &str, libraries: &[&str]) -> LibInfo<'static> {
        LibInfo {
            core: Some(Info {
                version: Some(version.to_owned()),
                ..Info::default()
            }),
            libraries: libraries
                .iter()
                .map(|name| Info {
                    name: Some((*name).to_owned()),
                    ..Info::default()
                })
                .collect(),
            config: None,
        }
    }

    fn read_back(text: &str) -> kraftfile::Kraftfile {
        let parsed = kraftfile::parse(text, &|_| None);
        assert!(parsed.problems.is_empty(), "{text}\n{:?}", parsed.problems);
        parsed.kraftfile.unwrap()
    }

    #[test]
    fn the_kraftfile_is_valid_and_lists_external_libraries() {
        let info = info(
            "0.17.0~eaf6fda1",
            &["apphello", "libukboot", "libnolibc", "liblwip"],
        );
        let config = [
            ("CONFIG_LWIP_TCP", "y"),
            ("CONFIG_ARCH_X86_64", "y"),
            ("CONFIG_UK_NAME", "a"),
            ("CONFIG_X", "$HOME \""),
        ];
        let facts = Facts {
            name: "hello\n- $PATH",
            arch: Arch::X86_64,
            platform: Platform::Firecracker,
            info: &info,
            config: Some(&config),
        };
        let text = facts.kraftfile();
        let kraftfile = read_back(&text);
        assert!(text.contains("- fc/x86_64\n") && text.contains("# built from 0.17.0~eaf6fda1\n"));
        let core = kraftfile.unikraft.as_ref().unwrap();
        assert_eq!(core.version.as_ref().unwrap().value, "0.17.0");
        assert_eq!(core.kconfig.len(), 2, "{text}");
        assert!(text.contains("CONFIG_X: \"$$HOME"), "{text}");
        assert_eq!(kraftfile.libraries.len(), 1);
        assert!(text.contains("\n  \"lwip\":\n"), "{text}");
    }

    #[test]
    fn kernels_without_records_have_a_valid_kraftfile() {
        let nothing = info("1\n# x: y", &["liblwip", "lib\ny: z", "lib"]);
        let facts = Facts {
            name: "k",
            arch: Arch::Arm64,
            platform: Platform::Qemu,
            info: &nothing,
            config: None,
        };
        read_back(&facts.kraftfile());
        assert_eq!(
            facts.options(),
            [
                "CONFIG_PLAT_KVM",
                "CONFIG_KVM_VMM_QEMU",
                "CONFIG_ARCH_ARM_64",
                "CONFIG_LIBLWIP",
                "CONFIG_LIB",
            ]
        );
    }
}
