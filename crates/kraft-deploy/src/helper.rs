//! Instances that help for a while: made for one command, and removed when it ends, however it ends.

use std::time::{Duration, Instant};

use kraft_cloud::dial::{DialError, Dialer, Proxies, Stream};
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance, NewGroup, WantedGroup};
use kraft_cloud::resources::services::Service;
use kraft_cloud::tunnel::Password;

use super::Cloud;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::network;

/// The platform waits so long for a helper to run.
const START: Duration = Duration::from_secs(3);
/// A helper that runs may take so long until it takes connections.
const COMING_UP: Duration = Duration::from_secs(30);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(300);

/// A helper; it goes with this value.
#[derive(Debug)]
pub struct Helper<'a> {
    ctx: &'a Context,
    cloud: &'a Cloud,
    name: String,
}

impl<'a> Helper<'a> {
    /// Makes a helper, and returns it with what the platform tells of it.
    ///
    /// Should it be interrupted, or the answer get lost, the helper is removed nevertheless.
    pub fn start(
        ctx: &'a Context,
        cloud: &'a Cloud,
        wanted: CreateInstance,
    ) -> Result<(Self, Instance), Failure> {
        let wanted = wanted.named();
        let name = wanted.name.clone().unwrap_or_default();
        ctx.info(&format!("starting the helper {name}"));
        let (created, interrupted) = cloud.create(&wanted);
        let made = match created {
            Some(Err(error)) if !error.may_have_happened() => return Err(error.into()),
            other => other,
        };
        // From here on there may be one.
        let helper = Self { ctx, cloud, name };
        if let Some(interrupted) = interrupted {
            return Err(interrupted);
        }
        let made = made.transpose()?.unwrap_or_default();
        let instance = made.into_iter().next().ok_or_else(|| {
            Failure::new(Kind::Network, "the platform made a helper and tells none")
        })?;
        Ok((helper, instance))
    }

    /// Returns what every helper is: small, reached by TLS at its ports, and gone when it stops.
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
            wait_timeout_ms: i64::try_from(START.as_millis()).ok(),
            features: vec!["delete-on-stop".to_owned()],
            service_group: Some(WantedGroup::New(NewGroup {
                services: services.collect(),
                domains: Vec::new(),
            })),
            ..CreateInstance::default()
        }
    }

    /// Makes up what a helper knows its user by.
    pub fn password() -> Result<Password, Failure> {
        Password::new()
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot make a password: {error}")))
    }

    /// Connects to a port of a helper that is coming up.
    pub async fn dial(dialer: &Dialer, host: &str, port: u16) -> Result<Stream, DialError> {
        let until = Instant::now() + COMING_UP;
        loop {
            match dialer.dial(host, port).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        let request = instances::remove(&[Id::Name(self.name.clone())]);
        let removed = self.cloud.send_anyway(&request);
        let removed = removed.and_then(|answer| Ok(answer.one()?));
        match removed {
            Ok(_) => self.ctx.info(&format!("removed the helper {}", self.name)),
            Err(failure) if failure.kind == Kind::NotFound => {}
            Err(failure) => {
                let left = format!("the helper `{}` may be left", self.name);
                let failure = failure.about(&left);
                self.ctx.failure(&failure.hint(format!(
                    "remove it: `kraft cloud instance remove {}`",
                    self.name
                )));
            }
        }
    }
}

/// Returns the public name of an instance.
pub fn host(instance: &Instance) -> Result<String, Failure> {
    instance
        .fqdn()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(Kind::Network, "the platform gave the helper no name"))
}

/// Makes what connects to helpers: the proxies of the environment, and the certificates of the
/// configuration.
pub fn dialer(ctx: &Context) -> Result<Dialer, Failure> {
    let first = |names: [&str; 2]| {
        let mut found = names.iter().filter_map(|name| ctx.env.text(name));
        found.next().unwrap_or_default()
    };
    let proxies = Proxies {
        all: first(["ALL_PROXY", "all_proxy"]),
        https: first(["HTTPS_PROXY", "https_proxy"]),
        no: first(["NO_PROXY", "no_proxy"]),
    };
    Dialer::new(proxies, network::ca_file(ctx).as_deref()).map_err(Failure::from)
}
