//! Kinds and hints of the errors of libraries: files, configuration, machines, image store and
//! registries.

use std::io;

use super::{Failure, Kind};

impl From<kraft_sys::fs::Error> for Failure {
    fn from(error: kraft_sys::fs::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<kraft_config::Error> for Failure {
    fn from(error: kraft_config::Error) -> Self {
        use kraft_config::Error;

        match error {
            Error::RelativeHome(_) => {
                Self::usage(error).hint("set it to your home directory: `export HOME=/home/NAME`")
            }
            Error::Value(sentence) => Self::usage(sentence),
            Error::File { text, problems } => Self::problems_in(Kind::Usage, text, problems),
            Error::Unreadable(error) => Self::usage(error)
                .hint("name another directory with `--config-dir`, or repair this one"),
            Error::Write(error) => error.into(),
        }
    }
}

impl From<kraft_machine::Error> for Failure {
    fn from(error: kraft_machine::Error) -> Self {
        use kraft_machine::{Error, StartError};

        let error = match error {
            Error::Network(error) => return error.into(),
            Error::Volume(error) => return error.into(),
            error => error,
        };
        let kind = match &error {
            Error::NotFound { .. } | Error::NoSnapshot { .. } => Kind::NotFound,
            Error::Ambiguous { .. } | Error::MachineNameError(_) => Kind::Usage,
            Error::Start {
                source:
                    StartError::NoProgram { .. }
                    | StartError::Unusable { .. }
                    | StartError::Platform(_)
                    | StartError::NoNetwork { .. }
                    | StartError::NoProc,
                ..
            }
            | Error::NoDriver(_) => Kind::Host,
            Error::Start {
                source: StartError::Interrupted,
                ..
            } => Kind::Interrupted,
            _ => Kind::Failed,
        };
        let hint = match &error {
            Error::Unreadable { source, .. } if source.is_foreign() => {
                Some("kraft follows and removes nothing there: remove it yourself".to_owned())
            }
            Error::Unreadable { id, .. } => Some(format!(
                "`kraft rm --force {id}` kills what runs in its name and removes the rest"
            )),
            Error::Start {
                source: StartError::Unusable { .. },
                ..
            } => Some(
                "install a newer QEMU, or correct the key `qemu`: `kraft config set qemu PATH`"
                    .to_owned(),
            ),
            Error::Start {
                source:
                    StartError::Network {
                        cure: Some(cure), ..
                    }
                    | StartError::NoNetwork {
                        cure: Some(cure), ..
                    },
                ..
            } => Some(format!("`{cure}`")),
            Error::Start {
                source: StartError::Refused { cure, .. },
                ..
            } => cure.clone(),
            Error::Start {
                name,
                source: StartError::Saved { .. },
                ..
            } => Some(format!(
                "`kraft start --cold {name}` removes what was saved and boots the machine"
            )),
            Error::AlreadySuspended { name } => Some(format!("`kraft resume {name}` continues it")),
            Error::SnapshotTaken { name } => Some(format!(
                "choose another name, or remove it: `kraft snapshot rm {name}`"
            )),
            Error::Start {
                source: StartError::NoProc,
                ..
            } => Some("mount it: `mount -t proc proc /proc`".to_owned()),
            Error::Start { log: Some(log), .. } => {
                Some(format!("the log of its VMM: `{}`", log.display()))
            }
            Error::Busy { name } => Some(format!(
                "try again, or `kraft rm --force {name}` to end a start that hangs"
            )),
            _ => None,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<kraft_engine::snapshot_archive::Error> for Failure {
    fn from(error: kraft_engine::snapshot_archive::Error) -> Self {
        use kraft_engine::snapshot_archive::Error;

        match error {
            Error::Machines(error) => error.into(),
            Error::File(error) => error.into(),
            Error::Archive { .. } | Error::Invalid { .. } => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_engine::service::Error> for Failure {
    fn from(error: kraft_engine::service::Error) -> Self {
        use kraft_engine::service::Error;

        match error {
            Error::File(error) => error.into(),
            Error::Foreign(_) => {
                Self::new(Kind::Failed, error).hint("rename that unit, or remove it yourself")
            }
            Error::Program(_) | Error::Systemctl(_) => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_machine::driver::NoDriver> for Failure {
    fn from(error: kraft_machine::driver::NoDriver) -> Self {
        Self::new(Kind::Host, error)
    }
}

impl From<kraft_oci::store::Error> for Failure {
    fn from(error: kraft_oci::store::Error) -> Self {
        use kraft_oci::store::Error;

        let hint = match &error {
            Error::Damaged { .. } | Error::Document { .. } | Error::Unsure { .. } => Some(
                "`kraft store verify --repair` fetches what is damaged again; `kraft pkg rm IMAGE` \
                 gives the image up",
            ),
            Error::Size { .. } => Some("nothing was kept; report it to the author of the image"),
            Error::Names { .. } => Some("move the file away: the images can be pulled again"),
            Error::Foreign { .. } => Some("name another directory with `--runtime-dir`"),
            Error::Moved(_) => Some("try again"),
            Error::Containerd { .. } => Some(
                "`containerd_addr` in the configuration names the containerd that keeps the images",
            ),
            Error::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free disk space first: `kraft store gc` removes what no image needs")
            }
            Error::File(_) | Error::Read { .. } | Error::Write { .. } => None,
        };
        let failure = match error {
            Error::File(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<kraft_oci::copy::CopyError> for Failure {
    fn from(error: kraft_oci::copy::CopyError) -> Self {
        use kraft_oci::copy::CopyError;

        match error {
            CopyError::Store(error @ kraft_oci::store::Error::Document { .. }) => {
                Self::new(Kind::Failed, error)
                    .hint("nothing was kept; report it to the author of the image")
            }
            CopyError::Store(error) => error.into(),
            CopyError::File(error) => error.into(),
            error @ CopyError::Nameless { .. } => Self::new(Kind::Failed, error)
                .hint("give it one with `--name`, if it is the only image"),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::layer::LayerError> for Failure {
    fn from(error: kraft_oci::layer::LayerError) -> Self {
        match error {
            kraft_oci::layer::LayerError::Store(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::registry::Error> for Failure {
    fn from(error: kraft_oci::registry::Error) -> Self {
        use kraft_oci::registry::ErrorKind;

        let kind = match error.kind() {
            ErrorKind::Network => Kind::Network,
            ErrorKind::Auth => Kind::Authentication,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::Failed => Kind::Failed,
        };
        let hints = error.hints();
        hints.into_iter().fold(Self::new(kind, error), Self::hint)
    }
}

impl From<kraft_oci::pull::PullError> for Failure {
    fn from(error: kraft_oci::pull::PullError) -> Self {
        use kraft_oci::pull::PullError;

        match error {
            PullError::Registry(error) => error.into(),
            PullError::Store(error @ kraft_oci::store::Error::Damaged { .. }) => {
                Self::new(Kind::Network, error)
                    .about("what the registry sent is not what it promised")
                    .hint(
                        "nothing was kept; try again, or report it to the operator of the registry",
                    )
            }
            PullError::Store(
                error @ (kraft_oci::store::Error::Document { .. }
                | kraft_oci::store::Error::Size { .. }),
            ) => Self::new(Kind::Network, error)
                .hint("nothing was kept; report it to the author of the image"),
            PullError::Store(error) => error.into(),
            error @ (PullError::Document { .. }
            | PullError::NotAManifest(_)
            | PullError::TooMuch { .. }) => Self::new(Kind::Network, error)
                .hint("nothing was kept; report it to the author of the image"),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::push::PushError> for Failure {
    fn from(error: kraft_oci::push::PushError) -> Self {
        use kraft_oci::push::PushError;

        match error {
            PushError::Registry(error) => error.into(),
            PushError::Store(error) => error.into(),
            error @ PushError::Incomplete { .. } => Self::new(Kind::NotFound, error)
                .hint("fetch all of it first: `kraft pkg pull --all IMAGE`"),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::catalog::CatalogError> for Failure {
    fn from(error: kraft_oci::catalog::CatalogError) -> Self {
        match error {
            kraft_oci::catalog::CatalogError::Registry(error) => error.into(),
            kraft_oci::catalog::CatalogError::File(error) => error.into(),
        }
    }
}

impl From<kraft_core::reference::ReferenceError> for Failure {
    fn from(error: kraft_core::reference::ReferenceError) -> Self {
        Self::usage(error)
    }
}
