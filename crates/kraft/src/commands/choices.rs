//! Choices of flows, with their names on the command line.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use kraft_deploy::deploy::target::TargetKind;
use kraft_deploy::rollout::{self, Qualifier};
use kraft_engine::dockerfile::Builder;
use kraft_engine::export::Engine;
use kraft_engine::init::Type;
use kraft_engine::obtain::Pull;
use kraft_engine::package;
use kraft_oci::linux;

/// A choice: its names, the first of which is shown; its help; its value.
type Choice<T> = (&'static [&'static str], &'static str, T);

/// Parses one of several choices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices<T: 'static>(&'static [Choice<T>]);

impl<T: Copy + Send + Sync> TypedValueParser for Choices<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let names = PossibleValuesParser::new(self.shown());
        let name = names.parse_ref(command, arg, value)?;
        let choice = self
            .0
            .iter()
            .find(|(names, ..)| names.contains(&name.as_str()));
        choice
            .map(|(.., value)| *value)
            .ok_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidValue).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.shown().into_iter()))
    }
}

impl<T> Choices<T> {
    fn shown(&self) -> Vec<PossibleValue> {
        let shown = self.0.iter().filter_map(|(names, help, _)| {
            let (name, aliases) = names.split_first()?;
            Some(PossibleValue::new(*name).aliases(aliases).help(*help))
        });
        shown.collect()
    }
}

/// What an image is prepared for.
pub(crate) const PREPARED: Choices<linux::Engine> = Choices(&[
    (
        &["urunc"],
        "Name the kernel and its arguments in `/urunc.json`",
        linux::Engine::Urunc,
    ),
    (
        &["kubevirt"],
        "Make the files those of the user of KubeVirt's QEMU",
        linux::Engine::Kubevirt,
    ),
]);

/// What is exported.
pub(crate) const ENGINE: Choices<Engine> = Choices(&[
    (&["docker"], "A script with `docker run`", Engine::Docker),
    (&["compose"], "A Compose file for Docker", Engine::Compose),
    (&["swarm"], "A stack of Docker Swarm", Engine::Swarm),
    (
        &["containerd"],
        "A script with `ctr run`",
        Engine::Containerd,
    ),
    (&["podman"], "A unit of systemd, and a Pod", Engine::Podman),
    (
        &["kubernetes"],
        "A RuntimeClass, Deployments and Services",
        Engine::Kubernetes,
    ),
    (
        &["kubevirt"],
        "Virtual machines of KubeVirt, and Services",
        Engine::Kubevirt,
    ),
    (&["libvirt"], "Domains of libvirt", Engine::Libvirt),
    (&["nomad"], "A job of Nomad", Engine::Nomad),
    (
        &["systemd"],
        "Units that run `kraft run`, without a container engine",
        Engine::Systemd,
    ),
]);

/// When to pull an image.
pub(crate) const PULL: Choices<Pull> = Choices(&[
    (&["always"], "Pull always", Pull::Always),
    (
        &["missing"],
        "Pull if the image does not exist locally",
        Pull::Missing,
    ),
    (&["never"], "Never pull", Pull::Never),
]);

/// Builders of Dockerfiles.
pub(crate) const BUILDER: Choices<Builder> = Choices(&[
    (&["auto"], "The first available builder", Builder::Auto),
    (
        &["buildkit"],
        "A buildkitd: the configured one, or one at its default socket",
        Builder::Buildkit,
    ),
    (
        &["docker"],
        "The BuildKit of a Docker engine",
        Builder::Docker,
    ),
    (&["buildah"], "The buildah program", Builder::Buildah),
    (&["podman"], "The podman program", Builder::Podman),
    (
        &["container"],
        "A buildkitd in a container started for the build",
        Builder::Container,
    ),
    (
        &["kraft", "own"],
        "kraft itself, without a daemon or privileges",
        Builder::Kraft,
    ),
]);

/// Types of new projects.
pub(crate) const PROJECT: Choices<Type> = Choices(&[
    (
        &["dockerfile"],
        "A Dockerfile, run by a prebuilt kernel for Linux programs",
        Type::Dockerfile,
    ),
    (&["compose"], "A Compose file", Type::Compose),
    (&["node", "nodejs"], "Node.js, in a Dockerfile", Type::Node),
    (&["python"], "Python, in a Dockerfile", Type::Python),
    (&["go", "golang"], "Go, in a Dockerfile", Type::Go),
    (&["rust"], "Rust, in a Dockerfile", Type::Rust),
    (&["php"], "PHP, in a Dockerfile", Type::Php),
    (&["ruby"], "Ruby, in a Dockerfile", Type::Ruby),
    (&["java"], "Java, in a Dockerfile", Type::Java),
    (&["elixir"], "Elixir, in a Dockerfile", Type::Elixir),
    (&["deno"], "Deno, in a Dockerfile", Type::Deno),
    (
        &["static", "html"],
        "A web site of files, in a Dockerfile",
        Type::Static,
    ),
    (
        &["binary", "elf"],
        "A Linux program, run by a prebuilt kernel; or a kernel",
        Type::Binary,
    ),
    (
        &["c", "cpp"],
        "C and C++ sources, built into a kernel",
        Type::C,
    ),
]);

/// What to do if the image already exists.
pub(crate) const STRATEGY: Choices<package::Strategy> = Choices(&[
    (&["overwrite"], "Replace it", package::Strategy::Overwrite),
    (
        &["merge"],
        "Add to it, replacing the same platform",
        package::Strategy::Merge,
    ),
    (&["abort", "exit"], "Fail", package::Strategy::Abort),
    (&["prompt"], "Ask", package::Strategy::Prompt),
]);

/// What to do with the existing instances of a service.
pub(crate) const ROLLOUT: Choices<rollout::Strategy> = Choices(&[
    (
        &["exit", "abort"],
        "Fail if there are any",
        rollout::Strategy::Exit,
    ),
    (
        &["stop"],
        "Stop them when the new one runs",
        rollout::Strategy::Stop,
    ),
    (
        &["remove"],
        "Remove them when the new one runs",
        rollout::Strategy::Remove,
    ),
    (&["keep"], "Keep them unchanged", rollout::Strategy::Keep),
    (&["prompt"], "Ask", rollout::Strategy::Prompt),
]);

/// Which existing instances of a service to replace.
pub(crate) const QUALIFIER: Choices<Qualifier> = Choices(&[
    (
        &["image"],
        "Those of the same image, in any version",
        Qualifier::Image,
    ),
    (&["name"], "Those with the same name", Qualifier::Name),
    (&["all"], "All", Qualifier::All),
    (&["none"], "None", Qualifier::None),
]);

/// The kind of the deployed target.
pub(crate) const TARGET_KIND: Choices<TargetKind> = Choices(&[
    (
        &["image", "image-name"],
        "An image of the platform",
        TargetKind::Image,
    ),
    (
        &["kraftfile-runtime", "runtime"],
        "A project that runs on an image",
        TargetKind::KraftfileRuntime,
    ),
    (
        &["kraftfile-unikraft", "unikraft"],
        "A project built from source",
        TargetKind::KraftfileUnikraft,
    ),
    (
        &["rootfs"],
        "A root filesystem, or a Dockerfile without a Kraftfile",
        TargetKind::Rootfs,
    ),
]);
