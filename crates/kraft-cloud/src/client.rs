//! The client: sends requests to one metro, and reads what it answers.

use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use kraft_http::text::{innermost, sanitized};
use kraft_http::{
    Client as HttpClient, ClientError, Clients, Failed, Policy, RequestError, Response, Url,
    authority, read_body, retry_after, send,
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::answer::Answer;
use crate::endpoint::Endpoint;
use crate::request::{Id, Request};
use crate::resources::Named;
use crate::resources::instances::{self, CreateInstance, Instance};
use crate::token::Token;

/// An answer is at most this long, in bytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// A client of one metro.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    token: Token,
    clients: Clients<HttpClient>,
}

/// Returns the HTTP clients of everything in the cloud.
pub(crate) fn clients(policy: Policy) -> Result<Clients<HttpClient>, ClientError> {
    Clients::new(Policy {
        // Tokens are shown to verified servers only.
        insecure: Vec::new(),
        // A connection that the server closed meanwhile would look like a request that it lost.
        keep_alive: false,
        ..policy
    })
}

impl Client {
    /// Makes a client; opens no connection.
    pub fn new(endpoint: Endpoint, token: Token, policy: Policy) -> Result<Self, Error> {
        let clients = clients(policy).map_err(|error| Error::client(endpoint.host(), &error))?;
        Ok(Self {
            endpoint,
            token,
            clients,
        })
    }

    /// Returns whom it speaks for.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Returns where it sends its requests.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request, again where that may help and cannot harm, and reads the answer.
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
                        .map_err(|why| self.nonsense(&request.doing, &why));
                }
                Err(failed) => failed,
            };
            let host = self.host();
            sleep(retry.delay(failed, |pause| Error::Busy { host, pause })?).await;
        }
    }

    /// Creates instances. If it is not known whether the platform obeyed, it is asked whether an
    /// instance of that name exists, and never told a second time to make one.
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

    /// Waits in the platform until instances are in a state: see [`instances::wait`].
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

    /// Sends a request once, and returns the body of its answer.
    async fn attempt<T>(
        &self,
        request: &Request<T>,
        attempt: u32,
    ) -> Result<String, Failed<Error>> {
        let idle = self.clients.policy().idle;
        let patience = request
            .patience
            .map_or(idle, |more| idle.saturating_add(more));
        // Only what did not reach the platform, or does no harm twice, is sent again.
        let broken = |why: String, sent: bool| {
            let error = Error::Unreachable {
                host: self.host(),
                doing: request.doing.clone(),
                why,
                sent,
            };
            Failed::new(error, request.repeatable || !sent, None)
        };
        let client = self.clients.get(&authority(self.endpoint.base()));
        let client = client.map_err(|error| Error::client(self.endpoint.host(), &error))?;
        let response = match timeout(patience, self.ask(client, request, attempt)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let sent = !error.is_connect() && !error.is_builder();
                return Err(broken(innermost(&error), sent));
            }
            Err(_) => {
                let why = format!("no answer for {} seconds", patience.as_secs());
                return Err(broken(why, true));
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let body = match timeout(patience, read_body(response, LARGEST_ANSWER, patience)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(broken(error.to_string(), true)),
            Err(_) => return Err(broken("the answer stopped in its middle".to_owned(), true)),
        };
        let body = String::from_utf8(body)
            .map_err(|_| broken("the answer is not UTF-8".to_owned(), true))?;
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

    /// Returns where a request goes: every step of the path is encoded, so that none leaves it.
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
        // A 429 and a 503 with a time to wait say that nothing was done.
        let after = retry_after(headers);
        let untouched = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && after.is_some());
        let again = untouched || (request.repeatable && status.is_server_error());
        Err(Failed::new(error, again, after.filter(|_| untouched)))
    }

    fn nonsense(&self, doing: &str, why: &str) -> Error {
        Error::Nonsense {
            host: self.host(),
            doing: doing.to_owned(),
            why: sanitized(why),
        }
    }

    fn host(&self) -> String {
        self.endpoint.host().to_owned()
    }
}

/// Returns what a refused request was answered, behind a colon.
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

/// Returns the host of a URL, or that it is none; the rest of it may hold secrets.
fn host_of(url: &str) -> String {
    Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "another path".to_owned())
}
