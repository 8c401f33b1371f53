//! Kinds and hints of project errors: Kraftfiles, components and builds.

use std::io;

use kraft_build::make::{self, Diagnostic};
use kraft_build::sources::Error as FetchError;
use kraft_core::connection;
use kraft_core::problem::Problem;

use super::{Failure, Kind};
use kraft_engine::{
    build, catalog, components, epoch, init, kconfig, kraftfile, library, probe, project, settings,
    sources, workplace,
};

const NO_NETWORK: &str = "check the network, and `HTTPS_PROXY` behind a proxy; `source:` in the Kraftfile may \
                          name a directory or a mirror";

/// Returns the kind of a failed fetch, and a hint.
fn fetch_advice(error: &FetchError) -> (Kind, Option<&'static str>) {
    use kraft_build::sources::{ClientError, Error, GitSort};

    match error {
        Error::Unknown { empty: true, .. } => (
            Kind::NotFound,
            Some(
                "the catalog is empty: `kraft pkg update` reads it, `kraft pkg source` adds to it",
            ),
        ),
        Error::Unknown { .. } => (
            Kind::NotFound,
            Some(
                "`kraft pkg ls --all` lists what there is; `source:` in the Kraftfile names a place of its own",
            ),
        ),
        Error::NoRelease { .. } | Error::NoResource { .. } => {
            (Kind::NotFound, Some("`version:` in the Kraftfile names it"))
        }
        Error::NoVersion { .. } => (
            Kind::NotFound,
            Some("`version:` in the Kraftfile, or kraft.lock, names it"),
        ),
        Error::Git { sort, why, .. } => match sort {
            GitSort::Network => (Kind::Network, connection::hint(why).or(Some(NO_NETWORK))),
            GitSort::Denied => (
                Kind::Authentication,
                Some(
                    "kraft uses the credentials of your git: see whether `git ls-remote URL` works",
                ),
            ),
            GitSort::NotThere => (Kind::NotFound, Some("`source:` in the Kraftfile names it")),
            GitSort::Other => (Kind::Failed, None),
        },
        Error::Tool(_) => (Kind::Host, None),
        Error::Offline { .. } => (
            Kind::Network,
            Some(
                "run the same without `--offline` once, or `kraft fetch` while there is a network",
            ),
        ),
        Error::NotThere { .. } => (Kind::NotFound, None),
        Error::Denied { .. } => (
            Kind::Authentication,
            Some("`kraft login HOST` keeps credentials for it"),
        ),
        Error::Network { source, .. } => {
            let hint = connection::hint(&source.to_string());
            (Kind::Network, hint.or(Some(NO_NETWORK)))
        }
        Error::Client(ClientError::Tls(_) | ClientError::Client(_)) => {
            (Kind::Network, Some(NO_NETWORK))
        }
        Error::Checksum { .. } => (
            Kind::Failed,
            Some("nothing was kept; if the change is wanted, `kraft update NAME` accepts it"),
        ),
        Error::InTheWay { .. } => (Kind::Failed, Some("move it away")),
        Error::File(error) if error.kind() == io::ErrorKind::NotFound => (Kind::NotFound, None),
        Error::Client(ClientError::Certificates { .. })
        | Error::Archive { .. }
        | Error::NoCatalog { .. }
        | Error::File(_) => (Kind::Failed, None),
    }
}

/// Adds a hint, if there is one.
fn hinted(failure: Failure, hint: Option<&str>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let (kind, hint) = fetch_advice(&error);
        hinted(Self::new(kind, error), hint)
    }
}

impl From<sources::Error> for Failure {
    fn from(error: sources::Error) -> Self {
        use sources::Error;

        let (kind, hint) = match &error {
            Error::Catalog { source, .. } => fetch_advice(source),
            Error::Local(source) => fetch_advice(source),
        };
        hinted(Self::new(kind, error), hint)
    }
}

impl From<components::Error> for Failure {
    fn from(error: components::Error) -> Self {
        use components::Error;

        match error {
            Error::NoCore => {
                Self::usage(error).hint("`unikraft: stable` in the Kraftfile names one")
            }
            Error::UnnamedTemplate => {
                Self::usage(error).hint("`template` in the Kraftfile names its source")
            }
            Error::NoTemplateKraftfile(_) => Self::new(Kind::NotFound, error),
            Error::Template(error) => error.into(),
            Error::Get { ref source, .. } => {
                let (kind, hint) = fetch_advice(source);
                hinted(Self::new(kind, error), hint)
            }
            Error::NoCatalog { .. } => Self::new(Kind::Network, error).hint(
                "read it while there is a network: `kraft pkg update`, or `kraft fetch` for all of a project",
            ),
            Error::Locked { .. } => Self::new(Kind::Failed, error)
                .hint("build without `--locked` once and commit kraft.lock, or run `kraft update`"),
            Error::LockFile { .. } => Self::new(Kind::Failed, error)
                .hint("restore it from version control, or remove it to resolve all components again"),
            Error::WriteLock(_) => Self::new(Kind::Failed, error),
            Error::NoSuchComponent { ref components, .. } => {
                let hint = format!("it has {}", components.join(", "));
                Self::new(Kind::NotFound, error).hint(hint)
            }
            Error::NotInCatalog(_) => Self::new(Kind::NotFound, error)
                .hint("`kraft pkg ls --libs` lists the libraries of the catalog"),
            Error::Catalog(error) => error.into(),
            Error::File(error) => error.into(),
        }
    }
}

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
                .hint("`kraft init` writes one for what is in the directory, a Dockerfile included")
                .hint(
                    "or name one with `--kraftfile FILE`, or go to the directory of your project",
                ),
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
            Error::VolumeDriver { .. } => Self::usage(error)
                .hint("leave out `driver` in the Kraftfile: kraft has no block devices"),
        }
    }
}

impl From<build::Error> for Failure {
    fn from(error: build::Error) -> Self {
        use build::Error;

        match error {
            Error::NoTargets => Self::usage(error)
                .hint("add what to build for to the Kraftfile: `targets: [qemu/x86_64]`"),
            Error::Project(error) => error.into(),
            Error::Workplace(error) => error.into(),
            Error::Components(error) => error.into(),
            Error::Settings(error) => error.into(),
            Error::RuntimeName(error) => error.into(),
            Error::Epoch(error) => error.into(),
            Error::Target { target, source } => of_target(target, source),
            Error::Objdump { .. } => {
                Self::new(Kind::Host, error).hint("install it: `apt install binutils`")
            }
            Error::Ask(error) => error.into(),
            Error::File(error) => error.into(),
            Error::Rootfs(error) => error.into(),
            Error::Dockerfile(error) => error.into(),
            Error::Pins(error) => error.into(),
        }
    }
}

impl From<build::OptionsError> for Failure {
    fn from(error: build::OptionsError) -> Self {
        Self::problems_in(Kind::Build, error.text, vec![error.problem])
    }
}

/// Returns the failure for a target that cannot be built.
fn of_target(target: String, source: Box<build::TargetError>) -> Failure {
    use build::TargetError;

    match *source {
        TargetError::Make {
            diagnostic,
            place,
            log,
            offline,
        } => {
            let log = format!("the whole output of make is in `{}`", log.display());
            let failure = match place {
                Some((text, span)) if !is_outside(&diagnostic, offline) => {
                    let problem = Problem::error(sentence(&target, &diagnostic)).at(span);
                    Failure::problems_in(Kind::Build, text, vec![problem])
                }
                _ => of_make(&target, &diagnostic, offline),
            };
            match &diagnostic.missing_program {
                Some(program) if !is_outside(&diagnostic, offline) => {
                    failure.hint(format!("the program `{program}` is missing"))
                }
                _ => failure,
            }
            .hint(log)
        }
        TargetError::Options(error) => error.into(),
        TargetError::Lost { text, problems } => Failure::problems_in(Kind::Build, text, problems)
            .hint(
                "`kraft kconfig explain OPTION` explains an option; `--allow-lost` builds nevertheless",
            ),
        TargetError::Interrupted => Failure::new(Kind::Interrupted, source),
        TargetError::File(error) => error.into(),
        TargetError::Tools(ref missing) => {
            let hint = format!("install what is missing: `{}`", missing.cure());
            Failure::new(Kind::Host, build::Error::Target { target, source }).hint(hint)
        }
        TargetError::OldMake { .. } => {
            Failure::new(Kind::Host, build::Error::Target { target, source })
                .hint("install a newer one: `apt install make`")
        }
        TargetError::NotConfigured { .. } => {
            Failure::new(Kind::NotFound, build::Error::Target { target, source })
                .hint("leave out `--no-configure` to configure it")
        }
        TargetError::Run(ref error) => {
            let kind = match error {
                make::Error::Start { .. } => Kind::Host,
                make::Error::NoProducts { .. } | make::Error::Failed { .. } => Kind::Build,
                make::Error::Interrupted => Kind::Interrupted,
                make::Error::File(_) => Kind::Failed,
            };
            Failure::new(kind, build::Error::Target { target, source })
        }
    }
}

/// Returns whether the cause of a make error is outside of the sources: the disk or the network.
fn is_outside(diagnostic: &Diagnostic, offline: bool) -> bool {
    diagnostic.disk_full || diagnostic.download.is_some() || is_forbidden_clone(diagnostic, offline)
}

/// Returns whether Git failed to clone because network access is disabled.
fn is_forbidden_clone(diagnostic: &Diagnostic, offline: bool) -> bool {
    offline && diagnostic.message.starts_with("transport '")
}

/// Returns the failure for a make error without a location in a source file.
fn of_make(target: &str, diagnostic: &Diagnostic, offline: bool) -> Failure {
    const FETCH: &str =
        "`kraft fetch` downloads everything that a build needs, while there is a network";
    const CHECK: &str = "check the network, and `https_proxy` behind a proxy; `kraft fetch` downloads \
                         everything before a build";

    if diagnostic.disk_full {
        let message = format!("cannot build {target}: the disk is full");
        return Failure::new(Kind::Failed, message);
    }
    if let Some(url) = &diagnostic.download {
        let (why, hint) = if offline {
            (", as kraft is offline", FETCH)
        } else {
            ("", CHECK)
        };
        let message = format!("cannot build {target}: could not download `{url}`{why}");
        return Failure::new(Kind::Network, message).hint(hint);
    }
    if is_forbidden_clone(diagnostic, offline) {
        let what = diagnostic.target.as_deref().unwrap_or("a repository");
        let message =
            format!("cannot build {target}: {what} cannot be cloned, as kraft is offline");
        return Failure::new(Kind::Network, message).hint(FETCH);
    }
    let mut message = sentence(target, diagnostic);
    for line in &diagnostic.context {
        message.push_str("\n  ");
        message.push_str(line);
    }
    Failure::new(Kind::Build, message)
}

/// Returns the message of a make error: what failed, and why.
fn sentence(target: &str, diagnostic: &Diagnostic) -> String {
    match &diagnostic.target {
        Some(what) => format!("cannot build {target}: {what}: {}", diagnostic.message),
        None => format!("cannot build {target}: {}", diagnostic.message),
    }
}

impl From<kraftfile::Error> for Failure {
    fn from(error: kraftfile::Error) -> Self {
        use kraftfile::Error;

        match error {
            Error::Stdin => Self::usage(error).hint("name a file with `--kraftfile`"),
            Error::Edit { text, problems } => Self::problems_in(Kind::Failed, text, problems),
            Error::Invalid { text, problems } => {
                Self::problems_in(Kind::Usage, text, problems).hint("nothing was changed")
            }
            Error::File(error) => error.into(),
        }
    }
}

impl From<kconfig::Error> for Failure {
    fn from(error: kconfig::Error) -> Self {
        use kconfig::Error;

        match error {
            Error::InvalidName(_) => {
                Self::usage(error).hint("expected letters, digits and `_`, such as `LIBUKDEBUG`")
            }
            Error::Unknown {
                ref nearest,
                can_force,
                ..
            } => {
                let hint = match nearest {
                    Some(near) => format!("did you mean `CONFIG_{near}`?"),
                    None => "`kraft kconfig search WORD` searches for one".to_owned(),
                };
                let failure = Self::new(Kind::NotFound, error).hint(hint);
                hinted(
                    failure,
                    can_force.then_some("`--force` sets it nevertheless"),
                )
            }
            Error::NotConfigured { .. } => {
                Self::new(Kind::NotFound, error).hint("`kraft build` or `kraft menu` configures it")
            }
            Error::Options(error) => (*error).into(),
            Error::Project(error) => error.into(),
            Error::Workplace(error) => error.into(),
            Error::Kraftfile(error) => error.into(),
            Error::Build(error) => (*error).into(),
            Error::File(error) => error.into(),
        }
    }
}

impl From<catalog::Error> for Failure {
    fn from(error: catalog::Error) -> Self {
        use catalog::Error;

        match error {
            Error::Registry { host, source } => {
                Self::from(*source).about(&format!("cannot list the images of `{host}`"))
            }
            Error::Client(error) => error.into(),
        }
    }
}

impl From<library::Error> for Failure {
    fn from(error: library::Error) -> Self {
        use library::Error;

        match error {
            Error::Exists(_) => Self::new(Kind::Failed, error)
                .hint("choose another name, or another directory with `--project-path`"),
            Error::Git(_) => Self::new(Kind::Failed, error),
            Error::File(error) => error.into(),
        }
    }
}

impl From<library::find::Error> for Failure {
    fn from(error: library::find::Error) -> Self {
        use library::find::Error;

        match error {
            Error::Name(error) => {
                Self::usage(error).hint("pass a library of the catalog, a directory or a URL")
            }
            Error::NotALibrary(_) | Error::Nameless(_) | Error::Ambiguous(_) => Self::usage(error),
            Error::NotFound(_) => {
                Self::new(Kind::NotFound, error).hint("`kraft pkg ls --libs` lists libraries")
            }
            Error::NoDirectory(_) => Self::new(Kind::NotFound, error)
                .hint("pass a library of the catalog, a directory or a URL"),
            Error::NoRelease { .. } => Self::new(Kind::NotFound, error),
            Error::Sources(error) => error.into(),
        }
    }
}

impl From<probe::Error> for Failure {
    fn from(error: probe::Error) -> Self {
        use probe::Error;

        match error {
            Error::NoFile(_) => Self::new(Kind::NotFound, error)
                .hint("name a kernel file, the directory of a project or an image"),
            Error::NoTables { ref debug, .. } => {
                let hint = format!(
                    "kernels for arm64 have no symbols: they are in `{}`, which does not exist",
                    debug.display()
                );
                Self::new(Kind::Failed, error).hint(hint)
            }
            Error::OtherBuild { ref kernel, .. } => {
                let hint = format!(
                    "build again, or remove it to read `{}` alone",
                    kernel.display()
                );
                Self::new(Kind::Failed, error).hint(hint)
            }
            Error::Object { .. }
            | Error::Libraries { .. }
            | Error::Config { .. }
            | Error::Architecture => Self::new(Kind::Failed, error),
            Error::Project(error) => error.into(),
            Error::Workplace(error) => error.into(),
            Error::File(error) => error.into(),
            Error::Image(error) => error.into(),
            Error::Select(error) => error.into(),
            Error::Unpack(error) => error.into(),
        }
    }
}

impl From<init::Error> for Failure {
    fn from(error: init::Error) -> Self {
        use init::Error;

        match error {
            Error::NoDockerfile(_) => Self::new(Kind::NotFound, error)
                .hint("write one, or `kraft init` without `--type` detects what is there"),
            Error::NoProgram(_) => {
                Self::new(Kind::NotFound, error).hint("put an ELF file for x86_64 or arm64 there")
            }
            Error::SeveralPrograms(_) => {
                Self::usage(error).hint("select one: `kraft init --program NAME`")
            }
            Error::InvalidProgram(_) => Self::usage(error),
            Error::NoEntry { .. } => Self::new(Kind::NotFound, error).hint(
                "name it: `kraft init --program FILE`, or write a Dockerfile, which `kraft init` uses",
            ),
            Error::NoTemplate(_) => {
                let names: Vec<&str> = init::samples().collect();
                let names = names.join(", ");
                Self::new(Kind::NotFound, error)
                    .hint(format!("use one of {names}, or the URL of a Git repository"))
            }
            Error::NotEmpty(_) => Self::new(Kind::Failed, error)
                .hint("a template is copied into a new directory: `kraft init DIR --template URL`"),
            Error::Fetch(error) => Self::from(error).about("cannot fetch the template"),
            Error::Catalog(error) => error.into(),
            Error::SeveralKraftfiles { .. } => Self::usage(error).hint("remove all but one"),
            Error::Exists(_) => Self::new(Kind::Failed, error)
                .hint("`--force` replaces it; `kraft check` reports its errors"),
            Error::Empty(_) => Self::new(Kind::NotFound, error).hint(
                "start from an example: `kraft init --template python`, or write a Dockerfile",
            ),
            Error::Invalid { text, problems } => {
                Self::problems_in(Kind::Usage, text, problems).hint("nothing was written")
            }
            Error::File(error) => error.into(),
            Error::Ask(error) => error.into(),
        }
    }
}
