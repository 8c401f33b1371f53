//! Deployments to Unikraft Cloud: which metro, whose token, one client made from both, and what
//! happens with its answers.
//!
//! ```text
//! flags, variables, login ─ open ─► Cloud ─ send ─► Answer     what the commands do with answers is
//!                                     │                         in the files beside this one
//!                                     └ a dry run prints what it would send
//! ```

pub mod account;
pub mod arrival;
pub mod compose;
pub mod deploy;
pub mod dry;
pub mod helper;
pub mod images;
pub mod import;
pub mod launch;
pub mod logs;
pub mod metros;
pub mod naming;
pub mod ports;
pub mod rollout;
pub mod trail;
pub mod tunnel;
pub mod vacancy;

use std::time::Duration;

use kraft_cloud::answer::Answer;
use kraft_cloud::client::Client;
use kraft_cloud::endpoint::Endpoint;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::Named;
use kraft_cloud::resources::instances::{CreateInstance, Instance};
use kraft_cloud::token::Token;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use kraft_engine::context::Context;
use kraft_engine::failure::Failure;
use kraft_engine::interrupt::Interrupt;
use kraft_engine::network;

/// The variables that name the metro, the first that is set counts. The names are those that the
/// platform had over time.
const METROS: &[&str] = &[
    "UKC_METRO",
    "UNIKRAFTCLOUD_METRO",
    "KRAFTCLOUD_METRO",
    "KC_METRO",
];
/// What is about to change something is waited for so long after an interrupt.
const GRACE: Duration = Duration::from_secs(3);

/// What `kraft cloud` is told before the name of a command.
#[derive(Clone, Debug, Default)]
pub struct Where {
    /// Speak to this metro: a code such as `fra0`, or a URL
    pub metro: Option<String>,

    /// The registry of the platform, where images are pushed to
    pub registry: Option<String>,

    /// Accepted for the sake of old scripts: a token does not belong where all users can read it
    pub token: Option<String>,
}

/// A client of a metro, and what it runs on.
#[derive(Debug)]
pub struct Cloud {
    runtime: Handle,
    client: Client,
    registry: String,
    /// The token of the process.
    process_interrupt: Interrupt,
    /// The token, once this client listens to it.
    interrupt: Option<Interrupt>,
}

impl Where {
    /// Returns the metro that is named: by the flag, else by the environment.
    pub fn metro(&self, ctx: &Context) -> Option<String> {
        self.metro.clone().or_else(|| first(ctx, METROS))
    }
}

impl Cloud {
    /// Makes the client; opens no connection.
    pub fn open(ctx: &Context, at: &Where) -> Result<Self, Failure> {
        let metro = match at.metro(ctx) {
            Some(metro) => metro,
            None => metros::ask(ctx)?.ok_or_else(|| {
                Failure::usage(
                    "no metro is named: set `UKC_METRO`, or use `--metro`, such as `fra0`",
                )
            })?,
        };
        let endpoint = Endpoint::of(&metro).map_err(Failure::usage)?;
        let token = account::token(ctx, at)?;
        let runtime = ctx.runtime()?;
        let client = Client::new(endpoint, token, network::policy(ctx))?;
        Ok(Self {
            runtime,
            client,
            registry: account::registry(ctx, at)?,
            process_interrupt: ctx.interrupt.clone(),
            interrupt: None,
        })
    }

    /// From now on an interrupt ends what is waited for with `Kind::Interrupted`, instead of the
    /// process.
    pub fn listen(&mut self) -> Interrupt {
        let process = &self.process_interrupt;
        self.interrupt
            .get_or_insert_with(|| process.listen())
            .clone()
    }

    /// Returns what remembers interrupts, if anything does.
    pub fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    /// Returns whom it speaks for.
    pub fn token(&self) -> &Token {
        self.client.token()
    }

    /// Returns the metro as it was named.
    pub fn metro(&self) -> &str {
        self.client.endpoint().metro()
    }

    /// Returns whether it is no metro of the public platform, but one that a URL names.
    pub fn is_private(&self) -> bool {
        self.metro().contains("://")
    }

    /// Returns the host of the platform's registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Sends a request and waits for the answer.
    pub fn send<T: DeserializeOwned>(&self, request: &Request<T>) -> Result<Answer<T>, Failure> {
        Ok(self.wait_for(self.client.send(request))??)
    }

    /// Sends a request although there was an interrupt: to tell what is there now.
    pub fn send_anyway<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Failure> {
        Ok(self.runtime.block_on(self.client.send(request))?)
    }

    /// Creates instances, which must have a name: see [`Client::create`].
    ///
    /// An interrupt does not cut a request off at once that is about to change something: for a
    /// moment its answer is waited for, so that it is known what exists. What was answered, if
    /// anything was, comes with the interrupt, if there was one.
    pub fn create(
        &self,
        wanted: &CreateInstance,
    ) -> (
        Option<Result<Vec<Instance>, kraft_cloud::Error>>,
        Option<Failure>,
    ) {
        let work = self.client.create(wanted);
        let Some(interrupt) = &self.interrupt else {
            return (Some(self.runtime.block_on(work)), None);
        };
        self.runtime.block_on(async {
            let mut work = std::pin::pin!(work);
            match interrupt.unless(work.as_mut()).await {
                Ok(done) => (Some(done), None),
                Err(interrupted) => {
                    let late = tokio::time::timeout(GRACE, work).await;
                    (late.ok(), Some(interrupted.into()))
                }
            }
        })
    }

    /// Waits in the platform until instances are in a state.
    pub fn wait_until(
        &self,
        ids: &[Id],
        state: &str,
        limit: Option<Duration>,
    ) -> Result<Answer<Named>, Failure> {
        Ok(self.wait_for(self.client.wait(ids, state, limit))??)
    }

    /// Does nothing for a while.
    pub fn pause(&self, time: Duration) -> Result<(), Failure> {
        // The timer is made where the runtime is.
        self.wait_for(async { tokio::time::sleep(time).await })
    }

    /// Waits for some work, unless the user has enough before.
    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        match &self.interrupt {
            Some(interrupt) => Ok(self.runtime.block_on(interrupt.unless(work))?),
            None => Ok(self.runtime.block_on(work)),
        }
    }

    /// Lets some work go on beside what is waited for.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Returns the address that a request would be sent to.
    pub fn url<T>(&self, request: &Request<T>) -> String {
        self.client.url(request).to_string()
    }
}

/// Returns the first of some variables that is set.
fn first(ctx: &Context, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| ctx.env.text(name))
}
