//! Who builds: the first of those on this computer that can, or the one that was named.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kraft_buildkit::{Address, TlsFiles};
use kraft_rootfs::sandbox::Sandbox;

use super::daemon::{self, Reached};
use super::job::Job;
use super::program::{self, Container};
use super::trouble::Attempt;
use super::{Image, own};
use crate::context::Context;
use crate::failure::{Failure, Kind, chain};

/// Who is to build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Builder {
    /// The first that can
    #[default]
    Auto,
    /// A buildkitd: the one that is configured, or one at its usual socket
    Buildkit,
    /// The BuildKit inside a Docker engine
    Docker,
    /// The program buildah
    Buildah,
    /// The program podman
    Podman,
    /// A buildkitd in a container that is started for the build
    Container,
    /// kraft itself: no daemon, no privileges
    Kraft,
}

/// A builder that may be able to build.
#[derive(Clone, Debug)]
enum Candidate {
    /// The BuildKit that the user configured.
    Configured(Address),
    /// A BuildKit at a usual address, as it is called in a sentence.
    Daemon(Address, String),
    /// A program.
    Program(&'static str),
    /// A container.
    Container,
    /// Ourselves.
    Own,
}

/// The image of a buildkitd that is started for a build; KraftKit's.
const BUILDKIT_IMAGE: &str = "moby/buildkit:v0.14.1";

/// A builder that did not build, and why.
#[derive(Debug)]
struct Tried {
    name: String,
    why: String,
    /// Whether the user named it in the configuration.
    configured: bool,
}

/// A builder that is there.
enum Ready {
    Daemon(Box<Reached>),
    /// As [`Ready::Daemon`], in a container that goes with this.
    Container(
        Box<Reached>,
        #[expect(dead_code, reason = "removed when dropped")] Container,
    ),
    Program(&'static str),
    /// Ourselves, with what runs commands where that can be had.
    Own(Box<Option<Sandbox>>),
}

/// Builds with the first builder that can. Returns how the image wants to be run.
///
/// A builder that fails for a reason of its own is no judgement of the Dockerfile: where no
/// builder was named, the next one is tried.
pub(super) fn build(ctx: &Context, job: &Job<'_>, out: &Path) -> Result<Image, Failure> {
    let mut tried = Vec::new();
    let mut last = None;
    for candidate in candidates(ctx, job.wish.builder)? {
        let name = candidate.name();
        let why = match ready(ctx, job, &candidate)? {
            Err(why) => why,
            Ok(ready) => {
                announce(ctx, job, &name, &tried);
                let attempt = attempt(ctx, job, out, ready);
                match attempt.map_err(|failure| job.in_time(failure))? {
                    Attempt::Built(image) => return Ok(image),
                    Attempt::Trouble { failure, .. } if job.wish.builder != Builder::Auto => {
                        return Err(failure.hint(OTHERS));
                    }
                    Attempt::Trouble { why, failure } => {
                        ctx.warn(&format!(
                            "{name} failed for a reason of its own, trying the next builder: {why}"
                        ));
                        last = Some(failure);
                        why
                    }
                }
            }
        };
        tried.push(Tried {
            name,
            why,
            configured: matches!(candidate, Candidate::Configured(..)),
        });
    }
    Err(last.unwrap_or_else(|| nobody(job, &tried)))
}

/// What to do where a builder that was named fails for a reason of its own.
const OTHERS: &str = "build with kraft itself (`--builder kraft`), or with the first builder that \
                      can (`--builder auto`)";

impl Candidate {
    /// Returns its name, as it stands in a sentence.
    fn name(&self) -> String {
        match self {
            Self::Configured(address) => format!("the BuildKit at {address}"),
            Self::Daemon(_, name) => name.clone(),
            Self::Program(name) => format!("`{name}`"),
            Self::Container => "a buildkitd in a container".to_owned(),
            Self::Own => "kraft itself".to_owned(),
        }
    }
}

/// Gets a builder ready to build this, or says why it cannot.
fn ready(
    ctx: &Context,
    job: &Job<'_>,
    candidate: &Candidate,
) -> Result<Result<Ready, String>, Failure> {
    Ok(match candidate {
        Candidate::Configured(address) | Candidate::Daemon(address, _) => {
            daemon::reach(ctx, address)?.map(Ready::Daemon)
        }
        Candidate::Program(name) => program::look(name).map(|()| Ready::Program(name)),
        Candidate::Container if ctx.settings.offline => {
            Err("its image may have to be fetched, and there is `--offline`".to_owned())
        }
        Candidate::Container => match program::start_buildkit(BUILDKIT_IMAGE) {
            Ok(container) => daemon::reach(ctx, &container.address())?
                .map(|reached| Ready::Container(reached, container)),
            Err(why) => Err(why),
        },
        Candidate::Own => own::ready(ctx, job)?.map(|runner| Ready::Own(Box::new(runner))),
    })
}

fn attempt(ctx: &Context, job: &Job<'_>, out: &Path, ready: Ready) -> Result<Attempt, Failure> {
    match ready {
        Ready::Daemon(reached) | Ready::Container(reached, _) => {
            daemon::build(ctx, job, out, &reached)
        }
        Ready::Program(name) => program::build(ctx, job, out, name),
        Ready::Own(runner) => own::build(ctx, job, out, *runner),
    }
}

/// Says who builds, and which builder that the user configured does not.
fn announce(ctx: &Context, job: &Job<'_>, name: &str, tried: &[Tried]) {
    let missing = tried.iter().find(|tried| tried.configured);
    let why = match (job.wish.builder, missing) {
        (Builder::Auto, Some(missing)) => format!(" (not available: {})", missing.name),
        _ => String::new(),
    };
    ctx.info(&format!(
        "building `{}` with {name}{why}",
        job.shown_text().name
    ));
}

fn nobody(job: &Job<'_>, tried: &[Tried]) -> Failure {
    let mut text = format!("nothing here can build `{}`", job.shown_text().name);
    for Tried { name, why, .. } in tried {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {name}: {why}");
    }
    Failure::new(Kind::Host, text)
        .hint("install a builder: `sudo apt install buildah`; `kraft doctor` lists those here")
}

/// The state of a builder, for people.
#[derive(Debug)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Why it cannot be used, if it cannot.
    pub missing: Option<String>,
}

/// Looks at every builder in the order in which they are tried. Nothing is started for that.
pub fn states(ctx: &Context) -> Result<Vec<State>, Failure> {
    let candidates = candidates(ctx, Builder::Auto)?;
    let state = |candidate: &Candidate| -> Result<State, Failure> {
        let missing = match candidate {
            Candidate::Configured(address) | Candidate::Daemon(address, _) => {
                daemon::reach(ctx, address)?.err()
            }
            Candidate::Program(name) => program::look(name).err(),
            Candidate::Container => program::look("docker").err(),
            Candidate::Own => own::find_runner(kraft_rootfs::dockerfile::Network::Own)
                .err()
                .map(|why| format!("Dockerfiles without `RUN` only: {why}")),
        };
        Ok(State {
            name: candidate.name(),
            missing,
        })
    };
    candidates.iter().map(state).collect()
}

/// Returns who is asked, in order.
fn candidates(ctx: &Context, wanted: Builder) -> Result<Vec<Candidate>, Failure> {
    let auto = wanted == Builder::Auto;
    let mut all = Vec::new();
    if auto || wanted == Builder::Buildkit {
        all.extend(daemons(ctx)?);
    }
    if auto || wanted == Builder::Docker {
        all.extend(engines(ctx));
    }
    if auto || wanted == Builder::Kraft {
        all.push(Candidate::Own);
    }
    for (builder, name) in [(Builder::Buildah, "buildah"), (Builder::Podman, "podman")] {
        if auto || wanted == builder {
            all.push(Candidate::Program(name));
        }
    }
    if auto || wanted == Builder::Container {
        all.push(Candidate::Container);
    }
    Ok(all)
}

/// Buildkitds: the one that is configured, that of root, that of the user.
fn daemons(ctx: &Context) -> Result<Vec<Candidate>, Failure> {
    let mut all = Vec::new();
    if let Some(configured) = &ctx.settings.buildkit_host {
        let mut address: Address = configured.parse().map_err(|error| {
            Failure::usage(chain(&error)).hint(
                "it is set by `--buildkit-host`, `KRAFTKIT_BUILDKIT_HOST` or the configuration",
            )
        })?;
        if let Address::Tcp { tls, .. } = &mut address {
            *tls = tls_files(ctx);
        }
        all.push(Candidate::Configured(address));
    }
    let mut sockets = vec![PathBuf::from("/run/buildkit/buildkitd.sock")];
    if let Some(own) = ctx.env.path("XDG_RUNTIME_DIR") {
        sockets.push(own.join("buildkit/buildkitd.sock"));
    }
    for socket in sockets {
        let address = Address::Unix(socket);
        let name = format!("buildkitd at {address}");
        all.push(Candidate::Daemon(address, name));
    }
    Ok(all)
}

/// Asks the engines that may build what an image is to them now.
pub(super) fn image_id(ctx: &Context, wanted: Builder, name: &str) -> Option<String> {
    if !matches!(wanted, Builder::Auto | Builder::Docker) {
        return None;
    }
    let runtime = ctx.runtime().ok()?;
    engines(ctx)
        .into_iter()
        .find_map(|candidate| match candidate {
            Candidate::Daemon(Address::Docker(socket), _) if socket.exists() => {
                runtime.block_on(kraft_buildkit::image_id(&socket, name))
            }
            _ => None,
        })
}

/// The files of `KRAFTKIT_BUILDKIT_TLS_DIR`, as `buildctl --tlsdir` names them.
fn tls_files(ctx: &Context) -> Option<TlsFiles> {
    let dir = ctx.env.path("KRAFTKIT_BUILDKIT_TLS_DIR")?;
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let client = (certificate.is_file() && key.is_file()).then_some((certificate, key));
    Some(TlsFiles {
        authorities: dir.join("ca.pem"),
        client,
    })
}

/// Sockets of engines that may have a BuildKit inside.
fn engines(ctx: &Context) -> Vec<Candidate> {
    let env = &ctx.env;
    let mut all = Vec::new();
    let own = env.path("XDG_RUNTIME_DIR");
    let named = env.text("DOCKER_HOST");
    let named = named
        .as_deref()
        .and_then(|host| host.strip_prefix("unix://"));
    if let Some(path) = named {
        all.push((PathBuf::from(path), "the Docker engine"));
    } else {
        all.push((PathBuf::from("/var/run/docker.sock"), "the Docker engine"));
        if let Some(own) = &own {
            all.push((own.join("docker.sock"), "the user's Docker engine"));
        }
    }
    // Podman's service speaks Docker's language, and may have a BuildKit one day.
    let podman = own.map(|own| own.join("podman/podman.sock"));
    let podman = podman
        .into_iter()
        .chain([PathBuf::from("/run/podman/podman.sock")]);
    all.extend(
        podman
            .filter(|path| path.exists())
            .map(|path| (path, "podman's service")),
    );
    all.into_iter()
        .map(|(path, name)| {
            let address = Address::Docker(path);
            let name = format!("{name} at {address}");
            Candidate::Daemon(address, name)
        })
        .collect()
}
