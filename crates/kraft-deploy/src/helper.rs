//! Helper instances: created for one command, and removed when it ends for whatever reason.
//!
//! ```
//! use kraft_deploy::helper::{Helper, host};
//!
//! let wanted = Helper::wanted("official/utils/tunnel:1.0".to_owned(), 64, &[4443]);
//! assert_eq!(wanted.memory_mb, Some(64));
//! assert_eq!(wanted.features, ["delete-on-stop"]);
//!
//! let instance = kraft_cloud::resources::instances::Instance::default();
//! assert!(host(&instance).is_err(), "it has no public domain yet");
//! ```

use std::io;
use std::time::{Duration, Instant};

use kraft_cloud::dial::{DialError, Dialer, Proxies, Stream};
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance, NewGroup, WantedGroup};
use kraft_cloud::resources::services::Service;
use kraft_cloud::tunnel::Password;
use kraft_core::error::chain;
use kraft_engine::context::Context;
use kraft_engine::network;

use crate::cloud::{Cloud, Creation};
use crate::error::{Interrupted, RequestError};

/// How long the platform waits for a helper to run.
const START: Duration = Duration::from_secs(3);
/// How long a helper that runs may take until it accepts connections.
const COMING_UP: Duration = Duration::from_secs(30);
/// Interval between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(300);

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request that creates it failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The platform's answer contains no instance.
    #[error("the platform created a helper and returned no instance")]
    NoInstance,
    /// The instance has no public domain.
    #[error("the platform gave the helper no domain")]
    NoDomain,
    /// The system has no random numbers.
    #[error("cannot generate a password")]
    Password(#[source] io::Error),
    /// Its port does not accept connections.
    #[error(transparent)]
    Dial(#[from] DialError),
}

impl From<Interrupted> for Error {
    fn from(error: Interrupted) -> Self {
        Self::Request(error.into())
    }
}

/// A helper instance; dropping this value removes it.
#[derive(Debug)]
pub struct Helper<'a> {
    ctx: &'a Context,
    cloud: &'a Cloud,
    name: String,
}

impl<'a> Helper<'a> {
    /// Creates a helper, and returns it with its instance.
    ///
    /// # Errors
    ///
    /// If it cannot be created. It is removed after an interrupt as well, and if the answer is lost.
    pub fn start(
        ctx: &'a Context,
        cloud: &'a Cloud,
        wanted: CreateInstance,
    ) -> Result<(Self, Instance), Error> {
        let wanted = wanted.named();
        let name = wanted.name.clone().unwrap_or_default();
        ctx.info(&format!("starting the helper {name}"));
        let Creation {
            answer,
            interrupted,
        } = cloud.create(&wanted);
        let answer = match answer {
            Some(Err(error)) if !error.may_have_happened() => {
                return Err(RequestError::from(error).into());
            }
            other => other,
        };
        // From here on the instance may exist.
        let helper = Self { ctx, cloud, name };
        if let Some(interrupted) = interrupted {
            return Err(interrupted.into());
        }
        let created = answer
            .transpose()
            .map_err(RequestError::from)?
            .unwrap_or_default();
        let instance = created.into_iter().next().ok_or(Error::NoInstance)?;
        Ok((helper, instance))
    }

    /// Returns the request for a helper: small, with TLS at its ports, and removed when it stops.
    #[must_use]
    pub fn wanted(image: String, memory_mb: u64, ports: &[u16]) -> CreateInstance {
        let services = ports.iter().map(|&port| Service {
            port,
            destination_port: Some(port),
            handlers: vec!["tls".to_owned()],
        });
        CreateInstance {
            image,
            memory_mb: Some(memory_mb),
            autostart: true,
            wait: Some(START),
            features: vec!["delete-on-stop".to_owned()],
            service_group: Some(WantedGroup::New(NewGroup {
                services: services.collect(),
                domains: Vec::new(),
            })),
            ..CreateInstance::default()
        }
    }

    /// Generates the password that a helper accepts.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn password() -> Result<Password, Error> {
        Password::new().map_err(Error::Password)
    }

    /// Connects to a port of a helper that is coming up.
    ///
    /// # Errors
    ///
    /// If it does not accept connections within 30 seconds.
    pub async fn dial(dialer: &Dialer, host: &str, port: u16) -> Result<Stream, DialError> {
        let until = Instant::now() + COMING_UP;
        loop {
            match dialer.dial(host, port).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(error) => {
                    tracing::debug!(host, port, error = chain(&error), "the helper is not ready");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        let request = instances::remove(&[Id::Name(self.name.clone())]);
        match self.cloud.one_after_interrupt(&request) {
            Ok(_) => self.ctx.info(&format!("removed the helper {}", self.name)),
            Err(error) if error.is_not_found() => {}
            Err(error) => self.ctx.warn(&format!(
                "the helper `{name}` may still exist: {}; remove it: `kraft cloud instance remove \
                 {name}`",
                chain(&error),
                name = self.name
            )),
        }
    }
}

/// Returns the public domain of a helper.
///
/// # Errors
///
/// If the platform gave it none.
pub fn host(instance: &Instance) -> Result<String, Error> {
    instance.fqdn().map(str::to_owned).ok_or(Error::NoDomain)
}

/// Makes the dialer for connections to helpers, by the proxies of the environment and the
/// certificates of the configuration.
///
/// # Errors
///
/// If the certificates cannot be read.
pub fn dialer(ctx: &Context) -> Result<Dialer, Error> {
    let first = |names: [&str; 2]| {
        let mut found = names.iter().filter_map(|name| ctx.env.text(name));
        found.next().unwrap_or_default()
    };
    let proxies = Proxies {
        all: first(["ALL_PROXY", "all_proxy"]),
        https: first(["HTTPS_PROXY", "https_proxy"]),
        no: first(["NO_PROXY", "no_proxy"]),
    };
    Ok(Dialer::new(proxies, network::ca_file(ctx).as_deref())?)
}
