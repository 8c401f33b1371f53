//! Builds: the frontend evaluates the Dockerfile, and the daemon exports the result as a tar.
//!
//! kraft is a gateway client, as are `buildctl` and `docker buildx`: `Control.Solve` without a
//! frontend waits for a result, `LLBBridge.Solve` computes it, `LLBBridge.Return` returns it to the
//! first call, whose exporter sends it. So the image's configuration, which is in the result, needs
//! no second build and leaves no image in the daemon.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    self, ReturnRequest, SolveRequest as GatewayRequest,
};
use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, SolveRequest, StatusRequest,
};
use sha2::{Digest as _, Sha256};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::error::{Error, Failure};
use crate::output::TarSink;
use crate::progress::{BuildEvent, Watch};
use crate::session::{self, Credentials, Offer, Secret};
use crate::transport::{Daemon, LARGEST_MESSAGE, control};

/// The frontend that every BuildKit has built in.
const FRONTEND: &str = "dockerfile.v0";
/// Key of the image's configuration in the result.
const CONFIG: &str = "containerimage.config";
/// How long to wait for the last events after a build has ended.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// Description of a build.
#[derive(Debug)]
pub struct Build {
    /// The directory whose files can be copied.
    pub context: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// Patterns of files in the context that are never sent, in addition to the ignore file.
    pub exclude: Vec<String>,
    /// The stage to build; the last one without it.
    pub target: Option<String>,
    /// The platform: `linux/arm64`.
    pub platform: String,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// Whether every step runs again.
    pub no_cache: bool,
    /// The network of `RUN` steps: `none` or `host`; the daemon's default without it.
    pub network: Option<String>,
    /// Secrets of steps.
    pub secrets: Vec<Secret>,
    /// Sockets of ssh agents, by their names.
    pub agents: HashMap<String, PathBuf>,
    /// Credentials of registries.
    pub credentials: Arc<dyn Credentials>,
    /// Caches that are read.
    pub cache_from: Vec<Cache>,
    /// Caches that are written.
    pub cache_to: Vec<Cache>,
}

/// A cache outside the daemon (`type=registry,ref=…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its kind: `registry`, `inline`, `gha`, `s3`.
    pub kind: String,
    /// Attributes of its kind: `ref`, `mode`.
    pub attributes: BTreeMap<String, String>,
}

/// Builds, and writes the tar of the root filesystem to a sink that another thread reads.
///
/// Returns the configuration of the image as JSON (OCI image specification, `config.md`), if the
/// daemon reports it. Dropping the future cancels the build. The crate's documentation has an
/// example.
///
/// # Errors
///
/// If the Dockerfile has errors, a step fails, or the connection ends.
pub async fn build(
    daemon: &Daemon,
    build: &Build,
    tar: TarSink,
    report: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Option<Vec<u8>>, Error> {
    let broken = |status: Status| Error::Broken {
        address: daemon.address.to_string(),
        message: status.message().to_owned(),
    };
    let session_id = identifier();
    let reference = identifier();
    let sent = Arc::new(AtomicU64::new(0));
    let offer = offer(build, tar, Arc::clone(&sent));
    let shared = shared_key(&build.context);
    let _session = session::serve(daemon.channel.clone(), &session_id, &shared, offer)
        .await
        .map_err(broken)?;
    let mut watch = Watch::default();
    let mut control = control(daemon.channel.clone());
    let exporting = control.solve(request(&reference, &session_id, build));
    let solving = run_frontend(daemon.channel.clone(), &reference, build);
    let watching = follow(daemon.channel.clone(), &reference, &mut watch, report);
    let (exported, led) = {
        tokio::pin!(exporting, solving, watching);
        let mut led = None;
        let mut watched = false;
        let exported = loop {
            tokio::select! {
                ended = &mut exporting => break ended,
                result = &mut solving, if led.is_none() => led = Some(result),
                () = &mut watching, if !watched => watched = true,
            }
        };
        if led.is_none() {
            // It may have ended without its answer having arrived: that has the configuration.
            led = tokio::time::timeout(LAST_EVENTS, &mut solving).await.ok();
        }
        if !watched {
            let _ = tokio::time::timeout(LAST_EVENTS, watching).await;
        }
        (exported, led)
    };
    report(BuildEvent::Sent {
        bytes: sent.load(Ordering::Relaxed),
    });
    let status = match (exported, led) {
        (Ok(_), Some(Ok(config))) => return Ok(config),
        (Ok(_), None) => return Ok(None),
        // The frontend's error is the cause, and that of the export its effect.
        (_, Some(Err(status))) | (Err(status), _) => status,
    };
    let mut failure = Failure::of_status(&status);
    if let Some((step, lines)) = watch.failed_step() {
        failure.step = Some(step);
        failure.lines = lines;
    }
    if failure.place.is_none()
        && failure.step.is_none()
        && status.code() == tonic::Code::Unavailable
    {
        return Err(broken(status));
    }
    Err(Error::Failed(Box::new(failure)))
}

fn offer(build: &Build, tar: TarSink, sent: Arc<AtomicU64>) -> Offer {
    let own = build
        .dockerfile
        .parent()
        .map_or_else(PathBuf::new, Path::to_owned);
    Offer {
        directories: HashMap::from([
            ("context".to_owned(), build.context.clone()),
            ("dockerfile".to_owned(), own),
        ]),
        exclude: build.exclude.clone(),
        tar,
        secrets: build.secrets.clone(),
        credentials: Arc::clone(&build.credentials),
        agents: build.agents.clone(),
        sent,
    }
}

fn request(reference: &str, session: &str, build: &Build) -> SolveRequest {
    let entries = |caches: &[Cache]| -> Vec<CacheOptionsEntry> {
        let entry = |cache: &Cache| CacheOptionsEntry {
            r#type: cache.kind.clone(),
            attrs: cache.attributes.clone().into_iter().collect(),
        };
        caches.iter().map(entry).collect()
    };
    SolveRequest {
        r#ref: reference.to_owned(),
        session: session.to_owned(),
        exporter_deprecated: "tar".to_owned(),
        cache: Some(CacheOptions {
            exports: entries(&build.cache_to),
            imports: entries(&build.cache_from),
            ..CacheOptions::default()
        }),
        ..SolveRequest::default()
    }
}

/// Runs the frontend, and returns its result to the daemon. Returns the image's configuration.
async fn run_frontend(
    channel: Channel,
    reference: &str,
    build: &Build,
) -> Result<Option<Vec<u8>>, Status> {
    let mut bridge = LlbBridgeClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    let solved = bridge.solve(tagged(question(build), reference)?).await;
    let (returned, outcome) = match solved {
        Ok(solved) => {
            let result = solved.into_inner().result;
            let config = result
                .as_ref()
                .and_then(|result| result.metadata.get(CONFIG).cloned());
            let returned = ReturnRequest {
                result,
                error: None,
            };
            (returned, Ok(config))
        }
        Err(status) => {
            let returned = ReturnRequest {
                result: None,
                error: Some(rpc::Status {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    details: Vec::new(),
                }),
            };
            (returned, Err(status))
        }
    };
    let handed = bridge.r#return(tagged(returned, reference)?).await;
    match (outcome, handed) {
        (Ok(_), Err(status)) => Err(status),
        (outcome, _) => outcome,
    }
}

/// Adds the id of the build to a call of the gateway (buildkit, `control/gateway`).
fn tagged<T>(message: T, reference: &str) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let value = MetadataValue::<Ascii>::try_from(reference)
        .map_err(|_| Status::internal("a build's name must be plain"))?;
    request
        .metadata_mut()
        .insert("buildkit-controlapi-buildid", value);
    Ok(request)
}

fn question(build: &Build) -> GatewayRequest {
    let name = build.dockerfile.file_name().unwrap_or_default();
    let mut options = HashMap::from([
        ("filename".to_owned(), name.to_string_lossy().into_owned()),
        ("platform".to_owned(), build.platform.clone()),
    ]);
    if let Some(target) = &build.target {
        options.insert("target".to_owned(), target.clone());
    }
    if let Some(network) = &build.network {
        options.insert("force-network-mode".to_owned(), network.clone());
    }
    if build.no_cache {
        options.insert("no-cache".to_owned(), String::new());
    }
    for (name, value) in &build.arguments {
        options.insert(format!("build-arg:{name}"), value.clone());
    }
    let import = |cache: &Cache| frontend::CacheOptionsEntry {
        r#type: cache.kind.clone(),
        attrs: cache.attributes.clone().into_iter().collect(),
    };
    GatewayRequest {
        frontend: FRONTEND.to_owned(),
        frontend_opt: options,
        allow_result_return: true,
        allow_result_array_ref: true,
        cache_imports: build.cache_from.iter().map(import).collect(),
        ..GatewayRequest::default()
    }
}

/// Reports the events of the build until it ends.
async fn follow(
    channel: Channel,
    reference: &str,
    watch: &mut Watch,
    report: &(dyn Fn(BuildEvent) + Sync),
) {
    let request = StatusRequest {
        r#ref: reference.to_owned(),
    };
    // Events are for users: without them the build continues.
    let Ok(news) = control(channel).status(request).await else {
        return;
    };
    let mut news = news.into_inner();
    while let Ok(Some(status)) = news.message().await {
        watch.take(status, report);
    }
}

/// Returns a unique id.
fn identifier() -> String {
    let mut bytes = [0; 16];
    // Without randomness the clock is enough: the id must only be unique in the daemon.
    if getrandom::fill(&mut bytes).is_err() {
        let now = kraft_sys::clock::now().as_nanos();
        bytes = now.to_le_bytes();
    }
    hex(&bytes)
}

/// Returns the key that all builds of a context share: the daemon keeps one copy of its files under it.
fn shared_key(context: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = Sha256::digest(context.as_os_str().as_bytes());
    hex(digest.get(..16).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
