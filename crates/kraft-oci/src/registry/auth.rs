//! Authorization: from a challenge to the `Authorization` header.
//!
//! The first request has no credentials. The challenge in the response selects the method:
//! credentials in every request (Basic), or exchanged for a token by a token server (distribution:
//! token authentication specification, and its OAuth 2 form for identity tokens).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use kraft_http::text::redacted_url;
use kraft_http::{
    BodyError, Failed, RequestBuilder, TransferError, Url, authority, credential, is_loopback,
    is_transient, read_body, retry_after, send_within,
};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::complaint::words;
use super::error::Error;
use super::header::Challenge;
use super::transport::Host;
use super::{Inner, Registry};
use crate::credentials::{Credential, Secret};

/// Maximum size of a token server's response, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// Default lifetime of a token, in seconds.
const USUAL_LIFE: u64 = 60;
/// A token is not used shortly before it expires.
const MARGIN: Duration = Duration::from_secs(5);

/// The authorization state of a registry.
#[derive(Debug, Default)]
pub(super) struct Authority {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The last challenge.
    challenge: Option<Challenge>,
    /// The credentials, if they were looked up.
    credential: Looked,
    /// Tokens by scope.
    tokens: HashMap<String, Token>,
}

/// Credentials, before and after the lookup.
#[derive(Debug, Default)]
enum Looked {
    #[default]
    NotYet,
    Found(Option<Arc<Credential>>),
}

#[derive(Debug)]
struct Token {
    secret: Secret,
    /// `None` for a token without a usable lifetime.
    until: Option<Instant>,
}

/// The challenge of a rejected request.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    /// The rejected header.
    pub(super) header: Option<&'a HeaderValue>,
    /// The challenge.
    pub(super) challenge: Challenge,
}

/// The current operation, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    pub(super) host: &'a Host,
    pub(super) doing: &'a str,
}

impl Registry {
    /// Returns the header for a request with these scopes, if the registry is known to require one.
    /// A rejected token is not used again.
    pub(super) async fn authorization(
        &self,
        at: Doing<'_>,
        scopes: &[String],
        refused: Option<Refused<'_>>,
    ) -> Result<Option<HeaderValue>, Error> {
        // One request at a time: the others find the token of the first.
        let mut known = at.host.authority.known.lock().await;
        let key = scopes.join(" ");
        let was_refused = refused.is_some();
        if let Some(refused) = refused {
            // Another task may have fetched a new token meanwhile.
            let same = |token: &Token| bearer(&token.secret).ok().as_ref() == refused.header;
            if known.tokens.get(&key).is_some_and(same) {
                known.tokens.remove(&key);
            }
            known.challenge = Some(refused.challenge);
        }
        let Some(challenge) = known.challenge.clone() else {
            return Ok(None);
        };
        if let Some(token) = known.tokens.get(&key)
            && token.until.is_none_or(|until| Instant::now() < until)
        {
            return bearer(&token.secret).map(Some);
        }
        let credential = self.inner.credential(at.host, &mut known).await?;
        match challenge {
            Challenge::Basic => match credential.as_deref() {
                Some(Credential::Basic { user, password }) => basic(user, password).map(Some),
                Some(Credential::Bearer(token)) => bearer(token).map(Some),
                Some(Credential::IdentityToken(_)) | None if was_refused => {
                    Err(at.unauthorized("it wants a user and a password", credential.is_some()))
                }
                Some(Credential::IdentityToken(_)) | None => Ok(None),
            },
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                if let Some(Credential::Bearer(token)) = credential.as_deref() {
                    return bearer(token).map(Some);
                }
                let mut wanted: Vec<String> = scopes.to_vec();
                if wanted.is_empty() {
                    wanted.extend(scope);
                }
                let question = Question {
                    realm: &realm,
                    service: service.as_deref(),
                    scopes: &wanted,
                    credential: credential.as_deref(),
                };
                let token = self.fetch_token(at, question).await?;
                let header = bearer(&token.secret)?;
                known.tokens.insert(key, token);
                Ok(Some(header))
            }
        }
    }

    /// Returns whether credentials for a registry were found.
    pub(super) async fn has_credentials(&self, host: &Host) -> bool {
        let known = host.authority.known.lock().await;
        matches!(known.credential, Looked::Found(Some(_)))
    }

    /// Fetches a token, with retries.
    async fn fetch_token(&self, at: Doing<'_>, question: Question<'_>) -> Result<Token, Error> {
        let mut retry = self.policy().retry();
        loop {
            let asked = self.ask_for_token(at, question, retry.attempt()).await;
            let failed = match asked {
                Ok(token) => return Ok(token),
                Err(failed) => failed,
            };
            let host = at.host.name.clone();
            sleep(retry.delay(failed, |pause| Error::Busy { host, pause })?).await;
        }
    }

    /// Sends one request to the token server.
    async fn ask_for_token(
        &self,
        at: Doing<'_>,
        question: Question<'_>,
        attempt: u32,
    ) -> Result<Token, Failed<Error>> {
        let realm = self.realm(at, question.realm).await?;
        let server = authority(&realm);
        let client = self.inner.clients.get(&server);
        let client = client.map_err(Error::Client)?;
        let mut request = if let Some(Credential::IdentityToken(token)) = question.credential {
            client.post(realm.clone()).form_of(&[
                ("grant_type", "refresh_token"),
                ("service", question.service.unwrap_or_default()),
                ("client_id", "kraft"),
                ("scope", &question.scopes.join(" ")),
                ("refresh_token", token.reveal()),
            ])
        } else {
            client.get(question.url(&realm))
        };
        if let Some(Credential::Basic { user, password }) = question.credential {
            request = request.header(AUTHORIZATION, basic(user, password)?);
        }
        let idle = self.policy().idle;
        let host = at.host.name.clone();
        let doing = format!("{} (its token server is `{server}`)", at.doing);
        let unreachable = |source: TransferError| {
            let again = !source.is_permanent();
            let error = Error::Unreachable {
                host: host.clone(),
                doing: doing.clone(),
                source,
            };
            Failed::new(error, again, None)
        };
        let sent = send_within(request, attempt, idle).await;
        let answer = sent.map_err(unreachable)?;
        let (status, after) = (answer.status(), retry_after(answer.headers()));
        let body = match read_body(answer, LARGEST_ANSWER, idle).await {
            Ok(body) => body,
            Err(BodyError::TooLong(_)) => {
                return Err(at
                    .protocol("its token server gave an endless answer")
                    .into());
            }
            Err(BodyError::Transfer(source)) => return Err(unreachable(source)),
        };
        match status.as_u16() {
            400 | 401 | 403 => {
                let words = words(&body);
                Err(at
                    .unauthorized(
                        &format!("its token server refused{words}"),
                        question.credential.is_some(),
                    )
                    .into())
            }
            code if is_transient(code) => {
                let error = Error::Server {
                    host,
                    doing,
                    status: code,
                    words: words(&body),
                };
                Err(Failed::transient(error, after))
            }
            code if !status.is_success() => Err(at
                .protocol(&format!("its token server answered HTTP {code}"))
                .into()),
            _ => Ok(read_token(&body).ok_or_else(|| at.protocol("its token server gave no token"))?),
        }
    }

    /// Validates the URL of a token server: secrets require TLS, unless the registry itself is
    /// trusted without.
    async fn realm(&self, at: Doing<'_>, text: &str) -> Result<Url, Error> {
        let url = Url::parse(text).map_err(|_| {
            at.protocol(&format!(
                "its token server `{}` is not a URL",
                redacted_url(text)
            ))
        })?;
        match url.scheme() {
            "https" => Ok(url),
            "http" => {
                let same = at
                    .host
                    .base()
                    .await
                    .is_ok_and(|base| base == format!("http://{}", authority(&url)));
                let here = url.host_str().is_some_and(is_loopback);
                let trusted = self.policy().is_insecure(&authority(&url));
                if (same || here || trusted) && at.host.may_be_plain() {
                    return Ok(url);
                }
                Err(at.protocol(&format!(
                    "it wants credentials to be sent unprotected to `{}`",
                    redacted_url(text)
                )))
            }
            _ => Err(at.protocol(&format!(
                "its token server `{}` is not an HTTP URL",
                redacted_url(text)
            ))),
        }
    }
}

impl Inner {
    /// Looks up credentials, once.
    async fn credential(
        &self,
        host: &Host,
        known: &mut Known,
    ) -> Result<Option<Arc<Credential>>, Error> {
        if let Looked::Found(found) = &known.credential {
            return Ok(found.clone());
        }
        let (source, name) = (Arc::clone(&self.credentials), host.name.clone());
        let found = match tokio::task::spawn_blocking(move || source.find(&name)).await {
            Ok(found) => found?.map(Arc::new),
            Err(_) => None,
        };
        known.credential = Looked::Found(found.clone());
        Ok(found)
    }
}

impl Doing<'_> {
    pub(super) fn protocol(&self, reason: &str) -> Error {
        Error::Protocol {
            host: self.host.name.clone(),
            doing: self.doing.to_owned(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn unauthorized(&self, reason: &str, had_credentials: bool) -> Error {
        Error::Unauthorized {
            host: self.host.name.clone(),
            doing: self.doing.to_owned(),
            reason: reason.to_owned(),
            had_credentials,
            advice: Vec::new(),
        }
    }
}

#[derive(Clone, Copy)]
struct Question<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scopes: &'a [String],
    credential: Option<&'a Credential>,
}

impl Question<'_> {
    /// Returns the URL of the request.
    fn url(&self, realm: &Url) -> Url {
        let mut url = realm.clone();
        {
            let mut pairs = url.query_pairs_mut();
            if let Some(service) = self.service {
                pairs.append_pair("service", service);
            }
            for scope in self.scopes {
                pairs.append_pair("scope", scope);
            }
        }
        url
    }
}

/// Sends a form (application/x-www-form-urlencoded) without another dependency.
trait Form {
    fn form_of(self, fields: &[(&str, &str)]) -> Self;
}

impl Form for RequestBuilder {
    fn form_of(self, fields: &[(&str, &str)]) -> Self {
        // The query of a URL has the same encoding.
        let body = Url::parse_with_params("http://form/", fields)
            .ok()
            .and_then(|url| url.query().map(str::to_owned))
            .unwrap_or_default();
        self.header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(body)
    }
}

fn read_token(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        access_token: Option<String>,
        #[serde(default)]
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let secret = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or(USUAL_LIFE).min(1 << 20));
    let until = Instant::now().checked_add(life.saturating_sub(MARGIN));
    Some(Token {
        secret: Secret::new(secret),
        // A token that has already expired is used until it is rejected.
        until: until.filter(|_| life > MARGIN),
    })
}

fn basic(user: &str, password: &Secret) -> Result<HeaderValue, Error> {
    credential::basic(user, password.reveal()).map_err(unusable)
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    credential::bearer(token.reveal()).map_err(unusable)
}

fn unusable(_: InvalidHeaderValue) -> Error {
    Error::Local {
        doing: "use a token with line breaks in it".to_owned(),
        source: std::io::ErrorKind::InvalidData.into(),
    }
}
