//! The door to registries: one client, made from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kraft_core::event::{Event, Reporter};
use kraft_core::reference::{DEFAULT_REGISTRY, check_host};
use kraft_oci::credentials::{self, Keyrings};
use kraft_oci::registry::{Registry, Settings};
use tokio::runtime::Runtime;

use crate::app::App;
use crate::config::forms::seconds;
use crate::config::keys::DEFAULT_MANIFEST;
use crate::config::layers::Value;
use crate::failure::{Failure, Kind};
use crate::ui::Ui;

/// A client of registries, and what it runs on.
#[derive(Debug)]
pub(crate) struct Network {
    runtime: Runtime,
    /// The client.
    pub(crate) registry: Registry,
}

impl Network {
    /// Makes the client; opens no connection.
    pub(crate) fn open(app: &App) -> Result<Self, Failure> {
        Self::with(app, own_credentials(app))
    }

    /// Makes a client that uses these credentials first, by host.
    pub(crate) fn with(
        app: &App,
        own: BTreeMap<String, (String, String)>,
    ) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let (silence, retries) = patience(app);
        let settings = Settings {
            retries,
            insecure: app.config.list("insecure").to_vec(),
            ca_file: ca_file(app),
            offline: app.offline(),
            silence,
            ..Settings::new(user_agent(), Arc::new(keyrings(app, own)))
        };
        // The client's own tasks need the runtime.
        let registry = {
            let _inside = runtime.enter();
            Registry::new(settings)?
        };
        Ok(Self { runtime, registry })
    }

    /// Waits for what the client does.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Starts the threads that what speaks to servers runs on.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot start threads: {error}")))
}

/// Returns how this program calls itself where servers ask.
pub(crate) fn user_agent() -> String {
    format!("kraft/{}", env!("CARGO_PKG_VERSION"))
}

/// Returns the file with the certificates that are trusted beyond those of this computer.
pub(crate) fn ca_file(app: &App) -> Option<PathBuf> {
    app.config.text("ca_file").map(PathBuf::from)
}

/// Returns how long a server may be silent, and how often what may yet work is tried again.
pub(crate) fn patience(app: &App) -> (Duration, u32) {
    let silence = app.config.text("http_timeout").and_then(seconds);
    let retries = app.config.text("http_retries");
    let retries = retries.and_then(|retries| retries.parse().ok());
    (
        silence.unwrap_or(Duration::from_secs(30)),
        retries.unwrap_or(5u32).min(100),
    )
}

/// Returns where credentials may be.
fn keyrings(app: &App, own: BTreeMap<String, (String, String)>) -> Keyrings {
    let env = &app.config.env;
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
        reporter: Some(Arc::new(OnceEach(app.ui.clone()))),
        ..Keyrings::default()
    }
}

/// Prints each warning once, however many clients of registries a command makes.
struct OnceEach(Ui);

impl Reporter for OnceEach {
    fn report(&self, event: Event) {
        static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        if let Event::Warning(text) = event {
            let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
            if printed.insert(text.clone()) {
                self.0.warn(&text);
            }
        }
    }
}

/// Returns where credentials may be, our own configuration included.
pub(crate) fn own_keyrings(app: &App) -> Keyrings {
    keyrings(app, own_credentials(app))
}

/// Returns the credentials of our own configuration, by host.
pub(crate) fn own_credentials(app: &App) -> BTreeMap<String, (String, String)> {
    let mut own: BTreeMap<String, (String, String)> = BTreeMap::new();
    for credential in &app.config.layers.credentials {
        let name = credential.name.strip_prefix("auth.");
        let Some((host, field)) = name.and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        let Value::Text(text) = &credential.value else {
            continue;
        };
        let host = credentials::host_of_key(host);
        let pair = own.entry(host).or_default();
        match field {
            "user" => pair.0.clone_from(text),
            "token" => pair.1.clone_from(text),
            _ => {}
        }
    }
    own.retain(|_, (user, token)| !user.is_empty() || !token.is_empty());
    own
}

/// Asks a registry whether it takes credentials.
pub(crate) fn check_login(app: &App, host: &str, user: &str, token: &str) -> Result<(), Failure> {
    let own = BTreeMap::from([(host.to_owned(), (user.to_owned(), token.to_owned()))]);
    let network = Network::with(app, own)?;
    Ok(network.run(network.registry.log_in(host))?)
}

/// Asks a host whether it is a registry.
pub(crate) fn check_registry(app: &App, host: &str) -> Result<(), Failure> {
    let network = Network::open(app)?;
    Ok(network.run(network.registry.ping(host))?)
}

/// Returns the registry that a source of packages is, if it is one and not an index.
pub(crate) fn registry_host(source: &str) -> Option<String> {
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
pub(crate) fn registries(app: &App) -> Vec<String> {
    let mut hosts = Vec::new();
    for source in app.config.manifests() {
        let host = if source == DEFAULT_MANIFEST {
            Some(DEFAULT_REGISTRY.to_owned())
        } else {
            registry_host(source)
        };
        hosts.extend(host.filter(|host| !hosts.contains(host)));
    }
    hosts
}
