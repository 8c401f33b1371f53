//! Kinds and hints of the errors of applications that Compose files describe.

use kraft_core::compose::FILE_NAMES;
use kraft_engine::compose::{self, definition, images};
use kraft_engine::{boot, run};

use super::{Failure, Kind, Stage, image};

const RUNTIME_KEY: &str = "`runtime: builtin` in the description of the service";

impl From<compose::Error> for Failure {
    fn from(error: compose::Error) -> Self {
        use compose::Error;

        let message = error.to_string();
        match error {
            Error::Definition(error) => error.into(),
            Error::Unsupported { text, problem } => {
                Self::problems_in(Kind::Usage, text, vec![*problem]).during(Stage::Parse)
            }
            Error::Boot { source, builds, .. } => {
                let failure = match *source {
                    boot::Error::Runtime(error) => image::runtime(error, RUNTIME_KEY),
                    other => Self::from(other),
                };
                let failure = failure.about(&message);
                match failure.kind {
                    _ if builds => failure.during(Stage::Build),
                    Kind::NotFound | Kind::Network | Kind::Authentication => {
                        failure.during(Stage::Pull)
                    }
                    _ => failure,
                }
            }
            Error::Image(error) => (*error).into(),
            Error::Run { source, .. } => match *source {
                run::Error::Problems(mut problems) => {
                    for problem in &mut problems {
                        problem.message = format!("{message}: {}", problem.message);
                    }
                    Self::problems(Kind::Usage, problems).during(Stage::Parse)
                }
                source => Self::from(source).about(&message),
            },
            Error::Machines(error) => error.into(),
            Error::Networks(error) => error.into(),
            Error::File(error) => Self::from(error).during(Stage::Find),
            Error::Dependency { ref machine, .. } => {
                let hint = format!("see what it printed: `kraft logs {machine}`");
                Self::new(Kind::Failed, error).hint(hint)
            }
            Error::External { kind, ref name } => {
                let hint = format!(
                    "make it: `kraft {} create {name}`",
                    &kind.get(..3).unwrap_or(kind)
                );
                Self::new(Kind::NotFound, error).hint(hint)
            }
            Error::Interrupted(error) => error.into(),
        }
    }
}

impl From<definition::Error> for Failure {
    fn from(error: definition::Error) -> Self {
        use definition::Error;

        match error {
            Error::NoFile => Self::new(Kind::NotFound, error)
                .hint(format!(
                    "its name is {}; select another one with `--file`",
                    FILE_NAMES.join(", ")
                ))
                .during(Stage::Find),
            Error::File(error) => Self::from(error).during(Stage::Find),
            Error::Stdin(_) => Self::new(Kind::Failed, error).during(Stage::Find),
            Error::Problems {
                text,
                problems,
                incomplete,
            } => {
                let stage = if incomplete {
                    Stage::Find
                } else {
                    Stage::Parse
                };
                Self::problems_in(Kind::Failed, text, problems).during(stage)
            }
            Error::ProjectName { ref nearest, .. } => {
                let hint = format!("write `{nearest}`");
                Self::usage(error).hint(hint).during(Stage::Parse)
            }
            Error::NoService { ref nearest, .. } => {
                let hint = nearest
                    .as_ref()
                    .map(|name| format!("did you mean `{name}`?"));
                let failure = Self::new(Kind::NotFound, error);
                hint.into_iter().fold(failure, Self::hint)
            }
        }
    }
}

impl From<images::Error> for Failure {
    fn from(error: images::Error) -> Self {
        use images::Error;

        match error {
            Error::NoDockerfile { .. } => Self::new(Kind::NotFound, error)
                .hint("`build` of a service names a directory with a Kraftfile or a Dockerfile")
                .during(Stage::Build),
            Error::NotBuilt { .. } => Self::new(Kind::NotFound, error)
                .hint("leave out `--no-build`, or give the service an `image`"),
            Error::Reference(error) => error.into(),
            Error::Images(error) => error.into(),
            Error::Project(error) => Self::from(error).during(Stage::Build),
            Error::Components(error) => Self::from(error).during(Stage::Build),
            Error::Workplace(error) => Self::from(error).during(Stage::Build),
            Error::Transfer(error) => error.into(),
            Error::Pack(error) => Self::from(error).during(Stage::Build),
            Error::Package(error) => Self::from(error).during(Stage::Build),
            Error::Inline(error) => Self::from(error).during(Stage::Build),
        }
    }
}
