//! The client: sends requests to one metro, and reads what it answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
use kraft_sys::clock;
use reqwest::{Certificate, Client as Http, Response, Url, redirect};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::answer::{Answer, shown};
use crate::endpoint::Endpoint;
use crate::request::{Id, Request};
use crate::resources::Named;
use crate::resources::instances::{self, CreateInstance, Instance};
use crate::token::Token;

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(10);
/// An answer is at most this long, in bytes.
const LARGEST_ANSWER: usize = 64 << 20;
/// Nobody waits longer than this because a server says so.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// A PEM file is at most this long, in bytes.
const LARGEST_PEM: u64 = 4 << 20;

/// What a client is told.
#[derive(Debug)]
pub struct Settings {
    /// Where it sends its requests.
    pub endpoint: Endpoint,
    /// Whom it speaks for.
    pub token: Token,
    /// How it calls itself.
    pub user_agent: String,
    /// Certificates that it trusts beyond those of this computer.
    pub ca_file: Option<PathBuf>,
    /// Whether no connection may be opened.
    pub offline: bool,
    /// How long the platform may be silent.
    pub silence: Duration,
    /// How often what may yet work is tried again.
    pub retries: u32,
}

/// A client of one metro.
#[derive(Debug)]
pub struct Client {
    http: Http,
    settings: Settings,
}

/// What became of one try.
enum Outcome {
    Answer(String),
    Again(Error, Option<Duration>),
}

impl Client {
    /// Makes a client; opens no connection.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let bad = |why: String| Error::Client {
            host: settings.endpoint.host().to_owned(),
            why,
        };
        let mut builder = Http::builder()
            .user_agent(&settings.user_agent)
            .connect_timeout(CONNECTING)
            // The token is for one origin: whoever points elsewhere is named instead.
            .redirect(redirect::Policy::none())
            // A connection that the server closed meanwhile would look like a request that it lost.
            .pool_max_idle_per_host(0);
        if settings.endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_merge(certificates(path).map_err(bad)?);
        }
        let http = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Self { http, settings })
    }

    /// Returns whom it speaks for.
    pub fn token(&self) -> &Token {
        &self.settings.token
    }

    /// Returns where it sends its requests.
    pub fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// Sends a request, again where that may help and cannot harm, and reads the answer.
    pub async fn send<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Error> {
        if self.settings.offline {
            return Err(Error::Offline {
                doing: request.doing.clone(),
            });
        }
        let mut tries = 0;
        loop {
            let (error, pause) = match self.attempt(request).await? {
                Outcome::Answer(raw) => {
                    return Answer::read(raw, &request.doing)
                        .map_err(|why| self.nonsense(&request.doing, &why));
                }
                Outcome::Again(error, pause) => (error, pause),
            };
            if let Some(pause) = pause.filter(|pause| *pause > LONGEST_PAUSE) {
                return Err(Error::Busy {
                    host: self.host(),
                    pause,
                });
            }
            if tries >= self.settings.retries {
                return Err(error);
            }
            let usual = Duration::from_millis(250 << tries.min(6));
            sleep(pause.unwrap_or(usual)).await;
            tries += 1;
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

    async fn attempt<T>(&self, request: &Request<T>) -> Result<Outcome, Error> {
        let patience = request.patience.map_or(self.settings.silence, |more| {
            self.settings.silence.saturating_add(more)
        });
        let asked = timeout(patience, self.ask(request)).await;
        let broken = |why: String, sent: bool| Error::Unreachable {
            host: self.host(),
            doing: request.doing.clone(),
            why,
            sent,
        };
        let response = match asked {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let sent = !error.is_connect() && !error.is_builder();
                let error = broken(last(&error), sent);
                return self.perhaps_again(error, request.repeatable || !sent);
            }
            Err(_) => {
                let error = broken(
                    format!("no answer for {} seconds", patience.as_secs()),
                    true,
                );
                return self.perhaps_again(error, request.repeatable);
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let body = match timeout(patience, read(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(why)) => return self.perhaps_again(broken(why, true), request.repeatable),
            Err(_) => {
                let error = broken("the answer stopped in its middle".to_owned(), true);
                return self.perhaps_again(error, request.repeatable);
            }
        };
        self.judge(request, status, &headers, body)
    }

    async fn ask<T>(&self, request: &Request<T>) -> Result<Response, reqwest::Error> {
        let url = self.url(request);
        let mut bearer = HeaderValue::from_str(&self.settings.token.bearer())
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        bearer.set_sensitive(true);
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        if let Some(body) = &request.body {
            builder = builder.body(body.to_string());
        }
        builder.send().await
    }

    /// Returns where a request goes: every step of the path is encoded, so that none leaves it.
    pub fn url<T>(&self, request: &Request<T>) -> Url {
        let mut url = self.settings.endpoint.base().clone();
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
    ) -> Result<Outcome, Error> {
        let (host, doing) = (self.host(), request.doing.clone());
        if status.is_success() {
            return Ok(Outcome::Answer(body));
        }
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            return Err(Error::Redirect {
                host,
                to: host_of(to.unwrap_or_default()),
                doing,
            });
        }
        let words = said(&body);
        if status == StatusCode::UNAUTHORIZED {
            return Err(Error::Unauthorized { host, doing, words });
        }
        let error = Error::Status {
            host,
            status: status.as_u16(),
            doing,
            words,
        };
        // A 429 and a 503 with a time to wait say that nothing was done.
        let pause = headers.get(RETRY_AFTER).and_then(|value| {
            let text = value.to_str().ok()?;
            clock::retry_after(text, clock::now())
        });
        let untouched = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && pause.is_some());
        if untouched {
            return Ok(Outcome::Again(error, pause));
        }
        self.perhaps_again(error, request.repeatable && status.is_server_error())
    }

    #[expect(clippy::unused_self, reason = "it reads like the other ends of a try")]
    fn perhaps_again(&self, error: Error, again: bool) -> Result<Outcome, Error> {
        if again {
            Ok(Outcome::Again(error, None))
        } else {
            Err(error)
        }
    }

    fn nonsense(&self, doing: &str, why: &str) -> Error {
        Error::Nonsense {
            host: self.host(),
            doing: doing.to_owned(),
            why: shown(why),
        }
    }

    fn host(&self) -> String {
        self.settings.endpoint.host().to_owned()
    }
}

/// Reads the certificates that are trusted beyond those of this computer.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    Certificate::from_pem_bundle(&pem(path)?)
        .map_err(|error| format!("`{}`: {error}", path.display()))
}

/// Reads a file of certificates.
pub(crate) fn pem(path: &Path) -> Result<Vec<u8>, String> {
    kraft_sys::fs::read_file(path, LARGEST_PEM).map_err(|error| error.to_string())
}

/// Reads an answer up to its limit.
async fn read(mut response: Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| last(&error))? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err("the answer is too long".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| "the answer is not UTF-8".to_owned())
}

/// Returns what a refused request was answered, behind a colon.
fn said(body: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    let text = shown(message.as_deref().unwrap_or(body));
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

/// Returns the innermost cause: the outer ones repeat URLs.
fn last(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    shown(&deepest.to_string())
}
