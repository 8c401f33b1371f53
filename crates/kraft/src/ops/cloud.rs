//! The door to Unikraft Cloud: which metro, whose token, and one client made from both.

use std::path::PathBuf;

use kraft_cloud::answer::Answer;
use kraft_cloud::client::{Client, Settings};
use kraft_cloud::endpoint::Endpoint;
use kraft_cloud::request::Request;
use kraft_cloud::token::Token;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::network;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// The variables that name the token, the first that is set counts. The names are those that the
/// platform had over time.
const TOKENS: &[&str] = &[
    "UKC_TOKEN",
    "UNIKRAFTCLOUD_TOKEN",
    "KRAFTCLOUD_TOKEN",
    "KC_TOKEN",
];
/// The variables that name the metro.
const METROS: &[&str] = &[
    "UKC_METRO",
    "UNIKRAFTCLOUD_METRO",
    "KRAFTCLOUD_METRO",
    "KC_METRO",
];
/// The host whose login counts where no variable is set.
const LOGIN: &str = "index.unikraft.io";

/// What `kraft cloud` is told before the name of a command.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Where {
    /// Speak to this metro: a code such as `fra0`, or a URL
    #[arg(long, global = true, value_name = "METRO")]
    pub(crate) metro: Option<String>,
}

/// A client of a metro, and what it runs on.
#[derive(Debug)]
pub(crate) struct Cloud {
    runtime: Runtime,
    client: Client,
}

impl Cloud {
    /// Makes the client; opens no connection.
    pub(crate) fn open(app: &App, at: &Where) -> Result<Self, Failure> {
        let metro = at
            .metro
            .clone()
            .or_else(|| first(app, METROS))
            .ok_or_else(|| {
                Failure::usage(
                    "no metro is named: set `UKC_METRO`, or use `--metro`, such as `fra0`",
                )
            })?;
        let endpoint = Endpoint::of(&metro).map_err(Failure::usage)?;
        let token = token(app)?;
        let (silence, retries) = network::patience(app)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot start threads: {error}"))
            })?;
        let client = Client::new(Settings {
            endpoint,
            token,
            user_agent: format!("kraft/{}", env!("CARGO_PKG_VERSION")),
            ca_file: app.config.text("ca_file").map(PathBuf::from),
            offline: app.offline(),
            silence,
            retries,
        })?;
        Ok(Self { runtime, client })
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Failure> {
        Ok(self.runtime.block_on(self.client.send(request))?)
    }
}

/// Returns the token: of the environment, or of a login.
fn token(app: &App) -> Result<Token, Failure> {
    if let Some(text) = first(app, TOKENS) {
        return Token::parse(&text)
            .map_err(|error| Failure::new(Kind::Authentication, error))
            .map_err(|failure| {
                failure.hint("set `UKC_TOKEN` to the token as the platform shows it")
            });
    }
    let own = network::own_credentials(app);
    let Some((user, secret)) = own.get(LOGIN) else {
        return Err(Failure::new(
            Kind::Authentication,
            format!("no token is set: set `UKC_TOKEN`, or log in with `kraft login {LOGIN}`"),
        ));
    };
    Token::of(user, secret).map_err(|error| Failure::new(Kind::Authentication, error))
}

fn first(app: &App, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| app.config.env.text(name))
}
