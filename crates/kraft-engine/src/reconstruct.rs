//! Reconstructs the Kraftfile and the configuration of a kernel from the records that it contains.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::probe::{find, records};
//! use kraft_engine::project::TargetFilter;
//! use kraft_engine::reconstruct::reconstruct;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! // A kernel that Unikraft's build linked.
//! let kernel = Some("./web_qemu-x86_64".as_ref());
//! let files = find(&context, kernel, None, &TargetFilter::default())?;
//! let object = files.read(|_| true)?;
//! let project = reconstruct(&files, &object, &records(&object)?)?;
//! assert!(project.kraftfile.contains("name: web"));
//! # Ok(())
//! # }
//! ```

use kraft_core::arch::Arch;
use kraft_core::kernel::libinfo::LibInfo;
use kraft_core::kernel::reconstruct::Facts;
use kraft_core::kernel::{self, BootProtocol};
use kraft_core::platform::Platform;
use kraft_kconfig::DotConfig;
use kraft_sys::fs;

use crate::probe::{Error, KernelFiles, ObjectFile};

/// What a kernel was built from, as far as it contains that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconstruction {
    /// The Kraftfile. The sources of components are not recorded.
    pub kraftfile: String,
    /// The configuration: that of the kernel, or the options of its libraries.
    pub config: String,
    /// Whether the kernel contains its configuration.
    pub has_config: bool,
}

/// Reconstructs the project of a kernel from its library records.
///
/// # Errors
///
/// If its configuration is damaged, or its architecture is not supported.
pub fn reconstruct(
    files: &KernelFiles,
    object: &ObjectFile,
    info: &LibInfo<'_>,
) -> Result<Reconstruction, Error> {
    let text = files.config(info)?;
    let config = text.as_deref().map(DotConfig::parse);
    let arch = object.object()?.arch().ok_or(Error::Architecture)?;
    let platform = platform(files, config.as_ref());
    let name = project_name(&files.kernel.to_string_lossy(), platform, arch);
    let carried: Option<Vec<_>> = config.as_ref().map(|config| config.iter().collect());
    let facts = Facts {
        name: &name,
        arch,
        platform,
        info,
        config: carried.as_deref(),
    };
    Ok(Reconstruction {
        kraftfile: facts.kraftfile(),
        has_config: text.is_some(),
        config: text.unwrap_or_else(|| known_options(&facts)),
    })
}

/// Returns a partial `.config` of a kernel that does not contain its own.
fn known_options(facts: &Facts<'_>) -> String {
    let mut config = DotConfig::default();
    for option in facts.options() {
        config.set(option, "y");
    }
    format!(
        "# Written by `kraft x probe` from the names of the libraries of a kernel that does\n\
         # not contain its configuration: their options are missing.\n{}",
        config.text()
    )
}

/// Returns the platform of a kernel: by its target, its configuration or its boot protocol.
fn platform(files: &KernelFiles, config: Option<&DotConfig>) -> Platform {
    if let Some(platform) = files
        .target
        .as_ref()
        .and_then(|target| target.platform.parse().ok())
    {
        return platform;
    }
    let has = |name: &str| config.is_some_and(|config| config.value(name) == Some("y"));
    if has("CONFIG_KVM_VMM_FIRECRACKER") {
        return Platform::Firecracker;
    }
    if has("CONFIG_PLAT_XEN") {
        return Platform::Xen;
    }
    let boot = fs::open_file(&files.kernel)
        .ok()
        .and_then(|mut file| kernel::identify(&mut file).ok())
        .map(|image| image.boot);
    match boot {
        Some(BootProtocol::Linux64) => Platform::Firecracker,
        Some(
            BootProtocol::Multiboot
            | BootProtocol::Arm64Image
            | BootProtocol::LinuxBzImage
            | BootProtocol::Pvh,
        )
        | None => Platform::Qemu,
    }
}

/// Returns the name of the project of a kernel: kernels are named `NAME_PLATFORM-ARCH`.
fn project_name(kernel: &str, platform: Platform, arch: Arch) -> String {
    let file = kernel.rsplit('/').next().unwrap_or_default();
    let file = file.strip_suffix(".dbg").unwrap_or(file);
    let ending = format!("_{platform}-{arch}");
    file.strip_suffix(&ending).unwrap_or(file).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_as_its_kernel_without_the_target() {
        for (kernel, name) in [
            ("/a/.unikraft/build/web_qemu-x86_64", "web"),
            ("web_qemu-x86_64.dbg", "web"),
            ("web_fc-x86_64", "web_fc-x86_64"),
            ("kernel", "kernel"),
        ] {
            assert_eq!(project_name(kernel, Platform::Qemu, Arch::X86_64), name);
        }
    }
}
