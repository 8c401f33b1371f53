//! Visits to what was deployed: does it answer at its public name?
//!
//! A visitor shows nobody's token.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use reqwest::{Client as Http, redirect};

use crate::Error;
use crate::answer::shown;

/// How long one visit may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why nobody answered, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// This computer does not know the name, which tells nothing about the application: a new name
    /// takes its time to spread.
    #[error("{0}")]
    Nameless(String),
    /// Nobody takes the connection, or the platform answers in place of an application that is not
    /// ready.
    #[error("{0}")]
    Silent(String),
}

/// Visits addresses.
#[derive(Debug)]
pub struct Visitor {
    http: Http,
}

impl Visitor {
    /// Makes a visitor, which trusts the certificates in a file beyond those of this computer.
    ///
    /// # Errors
    /// If the file has no certificates.
    pub fn new(user_agent: &str, ca_file: Option<&PathBuf>) -> Result<Self, Error> {
        let bad = |why: String| Error::Client {
            host: "what is deployed".to_owned(),
            why,
        };
        let mut builder = Http::builder()
            .user_agent(user_agent)
            .timeout(PATIENCE)
            // An application that sends its visitors elsewhere has answered.
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(0);
        if let Some(path) = ca_file {
            builder = builder.tls_certs_merge(crate::client::certificates(path).map_err(bad)?);
        }
        let http = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Self { http })
    }

    /// Goes to an address once, and returns the status that the application answered.
    pub async fn visit(&self, url: &str) -> Result<u16, Absence> {
        match self.http.get(url).send().await {
            Ok(answer) => match answer.status() {
                status @ (StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT) => {
                    Err(Absence::Silent(format!("the answer is {status}")))
                }
                status => Ok(status.as_u16()),
            },
            Err(error) => Err(absence(&error)),
        }
    }
}

/// Finds the reason among causes: the outer ones repeat the address.
fn absence(error: &reqwest::Error) -> Absence {
    let mut deepest: &dyn std::error::Error = error;
    let mut nameless = false;
    while let Some(source) = deepest.source() {
        // What the connector of our HTTP library calls a name that is not found.
        nameless |= source.to_string() == "dns error";
        deepest = source;
    }
    let why = shown(&deepest.to_string());
    if nameless {
        Absence::Nameless(why)
    } else {
        Absence::Silent(why)
    }
}
