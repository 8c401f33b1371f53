//! The door to registries: one client, made from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kraft_core::event::{Event, Reporter};
use kraft_core::reference::{DEFAULT_REGISTRY, check_host};
use kraft_http::Policy;
use kraft_oci::credentials::{self, Keyrings};
use kraft_oci::registry::Registry;
use tokio::runtime::Runtime;

use crate::context::Context;
use crate::failure::{Failure, Kind};
use kraft_config::keys::DEFAULT_MANIFEST;

/// A client of registries, and what it runs on.
#[derive(Debug)]
pub struct Network {
    runtime: Runtime,
    /// The client.
    pub registry: Registry,
}

impl Network {
    /// Makes the client; opens no connection.
    pub fn open(ctx: &Context) -> Result<Self, Failure> {
        Self::with(ctx, own_credentials(ctx))
    }

    /// Makes a client that uses these credentials first, by host.
    pub fn with(ctx: &Context, own: BTreeMap<String, (String, String)>) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let keyrings = Arc::new(keyrings(ctx, own));
        // The client's own tasks need the runtime.
        let registry = {
            let _inside = runtime.enter();
            Registry::new(policy(ctx), keyrings)?
        };
        Ok(Self { runtime, registry })
    }

    /// Waits for what the client does.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Starts the threads that what speaks to servers runs on.
pub fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot start threads: {error}")))
}

/// Returns how servers are spoken to over HTTP.
pub fn policy(ctx: &Context) -> Policy {
    Policy {
        ca_file: ca_file(ctx),
        insecure: ctx.settings.insecure.clone(),
        offline: ctx.settings.offline,
        idle: ctx.settings.http_timeout,
        retries: ctx.settings.http_retries,
        ..Policy::new(concat!("kraft/", env!("CARGO_PKG_VERSION")))
    }
}

/// Returns the file with the certificates that are trusted beyond those of this computer.
pub fn ca_file(ctx: &Context) -> Option<PathBuf> {
    ctx.settings.ca_file.clone()
}

/// Returns where credentials may be.
fn keyrings(ctx: &Context, own: BTreeMap<String, (String, String)>) -> Keyrings {
    let env = &ctx.env;
    let home = env.path("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let docker = env
        .path("DOCKER_CONFIG")
        .map(|dir| dir.join("config.json"))
        .or_else(|| below_home(".docker/config.json"));
    let podman = [
        env.path("REGISTRY_AUTH_FILE"),
        env.path("XDG_RUNTIME_DIR")
            .map(|dir| dir.join("containers/auth.json")),
        env.path("XDG_CONFIG_HOME")
            .map(|dir| dir.join("containers/auth.json"))
            .or_else(|| below_home(".config/containers/auth.json")),
    ];
    Keyrings {
        own,
        docker,
        podman: podman.into_iter().flatten().collect(),
        reporter: Some(Arc::new(OnceEach(Arc::clone(&ctx.reporter)))),
        ..Keyrings::default()
    }
}

/// Prints each warning once, however many clients of registries a command makes.
struct OnceEach(Arc<dyn Reporter>);

impl Reporter for OnceEach {
    fn report(&self, event: Event) {
        static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        if let Event::Warning(text) = event {
            let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
            if printed.insert(text.clone()) {
                self.0.report(Event::Warning(text));
            }
        }
    }
}

/// Returns where credentials may be, our own configuration included.
pub fn own_keyrings(ctx: &Context) -> Keyrings {
    keyrings(ctx, own_credentials(ctx))
}

/// Returns the credentials of our own configuration, by host.
pub fn own_credentials(ctx: &Context) -> BTreeMap<String, (String, String)> {
    let mut own: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (host, field, text) in &ctx.settings.credentials {
        let host = credentials::host_of_key(host);
        let pair = own.entry(host).or_default();
        match field.as_str() {
            "user" => pair.0.clone_from(text),
            "token" => pair.1.clone_from(text),
            _ => {}
        }
    }
    own.retain(|_, (user, token)| !user.is_empty() || !token.is_empty());
    own
}

/// Asks a registry whether it takes credentials.
pub fn check_login(ctx: &Context, host: &str, user: &str, token: &str) -> Result<(), Failure> {
    let own = BTreeMap::from([(host.to_owned(), (user.to_owned(), token.to_owned()))]);
    let network = Network::with(ctx, own)?;
    Ok(network.run(network.registry.log_in(host))?)
}

/// Asks a host whether it is a registry.
pub fn check_registry(ctx: &Context, host: &str) -> Result<(), Failure> {
    let network = Network::open(ctx)?;
    Ok(network.run(network.registry.ping(host))?)
}

/// Returns the registry that a source of packages is, if it is one and not an index.
pub fn registry_host(source: &str) -> Option<String> {
    let host = source.strip_prefix("oci://").unwrap_or(source);
    let host = host.trim_end_matches('/');
    let is_file = [".yaml", ".yml"].iter().any(|end| host.ends_with(end));
    if host.contains('/') || is_file {
        return None;
    }
    let is_host = host == "localhost" || host.contains(['.', ':']);
    is_host.then(|| check_host(host).ok()).flatten()
}

/// Returns the registries that are asked what they have: the configured ones, and the default one
/// as long as its index is configured.
pub fn registries(ctx: &Context) -> Vec<String> {
    let mut hosts = Vec::new();
    for source in &ctx.settings.manifests {
        let host = if source == DEFAULT_MANIFEST {
            Some(DEFAULT_REGISTRY.to_owned())
        } else {
            registry_host(source)
        };
        hosts.extend(host.filter(|host| !hosts.contains(host)));
    }
    hosts
}
