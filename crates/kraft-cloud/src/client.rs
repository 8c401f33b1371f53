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

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::ErrorKind;
use crate::answer::{Answer, Item};
use crate::endpoint::Endpoint;
use crate::error::{AnswerError, ConnectionError, Error};
use crate::request::{Id, Request, Scope, is_uuid};
use crate::resources::audit::{self, Event, Filter};
use crate::resources::instances::{self, CreateInstance, Instance};
use crate::resources::{Known as _, Named};
use crate::token::Token;

/// Maximum size of a response body, in bytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// Maximum size of an event, in bytes.
const LARGEST_EVENT: usize = 1 << 20;

/// Client for the API of one metro.
///
/// It speaks today's description of the API and that of 2024. Each request is sent in today's form
/// first; if the platform does not know it, in its older forms, and which one worked is remembered
/// for requests to the same endpoint.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    token: Token,
    clients: Clients<HttpClient>,
    known: Mutex<Forms>,
}

/// What the platform knows, as far as requests have shown.
#[derive(Debug, Default)]
struct Forms {
    /// Index of the form, for each endpoint with several.
    forms: BTreeMap<String, usize>,
    /// See [`Client::speaks_today`].
    today: Option<bool>,
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
            known: Mutex::default(),
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
    ///
    /// The response is about the requested resources only, or an error.
    pub async fn send<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Error> {
        match &request.scope {
            Scope::Each(ids) => self.send_each(request, ids).await,
            _ => self.send_forms(request).await,
        }
    }

    /// Sends a change of several resources, one by one. The names of resources are looked up before
    /// anything is changed.
    async fn send_each<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
        ids: &[Id],
    ) -> Result<Answer<T>, Error> {
        let has_name = ids.iter().any(|id| matches!(id, Id::Name(_)));
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        // The last segment of `PUT /instances/stop` is the action.
        let verb = usize::from(request.method == Method::PUT && path.len() > 1);
        let collection = path
            .get(..path.len().saturating_sub(verb))
            .unwrap_or_default();
        // In which form options are sent depends on what the platform knows.
        let unknown = request.has_options() && self.speaks_today().is_none();
        let mut uuids: BTreeMap<&str, String> = BTreeMap::new();
        if has_name || unknown {
            let read = match collection {
                [first, "autoscale"] => {
                    Request::<Named>::read(&[first], ids, request.doing.clone())
                }
                collection => Request::<Named>::read(collection, ids, request.doing.clone()),
            };
            // The path of a single resource is the same in all versions, and shows nothing.
            let read = match ids {
                [Id::Uuid(_)] => read.by_query(collection, ids),
                _ => read,
            };
            let found = self.send_forms(&read).await?;
            for one in found.found()? {
                let is = |id: &&Id| match id {
                    Id::Uuid(uuid) => uuid.eq_ignore_ascii_case(&one.uuid),
                    Id::Name(name) => *name == one.name,
                };
                let id = ids.iter().find(is).filter(|_| is_uuid(&one.uuid));
                uuids.extend(id.map(|id| (id.as_str(), one.uuid.clone())));
            }
        }
        let mut whole: Option<Answer<T>> = None;
        for (at, id) in ids.iter().enumerate() {
            let uuid = uuids.get(id.as_str()).cloned().or_else(|| match id {
                Id::Uuid(uuid) => Some(uuid.clone()),
                Id::Name(_) => None,
            });
            let answer = if let Some(uuid) = uuid {
                self.send_forms(&request.for_one(at, &uuid)).await
            } else {
                let mut missing = Answer::empty(&request.doing);
                missing.refuse(id);
                Ok(missing)
            };
            let answer = match answer {
                Ok(answer) => answer,
                // What was changed so far is reported, with what was not.
                Err(error) if whole.is_some() && error.kind() == ErrorKind::NotFound => {
                    let mut missing = Answer::empty(&request.doing);
                    missing.refuse(id);
                    missing
                }
                Err(error) => return Err(error),
            };
            match &mut whole {
                Some(whole) => whole.append(answer),
                None => whole = Some(answer),
            }
        }
        Ok(whole.unwrap_or_else(|| Answer::empty(&request.doing)))
    }

    /// Returns whether the platform speaks today's description of the API and not that of 2024;
    /// `None` if nothing was requested so far that shows it.
    pub fn speaks_today(&self) -> Option<bool> {
        self.known().today
    }

    fn known(&self) -> MutexGuard<'_, Forms> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request in the form that the platform knows.
    async fn send_forms<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Error> {
        let forms = request.forms();
        if forms.len() == 1 && request.scope != Scope::Pages {
            return self.exchange(request).await;
        }
        let key = key(request);
        let first = self.known().forms.get(&key).copied();
        // An endpoint that was not used so far is probably as old as the others.
        let old = usize::from(self.speaks_today() == Some(false));
        let first = first.unwrap_or(old).min(forms.len() - 1);
        let mut refused: Option<Error> = None;
        for at in (first..forms.len()).chain(0..first) {
            let Some(form) = forms.get(at) else { continue };
            let outcome = match (&request.scope, at) {
                (Scope::Pages, 0) => self.pages(request, form).await,
                _ => self.exchange(&request.in_form::<T>(form.clone())).await,
            };
            let error = match outcome {
                Ok(answer) => {
                    let mut known = self.known();
                    known.forms.insert(key, at);
                    // Only these forms are refused by a platform that does not know them.
                    let paged = request.scope == Scope::Pages
                        || form.query.iter().any(|(name, _)| *name == "count");
                    match (at, known.today) {
                        (1.., _) => known.today = Some(false),
                        (0, None) if paged => known.today = Some(true),
                        _ => {}
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let reads = request.method == Method::GET;
            let mistaken = matches!(error, Error::Mistaken { .. });
            if !error.is_unknown_form() || (mistaken && !reads) {
                return Err(error);
            }
            // A platform that has no such endpoint explains less than any other error.
            let explains = |error: &Error| {
                !matches!(
                    error,
                    Error::Status {
                        status: 404 | 405,
                        ..
                    }
                )
            };
            match &refused {
                Some(earlier) if explains(earlier) || mistaken => {}
                _ => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::Refused {
            doing: request.doing.clone(),
            message: "the platform does not know the request".to_owned(),
            code: None,
        }))
    }

    /// Sends a request in its first form, and checks what the response is about.
    pub(crate) async fn exchange<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
    ) -> Result<Answer<T>, Error> {
        let mut answer = self.exchange_unchecked(request).await?;
        if let Scope::New(name) = &request.scope {
            answer.check_new(name.as_deref()).map_err(|other| {
                let wanted = match name {
                    Some(name) => format!("`{name}`"),
                    None => "one new resource".to_owned(),
                };
                Error::Mistaken {
                    host: self.host(),
                    doing: request.doing.clone(),
                    what: sanitized(&format!("{other} instead of {wanted}")),
                }
            })?;
        }
        if let Scope::Only(ids) = &request.scope {
            let in_path = ids
                .iter()
                .all(|id| request.path.iter().any(|step| step == id.as_str()));
            answer.check(ids, in_path).map_err(|other| {
                let asked: Vec<String> =
                    ids.iter().map(|id| format!("`{}`", id.as_str())).collect();
                Error::Mistaken {
                    host: self.host(),
                    doing: request.doing.clone(),
                    what: sanitized(&format!("{other} instead of {}", asked.join(", "))),
                }
            })?;
        }
        Ok(answer)
    }

    async fn exchange_unchecked<T: DeserializeOwned>(
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
            Ok(answer) => {
                // One that was created and does not run in time, or ended, is refused by its UUID.
                let exists = answer.names_refused();
                match answer.all() {
                    Ok(made) => return self.check_made(&request, wanted, made),
                    Err(error) if exists => {
                        let id = wanted.name.clone().map(Id::Name);
                        let found = match id {
                            Some(id) => self.send(&instances::get(&[id])).await,
                            None => return Err(error),
                        };
                        return found.and_then(Answer::all).map_err(|_| error);
                    }
                    Err(error) => return Err(error),
                }
            }
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

    /// Fails if created instances are not what was requested: as many as the replicas and one more,
    /// of which one has the name.
    fn check_made(
        &self,
        request: &Request<Instance>,
        wanted: &CreateInstance,
        made: Vec<Instance>,
    ) -> Result<Vec<Instance>, Error> {
        let count = usize::try_from(wanted.replicas.unwrap_or(0)).unwrap_or(0) + 1;
        let is_named = |name: &String| made.iter().any(|one| one.name == *name);
        let what = match (&wanted.name, made.as_slice()) {
            (_, []) => "nothing instead of a new instance".to_owned(),
            (Some(name), [first, ..]) if !is_named(name) => {
                format!("`{}` instead of `{name}`", first.title())
            }
            (_, all) if all.len() > count => format!("{} instances instead of {count}", all.len()),
            _ => return Ok(made),
        };
        Err(Error::Mistaken {
            host: self.host(),
            doing: request.doing.clone(),
            what: sanitized(&what),
        })
    }

    /// Waits on the platform's side until instances are in a state: see [`instances::wait`].
    pub async fn wait(
        &self,
        ids: &[Id],
        state: &str,
        limit: Option<Duration>,
    ) -> Result<Answer<Named>, Error> {
        let request = instances::wait(ids, state, limit);
        let answer = self.send(&request).await?;
        let reported = |item: &Item<Named>| match item {
            Item::Done(one) => one.state.clone().filter(|own| own != state),
            Item::Failed(_) => None,
        };
        match answer.items.iter().find_map(reported) {
            Some(other) => Err(Error::Mistaken {
                host: self.host(),
                doing: request.doing.clone(),
                what: sanitized(&format!("the state `{other}`")),
            }),
            None => Ok(answer),
        }
    }

    /// Subscribes to events, and passes each to `take` until that returns `false` or the platform
    /// ends the stream.
    pub async fn events(
        &self,
        filter: &Filter,
        mut take: impl FnMut(&Event) -> bool,
    ) -> Result<(), Error> {
        let request = audit::subscribe(filter);
        let doing = request.doing.clone();
        let broken = |source: ConnectionError| Error::Unreachable {
            host: self.host(),
            doing: doing.clone(),
            source: Box::new(source),
            sent: true,
        };
        if self.clients.policy().offline {
            return Err(Error::Offline { doing });
        }
        let idle = self.clients.policy().idle;
        let client = self.clients.get(&authority(self.endpoint.base()));
        let client = client.map_err(|error| Error::client(self.endpoint.host(), error))?;
        let response = self.ask(client, &request, 0).await;
        let mut response =
            response.map_err(|error| broken(TransferError::of(&error, idle).into()))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let body = read_body(response, LARGEST_ANSWER, idle).await;
            let body = body.map_err(|error| broken(error.into()))?;
            let body = String::from_utf8_lossy(&body).into_owned();
            self.judge(&request, status, &headers, body)
                .map_err(Failed::into_error)?;
            return Ok(());
        }
        let mut text = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| broken(TransferError::of(&error, idle).into()))?;
            let Some(chunk) = chunk else { return Ok(()) };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let event = line.strip_prefix("data:").and_then(Event::parse);
                let Some(event) = event else { continue };
                if let Some(other) = filter.refuses(&event) {
                    return Err(Error::Mistaken {
                        host: self.host(),
                        doing: doing.clone(),
                        what: sanitized(&format!("{other} instead of what the filter selects")),
                    });
                }
                if !take(&event) {
                    return Ok(());
                }
            }
            if text.len() > LARGEST_EVENT {
                return Err(broken(ConnectionError::Incomplete));
            }
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
            let kind = headers
                .get(CONTENT_TYPE)
                .and_then(|kind| kind.to_str().ok());
            let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
            return Ok(if is_stream { last_event(&body) } else { body });
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
            code: code_of(&body, status),
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
    let message = serde_json::from_str::<Value>(body).ok().and_then(|value| {
        // The build service has no envelope.
        let message = value.get("message").or(value.pointer("/error/message"));
        Some(message?.as_str()?.to_owned())
    });
    // An HTML page is no reason.
    let page = body.trim_start().starts_with('<');
    let text = match &message {
        Some(message) => sanitized(message),
        None if page => String::new(),
        None => sanitized(body),
    };
    if text.is_empty() {
        text
    } else {
        format!(": {text}")
    }
}

/// Returns the data of the last event in a stream of server-sent events.
fn last_event(body: &str) -> String {
    let lines = body.lines().rev();
    let data = lines.filter_map(|line| line.strip_prefix("data:"));
    data.map(str::trim)
        .find(|data| !data.is_empty())
        .unwrap_or("{}")
        .to_owned()
}

/// Returns the error code of an error response: of the whole request, or of its first item.
fn code_of(body: &str, status: StatusCode) -> Option<u16> {
    let value: Value = serde_json::from_str(body).ok()?;
    // The build service has words for its errors.
    if value.pointer("/error/code").and_then(Value::as_str) == Some("not_found") {
        return Some(8);
    }
    // Today's platform repeats the status here.
    let whole = value.pointer("/errors/0/status").and_then(Value::as_i64);
    let whole = whole.filter(|code| *code != i64::from(status.as_u16()));
    let items = value.get("data").and_then(Value::as_object);
    let first = items.and_then(|items| items.values().find_map(|list| list.get(0)));
    let code = whole.or_else(|| first?.get("error")?.as_i64());
    u16::try_from(code?).ok()
}

/// Returns the endpoint of a request, by which its form is remembered: its path, without what
/// differs between resources.
fn key<T>(request: &Request<T>) -> String {
    let mut key = request.method.to_string();
    for step in &request.path {
        key.push('/');
        key.push_str(if is_uuid(step) { "*" } else { step });
    }
    if request.scope == Scope::Pages {
        key.push_str(" in pages");
    }
    key
}

/// Returns the host of a URL, or `another path` if there is none. The rest of the URL may contain
/// secrets.
fn host_of(url: &str) -> String {
    Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "another path".to_owned())
}
