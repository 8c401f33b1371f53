//! The connection to one metro: which metro, whose token, and requests that can be interrupted.

use std::sync::Arc;
use std::time::Duration;

use kraft_cloud::answer::Answer;
use kraft_cloud::client::Client;
use kraft_cloud::endpoint::{Endpoint, EndpointError};
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::Named;
use kraft_cloud::resources::audit::{Event as AuditEvent, Filter};
use kraft_cloud::resources::instances::{CreateInstance, Instance};
use kraft_cloud::token::Token;
use kraft_core::event::{Event, Reporter};
use kraft_engine::context::{AskError, Context, RuntimeError};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::network;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::account::{self, Account};
use crate::error::{Interrupted, RequestError};
use crate::{metros, profiles};

/// The variables that name the metro, in order of precedence. The platform renamed them over time.
const METROS: &[&str] = &[
    "UKC_METRO",
    "UNIKRAFTCLOUD_METRO",
    "KRAFTCLOUD_METRO",
    "KC_METRO",
];
/// How long the answer to a request that changes something is awaited after an interrupt.
const GRACE: Duration = Duration::from_secs(3);

/// Options of every command of the cloud.
#[derive(Clone, Debug, Default)]
pub struct CloudOptions {
    /// The metro: a code such as `fra0`, or a URL.
    pub metro: Option<String>,
    /// The host of the registry that images are pushed to.
    pub registry: Option<String>,
    /// The token; discouraged, as every user of the host can read command lines.
    pub token: Option<String>,
    /// The profile: the name of a saved login.
    pub profile: Option<String>,
}

impl CloudOptions {
    /// Returns the metro of the options, else that of the selected profile, else that of the
    /// environment, else that of the default profile.
    ///
    /// # Errors
    ///
    /// If the profiles cannot be read, or the selected one does not exist.
    pub fn metro(&self, ctx: &Context) -> Result<Option<String>, profiles::Error> {
        if self.metro.is_some() {
            return Ok(self.metro.clone());
        }
        let profile = profiles::selected(ctx, self)?;
        let of_profile = profile.and_then(|profile| profile.metro);
        if profiles::is_named(ctx, self) && of_profile.is_some() {
            return Ok(of_profile);
        }
        Ok(first_set(ctx, METROS).or(of_profile))
    }
}

/// Why there is no connection to a metro.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the options nor the environment name a metro, and there is no terminal to ask.
    #[error("no metro is selected: set `UKC_METRO`, or use `--metro`, such as `fra0`")]
    NoMetro,
    /// The name of the metro is invalid.
    #[error(transparent)]
    Metro(#[from] EndpointError),
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] profiles::Error),
    /// The question for the metro has no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The token or the registry is missing or invalid.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] kraft_cloud::Error),
    /// The runtime cannot be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// A connection to a metro, in the name of one account.
///
/// ```no_run
/// use kraft_cloud::resources::instances;
/// use kraft_deploy::{Cloud, CloudOptions};
/// # fn example(context: &kraft_engine::context::Context) -> Result<(), Box<dyn std::error::Error>> {
/// let options = CloudOptions {
///     metro: Some("fra0".to_owned()),
///     ..CloudOptions::default()
/// };
/// let cloud = Cloud::open(context, &options)?;
/// for instance in cloud.all(&instances::get(&[]))? {
///     println!("{} is {}", instance.name, instance.state);
/// }
/// # Ok(()) }
/// ```
pub struct Cloud {
    runtime: Handle,
    client: Client,
    account: Account,
    /// Takes the warnings of the platform.
    reporter: Arc<dyn Reporter>,
    /// The token of the process.
    process: Interrupt,
    /// The same token, once interrupts are caught.
    interrupt: Option<Interrupt>,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cloud({:?})", self.client)
    }
}

impl Cloud {
    /// Makes the client; opens no connection.
    ///
    /// # Errors
    ///
    /// If no metro or no token is selected, or one of them is invalid.
    pub fn open(ctx: &Context, options: &CloudOptions) -> Result<Self, Error> {
        let metro = match options.metro(ctx)? {
            Some(metro) => metro,
            None => metros::ask(ctx)?.ok_or(Error::NoMetro)?,
        };
        let endpoint = Endpoint::of(&metro)?;
        let account = Account::resolve(ctx, options)?;
        let runtime = ctx.runtime()?;
        let client = Client::new(endpoint, account.token.clone(), network::policy(ctx))?;
        Ok(Self {
            runtime,
            client,
            account,
            reporter: Arc::clone(&ctx.reporter),
            process: ctx.interrupt.clone(),
            interrupt: None,
        })
    }

    /// Turns interrupts into [`Interrupted`] from now on, instead of the end of the process.
    pub fn catch_interrupts(&mut self) {
        let process = &self.process;
        self.interrupt.get_or_insert_with(|| process.listen());
    }

    /// Returns the handle of interrupts, if they are caught.
    pub(crate) fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the token.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.account.token
    }

    /// Returns the host of the platform's registry.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.account.registry
    }

    /// Returns the name of the metro, as it was given.
    #[must_use]
    pub fn metro(&self) -> &str {
        self.client.endpoint().metro()
    }

    /// Returns whether the metro is not one of the public platform: it was given as a URL.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.metro().contains("://")
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    ///
    /// If the platform cannot be reached or refuses the whole request.
    pub fn send<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, RequestError> {
        let answer = self.wait_for(self.client.send(request))??;
        for warning in &answer.warnings {
            let text = format!("{} warns: {warning}", self.client.endpoint().host());
            self.reporter.report(Event::Warning(text));
        }
        Ok(answer)
    }

    /// Returns whether the platform speaks today's description of its API, and not that of 2024.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`].
    pub fn speaks_today(&self) -> Result<bool, RequestError> {
        if self.client.speaks_today().is_none() {
            self.send(&kraft_cloud::resources::instances::get(&[]))?;
        }
        Ok(self.client.speaks_today() == Some(true))
    }

    /// Subscribes to the events of the account, until `take` returns `false`.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`].
    pub fn events(
        &self,
        filter: &Filter,
        take: impl FnMut(&AuditEvent) -> bool,
    ) -> Result<(), RequestError> {
        Ok(self.wait_for(self.client.events(filter, take))??)
    }

    /// Sends several requests, and returns their answers as one.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`].
    pub fn send_all<T: DeserializeOwned>(
        &self,
        requests: impl Iterator<Item = Request<T>>,
    ) -> Result<Answer<T>, RequestError> {
        let mut whole: Option<Answer<T>> = None;
        for request in requests {
            let answer = self.send(&request)?;
            match &mut whole {
                Some(whole) => whole.append(answer),
                None => whole = Some(answer),
            }
        }
        Ok(whole.unwrap_or_default())
    }

    /// Sends a request about one thing, and returns it.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`], and if the platform refuses it or does not have it.
    pub fn one<T: DeserializeOwned>(&self, request: &Request<T>) -> Result<T, RequestError> {
        Ok(self.send(request)?.one()?)
    }

    /// Sends a request about several things, and returns all of them.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`], and the first refusal.
    pub fn all<T: DeserializeOwned>(&self, request: &Request<T>) -> Result<Vec<T>, RequestError> {
        Ok(self.send(request)?.all()?)
    }

    /// Sends a request about several things, and returns those that exist.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`], and the first refusal for another reason.
    pub fn found<T: DeserializeOwned>(&self, request: &Request<T>) -> Result<Vec<T>, RequestError> {
        Ok(self.send(request)?.found()?)
    }

    /// Sends a request about one thing after an interrupt as well: to learn what exists now.
    ///
    /// # Errors
    ///
    /// As [`Cloud::one`].
    pub fn one_after_interrupt<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<T, RequestError> {
        Ok(self.runtime.block_on(self.client.send(request))?.one()?)
    }

    /// Sends a request after an interrupt, and waits for the answer for a limited time; `None` if it
    /// takes longer.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`].
    pub(crate) fn send_after_interrupt<T: DeserializeOwned>(
        &self,
        limit: Duration,
        request: &Request<T>,
    ) -> Option<Result<Answer<T>, kraft_cloud::Error>> {
        self.wait_after_interrupt(limit, self.client.send(request))
    }

    /// Creates instances, which must have a name: see [`Client::create`].
    ///
    /// An interrupt does not abort the request at once: its answer is awaited for a moment, so that
    /// the caller knows what exists.
    #[must_use]
    pub fn create(&self, wanted: &CreateInstance) -> Creation {
        let work = self.client.create(wanted);
        let Some(interrupt) = &self.interrupt else {
            return Creation {
                answer: Some(self.runtime.block_on(work)),
                interrupted: None,
            };
        };
        self.runtime.block_on(async {
            let mut work = std::pin::pin!(work);
            match interrupt.unless(work.as_mut()).await {
                Ok(answer) => Creation {
                    answer: Some(answer),
                    interrupted: None,
                },
                Err(interrupted) => Creation {
                    answer: tokio::time::timeout(GRACE, work).await.ok(),
                    interrupted: Some(interrupted),
                },
            }
        })
    }

    /// Waits on the platform's side until instances are in a state.
    ///
    /// # Errors
    ///
    /// As [`Cloud::send`].
    pub fn wait_until(
        &self,
        ids: &[Id],
        state: &str,
        limit: Option<Duration>,
    ) -> Result<Answer<Named>, RequestError> {
        Ok(self.wait_for(self.client.wait(ids, state, limit))??)
    }

    /// Sleeps for a while.
    ///
    /// # Errors
    ///
    /// If the user interrupts the command.
    pub fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        // The timer must be made inside the runtime.
        self.wait_for(async { tokio::time::sleep(time).await })
    }

    /// Waits for a future; an interrupt drops it.
    ///
    /// # Errors
    ///
    /// If the user interrupts the command.
    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        match &self.interrupt {
            Some(interrupt) => self.runtime.block_on(interrupt.unless(work)),
            None => Ok(self.runtime.block_on(work)),
        }
    }

    /// Waits for a future for a limited time, also after an interrupt; `None` if it takes longer.
    pub(crate) fn wait_after_interrupt<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        self.runtime
            .block_on(async { tokio::time::timeout(limit, work).await.ok() })
    }

    /// Runs a future in the background.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Returns the URL that a request would be sent to.
    #[must_use]
    pub fn url<T>(&self, request: &Request<T>) -> String {
        self.client.url(request).to_string()
    }
}

/// Outcome of a request that creates instances.
#[derive(Debug)]
pub struct Creation {
    /// The answer; `None` if it did not arrive in time after an interrupt.
    pub answer: Option<Result<Vec<Instance>, kraft_cloud::Error>>,
    /// Whether the user interrupted the command meanwhile.
    pub interrupted: Option<Interrupted>,
}

/// Returns the first of some variables that is set.
pub(crate) fn first_set(ctx: &Context, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| ctx.env.text(name))
}
