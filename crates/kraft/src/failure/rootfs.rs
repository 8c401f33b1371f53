//! Kinds and hints of root filesystem and Dockerfile errors.

use super::{Failure, Kind};
use kraft_engine::dockerfile::{self, CacheError, OptionError, SecretError};
use kraft_engine::rootfs;

/// Maximum number of output lines of a failed command that are shown.
const SHOWN_LINES: usize = 20;

impl From<kraft_rootfs::Error> for Failure {
    fn from(error: kraft_rootfs::Error) -> Self {
        match error {
            kraft_rootfs::Error::File(error) => error.into(),
            error @ (kraft_rootfs::Error::Source(_)
            | kraft_rootfs::Error::Archive { .. }
            | kraft_rootfs::Error::Entry { .. }
            | kraft_rootfs::Error::Changed { .. }) => Self::new(Kind::Failed, error),
        }
    }
}

impl From<rootfs::Error> for Failure {
    fn from(error: rootfs::Error) -> Self {
        use rootfs::Error;

        match error {
            error @ Error::NotFound { .. } => Self::new(Kind::NotFound, error)
                .hint("an image is named with its registry: `oci://HOST/NAME:TAG`"),
            error @ Error::NotInProject { .. } => Self::new(Kind::NotFound, error).hint(
                "`rootfs` in the Kraftfile names it, relative to the project; an image is named \
                 with its registry: `oci://HOST/NAME:TAG`",
            ),
            Error::Reference(error) => error.into(),
            Error::Epoch(error) => error.into(),
            error @ Error::NotPrepared { .. } => Self::new(Kind::Failed, error),
            Error::Archive(error) => error.into(),
            Error::File(error) => error.into(),
        }
    }
}

impl From<dockerfile::Error> for Failure {
    fn from(error: dockerfile::Error) -> Self {
        use dockerfile::Error;

        match error {
            Error::Option(error) => error.into(),
            Error::Reference(error) => error.into(),
            Error::BuildkitAddress(error) => Self::usage(error).hint(
                "it is set by `--buildkit-host`, `KRAFTKIT_BUILDKIT_HOST` or the configuration",
            ),
            Error::Epoch(error) => error.into(),
            error @ Error::Architecture(_) => Self::usage(error),
            Error::Invalid { text, problems } => Self::problems_in(Kind::Build, text, problems),
            Error::Step {
                text,
                problem,
                output,
            } => {
                let failure = Self::problems_in(Kind::Build, text, vec![*problem]);
                match shown_output(&output) {
                    Some(shown) => failure.hint(shown),
                    None => failure,
                }
            }
            error @ Error::Build { .. } => Self::new(Kind::Build, error),
            error @ Error::Timeout { .. } => {
                Self::new(Kind::Build, error).hint("give it more time with `--build-timeout`")
            }
            error @ Error::NoBuilder { .. } => Self::new(Kind::Host, error).hint(
                "install a builder: `sudo apt install buildah`; `kraft doctor` lists the builders \
                 of this host",
            ),
            Error::Selected(error) => Self::from(*error).hint(
                "build with kraft itself (`--builder kraft`), or with the first builder that can \
                 (`--builder auto`)",
            ),
            Error::Daemon(error) => Self::new(Kind::Failed, error),
            error @ Error::Start { .. } => Self::new(Kind::Host, error),
            error @ (Error::NotText { .. }
            | Error::Wait { .. }
            | Error::BuiltConfig { .. }
            | Error::NoArchive { .. }
            | Error::Record(_)) => Self::new(Kind::Failed, error),
            Error::Inspect(error) => Self::new(Kind::Failed, error),
            error @ Error::NoManifest { .. } => Self::new(Kind::NotFound, error),
            Error::ImageConfig { name, source } => {
                let hint = format!("`kraft pkg rm {name}` removes the image");
                Self::new(Kind::Failed, Error::ImageConfig { name, source }).hint(hint)
            }
            Error::Store(error) => error.into(),
            Error::Layer(error) => error.into(),
            Error::Pull(error) => error.into(),
            Error::Archive(error) => error.into(),
            Error::File(error) => error.into(),
            Error::Runtime(error) => error.into(),
            Error::Network(error) => error.into(),
            Error::Images(error) => error.into(),
        }
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        let hint = match &error {
            OptionError::NoAgent(_) => {
                Some("start one (`eval $(ssh-agent)`), or name its socket: `--build-ssh ID=SOCKET`")
            }
            OptionError::Secret { source, .. } => match source {
                SecretError::NoVariable(_) => Some("name a file with `src=FILE`"),
                SecretError::Field(_)
                | SecretError::Type(_)
                | SecretError::Key(_)
                | SecretError::NoId => None,
            },
            OptionError::Cache { source, .. } => match source {
                CacheError::Local => Some("use `type=registry,ref=IMAGE`"),
                CacheError::Field(_) | CacheError::NoType => None,
            },
            OptionError::Argument(_) => None,
        };
        let failure = Self::usage(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Returns the last output lines of a command, as a hint.
fn shown_output(lines: &[String]) -> Option<String> {
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    let shown: Vec<String> = lines
        .iter()
        .skip(skipped)
        .map(|line| format!("    {line}"))
        .collect();
    (!shown.is_empty()).then(|| format!("it printed:\n{}", shown.join("\n")))
}

#[cfg(test)]
mod tests {
    use kraft_core::problem::{Problem, Text};

    use super::*;

    #[test]
    fn only_the_end_of_an_output_is_shown() {
        assert_eq!(shown_output(&[]), None);
        let lines: Vec<String> = (1..=25).map(|number| number.to_string()).collect();
        let shown = shown_output(&lines).unwrap();
        assert!(shown.starts_with("it printed:\n    6\n"), "{shown}");
        assert!(shown.ends_with("\n    25"), "{shown}");
    }

    #[test]
    fn errors_have_the_kind_of_their_cause() {
        use dockerfile::Error;

        let text = || Text {
            name: "Dockerfile".to_owned(),
            text: "RUN x".to_owned(),
        };
        let step = || Error::Step {
            text: text(),
            problem: Box::new(Problem::error("it failed".to_owned())),
            output: vec!["make: error".to_owned()],
        };
        for (error, kind, hints) in [
            (Error::Architecture("mips".to_owned()), Kind::Usage, 0),
            (
                OptionError::NoAgent("default".to_owned()).into(),
                Kind::Usage,
                1,
            ),
            (step(), Kind::Build, 1),
            (Error::Selected(Box::new(step())), Kind::Build, 2),
            (
                Error::NoBuilder {
                    file: "Dockerfile".to_owned(),
                    attempts: Vec::new(),
                },
                Kind::Host,
                1,
            ),
            (
                Error::NoManifest {
                    name: "a:b".parse().unwrap(),
                    arch: "arm".to_owned(),
                },
                Kind::NotFound,
                0,
            ),
        ] {
            let case = error.to_string();
            let failure = Failure::from(error);
            assert_eq!((failure.kind, failure.hints.len()), (kind, hints), "{case}");
        }
    }
}
