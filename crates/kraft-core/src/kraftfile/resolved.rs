//! The fully resolved project: the output of `kraft check -o json`.
//!
//! Defaults are applied, variables expanded, names derived. Field names are stable:
//! `docs/kraftfile.md` lists them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{
    Component, Filesystem, FilesystemFormat, KconfigOption, Kraftfile, RuntimeKernel, Spec,
};

/// A project with all defaults applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resolved {
    /// The version of the format, such as `v0.6`.
    pub spec: Spec,
    /// The normalised name.
    pub name: String,
    /// The name as written, or that of the directory.
    pub raw_name: String,
    /// The output directory for kernels, relative to the project.
    pub outdir: String,
    /// The Unikraft core.
    pub unikraft: Option<ResolvedComponent>,
    /// External libraries in the order of the file.
    pub libraries: Vec<ResolvedLibrary>,
    /// The build targets.
    pub targets: Vec<ResolvedTarget>,
    /// The template.
    pub template: Option<ResolvedComponent>,
    /// The prebuilt kernel.
    pub runtime: Option<ResolvedRuntime>,
    /// The root filesystem.
    pub rootfs: Option<ResolvedFilesystem>,
    /// Additional filesystems.
    pub roms: Vec<ResolvedFilesystem>,
    /// Mounted directories.
    pub volumes: Vec<ResolvedVolume>,
    /// Arguments for the kernel: those before a `--`.
    pub kernel_args: Vec<String>,
    /// Arguments for the application; `null` if not specified.
    pub cmd: Option<Vec<String>>,
    /// Environment variables in order.
    pub env: Vec<ResolvedVariable>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Extension keys of the author.
    pub extensions: Map<String, Value>,
}

/// A component and its directory in the project.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedComponent {
    /// A URL or path.
    pub source: Option<String>,
    /// A channel, tag, branch or commit.
    pub version: Option<String>,
    /// Kconfig options, values as text.
    pub kconfig: Map<String, Value>,
    /// The directory of its source; `null` if its name is unknown.
    pub path: Option<String>,
}

/// A library.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedLibrary {
    /// Its name.
    pub name: String,
    /// The Kconfig option that enables it.
    pub symbol: String,
    /// Its source.
    #[serde(flatten)]
    pub component: ResolvedComponent,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedTarget {
    /// The prefix of its file names.
    pub name: String,
    /// The platform by its short name.
    pub platform: String,
    /// The architecture.
    pub architecture: String,
    /// Path of the kernel.
    pub kernel: String,
    /// Path of the kernel with debug information.
    pub kernel_debug: String,
    /// Path of the configuration.
    pub config: String,
    /// Kconfig options, values as text.
    pub kconfig: Map<String, Value>,
    /// Arguments for this target.
    pub cmd: Option<Vec<String>>,
}

/// A prebuilt kernel: either a package or a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedRuntime {
    /// The name of the package.
    pub name: Option<String>,
    /// Its tag or digest.
    pub version: Option<String>,
    /// The kernel file.
    pub kernel: Option<String>,
    /// Kconfig options that it must have been built with.
    pub kconfig: Map<String, Value>,
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedFilesystem {
    /// The path as written.
    pub path: Option<String>,
    /// The Dockerfile, if specified as such.
    pub dockerfile: Option<String>,
    /// The type of the path, if specified or implied by a Dockerfile.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `cpio` or `erofs`.
    pub format: FilesystemFormat,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedVolume {
    /// A directory or named volume.
    pub source: String,
    /// Mount point in the machine.
    pub destination: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// The driver that shares it.
    pub driver: String,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedVariable {
    /// Its name.
    pub name: String,
    /// Its value; `null` inherits that of the host.
    pub value: Option<String>,
}

impl Kraftfile {
    /// Applies all defaults; `directory` is the name of the file's directory.
    pub fn resolve(&self, directory: &str) -> Resolved {
        let cmd: Option<Vec<String>> = self
            .cmd
            .as_ref()
            .map(|cmd| cmd.iter().map(|a| a.value.clone()).collect());
        let (kernel_args, cmd) = match cmd {
            Some(cmd) => split_arguments(cmd),
            None => (Vec::new(), None),
        };
        Resolved {
            spec: self.spec,
            name: self.project_name(directory),
            raw_name: self.raw_name(directory).to_owned(),
            outdir: self.build_directory().to_owned(),
            unikraft: self
                .unikraft
                .as_ref()
                .map(|c| component(c, Some(".unikraft/unikraft".to_owned()))),
            libraries: self.libraries.iter().map(library).collect(),
            targets: self
                .targets
                .iter()
                .map(|t| self.resolve_target(t, directory))
                .collect(),
            template: self.template.as_ref().map(|c| {
                let path = c
                    .template_name()
                    .map(|name| format!(".unikraft/apps/{name}"));
                component(c, path)
            }),
            runtime: self.runtime.as_ref().map(runtime),
            rootfs: self.rootfs.as_ref().map(filesystem),
            roms: self.roms.iter().map(filesystem).collect(),
            volumes: self.volumes.iter().map(volume).collect(),
            kernel_args,
            cmd,
            env: self
                .env
                .iter()
                .map(|var| ResolvedVariable {
                    name: var.name.value.clone(),
                    value: var.value.as_ref().map(|v| v.value.clone()),
                })
                .collect(),
            labels: self
                .labels
                .iter()
                .map(|(key, value)| (key.value.clone(), value.value.clone()))
                .collect(),
            extensions: self.extensions.iter().cloned().collect(),
        }
    }

    fn resolve_target(&self, target: &super::Target, directory: &str) -> ResolvedTarget {
        let name = match &target.name {
            Some(name) => name.value.clone(),
            None => self.raw_name(directory).to_owned(),
        };
        ResolvedTarget {
            name,
            platform: target.platform.value.clone(),
            architecture: target.architecture.value.clone(),
            kernel: self.kernel_path(target, directory),
            kernel_debug: self.debug_kernel_path(target, directory),
            config: self.config_file_name(target, directory),
            kconfig: options(&target.kconfig),
            cmd: target
                .cmd
                .as_ref()
                .map(|cmd| cmd.iter().map(|a| a.value.clone()).collect()),
        }
    }
}

/// Splits at the first `--`: kernel arguments before it, application arguments after it.
fn split_arguments(mut all: Vec<String>) -> (Vec<String>, Option<Vec<String>>) {
    match all.iter().position(|argument| argument == "--") {
        Some(at) => {
            let application = all.split_off(at).into_iter().skip(1).collect();
            (all, Some(application))
        }
        None => (Vec::new(), Some(all)),
    }
}

fn text(value: Option<&crate::document::located::Located<String>>) -> Option<String> {
    value.map(|v| v.value.clone())
}

fn options(options: &[KconfigOption]) -> Map<String, Value> {
    options
        .iter()
        .map(|(key, value)| (key.value.clone(), value.value.clone().into()))
        .collect()
}

fn component(component: &Component, path: Option<String>) -> ResolvedComponent {
    ResolvedComponent {
        source: text(component.source.as_ref()),
        version: text(component.version.as_ref()),
        kconfig: options(&component.kconfig),
        path,
    }
}

fn library(library: &super::Library) -> ResolvedLibrary {
    ResolvedLibrary {
        name: library.name.value.clone(),
        symbol: library.symbol(),
        component: component(&library.component, Some(library.directory())),
    }
}

fn runtime(runtime: &super::Runtime) -> ResolvedRuntime {
    let (name, version, kernel) = match &runtime.kernel {
        RuntimeKernel::Package { name, version } => {
            (Some(name.value.clone()), text(version.as_ref()), None)
        }
        RuntimeKernel::File(path) => (None, None, Some(path.value.clone())),
    };
    ResolvedRuntime {
        name,
        version,
        kernel,
        kconfig: options(&runtime.kconfig),
    }
}

fn filesystem(filesystem: &Filesystem) -> ResolvedFilesystem {
    let by_file = filesystem
        .dockerfile
        .as_ref()
        .map(|_| "dockerfile".to_owned());
    ResolvedFilesystem {
        path: text(filesystem.path.as_ref()),
        dockerfile: text(filesystem.dockerfile.as_ref()),
        kind: text(filesystem.kind.as_ref()).or(by_file),
        format: filesystem
            .format
            .as_ref()
            .map_or(FilesystemFormat::Cpio, |f| f.value),
    }
}

fn volume(volume: &super::Volume) -> ResolvedVolume {
    ResolvedVolume {
        source: volume.source.value.clone(),
        destination: volume.destination.value.clone(),
        read_only: volume.read_only,
        driver: text(volume.driver.as_ref()).unwrap_or_else(|| "9pfs".to_owned()),
    }
}
