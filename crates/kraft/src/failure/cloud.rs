//! Kinds and hints of cloud errors: deployments, roll-outs, tunnels and Compose projects.

use kraft_cloud::import::ImportError;
use kraft_core::connection;
use kraft_core::error::chain;
use kraft_deploy::created::Created;
use kraft_deploy::deploy::target;
use kraft_deploy::deploy::{self, ImageError, LocalError};
use kraft_deploy::{
    RequestError, account, cloud, compose, control, domains, edit, exec, helper, images, import,
    launch, logs, metros, naming, pem, ports, profiles, readiness, rollout, tunnel, volumes,
};
use kraft_engine::transfer;
use kraft_oci::push::PushError;
use kraft_oci::registry::ErrorKind;

use super::{Failure, Kind};

/// Where the arguments of a deployed application belong.
const ARGUMENTS: &str = "the target comes first; arguments of its application come after `--`";

/// Adds to an error what a command created before it, and how to continue or undo that.
pub(crate) fn with_created(created: &Created, error: impl Into<Failure>) -> Failure {
    let mut failure = error.into();
    let (Some(summary), Some(undo)) = (created.summary(), created.undo()) else {
        return if failure.kind == Kind::Interrupted {
            failure.hint("nothing was created on the platform")
        } else {
            failure
        };
    };
    failure = failure.hint(format!("there is now {summary}"));
    if let Some(next) = &created.next {
        failure = failure.hint(format!("to continue: `{next}`"));
    }
    failure.hint(format!("to undo it: `{undo}`"))
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Platform(error) => platform(error),
            RequestError::Interrupted(error) => error.into(),
        }
    }
}

/// Returns the kind of an error of the platform.
fn kind_of(error: &kraft_cloud::Error) -> Kind {
    match error.kind() {
        kraft_cloud::ErrorKind::Network => Kind::Network,
        kraft_cloud::ErrorKind::Auth => Kind::Authentication,
        kraft_cloud::ErrorKind::NotFound => Kind::NotFound,
        kraft_cloud::ErrorKind::Failed => Kind::Failed,
    }
}

fn platform(error: kraft_cloud::Error) -> Failure {
    let cause = match &error {
        kraft_cloud::Error::Unreachable { source, .. } => connection::hint(&chain(source.as_ref())),
        _ => None,
    };
    let hints: Vec<String> = cause
        .map(str::to_owned)
        .into_iter()
        .chain(error.hints())
        .collect();
    let failure = Failure::new(kind_of(&error), error);
    hints.into_iter().fold(failure, Failure::hint)
}

fn kind_of_request(error: &RequestError) -> Kind {
    match error {
        RequestError::Platform(error) => kind_of(error),
        RequestError::Interrupted(_) => Kind::Interrupted,
    }
}

impl From<cloud::Error> for Failure {
    fn from(error: cloud::Error) -> Self {
        use cloud::Error;

        match error {
            Error::NoMetro => Self::usage(error),
            Error::Metro(error) => Self::usage(error),
            Error::Profile(error) => error.into(),
            Error::Ask(error) => error.into(),
            Error::Account(error) => error.into(),
            Error::Client(error) => platform(error),
            Error::Runtime(error) => error.into(),
        }
    }
}

impl From<account::Error> for Failure {
    fn from(error: account::Error) -> Self {
        use account::Error;

        match error {
            Error::Token(error) => Self::new(Kind::Authentication, error)
                .hint("set `UKC_TOKEN` to the token as the platform shows it"),
            Error::Login(_) | Error::Missing => Self::new(Kind::Authentication, error),
            Error::Profile(error) => error.into(),
            Error::Registry(error) => error.into(),
        }
    }
}

impl From<profiles::Error> for Failure {
    fn from(error: profiles::Error) -> Self {
        use profiles::Error;

        match error {
            Error::File(error) => error.into(),
            Error::None | Error::Missing(_) => Self::usage(error),
            Error::Keyring(_) => Self::new(Kind::Authentication, error)
                .hint("`kraft cloud login --no-keyring` saves the token in a file"),
            Error::Readable(_) | Error::Parse { .. } | Error::Version(_) => {
                Self::new(Kind::Failed, error)
            }
        }
    }
}

impl From<control::Error> for Failure {
    fn from(error: control::Error) -> Self {
        use control::Error;

        match error {
            Error::Private(_) | Error::Url(_) => Self::usage(error),
            Error::Account(error) => error.into(),
            Error::Profile(error) => error.into(),
            Error::Request(error) => platform(error),
            Error::Empty(..) | Error::OtherBuild { .. } => Self::new(Kind::Failed, error),
            Error::Runtime(error) => error.into(),
        }
    }
}

impl From<edit::Error> for Failure {
    fn from(error: edit::Error) -> Self {
        match error {
            edit::Error::Request(error) => error.into(),
            edit::Error::Ignored { .. } => Self::new(Kind::Failed, error),
        }
    }
}

impl From<exec::Error> for Failure {
    fn from(error: exec::Error) -> Self {
        match error {
            exec::Error::Request(error) => error.into(),
            exec::Error::NoPlugin { ref plugin, .. } => {
                let hint = format!("create the instance with `--plugin {plugin}=IMAGE`");
                Self::new(Kind::NotFound, error).hint(hint)
            }
            exec::Error::Answer(_) => Self::new(Kind::Network, error),
            exec::Error::Offset(_) => Self::new(Kind::Failed, error),
            exec::Error::Output(error) => error.into(),
        }
    }
}

impl From<metros::Error> for Failure {
    fn from(error: metros::Error) -> Self {
        match error {
            metros::Error::Metro(error) => Self::usage(error),
            metros::Error::Profile(error) => error.into(),
            metros::Error::Runtime(error) => error.into(),
        }
    }
}

impl From<readiness::Error> for Failure {
    fn from(error: readiness::Error) -> Self {
        use readiness::Error;

        let name = match error {
            Error::Request(error) => return error.into(),
            Error::Ended { ref name, .. }
            | Error::NotRunning { ref name, .. }
            | Error::NoAnswer { ref name, .. } => name.clone(),
        };
        Self::new(Kind::Crashed, error).hint(format!(
            "`kraft cloud instance logs {name}` prints its whole log"
        ))
    }
}

impl From<helper::Error> for Failure {
    fn from(error: helper::Error) -> Self {
        use helper::Error;

        match error {
            Error::Request(error) => error.into(),
            Error::NoInstance | Error::NoDomain | Error::Dial(_) => Self::new(Kind::Network, error),
            Error::Password(_) => Self::new(Kind::Failed, error),
        }
    }
}

impl From<images::Error> for Failure {
    fn from(error: images::Error) -> Self {
        use images::Error;

        match error {
            Error::Name(error) => error.into(),
            Error::Reference(error) => error.into(),
            Error::NotFound { .. } => Self::new(Kind::NotFound, error),
            Error::Network(error) => error.into(),
            Error::Registry(error) => error.into(),
        }
    }
}

impl From<import::Error> for Failure {
    fn from(error: import::Error) -> Self {
        use import::Error;

        match error {
            Error::TooSmall { .. } => Self::new(Kind::Failed, error)
                .hint("create a larger one, or try anyway with `--force`"),
            Error::Rootfs(error) => error.into(),
            Error::Dockerfile(error) => (*error).into(),
            Error::Source(error) => error.into(),
            Error::Archive(error) => error.into(),
            Error::Size { .. } => Self::new(Kind::Failed, error),
            Error::Request(error) => error.into(),
            Error::Image(error) => error.into(),
            Error::Helper(error) => error.into(),
            Error::Import(error) => {
                let kind = match error {
                    ImportError::Told(_) | ImportError::Source(_) => Kind::Failed,
                    ImportError::Nonsense(_) | ImportError::Broken(_) | ImportError::Silent(_) => {
                        Kind::Network
                    }
                };
                Self::new(kind, error)
            }
        }
    }
}

impl From<launch::Error> for Failure {
    fn from(error: launch::Error) -> Self {
        use launch::Error;

        match error {
            Error::Request(error) => error.into(),
            Error::NoVolume(_) => Self::new(Kind::NotFound, error),
            Error::Rollout(error) => error.into(),
            Error::NotReady(error) => error.into(),
            Error::NotReplaced(error) => {
                Self::from(error).hint("the old instances stay as they are")
            }
        }
    }
}

impl From<logs::Error> for Failure {
    fn from(error: logs::Error) -> Self {
        match error {
            logs::Error::Request(error) => error.into(),
            logs::Error::Base64(_) => Self::new(Kind::Network, error),
            logs::Error::Output(error) => error.into(),
        }
    }
}

impl From<naming::Error> for Failure {
    fn from(error: naming::Error) -> Self {
        use naming::Error;

        match error {
            Error::Reference(error) => error.into(),
            Error::OtherRegistry {
                ref name,
                ref registry,
                ref account,
                ..
            } => {
                let hint = format!(
                    "copy it there: `kraft pkg tag {name} {registry}/{account}/NAME`, then `kraft \
                     pkg push`"
                );
                Self::usage(error).hint(hint)
            }
            Error::NotFound(_) => Self::new(Kind::NotFound, error).hint(
                "`kraft cloud image list --all` lists the images; `kraft cloud deploy` creates one",
            ),
            Error::NotListed { .. } => Self::new(Kind::NotFound, error)
                .hint("try again later, or wait longer with `--timeout`"),
            Error::Request(error) => error.into(),
        }
    }
}

impl From<domains::Error> for Failure {
    fn from(error: domains::Error) -> Self {
        Self::usage(error)
    }
}

impl From<ports::Error> for Failure {
    fn from(error: ports::Error) -> Self {
        match error {
            ports::Error::Syntax { .. } => Self::usage(error)
                .hint("write EXTERNAL:INTERNAL/HANDLERS, such as `443:8080/http+tls`"),
            ports::Error::Repeated(_) => Self::usage(error),
        }
    }
}

impl From<volumes::SizeError> for Failure {
    fn from(error: volumes::SizeError) -> Self {
        Self::usage(error)
    }
}

impl From<volumes::Error> for Failure {
    fn from(error: volumes::Error) -> Self {
        use volumes::Error;

        match error {
            Error::NoVolume(_) | Error::NoPath(_) | Error::Option { .. } => Self::usage(error)
                .hint(
                    "write VOLUME:PATH, such as `data:/data`, `data:/data:ro` or \
                     `data:/data:size=64Mi`",
                ),
            Error::Size(error) => error.into(),
        }
    }
}

impl From<pem::Error> for Failure {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::File(error) => error.into(),
            pem::Error::NoBlock { .. } => Self::usage(error),
        }
    }
}

impl From<rollout::Error> for Failure {
    fn from(error: rollout::Error) -> Self {
        use rollout::Error;

        match error {
            Error::HasInstances { .. } => Self::new(Kind::Failed, error)
                .hint("choose what happens to them: `--rollout remove`, `stop` or `keep`"),
            Error::CannotAsk { .. } => Self::usage(error)
                .hint("choose what happens to them: `--rollout remove`, `stop`, `keep` or `exit`"),
            Error::Ask(error) => error.into(),
            Error::Request(error) => error.into(),
            Error::Incomplete { ref source, .. } => Self::new(kind_of_request(source), error),
        }
    }
}

impl From<tunnel::Error> for Failure {
    fn from(error: tunnel::Error) -> Self {
        use tunnel::Error;

        match error {
            Error::Syntax { .. } => {
                Self::usage(error).hint("write [LOCAL:]INSTANCE:PORT, such as `8080:web:80`")
            }
            Error::PortCount { .. } | Error::SamePorts => Self::usage(error),
            Error::Listen { .. } => Self::new(Kind::Host, error)
                .hint("choose another local port: `LOCAL:INSTANCE:PORT`"),
            Error::NoAddress(_) => Self::new(Kind::NotFound, error),
            Error::Image(error) => error.into(),
            Error::Request(error) => error.into(),
            Error::Helper(error) => error.into(),
            Error::Closed(_) | Error::Gone(_) => Self::new(Kind::Network, error),
            Error::Ended => Self::new(Kind::Failed, error),
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Reference(error) => error.into(),
            ImageError::Digest(_) | ImageError::NoPlatform { .. } => Self::usage(error),
            ImageError::NoTarget(_) => {
                Self::usage(error).hint("add one to the Kraftfile: `targets: [fc/x86_64]`")
            }
            ImageError::Push { account, source } => {
                let is_denied = matches!(
                    &*source,
                    transfer::Error::Push(PushError::Registry(error))
                        if error.kind() == ErrorKind::Auth
                );
                let failure = Self::from(*source);
                if is_denied {
                    failure.hint(format!("the token is for images below `{account}`"))
                } else {
                    failure
                }
            }
            ImageError::Local(LocalError::Interrupted(error)) => error.into(),
            ImageError::Local(LocalError::Thread(_)) => Self::new(Kind::Failed, error),
            ImageError::Build(error) => (*error).into(),
            ImageError::Pack(error) => error.into(),
            ImageError::Package(error) => error.into(),
            ImageError::Settings(error) => error.into(),
            ImageError::Images(error) => error.into(),
            ImageError::Store(error) => error.into(),
            ImageError::Network(error) => error.into(),
            ImageError::Pull(error) => error.into(),
        }
    }
}

impl From<target::Error> for Failure {
    fn from(error: target::Error) -> Self {
        use target::Error;

        match error {
            Error::NotADirectory(_) => Self::new(Kind::NotFound, error).hint(ARGUMENTS),
            Error::NotFound(_) => Self::new(Kind::NotFound, error)
                .hint("`kraft cloud image list --all` lists the images")
                .hint(ARGUMENTS),
            Error::Nothing => Self::usage(error).hint(
                "name the directory of a project or an image of the platform: `kraft cloud deploy \
                 TARGET`",
            ),
            Error::Image(error) => error.into(),
            Error::Project(error) => error.into(),
            Error::Components(error) => error.into(),
            Error::Workplace(error) => error.into(),
        }
    }
}

impl From<deploy::Error> for Failure {
    fn from(error: deploy::Error) -> Self {
        use deploy::Error;

        match error {
            Error::Image(error) => error.into(),
            Error::Naming(error) => error.into(),
            Error::Launch(error) => error.into(),
            Error::NotReady(error) => error.into(),
            Error::Request(error) => error.into(),
        }
    }
}

impl From<compose::Error> for Failure {
    fn from(error: compose::Error) -> Self {
        use compose::Error;

        match error {
            Error::Definition(error) => error.into(),
            Error::File(error) => error.into(),
            Error::Unsupported { text, problem } => {
                Self::problems_in(Kind::Usage, text, vec![*problem])
            }
            Error::NoImage { .. } => Self::new(Kind::NotFound, error)
                .hint("`kraft cloud compose build --push` creates it"),
            Error::NoDockerfile(_) => Self::new(Kind::NotFound, error)
                .hint("`build` of a service names a directory with a Kraftfile or a Dockerfile"),
            Error::Reference(error) => error.into(),
            Error::Project(error) => error.into(),
            Error::Components(error) => error.into(),
            Error::Workplace(error) => error.into(),
            Error::Image(error) => error.into(),
            Error::Naming(error) => error.into(),
            Error::Launch(error) => error.into(),
            Error::NotReady(error) => error.into(),
            Error::Request(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kraft_deploy::Interrupted;
    use kraft_deploy::created::Resource;

    use super::*;

    fn refused(code: Option<i64>) -> RequestError {
        RequestError::Platform(kraft_cloud::Error::Refused {
            doing: "get instances".to_owned(),
            message: "no".to_owned(),
            code,
        })
    }

    #[test]
    fn the_kind_of_a_nested_error_is_that_of_its_cause() {
        let not_found = || refused(Some(8));
        let failures: [(Failure, Kind); 6] = [
            (not_found().into(), Kind::NotFound),
            (launch::Error::from(not_found()).into(), Kind::NotFound),
            (
                deploy::Error::from(launch::Error::from(refused(None))).into(),
                Kind::Failed,
            ),
            (
                rollout::Error::Incomplete {
                    done: "removed",
                    failed: 1,
                    total: 2,
                    source: not_found(),
                }
                .into(),
                Kind::NotFound,
            ),
            (logs::Error::from(Interrupted).into(), Kind::Interrupted),
            (tunnel::Error::SamePorts.into(), Kind::Usage),
        ];
        for (failure, kind) in failures {
            assert_eq!(failure.kind, kind, "{:?}", failure.message);
        }
    }

    #[test]
    fn an_error_lists_what_was_created_before_it() {
        let mut created = Created::default();
        let hints = |created: &Created| with_created(created, Interrupted).hints;
        assert_eq!(hints(&created), ["nothing was created on the platform"]);
        assert!(
            with_created(&created, tunnel::Error::Ended)
                .hints
                .is_empty()
        );
        created.add(Resource::Image("anna/web".to_owned()));
        created.next = Some("kraft cloud deploy anna/web".to_owned());
        assert_eq!(
            hints(&created),
            [
                "there is now the image `anna/web`",
                "to continue: `kraft cloud deploy anna/web`",
                "to undo it: `kraft cloud image remove anna/web`",
            ]
        );
    }
}
