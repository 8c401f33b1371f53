//! Who builds: the first of those on this computer that can, or the one that was named.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kraft_buildkit::{Address, TlsFiles};
use kraft_rootfs::dockerfile::Settings;

use super::daemon::{self, Answer};
use super::job::Job;
use super::{own, program};
use crate::app::App;
use crate::failure::{Failure, Kind, chain};

/// Who is to build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Builder {
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
    #[value(alias = "own")]
    Kraft,
}

/// Someone who may be able to build.
#[derive(Clone, Debug)]
enum Candidate {
    /// A BuildKit at an address, as it is called in a sentence.
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

/// Who was asked, and why it is not the one.
type Tried = Vec<(String, String)>;

/// Builds with the first that can. Returns how the image wants to be run.
pub(super) fn build(app: &App, job: &Job<'_>, out: &Path) -> Result<Settings, Failure> {
    let mut tried = Tried::new();
    for candidate in candidates(app, job.wish.builder)? {
        if let Some(settings) = offer(app, job, out, &candidate, &mut tried)? {
            return Ok(settings);
        }
    }
    Err(nobody(job, &tried))
}

/// Lets a candidate build if it can; `None` if it cannot.
fn offer(
    app: &App,
    job: &Job<'_>,
    out: &Path,
    candidate: &Candidate,
    tried: &mut Tried,
) -> Result<Option<Settings>, Failure> {
    match candidate {
        Candidate::Daemon(address, name) => match daemon::reach(app, address)? {
            Answer::Here(reached) => {
                taken(app, job, name, tried);
                daemon::build(app, job, out, &reached).map(Some)
            }
            Answer::Not(why) => {
                tried.push((name.clone(), why));
                Ok(None)
            }
        },
        Candidate::Program(name) => match program::look(name) {
            Ok(()) => {
                taken(app, job, &format!("`{name}`"), tried);
                program::build(app, job, out, name).map(Some)
            }
            Err(why) => {
                tried.push((format!("`{name}`"), why));
                Ok(None)
            }
        },
        Candidate::Container if app.offline() => {
            let why = "its image may have to be fetched, and there is `--offline`";
            tried.push(("a buildkitd in a container".to_owned(), why.to_owned()));
            Ok(None)
        }
        Candidate::Container => match program::start_buildkit(BUILDKIT_IMAGE) {
            Ok(container) => {
                let name = "a buildkitd in a container";
                match daemon::reach(app, &container.address())? {
                    Answer::Here(reached) => {
                        taken(app, job, name, tried);
                        daemon::build(app, job, out, &reached).map(Some)
                    }
                    Answer::Not(why) => {
                        tried.push((name.to_owned(), why));
                        Ok(None)
                    }
                }
            }
            Err(why) => {
                tried.push(("a buildkitd in a container".to_owned(), why));
                Ok(None)
            }
        },
        Candidate::Own => match own::obstacle(app, job)? {
            None => {
                taken(app, job, "kraft itself", tried);
                own::build(app, job, out).map(Some)
            }
            Some(why) => {
                tried.push(("kraft itself".to_owned(), why));
                Ok(None)
            }
        },
    }
}

/// Says who builds and why.
fn taken(app: &App, job: &Job<'_>, name: &str, tried: &Tried) {
    let why = match (job.wish.builder, tried.last()) {
        (Builder::Auto, Some(_)) => {
            let others: Vec<&str> = tried.iter().map(|(name, _)| name.as_str()).collect();
            format!(" (not available: {})", others.join(", "))
        }
        (Builder::Auto, None) => String::new(),
        _ => " (as `--builder` says)".to_owned(),
    };
    app.ui.info(&format!(
        "building `{}` with {name}{why}",
        job.shown_text().name
    ));
}

fn nobody(job: &Job<'_>, tried: &Tried) -> Failure {
    let mut text = format!("nothing here can build `{}`", job.shown_text().name);
    for (name, why) in tried {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {name}: {why}");
    }
    Failure::new(Kind::Host, text).hint("install a builder: `sudo apt install buildah`")
}

/// Returns who is asked, in order.
fn candidates(app: &App, wanted: Builder) -> Result<Vec<Candidate>, Failure> {
    let mut all = Vec::new();
    if matches!(wanted, Builder::Auto | Builder::Buildkit) {
        all.extend(daemons(app)?);
    }
    if matches!(wanted, Builder::Auto | Builder::Docker) {
        all.extend(engines(app));
    }
    for (builder, name) in [(Builder::Buildah, "buildah"), (Builder::Podman, "podman")] {
        if wanted == Builder::Auto || wanted == builder {
            all.push(Candidate::Program(name));
        }
    }
    if matches!(wanted, Builder::Auto | Builder::Container) {
        all.push(Candidate::Container);
    }
    if matches!(wanted, Builder::Auto | Builder::Kraft) {
        all.push(Candidate::Own);
    }
    Ok(all)
}

/// Buildkitds: the one that is configured, that of root, that of the user.
fn daemons(app: &App) -> Result<Vec<Candidate>, Failure> {
    let mut all = Vec::new();
    if let Some(configured) = app
        .config
        .text("buildkit_host")
        .filter(|text| !text.is_empty())
    {
        let mut address: Address = configured.parse().map_err(|error| {
            Failure::usage(chain(&error)).hint(
                "it is set by `--buildkit-host`, `KRAFTKIT_BUILDKIT_HOST` or the configuration",
            )
        })?;
        if let Address::Tcp { tls, .. } = &mut address {
            *tls = tls_files(app);
        }
        all.push(Candidate::Daemon(
            address.clone(),
            format!("the BuildKit at {address}"),
        ));
    }
    let mut sockets = vec![PathBuf::from("/run/buildkit/buildkitd.sock")];
    if let Some(own) = app.config.env.path("XDG_RUNTIME_DIR") {
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
pub(super) fn image_id(app: &App, wanted: Builder, name: &str) -> Option<String> {
    if !matches!(wanted, Builder::Auto | Builder::Docker) {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    engines(app)
        .into_iter()
        .find_map(|candidate| match candidate {
            Candidate::Daemon(Address::Docker(socket), _) if socket.exists() => {
                runtime.block_on(kraft_buildkit::image_id(&socket, name))
            }
            _ => None,
        })
}

/// The files of `KRAFTKIT_BUILDKIT_TLS_DIR`, as `buildctl --tlsdir` names them.
fn tls_files(app: &App) -> Option<TlsFiles> {
    let dir = app.config.env.path("KRAFTKIT_BUILDKIT_TLS_DIR")?;
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let client = (certificate.is_file() && key.is_file()).then_some((certificate, key));
    Some(TlsFiles {
        authorities: dir.join("ca.pem"),
        client,
    })
}

/// Sockets of engines that may have a BuildKit inside.
fn engines(app: &App) -> Vec<Candidate> {
    let env = &app.config.env;
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
