//! The fully resolved project as a document: what `kraft check -o json` prints.
//!
//! Defaults are applied, variables replaced, names derived. Field names are a
//! promise: `docs/kraftfile.md` lists them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{
    Component, Filesystem, FilesystemFormat, KconfigOption, Kraftfile, RuntimeKernel, Spec,
};

/// A project with nothing left to decide.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resolved {
    /// The version the file was read as, such as `v0.6`.
    pub spec: Spec,
    /// The normalised name.
    pub name: String,
    /// The name as written, or that of the directory.
    pub raw_name: String,
    /// Where kernels are built, relative to the project.
    pub outdir: String,
    /// The Unikraft core.
    pub unikraft: Option<ResolvedComponent>,
    /// External libraries in the order of the file.
    pub libraries: Vec<ResolvedLibrary>,
    /// What to build.
    pub targets: Vec<ResolvedTarget>,
    /// The template.
    pub template: Option<ResolvedComponent>,
    /// The ready kernel.
    pub runtime: Option<ResolvedRuntime>,
    /// The root filesystem.
    pub rootfs: Option<ResolvedFilesystem>,
    /// Further filesystems.
    pub roms: Vec<ResolvedFilesystem>,
    /// Shared directories.
    pub volumes: Vec<ResolvedVolume>,
    /// Arguments for the kernel: those before a `--`.
    pub kernel_args: Vec<String>,
    /// Arguments for the application; `null` where the file is silent.
    pub cmd: Option<Vec<String>>,
    /// Environment variables in order.
    pub env: Vec<ResolvedVariable>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Keys of the author's own.
    pub extensions: Map<String, Value>,
}

/// A component with its place in the project.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedComponent {
    /// A URL or path.
    pub source: Option<String>,
    /// A channel, tag, branch or commit.
    pub version: Option<String>,
    /// Options, values as text.
    pub kconfig: Map<String, Value>,
    /// Where its source is put; `null` if its name cannot be known.
    pub path: Option<String>,
}

/// A library.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedLibrary {
    /// Its name.
    pub name: String,
    /// The option that switches it on.
    pub symbol: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub component: ResolvedComponent,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedTarget {
    /// The name its files begin with.
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
    /// Options, values as text.
    pub kconfig: Map<String, Value>,
    /// Arguments for this target alone.
    pub cmd: Option<Vec<String>>,
}

/// A ready kernel: either a package or a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedRuntime {
    /// The name of the package.
    pub name: Option<String>,
    /// Its tag or digest.
    pub version: Option<String>,
    /// The kernel file.
    pub kernel: Option<String>,
    /// Options it must have been built with.
    pub kconfig: Map<String, Value>,
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedFilesystem {
    /// The path as written.
    pub path: Option<String>,
    /// The Dockerfile, if named as such.
    pub dockerfile: Option<String>,
    /// What the path is, if the author says or a Dockerfile is named.
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
    /// Where the machine sees it.
    pub destination: String,
    /// Whether the machine may only read it.
    pub read_only: bool,
    /// How it is shared.
    pub driver: String,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedVariable {
    /// Its name.
    pub name: String,
    /// Its value; `null` takes that of the host.
    pub value: Option<String>,
}

impl Kraftfile {
    /// Applies every default; `directory` is the name of the directory the file lies in.
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

/// Splits at the first `--`: before it the kernel's, after it the application's.
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
