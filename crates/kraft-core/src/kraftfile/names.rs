//! Names derived from a Kraftfile: of projects, kernels, configurations and sources.
//!
//! ```text
//! name: My-App, target kvm/x86_64
//!   project   my-app
//!   kernel    .unikraft/build/My-App_qemu-x86_64
//!   config    .config.My-App_qemu-x86_64
//! ```
//!
//! All paths are relative to the directory of the Kraftfile.

use super::model::{Component, Kraftfile, Library, Spec, Target};

/// The default output directory.
const BUILD_DIRECTORY: &str = ".unikraft/build";

/// Returns a name in lower case, with only letters, digits, `_` and `-`, beginning with a letter or
/// digit.
pub fn normalised(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

impl Kraftfile {
    /// Returns the name as written, or by default that of the file's directory.
    pub fn raw_name<'a>(&'a self, directory: &'a str) -> &'a str {
        self.name
            .as_ref()
            .map_or(directory, |name| name.value.as_str())
    }

    /// Returns the normalised project name.
    pub fn project_name(&self, directory: &str) -> String {
        normalised(self.raw_name(directory))
    }

    /// Returns the output directory for kernels.
    pub fn build_directory(&self) -> &str {
        self.outdir
            .as_ref()
            .map_or(BUILD_DIRECTORY, |outdir| outdir.value.trim_end_matches('/'))
    }

    /// Returns the file name of a target's kernel.
    ///
    /// Up to v0.6 it contains the raw name, from v0.7 on the normalised one.
    pub fn kernel_file_name(&self, target: &Target, directory: &str) -> String {
        let raw = match &target.name {
            Some(name) => name.value.as_str(),
            None => self.raw_name(directory),
        };
        let name = if self.spec < Spec::V07 {
            raw.to_owned()
        } else {
            normalised(raw)
        };
        format!("{name}_{}-{}", *target.platform, *target.architecture)
    }

    /// Returns the path of a target's kernel.
    pub fn kernel_path(&self, target: &Target, directory: &str) -> String {
        format!(
            "{}/{}",
            self.build_directory(),
            self.kernel_file_name(target, directory)
        )
    }

    /// Returns the path of a target's kernel with debug information.
    pub fn debug_kernel_path(&self, target: &Target, directory: &str) -> String {
        format!("{}.dbg", self.kernel_path(target, directory))
    }

    /// Returns the file name of a target's configuration.
    pub fn config_file_name(&self, target: &Target, directory: &str) -> String {
        format!(".config.{}", self.kernel_file_name(target, directory))
    }
}

impl Library {
    /// Returns the directory of its source.
    pub fn directory(&self) -> String {
        format!(".unikraft/libs/{}", *self.name)
    }

    /// Returns the Kconfig option that enables it.
    pub fn symbol(&self) -> String {
        let name = self.name.to_uppercase();
        let name = name.strip_prefix("LIB").unwrap_or(&name);
        format!("CONFIG_LIB{name}")
    }
}

impl Component {
    /// Returns the name of a template by its source: the last path segment without prefix and
    /// extension.
    ///
    /// `https://github.com/unikraft/app-elfloader.git` is `elfloader`.
    pub fn template_name(&self) -> Option<&str> {
        let source = self.source.as_ref()?.value.as_str();
        let source = source.split_once('?').map_or(source, |(source, _)| source);
        let last = source.trim_end_matches('/').rsplit('/').next()?;
        let last = last.strip_suffix(".git").unwrap_or(last);
        let last = last.strip_suffix(".tar.gz").unwrap_or(last);
        let last = last.split_once(':').map_or(last, |(name, _)| name);
        let name = ["app-", "lib-", "plat-", "arch-"]
            .iter()
            .find_map(|kind| last.strip_prefix(kind))
            .unwrap_or(last);
        Some(name).filter(|name| !name.is_empty() && *name != "." && *name != "..")
    }
}
