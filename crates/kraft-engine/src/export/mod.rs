//! Manifests for other engines: what Docker, Kubernetes, libvirt and others need to run an image.
//!
//! ```text
//! PROJECT or IMAGE ─ source ─► Workload ─ export ─► files ─ write ─► a directory
//!                                        one pure module per engine
//! ```
//!
//! The pure part takes plain values and returns texts. Every value is hostile: it is quoted for the format,
//! or refused with a sentence where the format has no way to write it.
//!
//! ```
//! use kraft_engine::export::{Engine, Workload, export};
//!
//! let web = Workload {
//!     ports: kraft_core::port::parse("8080:80")?,
//!     ..Workload::new("web", &"registry.example/web:1.0".parse()?)
//! };
//! let exported = export(Engine::Kubernetes, &[web]).expect("a manifest");
//! assert_eq!(exported.files[0].name, "kubernetes.yaml");
//! assert!(exported.files[0].text.contains("runtimeClassName: runu"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kraft_core::lifecycle::{HealthCheck, RestartPolicy};
use kraft_core::mount::Volume;
use kraft_core::port::{PortMapping, Protocol};
use kraft_core::reference::Reference;

pub mod source;
pub mod write;

mod compose;
mod kubernetes;
mod kubevirt;
mod libvirt;
mod nomad;
mod quote;
mod shell;
mod systemd;
#[cfg(test)]
mod tests;

/// Where `make install` and the packages of kraft put the runtime.
const RUNU: &str = "/usr/local/bin/runu";
/// Where they put kraft.
const KRAFT: &str = "/usr/local/bin/kraft";

/// What a manifest is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `docker run`.
    Docker,
    /// `docker compose`.
    Compose,
    /// `docker stack deploy`.
    Swarm,
    /// `ctr`, and containerd's CRI.
    Containerd,
    /// podman: a unit of systemd, and a Pod for `podman kube play`.
    Podman,
    /// `kubectl apply`, with `runu` on the nodes.
    Kubernetes,
    /// `kubectl apply`, with `KubeVirt` in the cluster.
    Kubevirt,
    /// `virsh define`.
    Libvirt,
    /// `nomad job run`.
    Nomad,
    /// A unit that runs `kraft run`.
    Systemd,
}

impl Engine {
    /// Returns whether it boots the kernel itself, instead of the image by `runu` or kraft.
    pub fn boots_kernels(self) -> bool {
        matches!(self, Self::Kubevirt | Self::Libvirt)
    }
}

/// A unikernel to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name, also as a host: see [`name_of`].
    pub name: String,
    /// Its image, with its registry.
    pub image: String,
    /// The architecture of the image as Linux names it, if it has only one.
    pub arch: Option<&'static str>,
    /// Arguments instead of those of the image; none for the image's.
    pub args: Vec<String>,
    /// Variables over those of the image.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Published ports; those without a port of the host have any.
    pub ports: Vec<PortMapping>,
    /// Memory of the guest, in bytes.
    pub memory: Option<u64>,
    /// Number of processors.
    pub cpus: Option<u32>,
    /// Number of machines.
    pub replicas: u32,
    /// Directories and named volumes.
    pub volumes: Vec<Volume>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// How its health is checked.
    pub health: Option<HealthCheck>,
    /// What an engine boots that starts the kernel itself.
    pub kernel: Option<KernelFiles>,
}

/// What boots without the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFiles {
    /// The kernel on this host.
    pub kernel: PathBuf,
    /// Its root archive on this host.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub line: String,
    /// The architecture as libvirt names it: `x86_64`, `aarch64`.
    pub arch: &'static str,
    /// Memory, in bytes.
    pub memory: u64,
}

impl Workload {
    /// Returns a workload with the settings of its image.
    pub fn new(name: &str, image: &Reference) -> Self {
        let image = image.qualified().to_string();
        // The host of Docker Hub has another name in images.
        let image = match image.strip_prefix("index.docker.io/") {
            Some(rest) => format!("docker.io/{rest}"),
            None => image,
        };
        Self {
            name: name.to_owned(),
            image,
            arch: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            memory: None,
            cpus: None,
            replicas: 1,
            volumes: Vec::new(),
            restart: RestartPolicy::No,
            health: None,
            kernel: None,
        }
    }

    /// Returns the ports inside, each once.
    fn inner_ports(&self) -> BTreeSet<(u16, Protocol)> {
        let ports = self.ports.iter();
        ports.map(|it| (it.machine_port, it.protocol)).collect()
    }
}

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its name in the directory.
    pub name: String,
    /// Its text; empty for a copy.
    pub text: String,
    /// What it is.
    pub part: Part,
}

/// What an exported file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the engine is given.
    Manifest,
    /// A setting of hosts, also shown at the top of the manifest.
    Host,
    /// A copy of this file.
    Copy(PathBuf),
}

/// An export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The files: the manifests first.
    pub files: Vec<ExportedFile>,
    /// What the engine does without, as sentences.
    pub notes: Vec<String>,
}

impl Exported {
    fn manifest(&mut self, name: impl Into<String>, text: String) {
        self.files.push(ExportedFile {
            name: name.into(),
            text,
            part: Part::Manifest,
        });
    }

    fn host(&mut self, name: &str, text: &str) {
        self.files.push(ExportedFile {
            name: name.to_owned(),
            text: text.to_owned(),
            part: Part::Host,
        });
    }

    /// Notes something once.
    fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Notes settings that an engine has no place for.
    fn without(&mut self, engine: &str, workload: &Workload, unsupported: &[(&str, bool)]) {
        for (what, asked) in unsupported {
            if *asked {
                self.note(format!(
                    "`{}`: {what} not exported: {engine} has none",
                    workload.name
                ));
            }
        }
    }
}

/// Exports workloads.
///
/// # Errors
///
/// Every reason why they cannot be written for this engine, as a sentence each.
pub fn export(engine: Engine, workloads: &[Workload]) -> Result<Exported, Vec<String>> {
    let mut wrong = check(workloads);
    let mut out = Exported::default();
    if wrong.is_empty() {
        match engine {
            Engine::Docker => shell::docker(workloads, &mut out),
            Engine::Containerd => shell::containerd(workloads, &mut out),
            Engine::Compose => compose::compose(workloads, &mut out),
            Engine::Swarm => compose::swarm(workloads, &mut out),
            Engine::Podman => systemd::podman(workloads, &mut out, &mut wrong),
            Engine::Systemd => systemd::kraft(workloads, &mut out, &mut wrong),
            Engine::Kubernetes => kubernetes::kubernetes(workloads, &mut out, &mut wrong),
            Engine::Kubevirt => kubevirt::kubevirt(workloads, &mut out, &mut wrong),
            Engine::Libvirt => libvirt::libvirt(workloads, &mut out, &mut wrong),
            Engine::Nomad => nomad::nomad(workloads, &mut out, &mut wrong),
        }
    }
    // Manifests first.
    out.files.sort_by_key(|file| file.part != Part::Manifest);
    if wrong.is_empty() {
        Ok(out)
    } else {
        Err(wrong)
    }
}

/// Checks what no engine can have.
fn check(workloads: &[Workload]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for workload in workloads {
        let name = &workload.name;
        if name_of(name) != *name {
            wrong.push(format!(
                "`{}` is not a valid name: expected at most 63 lowercase letters, digits and `-`, and a \
                 letter first, as in `{}`",
                shown(name),
                name_of(name)
            ));
        }
        if !names.insert(name) {
            wrong.push(format!("the name `{}` is used twice", shown(name)));
        }
        let variables = workload.env.iter();
        let labels = workload.labels.iter();
        for (key, value) in variables.chain(labels) {
            if key.is_empty() || key.contains(['=', '\0', '\n']) || value.contains('\0') {
                wrong.push(format!(
                    "`{}` is not the name of a variable or a label, or its value has a NUL byte",
                    shown(key)
                ));
            }
        }
        if workload.args.iter().any(|arg| arg.contains('\0')) {
            wrong.push("an argument has a NUL byte".to_owned());
        }
        for volume in &workload.volumes {
            let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if let Some(name) = volume
                .name
                .as_deref()
                .filter(|name| !name.chars().all(fine))
            {
                wrong.push(format!(
                    "`{}` is not the name of a volume: expected letters, digits, `-`, `_` and `.`",
                    shown(name)
                ));
            }
            let paths = [volume.source.to_str(), Some(volume.destination.as_str())];
            let hostile =
                |path: &str| path.contains([':', ',', '"']) || path.contains(char::is_control);
            if paths.iter().any(|path| path.is_none_or(hostile)) {
                wrong.push(format!(
                    "the volume for `{}` has a path that engines cannot mount: it has `:`, `,`, a quote or a \
                     control character",
                    shown(&volume.destination)
                ));
            }
        }
    }
    wrong
}

/// Returns the valid name that is nearest to a text: lowercase letters, digits and `-`, at most 63, a
/// letter first (the label of a host: RFC 1035, as Kubernetes wants for services).
///
/// ```
/// use kraft_engine::export::name_of;
///
/// assert_eq!(name_of("My_App"), "my-app");
/// assert_eq!(name_of("web"), "web");
/// assert_eq!(name_of("7zip-"), "app-7zip");
/// ```
pub fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "app-");
    }
    name.truncate(63);
    name.trim_end_matches('-').to_owned()
}

/// Returns a text of unknown origin for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Returns the source of a volume as an engine names it: the name of a volume, or a directory.
fn volume_source(volume: &Volume) -> String {
    match &volume.name {
        Some(name) => name.clone(),
        None => volume.source.to_string_lossy().into_owned(),
    }
}

/// Returns a volume as Docker, Nomad and kraft write it: `SOURCE:DESTINATION[:ro]`.
fn volume_word(volume: &Volume) -> String {
    let read_only = if volume.read_only { ":ro" } else { "" };
    format!(
        "{}:{}{read_only}",
        volume_source(volume),
        volume.destination
    )
}

/// The command of a health check, which `runu` understands.
fn probe(check: &HealthCheck) -> [String; 3] {
    use kraft_core::lifecycle::HealthProbe;

    let (kind, target) = match &check.probe {
        HealthProbe::Tcp { port } => ("tcp", port.to_string()),
        HealthProbe::Http { port, path } => ("http", format!("{port}{path}")),
    };
    ["runu-probe".to_owned(), kind.to_owned(), target]
}

/// Returns a text whose lines are comments, with a `#` each.
fn comment(text: &str) -> String {
    let lines = text.lines().map(|line| match line {
        "" => "#\n".to_owned(),
        line => format!("# {line}\n"),
    });
    lines.collect()
}
