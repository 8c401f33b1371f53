//! Choice of the builder: the one that the user selected, else the first that can build.

use std::path::{Path, PathBuf};

use kraft_buildkit::{Address, TlsFiles};
use kraft_rootfs::sandbox::Sandbox;

use super::attempt::Attempt;
use super::daemon::{self, Connection};
use super::error::Error;
use super::program::{self, Container};
use super::request::BuildRequest;
use super::{Image, own};
use crate::context::Context;

/// What builds Dockerfiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Builder {
    /// The first that can build
    #[default]
    Auto,
    /// A buildkitd: the configured one, or one at its usual socket
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
#[derive(Clone, Debug, PartialEq)]
enum Candidate {
    /// The BuildKit that the user configured.
    Configured(Address),
    /// A BuildKit at a usual address, and its name in a sentence.
    Daemon(Address, String),
    /// A program.
    Program(&'static str),
    /// A buildkitd in a container.
    Container,
    /// kraft itself.
    Own,
}

/// The image of a buildkitd that is started for a build; the one that KraftKit uses.
const BUILDKIT_IMAGE: &str = "moby/buildkit:v0.14.1";

/// A builder that was tried without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Its name in a sentence.
    pub name: String,
    /// Why it did not build.
    pub reason: String,
    /// Whether the user configured it.
    pub configured: bool,
}

/// A builder that is available.
enum ReadyBuilder {
    Daemon(Box<Connection>),
    /// As [`ReadyBuilder::Daemon`], in a container that is removed with this.
    Container(
        Box<Connection>,
        #[expect(dead_code, reason = "removed when dropped")] Container,
    ),
    Program(&'static str),
    /// kraft itself, with the sandbox for commands where there is one.
    Own(Box<Option<Sandbox>>),
}

/// Checks builders and builds with them; implemented by this host and by tests.
trait Host {
    /// A builder that is available.
    type Ready;

    /// Prepares a builder, or returns why it cannot build.
    fn prepare(&self, candidate: &Candidate) -> Result<Result<Self::Ready, String>, Error>;

    /// Builds.
    fn build(&self, ready: Self::Ready) -> Result<Attempt, Error>;
}

/// This host.
struct ThisHost<'a> {
    ctx: &'a Context,
    request: &'a BuildRequest<'a>,
    out: &'a Path,
}

impl Host for ThisHost<'_> {
    type Ready = ReadyBuilder;

    fn prepare(&self, candidate: &Candidate) -> Result<Result<ReadyBuilder, String>, Error> {
        let ctx = self.ctx;
        Ok(match candidate {
            Candidate::Configured(address) | Candidate::Daemon(address, _) => {
                daemon::connect(ctx, address)?.map(ReadyBuilder::Daemon)
            }
            Candidate::Program(name) => program::check(name).map(|()| ReadyBuilder::Program(name)),
            Candidate::Container if ctx.settings.offline => {
                Err("its image may have to be pulled, which `--offline` forbids".to_owned())
            }
            Candidate::Container => match program::start_buildkit(BUILDKIT_IMAGE) {
                Ok(container) => daemon::connect(ctx, &container.address())?
                    .map(|connection| ReadyBuilder::Container(connection, container)),
                Err(reason) => Err(reason),
            },
            Candidate::Own => {
                own::prepare(ctx, self.request)?.map(|sandbox| ReadyBuilder::Own(Box::new(sandbox)))
            }
        })
    }

    fn build(&self, ready: ReadyBuilder) -> Result<Attempt, Error> {
        let (ctx, request, out) = (self.ctx, self.request, self.out);
        let attempt = match ready {
            ReadyBuilder::Daemon(connection) | ReadyBuilder::Container(connection, _) => {
                daemon::build(ctx, request, out, &connection)
            }
            ReadyBuilder::Program(name) => program::build(ctx, request, out, name),
            ReadyBuilder::Own(sandbox) => own::build(ctx, request, out, *sandbox),
        };
        attempt.map_err(|error| request.or_timeout(error))
    }
}

/// Builds with the selected builder, else with the first that can.
pub(super) fn build(ctx: &Context, request: &BuildRequest<'_>, out: &Path) -> Result<Image, Error> {
    let selected = request.options.builder;
    let candidates = candidates(&Places::of(ctx), selected)?;
    let host = ThisHost { ctx, request, out };
    build_with_first(ctx, request, &candidates, &host)
}

/// Builds with the first of the candidates that can.
///
/// Where no builder is selected, one that fails for a reason of its own is followed by the next: the
/// Dockerfile may be right.
fn build_with_first<H: Host>(
    ctx: &Context,
    request: &BuildRequest<'_>,
    candidates: &[Candidate],
    host: &H,
) -> Result<Image, Error> {
    let auto = request.options.builder == Builder::Auto;
    let mut attempts = Vec::new();
    let mut last = None;
    for candidate in candidates {
        let name = candidate.name();
        let reason = match host.prepare(candidate)? {
            Err(reason) => reason,
            Ok(ready) => {
                announce(ctx, request, &name, &attempts);
                match host.build(ready)? {
                    Attempt::Built(image) => return Ok(image),
                    Attempt::BuilderFailed { error, .. } if !auto => {
                        return Err(Error::Selected(Box::new(error)));
                    }
                    Attempt::BuilderFailed { reason, error } => {
                        ctx.warn(&format!(
                            "{name} failed for a reason of its own, trying the next builder: \
                             {reason}"
                        ));
                        last = Some(error);
                        reason
                    }
                }
            }
        };
        tracing::debug!(builder = name, reason, "the builder is skipped");
        attempts.push(Attempted {
            name,
            reason,
            configured: matches!(candidate, Candidate::Configured(..)),
        });
    }
    Err(last.unwrap_or_else(|| Error::NoBuilder {
        file: request.shown(),
        attempts,
    }))
}

impl Candidate {
    /// Returns its name in a sentence.
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

/// Reports which builder builds, and that the configured one does not.
fn announce(ctx: &Context, request: &BuildRequest<'_>, name: &str, attempts: &[Attempted]) {
    let missing = attempts.iter().find(|attempted| attempted.configured);
    let note = match (request.options.builder, missing) {
        (Builder::Auto, Some(missing)) => format!(" (not available: {})", missing.name),
        _ => String::new(),
    };
    ctx.info(&format!("building `{}` with {name}{note}", request.shown()));
}

/// State of a builder, for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderState {
    /// Its name.
    pub name: String,
    /// Why it cannot be used, if it cannot.
    pub missing: Option<String>,
}

/// Returns the state of every builder, in the order in which they are tried. Nothing is started.
pub fn states(ctx: &Context) -> Result<Vec<BuilderState>, Error> {
    let candidates = candidates(&Places::of(ctx), Builder::Auto)?;
    let state = |candidate: &Candidate| -> Result<BuilderState, Error> {
        let missing = match candidate {
            Candidate::Configured(address) | Candidate::Daemon(address, _) => {
                daemon::connect(ctx, address)?.err()
            }
            Candidate::Program(name) => program::check(name).err(),
            Candidate::Container => program::check("docker").err(),
            Candidate::Own => own::find_sandbox(kraft_rootfs::dockerfile::Network::Own)
                .err()
                .map(|reason| format!("Dockerfiles without `RUN` only: {reason}")),
        };
        Ok(BuilderState {
            name: candidate.name(),
            missing,
        })
    };
    candidates.iter().map(state).collect()
}

/// What decides which builders are tried.
#[derive(Clone, Debug, Default)]
struct Places {
    /// The configured address of a BuildKit.
    buildkit_host: Option<String>,
    /// Directory of the files of its TLS.
    tls_dir: Option<PathBuf>,
    /// `DOCKER_HOST`.
    docker_host: Option<String>,
    /// `XDG_RUNTIME_DIR`: the directory of the user's sockets.
    user_dir: Option<PathBuf>,
    /// Existing sockets of podman's service.
    podman: Vec<PathBuf>,
}

impl Places {
    fn of(ctx: &Context) -> Self {
        let env = &ctx.env;
        let user_dir = env.path("XDG_RUNTIME_DIR");
        let podman = user_dir.as_ref().map(|dir| dir.join("podman/podman.sock"));
        let podman = podman
            .into_iter()
            .chain([PathBuf::from("/run/podman/podman.sock")]);
        Self {
            buildkit_host: ctx.settings.buildkit_host.clone(),
            tls_dir: env.path("KRAFTKIT_BUILDKIT_TLS_DIR"),
            docker_host: env.text("DOCKER_HOST"),
            podman: podman.filter(|path| path.exists()).collect(),
            user_dir,
        }
    }
}

/// Returns the builders to try, in order.
fn candidates(places: &Places, selected: Builder) -> Result<Vec<Candidate>, Error> {
    let is = |builder| selected == Builder::Auto || selected == builder;
    let mut candidates = Vec::new();
    if is(Builder::Buildkit) {
        candidates.extend(daemons(places)?);
    }
    if is(Builder::Docker) {
        candidates.extend(engines(places));
    }
    if is(Builder::Kraft) {
        candidates.push(Candidate::Own);
    }
    for (builder, name) in [(Builder::Buildah, "buildah"), (Builder::Podman, "podman")] {
        if is(builder) {
            candidates.push(Candidate::Program(name));
        }
    }
    if is(Builder::Container) {
        candidates.push(Candidate::Container);
    }
    Ok(candidates)
}

/// Returns buildkitds: the configured one, that of the system, that of the user.
fn daemons(places: &Places) -> Result<Vec<Candidate>, Error> {
    let mut candidates = Vec::new();
    if let Some(configured) = &places.buildkit_host {
        let mut address: Address = configured.parse()?;
        if let Address::Tcp { tls, .. } = &mut address {
            *tls = places.tls_dir.as_deref().map(tls_files);
        }
        candidates.push(Candidate::Configured(address));
    }
    let mut sockets = vec![PathBuf::from("/run/buildkit/buildkitd.sock")];
    if let Some(dir) = &places.user_dir {
        sockets.push(dir.join("buildkit/buildkitd.sock"));
    }
    for socket in sockets {
        let address = Address::Unix(socket);
        let name = format!("buildkitd at {address}");
        candidates.push(Candidate::Daemon(address, name));
    }
    Ok(candidates)
}

/// Returns what the engines that may build know an image by; `None` if none has it.
pub(super) fn image_id(ctx: &Context, selected: Builder, name: &str) -> Option<String> {
    if !matches!(selected, Builder::Auto | Builder::Docker) {
        return None;
    }
    let runtime = ctx.runtime().ok()?;
    engines(&Places::of(ctx))
        .into_iter()
        .find_map(|candidate| match candidate {
            Candidate::Daemon(Address::Docker(socket), _) if socket.exists() => {
                runtime.block_on(kraft_buildkit::image_id(&socket, name))
            }
            _ => None,
        })
}

/// Returns the files of `KRAFTKIT_BUILDKIT_TLS_DIR`, named as by `buildctl --tlsdir`.
fn tls_files(dir: &Path) -> TlsFiles {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let client = (certificate.is_file() && key.is_file()).then_some((certificate, key));
    TlsFiles {
        authorities: dir.join("ca.pem"),
        client,
    }
}

/// Returns the engines that may have a BuildKit inside.
fn engines(places: &Places) -> Vec<Candidate> {
    let docker_host = places.docker_host.as_deref();
    let mut sockets = Vec::new();
    if let Some(path) = docker_host.and_then(|host| host.strip_prefix("unix://")) {
        sockets.push((PathBuf::from(path), "the Docker engine"));
    } else {
        sockets.push((PathBuf::from("/var/run/docker.sock"), "the Docker engine"));
        if let Some(dir) = &places.user_dir {
            sockets.push((dir.join("docker.sock"), "the user's Docker engine"));
        }
    }
    // Podman's service has Docker's API, and may have a BuildKit one day.
    let podman = places.podman.iter();
    sockets.extend(podman.map(|path| (path.clone(), "podman's service")));
    sockets
        .into_iter()
        .map(|(path, name)| {
            let address = Address::Docker(path);
            let name = format!("{name} at {address}");
            Candidate::Daemon(address, name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use kraft_rootfs::dockerfile::Settings;

    use super::super::options::BuildOptions;
    use super::super::tests::context;
    use super::*;

    /// A host with some builders, of which some fail. kraft itself is asked, without a sandbox.
    struct FakeHost<'a> {
        ctx: &'a Context,
        request: &'a BuildRequest<'a>,
        available: &'a [&'a str],
        failing: &'a [&'a str],
        built: RefCell<Vec<String>>,
    }

    impl Host for FakeHost<'_> {
        type Ready = String;

        fn prepare(&self, candidate: &Candidate) -> Result<Result<String, String>, Error> {
            let name = short(candidate);
            if name == "kraft" {
                let sandbox = Err("no user namespaces".to_owned());
                let prepared = own::prepare_with(self.ctx, self.request, sandbox)?;
                return Ok(prepared.map(|_| name));
            }
            Ok(if self.available.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err("it is not installed".to_owned())
            })
        }

        fn build(&self, ready: String) -> Result<Attempt, Error> {
            let fails = self.failing.contains(&ready.as_str());
            self.built.borrow_mut().push(ready.clone());
            Ok(if fails {
                Attempt::BuilderFailed {
                    reason: "no network".to_owned(),
                    error: Error::NoArchive { file: ready },
                }
            } else {
                Attempt::Built(Settings::default().into())
            })
        }
    }

    fn short(candidate: &Candidate) -> String {
        match candidate {
            Candidate::Configured(_) => "configured".to_owned(),
            Candidate::Daemon(Address::Docker(path), _) => path.display().to_string(),
            Candidate::Daemon(address, _) => address.to_string(),
            Candidate::Program(name) => (*name).to_owned(),
            Candidate::Container => "container".to_owned(),
            Candidate::Own => "kraft".to_owned(),
        }
    }

    const BUILDKITD: &str = "unix:///run/buildkit/buildkitd.sock";
    const DOCKER: &str = "/var/run/docker.sock";
    const COPY: &str = "FROM scratch\nCOPY a /\n";
    const RUN: &str = "FROM scratch\nRUN true\n";

    /// The selected builder, the file, the available and the failing builders; the builders that try
    /// to build, and whether one succeeds.
    type Case = (
        Builder,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
        bool,
    );

    #[test]
    fn the_first_builder_that_can_build_the_file_builds() {
        use Builder::{Auto, Buildah, Buildkit, Docker, Kraft, Podman};

        const ALL: &[&str] = &[BUILDKITD, DOCKER, "buildah", "podman", "container"];

        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), []);
        let cases: [Case; 15] = [
            (Auto, RUN, ALL, &[], &[BUILDKITD], true),
            (Auto, RUN, &[DOCKER, "buildah"], &[], &[DOCKER], true),
            (Auto, COPY, &["buildah", "podman"], &[], &["kraft"], true),
            (Auto, RUN, &["buildah", "podman"], &[], &["buildah"], true),
            (Auto, RUN, &["podman"], &[], &["podman"], true),
            (Auto, RUN, &["container"], &[], &["container"], true),
            (Auto, COPY, &[], &[], &["kraft"], true),
            (Auto, RUN, &[], &[], &[], false),
            (
                Auto,
                RUN,
                &[DOCKER, "podman"],
                &[DOCKER],
                &[DOCKER, "podman"],
                true,
            ),
            (
                Auto,
                COPY,
                &[BUILDKITD],
                &[BUILDKITD],
                &[BUILDKITD, "kraft"],
                true,
            ),
            (Auto, RUN, &["buildah"], &["buildah"], &["buildah"], false),
            (Buildkit, COPY, &[DOCKER], &[], &[], false),
            (Docker, COPY, ALL, &[DOCKER], &[DOCKER], false),
            (Kraft, RUN, ALL, &[], &[], false),
            (Podman, COPY, &["buildah", "podman"], &[], &["podman"], true),
        ];
        for (builder, text, available, failing, expected, built) in cases {
            let case = format!("{builder:?} {text:?} {available:?} {failing:?}");
            let options = BuildOptions {
                builder,
                ..BuildOptions::default()
            };
            let request = BuildRequest::of_text(text, &options);
            let host = FakeHost {
                ctx: &ctx,
                request: &request,
                available,
                failing,
                built: RefCell::default(),
            };
            let candidates = candidates(&Places::default(), builder).unwrap();
            let outcome = build_with_first(&ctx, &request, &candidates, &host);
            assert_eq!(*host.built.borrow(), expected, "{case}");
            assert_eq!(outcome.is_ok(), built, "{case}");
            let Err(error) = outcome else { continue };
            match (builder, failing) {
                (_, []) => assert!(matches!(error, Error::NoBuilder { .. }), "{case}: {error}"),
                (Auto, _) => assert!(matches!(error, Error::NoArchive { .. }), "{case}: {error}"),
                _ => assert!(matches!(error, Error::Selected(_)), "{case}: {error}"),
            }
        }
        // Each choice is in the table, or has candidates of its own.
        assert_eq!(
            candidates(&Places::default(), Buildah).unwrap(),
            [Candidate::Program("buildah")]
        );
    }

    #[test]
    fn an_error_in_the_dockerfile_ends_the_search_at_kraft_itself() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), []);
        let options = BuildOptions::default();
        let request = BuildRequest::of_text("FRO scratch\n", &options);
        let host = FakeHost {
            ctx: &ctx,
            request: &request,
            available: &["buildah"],
            failing: &[],
            built: RefCell::default(),
        };
        let candidates = candidates(&Places::default(), Builder::Auto).unwrap();
        let error = build_with_first(&ctx, &request, &candidates, &host).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(host.built.borrow().is_empty());
    }

    #[test]
    fn why_no_builder_can_build_is_listed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), []);
        let options = BuildOptions::default();
        let request = BuildRequest::of_text(RUN, &options);
        let host = FakeHost {
            ctx: &ctx,
            request: &request,
            available: &[],
            failing: &[],
            built: RefCell::default(),
        };
        let candidates = candidates(&Places::default(), Builder::Auto).unwrap();
        let error = build_with_first(&ctx, &request, &candidates, &host).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no builder can build `Dockerfile`\n  \
             buildkitd at unix:///run/buildkit/buildkitd.sock: it is not installed\n  \
             the Docker engine at docker:///var/run/docker.sock: it is not installed\n  \
             kraft itself: a `RUN` needs a builder: no user namespaces\n  \
             `buildah`: it is not installed\n  \
             `podman`: it is not installed\n  \
             a buildkitd in a container: it is not installed"
        );
    }

    #[test]
    fn the_places_decide_the_order_of_candidates() {
        let places = Places {
            buildkit_host: Some("tcp://b:1".to_owned()),
            docker_host: None,
            user_dir: Some("/user".into()),
            podman: vec!["/user/podman/podman.sock".into()],
            tls_dir: None,
        };
        let of = |places: &Places, builder| {
            let candidates = candidates(places, builder).unwrap();
            candidates.iter().map(short).collect::<Vec<_>>()
        };
        assert_eq!(
            of(&places, Builder::Auto),
            [
                "configured",
                BUILDKITD,
                "unix:///user/buildkit/buildkitd.sock",
                DOCKER,
                "/user/docker.sock",
                "/user/podman/podman.sock",
                "kraft",
                "buildah",
                "podman",
                "container",
            ]
        );
        let named = Places {
            docker_host: Some("unix:///other.sock".to_owned()),
            ..Places::default()
        };
        assert_eq!(of(&named, Builder::Docker), ["/other.sock"]);
        // An engine elsewhere has no socket here: the usual ones are tried.
        let remote = Places {
            docker_host: Some("tcp://engine:2376".to_owned()),
            ..Places::default()
        };
        assert_eq!(of(&remote, Builder::Docker), [DOCKER]);
    }

    #[test]
    fn the_configured_address_is_parsed_only_where_it_is_used() {
        let places = Places {
            buildkit_host: Some("nonsense".to_owned()),
            ..Places::default()
        };
        for builder in [Builder::Auto, Builder::Buildkit] {
            let error = candidates(&places, builder).unwrap_err();
            assert!(matches!(error, Error::BuildkitAddress(_)), "{error}");
        }
        assert!(candidates(&places, Builder::Kraft).is_ok());
    }

    #[test]
    fn a_client_certificate_needs_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            buildkit_host: Some("tcp://b:1".to_owned()),
            tls_dir: Some(dir.path().to_owned()),
            ..Places::default()
        };
        let client = || {
            let candidates = candidates(&places, Builder::Buildkit).unwrap();
            match candidates.into_iter().next() {
                Some(Candidate::Configured(Address::Tcp { tls, .. })) => tls.unwrap().client,
                other => panic!("{other:?}"),
            }
        };
        let put = |name: &str| kraft_sys::fs::replace_file(&dir.path().join(name), b"").unwrap();
        put("cert.pem");
        assert_eq!(client(), None);
        put("key.pem");
        assert!(client().is_some());
    }
}
