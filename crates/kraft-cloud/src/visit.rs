//! Visits to what was deployed: does it answer at its public name?
//!
//! A visitor shows nobody's token.

use std::time::Duration;

use http::StatusCode;
use kraft_http::text::sanitized;
use kraft_http::{Client, Clients, Policy, RequestError, Url, authority, send};

use crate::Error;

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
    clients: Clients<Client>,
}

impl Visitor {
    /// Makes a visitor.
    ///
    /// # Errors
    /// If the certificates of the policy cannot be used.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        let clients = crate::client::clients(policy);
        let clients = clients.map_err(|error| Error::client("what is deployed", &error))?;
        Ok(Self { clients })
    }

    /// Goes to an address once, and returns the status that the application answered.
    pub async fn visit(&self, url: &str) -> Result<u16, Absence> {
        let silent = |why: String| Absence::Silent(why);
        let url = Url::parse(url).map_err(|error| silent(error.to_string()))?;
        let client = self.clients.get(&authority(&url));
        let client = client.map_err(|error| silent(error.to_string()))?;
        match send(client.get(url).timeout(PATIENCE), 1).await {
            // An application that sends its visitors elsewhere has answered.
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
fn absence(error: &RequestError) -> Absence {
    let mut deepest: &dyn std::error::Error = error;
    let mut nameless = false;
    while let Some(source) = deepest.source() {
        // What the connector of our HTTP library calls a name that is not found.
        nameless |= source.to_string() == "dns error";
        deepest = source;
    }
    let why = sanitized(&deepest.to_string());
    if nameless {
        Absence::Nameless(why)
    } else {
        Absence::Silent(why)
    }
}
