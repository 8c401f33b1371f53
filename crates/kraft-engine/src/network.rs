//! The registry client, made from the configuration, and the settings of all HTTP clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kraft_config::keys::DEFAULT_MANIFEST;
use kraft_core::event::{Event, Reporter};
use kraft_core::reference::{DEFAULT_REGISTRY, check_host};
use kraft_http::Policy;
use kraft_oci::credentials::{self, Keyrings};
use kraft_oci::registry::{self, Registry};
use tokio::runtime::Handle;

use crate::context::{Context, RuntimeError};

/// Why a registry cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The async runtime cannot be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The client cannot be made, or the registry refused.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

/// The credentials of registries by host: user and token.
pub type Logins = BTreeMap<String, (String, String)>;

/// A registry client, and the runtime that its requests run on.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use kraft_config::env::Environment;
/// use kraft_config::{Config, Flags};
/// use kraft_core::event::Silent;
/// use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::network::Network;
///
/// # fn main() -> Result<(), kraft_engine::network::Error> {
/// let config = Config::without_file(&Flags::default(), Environment::default());
/// let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let network = Network::open(&context)?;
/// network.run(network.registry.ping("unikraft.org"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    runtime: Handle,
    /// The client.
    pub registry: Registry,
}

impl Network {
    /// Returns the client of the process, which is made on first use. Opens no connection.
    ///
    /// # Errors
    ///
    /// If threads cannot be started or the file with certificates cannot be read.
    pub fn open(ctx: &Context) -> Result<Self, Error> {
        let runtime = ctx.runtime()?;
        let registry = ctx
            .resources
            .registry(|| client(ctx, &runtime, own_credentials(ctx)))?;
        Ok(Self { runtime, registry })
    }

    /// Makes a client that prefers these credentials.
    ///
    /// # Errors
    ///
    /// As [`Network::open`].
    pub fn with(ctx: &Context, own: Logins) -> Result<Self, Error> {
        let runtime = ctx.runtime()?;
        let registry = client(ctx, &runtime, own)?;
        Ok(Self { runtime, registry })
    }

    /// Runs work of the client to its end.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

fn client(ctx: &Context, runtime: &Handle, own: Logins) -> Result<Registry, registry::Error> {
    tracing::debug!(offline = ctx.settings.offline, "making a registry client");
    // The client starts tasks of its own.
    let _inside = runtime.enter();
    Registry::new(policy(ctx), Arc::new(keyrings(ctx, own)))
}

/// Returns the policy of all HTTP clients: certificates, timeouts and retries.
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

/// Returns the file with certificates that are trusted in addition to those of the host.
pub fn ca_file(ctx: &Context) -> Option<PathBuf> {
    ctx.settings.ca_file.clone()
}

/// Returns where credentials are looked for.
fn keyrings(ctx: &Context, own: Logins) -> Keyrings {
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

/// Passes each warning on once per process: several clients read the same files.
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

/// Returns where credentials are looked for, kraft's configuration included.
pub fn own_keyrings(ctx: &Context) -> Keyrings {
    keyrings(ctx, own_credentials(ctx))
}

/// Returns the credentials in kraft's configuration.
pub fn own_credentials(ctx: &Context) -> Logins {
    let mut own = Logins::new();
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

/// Logs in to a registry, to check credentials.
///
/// # Errors
///
/// If the registry refuses them or cannot be reached.
pub fn check_login(ctx: &Context, host: &str, user: &str, token: &str) -> Result<(), Error> {
    let own = BTreeMap::from([(host.to_owned(), (user.to_owned(), token.to_owned()))]);
    let network = Network::with(ctx, own)?;
    Ok(network.run(network.registry.log_in(host))?)
}

/// Checks that a host is a registry.
///
/// # Errors
///
/// If it answers as none, or cannot be reached.
pub fn check_registry(ctx: &Context, host: &str) -> Result<(), Error> {
    let network = Network::open(ctx)?;
    Ok(network.run(network.registry.ping(host))?)
}

/// Returns the host of a package source that is a registry; `None` for an index.
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

/// Returns the registries whose catalogs are listed: the configured ones, and the default one while
/// its index is configured.
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

#[cfg(test)]
mod tests {
    use kraft_config::env::Environment;
    use kraft_config::{Config, Flags};
    use kraft_core::event::Silent;

    use super::*;
    use crate::context::NoPrompt;

    #[test]
    fn a_package_source_is_a_registry_or_an_index() {
        for (source, host) in [
            ("unikraft.org", Some("unikraft.org")),
            ("oci://unikraft.org/", Some("unikraft.org")),
            ("localhost", Some("localhost")),
            ("localhost:5000", Some("localhost:5000")),
            ("https://manifests.kraftkit.sh/index.yaml", None),
            ("index.yaml", None),
            ("./dir", None),
            ("word", None),
            ("", None),
        ] {
            assert_eq!(registry_host(source).as_deref(), host, "{source}");
        }
    }

    #[test]
    fn the_client_and_the_runtime_are_made_once() {
        let config = Config::without_file(&Flags::default(), Environment::default());
        let ctx = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
        let (one, other) = (
            Network::open(&ctx).unwrap(),
            Network::open(&ctx.clone()).unwrap(),
        );
        assert_eq!(one.runtime.id(), other.runtime.id());
        let own = Network::with(&ctx, Logins::new()).unwrap();
        assert_eq!(one.runtime.id(), own.runtime.id());
    }
}
