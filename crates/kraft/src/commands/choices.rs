//! The names on the command line of what flows let users choose.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use kraft_deploy::deploy::subject::As;
use kraft_deploy::rollout::{self, Qualifier};
use kraft_engine::dockerfile::Builder;
use kraft_engine::init::Type;
use kraft_engine::obtain::Pull;
use kraft_engine::package;

/// One choice: its names, the first of which is shown; its help; what it means.
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

/// When an image is pulled.
pub(crate) const PULL: Choices<Pull> = Choices(&[
    (&["always"], "Whenever it is used", Pull::Always),
    (&["missing"], "When it is not here", Pull::Missing),
    (&["never"], "Never", Pull::Never),
]);

/// What builds Dockerfiles.
pub(crate) const BUILDER: Choices<Builder> = Choices(&[
    (&["auto"], "The first that can", Builder::Auto),
    (
        &["buildkit"],
        "A buildkitd: the one that is configured, or one at its usual socket",
        Builder::Buildkit,
    ),
    (
        &["docker"],
        "The BuildKit inside a Docker engine",
        Builder::Docker,
    ),
    (&["buildah"], "The program buildah", Builder::Buildah),
    (&["podman"], "The program podman", Builder::Podman),
    (
        &["container"],
        "A buildkitd in a container that is started for the build",
        Builder::Container,
    ),
    (
        &["kraft", "own"],
        "kraft itself: no daemon, no privileges",
        Builder::Kraft,
    ),
]);

/// What a new project is made from.
pub(crate) const PROJECT: Choices<Type> = Choices(&[
    (
        &["dockerfile"],
        "A Dockerfile, run by a ready kernel that runs Linux programs",
        Type::Dockerfile,
    ),
    (&["c"], "C sources, built into a kernel", Type::C),
    (
        &["binary", "elf"],
        "A Linux program, run by a ready kernel; or a kernel",
        Type::Binary,
    ),
]);

/// What happens to an image that has the name already.
pub(crate) const STRATEGY: Choices<package::Strategy> = Choices(&[
    (
        &["overwrite"],
        "Put a new image in its place",
        package::Strategy::Overwrite,
    ),
    (
        &["merge"],
        "Add to it; the same platform is replaced",
        package::Strategy::Merge,
    ),
    (&["abort", "exit"], "Fail", package::Strategy::Abort),
    (&["prompt"], "Ask", package::Strategy::Prompt),
]);

/// What happens to the old instances of a service.
pub(crate) const ROLLOUT: Choices<rollout::Strategy> = Choices(&[
    (
        &["exit", "abort"],
        "Make nothing if there are any",
        rollout::Strategy::Exit,
    ),
    (
        &["stop"],
        "Stop them once the new one runs",
        rollout::Strategy::Stop,
    ),
    (
        &["remove"],
        "Remove them once the new one runs",
        rollout::Strategy::Remove,
    ),
    (&["keep"], "Leave them as they are", rollout::Strategy::Keep),
    (&["prompt"], "Ask", rollout::Strategy::Prompt),
]);

/// Which instances of a service are old ones.
pub(crate) const QUALIFIER: Choices<Qualifier> = Choices(&[
    (
        &["image"],
        "Those of the same image, in whatever version",
        Qualifier::Image,
    ),
    (&["name"], "Those of the same name", Qualifier::Name),
    (&["all"], "All", Qualifier::All),
    (&["none"], "None", Qualifier::None),
]);

/// What the target of a deployment is taken for.
pub(crate) const TAKEN_AS: Choices<As> = Choices(&[
    (
        &["image", "image-name"],
        "An image of the platform",
        As::Image,
    ),
    (
        &["kraftfile-runtime", "runtime"],
        "A project that runs on an image",
        As::KraftfileRuntime,
    ),
    (
        &["kraftfile-unikraft", "unikraft"],
        "A project that is built from source",
        As::KraftfileUnikraft,
    ),
    (
        &["rootfs"],
        "A root filesystem, or a Dockerfile without a Kraftfile",
        As::Rootfs,
    ),
]);
