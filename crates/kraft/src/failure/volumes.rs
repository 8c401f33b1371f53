//! Kinds and hints of the errors of volumes.

use kraft_engine::{copy, copy_archive};
use kraft_machine::VolumeError;

use super::{Failure, Kind};

impl From<VolumeError> for Failure {
    fn from(error: VolumeError) -> Self {
        let kind = match &error {
            VolumeError::NotFound { .. } => Kind::NotFound,
            VolumeError::Name(_) => Kind::Usage,
            VolumeError::Exists { .. }
            | VolumeError::InUse { .. }
            | VolumeError::Damaged { .. }
            | VolumeError::TooNew { .. }
            | VolumeError::File(_) => Kind::Failed,
        };
        let hint = match &error {
            VolumeError::NotFound { .. } => Some("`kraft vol ls` lists all volumes".to_owned()),
            VolumeError::InUse { name, machines } => Some(format!(
                "remove the machines first: `kraft rm {}`, or use `kraft vol rm --force {name}`",
                machines.join(" ")
            )),
            VolumeError::Damaged { .. } => {
                Some("`kraft vol rm --force VOLUME` removes the volume and its data".to_owned())
            }
            VolumeError::Name(_)
            | VolumeError::Exists { .. }
            | VolumeError::TooNew { .. }
            | VolumeError::File(_) => None,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<copy::Error> for Failure {
    fn from(error: copy::Error) -> Self {
        use copy::Error;

        match error {
            Error::Machines(error) => error.into(),
            Error::File(error) => error.into(),
            Error::NoMachine { .. } => {
                Self::usage(error).hint("write the path of a machine as `MACHINE:/PATH`")
            }
            Error::Stream => Self::usage(error).hint("write `./-` for a file of that name"),
            Error::TwoMachines { .. } => {
                Self::usage(error).hint("copy to this host first, and from there")
            }
            Error::Outside { ref volumes, .. } if volumes.is_empty() => Self::usage(error)
                .hint("give the machine a volume there: `kraft run --volume NAME:/PATH`"),
            Error::Outside { ref volumes, .. } => {
                let hint = format!("its volumes are mounted on {}", volumes.join(", "));
                Self::usage(error)
                    .hint(hint)
                    .hint("give the machine another one: `kraft run --volume NAME:/PATH`")
            }
            Error::ReadOnly { .. } => {
                Self::usage(error).hint("`kraft inspect MACHINE` shows its directory on this host")
            }
            Error::NotFound { .. } | Error::NoDirectory { .. } => Self::new(Kind::NotFound, error),
            Error::NotADirectory { .. } => Self::usage(error),
        }
    }
}

impl From<copy_archive::Error> for Failure {
    fn from(error: copy_archive::Error) -> Self {
        use copy_archive::Error;

        match error {
            Error::Copy(error) => error.into(),
            Error::File(error) => error.into(),
            Error::Read(_) | Error::Write(_) | Error::Outside(_) => Self::new(Kind::Failed, error),
        }
    }
}
