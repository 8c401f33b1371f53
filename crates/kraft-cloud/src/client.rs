//! HTTP client that sends requests to one metro and parses the responses.
//!
//! ```no_run
//! use kraft_cloud::client::Client;
//! use kraft_cloud::endpoint::Endpoint;
//! use kraft_cloud::resources::instances::{CreateInstance, get};
//! use kraft_cloud::token::Token;
//! use kraft_http::Policy;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Token::parse(&std::env::var("UKC_TOKEN")?)?;
//! let client = Client::new(Endpoint::of("fra0")?, token, Policy::new("example"))?;
//! let wanted = CreateInstance {
//!     image: "anna/web:latest".to_owned(),
//!     memory_mb: Some(64),
//!     autostart: true,
//!     ..CreateInstance::default()
//! };
//! let created = client.create(&wanted.named()).await?;
//! let all = client.send(&get(&[])).await?.all()?;
//! assert!(all.iter().any(|instance| instance.uuid == created[0].uuid));
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use kraft_http::text::sanitized;
use kraft_http::{
    Client as HttpClient, ClientError, Clients, Failed, Policy, RequestError, Response,
    TransferError, Url, authority, read_body, retry_after, send,
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::answer::Answer;
use crate::endpoint::Endpoint;
use crate::error::{AnswerError, ConnectionError, Error};
use crate::request::{Id, Request};
use crate::resources::Named;
use crate::resources::instances::{self, CreateInstance, Instance};
use crate::token::Token;

/// Maximum size of a response body, in bytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// Client for the API of one metro.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    token: Token,
    clients: Clients<HttpClient>,
}

/// Returns the HTTP clients for all requests of this crate.
pub(crate) fn clients(policy: Policy) -> Result<Clients<HttpClient>, ClientError> {
    Clients::new(Policy {
        // Tokens are sent to servers with a verified certificate only.
        insecure: Vec::new(),
        // If the server closed an idle connection, reusing it would look like a lost request.
        keep_alive: false,
        ..policy
    })
}

impl Client {
    /// Creates a client. Does not open a connection.
    pub fn new(endpoint: Endpoint, token: Token, policy: Policy) -> Result<Self, Error> {
        let clients = clients(policy).map_err(|error| Error::client(endpoint.host(), error))?;
        Ok(Self {
            endpoint,
            token,
            clients,
        })
    }

    /// Returns the token that authenticates the requests.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Returns the endpoint that receives the requests.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request and parses the response. Retries if that is safe and may succeed.
    pub async fn send<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Error> {
        let policy = self.clients.policy();
        if policy.offline {
            return Err(Error::Offline {
                doing: request.doing.clone(),
            });
        }
        let mut retry = policy.retry();
        loop {
            let failed = match self.attempt(request, retry.attempt()).await {
                Ok(raw) => {
                    return Answer::read(raw, &request.doing)
                        .map_err(|source| self.nonsense(&request.doing, source));
                }
                Err(failed) => failed,
            };
            let host = self.host();
            sleep(retry.delay(failed, |pause| Error::Busy { host, pause })?).await;
        }
    }

    /// Creates instances. If the outcome is unknown, looks for an instance of that name instead of
    /// sending the request a second time.
    ///
    /// The request must have a name: [`CreateInstance::named`] chooses one.
    pub async fn create(&self, wanted: &CreateInstance) -> Result<Vec<Instance>, Error> {
        let request = instances::create(wanted);
        let error = match self.send(&request).await {
            Ok(answer) => return answer.all(),
            Err(error) => error,
        };
        let Some(name) = wanted.name.as_deref().filter(|_| error.may_have_happened()) else {
            return Err(error);
        };
        match self
            .send(&instances::get(&[Id::Name(name.to_owned())]))
            .await
        {
            Ok(answer) => answer.all().map_err(|_| error),
            Err(_) => Err(error),
        }
    }

    /// Waits on the platform's side until instances are in a state: see [`instances::wait`]. Falls
    /// back from `PUT` to `GET` if the platform answers 404 or 405.
    pub async fn wait(
        &self,
        ids: &[Id],
        state: &str,
        limit: Option<Duration>,
    ) -> Result<Answer<Named>, Error> {
        let asked = self
            .send(&instances::wait(Method::PUT, ids, state, limit))
            .await;
        match asked {
            Err(Error::Status {
                status: 404 | 405, ..
            }) => {
                self.send(&instances::wait(Method::GET, ids, state, limit))
                    .await
            }
            asked => asked,
        }
    }

    /// Sends a request once and returns the body of the response.
    async fn attempt<T>(
        &self,
        request: &Request<T>,
        attempt: u32,
    ) -> Result<String, Failed<Error>> {
        let idle = self.clients.policy().idle;
        let patience = request
            .patience
            .map_or(idle, |more| idle.saturating_add(more));
        // Retry only requests that did not reach the platform or that are idempotent.
        let broken = |source: ConnectionError, sent: bool| {
            let error = Error::Unreachable {
                host: self.host(),
                doing: request.doing.clone(),
                source: Box::new(source),
                sent,
            };
            Failed::new(error, request.repeatable || !sent, None)
        };
        let client = self.clients.get(&authority(self.endpoint.base()));
        let client = client.map_err(|error| Error::client(self.endpoint.host(), error))?;
        let response = match timeout(patience, self.ask(client, request, attempt)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let sent = !error.is_connect() && !error.is_builder();
                return Err(broken(TransferError::of(&error, patience).into(), sent));
            }
            Err(_) => return Err(broken(ConnectionError::Silent(patience), true)),
        };
        let status = response.status();
        let headers = response.headers().clone();
        let body = match timeout(patience, read_body(response, LARGEST_ANSWER, patience)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(broken(error.into(), true)),
            Err(_) => return Err(broken(ConnectionError::Incomplete, true)),
        };
        let body = String::from_utf8(body)
            .map_err(|error| broken(ConnectionError::NotText(error.utf8_error()), true))?;
        self.judge(request, status, &headers, body)
    }

    async fn ask<T>(
        &self,
        client: &HttpClient,
        request: &Request<T>,
        attempt: u32,
    ) -> Result<Response, RequestError> {
        let mut bearer = HeaderValue::from_str(&self.token.bearer())
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        bearer.set_sensitive(true);
        let mut builder = client
            .request(request.method.clone(), self.url(request))
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        if let Some(body) = &request.body {
            builder = builder.body(body.to_string());
        }
        send(builder, attempt).await
    }

    /// Returns the URL of a request. Every path segment is percent-encoded, so that an input cannot
    /// add segments.
    pub fn url<T>(&self, request: &Request<T>) -> Url {
        let mut url = self.endpoint.base().clone();
        if let Ok(mut steps) = url.path_segments_mut() {
            steps.extend(&request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    fn judge<T>(
        &self,
        request: &Request<T>,
        status: StatusCode,
        headers: &HeaderMap,
        body: String,
    ) -> Result<String, Failed<Error>> {
        let (host, doing) = (self.host(), request.doing.clone());
        if status.is_success() {
            return Ok(body);
        }
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            return Err(Failed::from(Error::Redirect {
                host,
                to: host_of(to.unwrap_or_default()),
                doing,
            }));
        }
        let words = said(&body);
        if status == StatusCode::UNAUTHORIZED {
            return Err(Failed::from(Error::Unauthorized { host, doing, words }));
        }
        let error = Error::Status {
            host,
            status: status.as_u16(),
            doing,
            words,
        };
        // A 429, or a 503 with `Retry-After`, means that the request had no effect.
        let after = retry_after(headers);
        let untouched = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && after.is_some());
        let again = untouched || (request.repeatable && status.is_server_error());
        Err(Failed::new(error, again, after.filter(|_| untouched)))
    }

    fn nonsense(&self, doing: &str, source: AnswerError) -> Error {
        Error::Nonsense {
            host: self.host(),
            doing: doing.to_owned(),
            source,
        }
    }

    fn host(&self) -> String {
        self.endpoint.host().to_owned()
    }
}

/// Returns the message of an error response with a leading `: `, or an empty string.
fn said(body: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    let text = sanitized(message.as_deref().unwrap_or(body));
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

/// Returns the host of a URL, or `another path` if there is none. The rest of the URL may contain
/// secrets.
fn host_of(url: &str) -> String {
    Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "another path".to_owned())
}
