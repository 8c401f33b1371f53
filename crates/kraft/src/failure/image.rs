//! Kinds and hints of image errors: resolving, pulling, packaging and running images.

use std::io;

use kraft_core::kernel::NotAKernel;
use kraft_core::shell_words;

use super::{Failure, Kind};
use kraft_engine::context::RuntimeError;
use kraft_engine::export::{source, write};
use kraft_engine::images::{self, NoMatch, NotFound, Suggestion};
use kraft_engine::interrupt::Interrupted;
use kraft_engine::run_target::{self, KernelError};
use kraft_engine::{
    arguments, boot, builtin, follow, kraftkit, listing, network, obtain, pack, package, pins,
    repair, run, transfer, unpacked, warm,
};

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<Interrupted> for Failure {
    fn from(error: Interrupted) -> Self {
        Self::new(Kind::Interrupted, error)
    }
}

impl From<network::Error> for Failure {
    fn from(error: network::Error) -> Self {
        match error {
            network::Error::Runtime(error) => error.into(),
            network::Error::Registry(error) => error.into(),
        }
    }
}

impl From<NotFound> for Failure {
    fn from(error: NotFound) -> Self {
        let hint = match &error.suggestion {
            Suggestion::KraftKit => in_kraftkit(&error.name),
            Suggestion::Near(near) => format!("did you mean `{near}`?"),
            Suggestion::Pull(typed) => {
                format!("`kraft pkg ls` lists local images; `kraft pkg pull {typed}` pulls it")
            }
        };
        Self::new(Kind::NotFound, error).hint(hint)
    }
}

fn in_kraftkit(name: &str) -> String {
    format!("KraftKit has an image `{name}`: `kraft store import-kraftkit` imports it")
}

impl From<NoMatch> for Failure {
    fn from(error: NoMatch) -> Self {
        let available = error.available.join(", ");
        let hint = if error.available.is_empty() {
            "it has no unikernel: it may be an image for containers".to_owned()
        } else if error.options {
            format!(
                "it has {available}; `kraft pkg inspect {}` shows with which options each was built",
                error.name
            )
        } else {
            format!("it has {available}")
        };
        Self::new(Kind::NotFound, error).hint(hint)
    }
}

impl From<images::Error> for Failure {
    fn from(error: images::Error) -> Self {
        use images::Error;

        match error {
            Error::Store(error) => error.into(),
            Error::KraftKit(error) => error.into(),
            Error::Reference(error) => error.into(),
            Error::NotFound(error) => error.into(),
            Error::NoMatch(error) => error.into(),
            Error::Ask(error) => error.into(),
            Error::AmbiguousName { .. } => {
                Self::usage(error).hint("name the one you mean with its registry")
            }
            Error::AmbiguousDigest { .. } => {
                Self::usage(error).hint("name the one you mean, or type more digits")
            }
            Error::Choice(_) => Self::new(Kind::Failed, error),
            Error::Builtin(error) => (*error).into(),
        }
    }
}

impl From<listing::Error> for Failure {
    fn from(error: listing::Error) -> Self {
        use listing::Error;

        match error {
            Error::Images(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Registries(error) => error.into(),
            Error::Components(error) => error.into(),
        }
    }
}

impl From<kraftkit::Error> for Failure {
    fn from(error: kraftkit::Error) -> Self {
        use kraftkit::Error;

        match error {
            Error::NoImages(_) => Self::new(Kind::NotFound, error)
                .hint("name the directory that KraftKit uses with `--runtime-dir`"),
            Error::Copy(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::File(error) => error.into(),
        }
    }
}

impl From<transfer::Error> for Failure {
    fn from(error: transfer::Error) -> Self {
        use transfer::Error;

        match error {
            Error::Network(error) => error.into(),
            Error::Pull(error) => error.into(),
            Error::Push(error) => error.into(),
            Error::Images(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Interrupted(error) => error.into(),
        }
    }
}

impl From<obtain::Error> for Failure {
    fn from(error: obtain::Error) -> Self {
        use obtain::Error;

        match error {
            Error::Images(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Builtin(error) => error.into(),
            Error::PullNever(error) => {
                Self::from(error).hint("it is not pulled, because of `--pull never`")
            }
            Error::Pull {
                name,
                in_kraftkit: true,
                source,
            } => Self::from(*source).hint(in_kraftkit(&name)),
            Error::Pull { source, .. } => (*source).into(),
        }
    }
}

impl From<builtin::Error> for Failure {
    fn from(error: builtin::Error) -> Self {
        use builtin::Error;

        match error {
            Error::NotEmbedded => Self::new(Kind::NotFound, error)
                .hint("`make install` builds kraft with it; `make runtime`, then `cargo build --features builtin-runtime` do")
                .hint("or name another runtime: `--runtime unikraft.org/base:latest`"),
            Error::OtherVersion(_) => Self::new(Kind::NotFound, error).hint(
                "`kraft update` pins a project to this version; `--runtime builtin` uses it once",
            ),
            Error::Damaged { .. } => Self::new(Kind::Failed, error).hint("install kraft again"),
            Error::Layer(error) => (*error).into(),
            Error::Store(error) => error.into(),
            Error::Images(error) => (*error).into(),
        }
    }
}

impl From<unpacked::Error> for Failure {
    fn from(error: unpacked::Error) -> Self {
        use unpacked::Error;

        let message = error.to_string();
        match error {
            Error::Unpack { source, .. } => Self::from(*source).about(&message),
            Error::NoKernel(_) => Self::new(Kind::Failed, error)
                .hint("it may be an image for containers, or a root filesystem alone"),
        }
    }
}

impl From<pins::Error> for Failure {
    fn from(error: pins::Error) -> Self {
        use pins::Error;

        match error {
            Error::NotLocked(_) => Self::new(Kind::Failed, error)
                .hint("build without `--locked` once and commit kraft.lock"),
            Error::Images(error) => error.into(),
            Error::Obtain(error) => error.into(),
            Error::Network(error) => error.into(),
            Error::Pull(error) => error.into(),
            Error::Components(error) => error.into(),
            Error::Workplace(error) => error.into(),
        }
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Missing(_) => Self::new(Kind::NotFound, error).hint(NAME_A_TARGET),
            KernelError::File(error) => error.into(),
            KernelError::NotAKernel {
                source: NotAKernel::Directory,
                ..
            } => Self::usage(error)
                .hint("give the path of a kernel file inside it: `kraft run KERNEL`"),
            KernelError::NotAKernel { .. } => Self::usage(error)
                .hint("kraft runs Unikraft kernels for QEMU (x86_64 and arm64) and Linux kernels")
                .hint(
                    "for sources and scripts, `kraft init` writes a Dockerfile; then `kraft run`",
                ),
        }
    }
}

const NAME_A_TARGET: &str =
    "give the path of a kernel file, or the name of an image: `kraft run WHAT`";

impl From<run_target::Error> for Failure {
    fn from(error: run_target::Error) -> Self {
        use run_target::Error;

        let hint = match &error {
            Error::NoFile {
                image: Some(image), ..
            } => Some(format!("it is not the name of an image either: {image}")),
            Error::NoFile {
                path,
                runtime: Some(runtime),
                ..
            } => Some(format!(
                "the first argument is what to run, and `--runtime` what a project or a program \
                 runs on; to run the image itself: `kraft run {runtime} {}`",
                path.display()
            )),
            _ => None,
        };
        let failure = match error {
            Error::Nothing => Self::usage(error).hint(
                "name a kernel file, an image or the directory of a project: `kraft run WHAT`; \
                 `kraft init` makes a project of this directory",
            ),
            Error::NoFile { .. } => Self::new(Kind::NotFound, error).hint(NAME_A_TARGET),
            Error::Kernel(error) => error.into(),
            Error::Images(error) => error.into(),
            Error::Project(error) => error.into(),
            Error::Components(error) => error.into(),
            Error::Workplace(error) => error.into(),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The failure of an application whose runtime cannot be obtained; `builtin` selects the built-in one.
pub(super) fn runtime(error: obtain::Error, builtin: &str) -> Failure {
    let is_pull = matches!(
        error,
        obtain::Error::Pull { .. } | obtain::Error::PullNever(_)
    );
    let failure = Failure::from(error);
    if is_pull {
        failure.hint(format!("{builtin} runs it on the built-in runtime instead"))
    } else {
        failure
    }
}

impl From<source::Error> for Failure {
    fn from(error: source::Error) -> Self {
        use source::Error;

        match error {
            Error::NoTarget { .. } => Self::new(Kind::NotFound, error)
                .hint("name an image, a project directory or a Compose file"),
            Error::NoImage(_) => Self::usage(error)
                .hint("package it: `kraft pkg --name HOST/PATH:TAG --push`, then name the image: `--image`"),
            Error::NoServiceImage(_) => Self::usage(error)
                .hint("add `image: HOST/PATH:TAG`, and push it: `kraft compose build --push`"),
            Error::Volume { .. } => Self::usage(error),
            Error::Reference(error) => error.into(),
            Error::Project(error) => error.into(),
            Error::Settings(error) => error.into(),
            Error::Compose(error) => (*error).into(),
            Error::Images(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Boot(error) => (*error).into(),
            Error::Plan(problems) => Self::problems(Kind::Usage, problems),
        }
    }
}

impl From<write::Error> for Failure {
    fn from(error: write::Error) -> Self {
        match error {
            write::Error::Exists(_) => {
                Self::new(Kind::Failed, error).hint("`--force` replaces files that exist")
            }
            write::Error::File(error) => error.into(),
        }
    }
}

impl From<boot::Error> for Failure {
    fn from(error: boot::Error) -> Self {
        use boot::Error;

        let message = error.to_string();
        match error {
            Error::Kernel(error) => error.into(),
            Error::ImageKernel { source, .. } => Self::from(source).about(&message),
            Error::Platform { .. } => Self::new(Kind::Host, error)
                .hint("use one that is for qemu; `kraft pkg info` shows what an image is for"),
            Error::Reference(error) => error.into(),
            Error::Images(error) => error.into(),
            Error::Obtain(error) => error.into(),
            Error::Runtime(error) => runtime(error, "`--runtime builtin`"),
            Error::Unpacked(error) => error.into(),
            Error::Pins(error) => error.into(),
            Error::NoTarget => {
                Self::new(Kind::NotFound, error).hint("build the project first: `kraft build`")
            }
            Error::Project(error) => error.into(),
            Error::Settings(error) => error.into(),
            Error::Workplace(error) => error.into(),
            Error::Rootfs(error) => error.into(),
            Error::Dockerfile(error) => (*error).into(),
            Error::File(error) => error.into(),
        }
    }
}

impl From<arguments::Error> for Failure {
    fn from(error: arguments::Error) -> Self {
        use arguments::Error;

        match error {
            Error::NotText { .. }
            | Error::Nameless(_)
            | Error::NotADirectory { .. }
            | Error::EnvLine { .. } => Self::usage(error),
            Error::EnvFile { ref source, .. } => {
                let missing = source.kind() == std::io::ErrorKind::NotFound;
                let kind = if missing {
                    Kind::NotFound
                } else {
                    Kind::Failed
                };
                Self::new(kind, error)
            }
            Error::Syntax(error) => Self::usage(error),
            Error::NoDirectory { ref typed_dir, .. } => {
                let dir = shell_words::join([typed_dir]);
                Self::new(Kind::NotFound, error).hint(format!("create it: `mkdir -p {dir}`"))
            }
            Error::Unreadable { .. } => Self::new(Kind::Failed, error),
        }
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        use run::Error;

        match error {
            Error::Problems(problems) => Self::problems(Kind::Usage, problems),
            Error::Machines(error) => error.into(),
            Error::Rootfs(error) => error.into(),
            Error::File(error) => error.into(),
            Error::NoRoot => Self::new(Kind::Usage, error)
                .hint("use an image or a project with a root filesystem"),
        }
    }
}

impl From<warm::Error> for Failure {
    fn from(error: warm::Error) -> Self {
        use warm::Error;

        match error {
            Error::Volumes => Self::usage(error).hint("leave out `--warm`"),
            Error::NoCheck => Self::usage(error).hint(
                "publish a port with `--port`, or set a check with `--health-http` or `--health-tcp`",
            ),
            Error::File(error) => error.into(),
        }
    }
}

impl From<follow::Error> for Failure {
    fn from(error: follow::Error) -> Self {
        use follow::Error;

        match error {
            Error::Logs(error) => error.into(),
            Error::Output(error) => error.into(),
            Error::Runtime(error) => error.into(),
        }
    }
}

impl From<repair::Unrepaired> for Failure {
    fn from(error: repair::Unrepaired) -> Self {
        let message = error.to_string();
        Self::from(error.source).about(&message)
    }
}

impl From<pack::Error> for Failure {
    fn from(error: pack::Error) -> Self {
        use pack::Error;

        match error {
            Error::Read { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::new(Kind::NotFound, error)
            }
            Error::Read { .. } => Self::new(Kind::Failed, error),
            Error::OtherArch { .. } => Self::usage(error),
            Error::NotAKernel { .. } => Self::usage(error).hint(
                "if it is a kernel nevertheless, name its platform: `--arch ARCH --plat PLATFORM`",
            ),
            Error::NoRuntime => Self::new(Kind::NotFound, error),
            Error::Settings(error) => error.into(),
            Error::Reference(error) => error.into(),
            Error::Pins(error) => error.into(),
            Error::Obtain(error) => error.into(),
            Error::Rootfs(error) => error.into(),
            Error::Dockerfile(error) => (*error).into(),
            Error::Project(error) => error.into(),
            Error::Workplace(error) => error.into(),
            Error::File(error) => error.into(),
        }
    }
}

impl From<package::Error> for Failure {
    fn from(error: package::Error) -> Self {
        use package::Error;

        let message = error.to_string();
        match error {
            Error::Exists(_) => Self::new(Kind::Failed, error)
                .hint("`--strategy merge` adds to it, `--strategy overwrite` replaces it"),
            Error::NoPrompt(_) => Self::usage(error)
                .hint("use `--strategy overwrite`, `--strategy merge` or `--strategy abort`"),
            Error::Ask(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Epoch(error) => error.into(),
            Error::Read { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::new(Kind::NotFound, error)
            }
            Error::Merge(_) | Error::Read { .. } => Self::new(Kind::Failed, error),
            Error::Time(_) | Error::NotAFile(_) => Self::usage(error),
            Error::Urunc(_) => Self::usage(error).hint("package for it only: `--plat qemu`"),
            Error::Kubevirt(source) | Error::Pack { source, .. } => {
                Self::from(*source).about(&message)
            }
            Error::Archive(error) => error.into(),
            Error::Rootfs(error) => error.into(),
        }
    }
}
