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
    ///
    /// # Errors
    /// Why nobody answered, in words. The platform may answer in place of an application that is
    /// not ready, which counts as nobody.
    pub async fn visit(&self, url: &str) -> Result<u16, String> {
        match self.http.get(url).send().await {
            Ok(answer) => match answer.status() {
                status @ (StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT) => Err(format!("the answer is {status}")),
                status => Ok(status.as_u16()),
            },
            Err(error) => {
                let mut deepest: &dyn std::error::Error = &error;
                while let Some(source) = deepest.source() {
                    deepest = source;
                }
                Err(shown(&deepest.to_string()))
            }
        }
    }
}
