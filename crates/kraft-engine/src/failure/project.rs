//! Kinds and hints of the errors of projects: Kraftfiles, components and builds.

use super::{Failure, Kind};
use crate::{epoch, project, settings, workplace};

impl From<epoch::Error> for Failure {
    fn from(error: epoch::Error) -> Self {
        Self::usage(error).hint("set it to a number: `SOURCE_DATE_EPOCH=$(date +%s)`")
    }
}

impl From<project::Error> for Failure {
    fn from(error: project::Error) -> Self {
        use project::Error;

        match error {
            Error::NoKraftfile(_) => Self::new(Kind::NotFound, error)
                .hint("name one with `--kraftfile FILE`, or go to the directory of your project"),
            Error::Ambiguous(_) => Self::new(Kind::Failed, error)
                .hint("name the one you mean with `--kraftfile`, or remove the others"),
            Error::Unsound { text, problems } => Self::problems_in(Kind::Failed, text, problems),
            Error::Stdin(_) => Self::new(Kind::Failed, error),
            Error::NoSuchTarget { ref targets } => {
                let hint = match targets.as_slice() {
                    [] => "`targets` in the Kraftfile names what to build for".to_owned(),
                    all => format!("it has {}", all.join(", ")),
                };
                Self::new(Kind::NotFound, error).hint(hint)
            }
            Error::NotBuilt { .. } => {
                Self::new(Kind::NotFound, error).hint("build the project first: `kraft build`")
            }
            Error::SeveralTargets { .. } => {
                Self::usage(error).hint("name one: `--target PLATFORM/ARCH`")
            }
            Error::File(error) => error.into(),
            Error::Ask(error) => error.into(),
        }
    }
}

impl From<workplace::Error> for Failure {
    fn from(error: workplace::Error) -> Self {
        use workplace::Error;

        match error {
            Error::NoMakeDirectory(_) => Self::new(Kind::Host, error)
                .hint("set `TMPDIR` to a directory whose path has no spaces and quotes"),
            Error::ForeignDirectory(_) => Self::new(Kind::Host, error)
                .hint("remove it, or set `TMPDIR` to a directory of yours"),
            Error::File(error) => error.into(),
        }
    }
}

impl From<settings::Error> for Failure {
    fn from(error: settings::Error) -> Self {
        use settings::Error;

        match error {
            Error::NoRuntimeImage => Self::usage(error).hint(
                "`runtime` in the Kraftfile names an image: `runtime: unikraft.org/base:latest`",
            ),
            Error::VolumeSource { .. } => Self::new(Kind::NotFound, error)
                .hint("`volumes` in the Kraftfile names it, relative to the project"),
        }
    }
}
