//! Authorization: from a challenge to the header of a request.
//!
//! A registry is asked without credentials first. What it answers tells how it wants them: with
//! every request (Basic), or exchanged for a token of a server that it names (distribution: token
//! authentication specification, and its OAuth 2 form for identity tokens).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::body::{BodyFault, bounded_body, words};
use super::call::{may_pass, pause};
use super::error::{Error, Trouble};
use super::header::Challenge;
use super::transport::{Host, is_loopback, shown, trouble};
use super::{Inner, LONGEST_PAUSE, Registry};
use crate::credentials::{Credential, Secret};

/// What a token server answers is at most this long, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// A token that says nothing else is good for so long.
const USUAL_LIFE: u64 = 60;
/// A token is not used in its last moments.
const MARGIN: Duration = Duration::from_secs(5);

/// How a registry wants to be asked, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Authority {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What it answered last.
    challenge: Option<Challenge>,
    /// What was found when credentials were looked up.
    credential: Looked,
    /// Tokens by what they allow.
    tokens: HashMap<String, Token>,
}

/// Credentials, before and after they were looked up.
#[derive(Debug, Default)]
enum Looked {
    #[default]
    NotYet,
    Found(Option<Arc<Credential>>),
}

#[derive(Debug)]
struct Token {
    secret: Secret,
    /// `None` for a token that is only good for as long as it is taken.
    until: Option<Instant>,
}

/// What a registry answered to a request that it refused.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    /// What it was shown.
    pub(super) header: Option<&'a HeaderValue>,
    /// What it wants to be shown.
    pub(super) challenge: Challenge,
}

/// What is being done, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    pub(super) host: &'a Host,
    pub(super) doing: &'a str,
}

impl Registry {
    /// Returns the header for a request that needs these scopes, if the registry is known to want
    /// one. What was refused is not used again.
    pub(super) async fn authorization(
        &self,
        at: Doing<'_>,
        scopes: &[String],
        refused: Option<Refused<'_>>,
    ) -> Result<Option<HeaderValue>, Error> {
        // One at a time: who waits finds the token that the first one got.
        let mut known = at.host.authority.known.lock().await;
        let key = scopes.join(" ");
        let was_refused = refused.is_some();
        if let Some(refused) = refused {
            // Somebody else may have got another one meanwhile.
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

    /// Gets a token, asking as often as it may help.
    async fn fetch_token(&self, at: Doing<'_>, question: Question<'_>) -> Result<Token, Error> {
        let mut tries = 0;
        loop {
            let Stumble { error, pause } = match self.ask_for_token(at, question).await? {
                Ok(token) => return Ok(token),
                Err(stumble) => stumble,
            };
            let pause = pause.unwrap_or_default();
            if pause > LONGEST_PAUSE {
                let host = at.host.name.clone();
                return Err(Error::Busy { host, pause });
            }
            if tries >= self.inner.settings.retries {
                return Err(error);
            }
            sleep(pause.max(self.backoff(tries))).await;
            tries += 1;
        }
    }

    /// Asks the token server once.
    async fn ask_for_token(
        &self,
        at: Doing<'_>,
        question: Question<'_>,
    ) -> Result<Result<Token, Stumble>, Error> {
        let realm = self.realm(at, question.realm).await?;
        let owner = Host::new(&authority_of(&realm), &self.inner.settings);
        let client = self.inner.clients.get(&owner)?;
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
        let silence = self.inner.settings.silence;
        let (host, server) = (at.host.name.clone(), authority_of(&realm));
        let doing = format!("{} (its token server is `{server}`)", at.doing);
        let unreachable = |source| {
            // A certificate does not become better by asking again.
            let hopeless = matches!(source, Trouble::Certificate(_));
            let error = Error::Unreachable {
                host: host.clone(),
                doing: doing.clone(),
                source,
            };
            if hopeless {
                return Err(error);
            }
            Ok(Err(Stumble { error, pause: None }))
        };
        let answer = match timeout(silence, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return unreachable(trouble(&error)),
            Err(_) => return unreachable(Trouble::Silent(silence)),
        };
        let (status, pause) = (answer.status(), pause(&answer));
        let body = match bounded_body(answer, LARGEST_ANSWER, silence).await {
            Ok(body) => body,
            Err(BodyFault::TooLong) => {
                return Err(at.protocol("its token server gave an endless answer"));
            }
            Err(BodyFault::Trouble(source)) => return unreachable(source),
        };
        if status.as_u16() == 401 || status.as_u16() == 403 || status.as_u16() == 400 {
            let words = words(&body);
            return Err(at.unauthorized(
                &format!("its token server refused{words}"),
                question.credential.is_some(),
            ));
        }
        if may_pass(status.as_u16()) {
            let error = Error::Server {
                host,
                doing,
                status: status.as_u16(),
                words: words(&body),
            };
            return Ok(Err(Stumble { error, pause }));
        }
        if !status.is_success() {
            return Err(at.protocol(&format!(
                "its token server answered HTTP {}",
                status.as_u16()
            )));
        }
        let token = read_token(&body);
        Ok(Ok(token.ok_or_else(|| {
            at.protocol("its token server gave no token")
        })?))
    }

    /// Checks where a registry sends us for a token: what is secret travels protected, unless the
    /// registry itself is one that is trusted without.
    async fn realm(&self, at: Doing<'_>, text: &str) -> Result<Url, Error> {
        let url = Url::parse(text)
            .map_err(|_| at.protocol(&format!("its token server `{}` is no URL", shown(text))))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" => {
                let same = at
                    .host
                    .base()
                    .await
                    .is_ok_and(|base| base == format!("http://{}", authority_of(&url)));
                let here = url.host_str().is_some_and(is_loopback);
                let trusted = self.inner.settings.insecure.contains(&authority_of(&url));
                if (same || here || trusted) && at.host.may_be_plain() {
                    return Ok(url);
                }
                Err(at.protocol(&format!(
                    "it wants credentials to be sent unprotected to `{}`",
                    shown(text)
                )))
            }
            _ => Err(at.protocol(&format!(
                "its token server `{}` is no web server",
                shown(text)
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
        let (source, name) = (Arc::clone(&self.settings.credentials), host.name.clone());
        let found = match tokio::task::spawn_blocking(move || source.find(&name)).await {
            Ok(found) => found?.map(Arc::new),
            Err(_) => None,
        };
        known.credential = Looked::Found(found.clone());
        Ok(found)
    }
}

impl Doing<'_> {
    pub(super) fn protocol(&self, fault: &str) -> Error {
        Error::Protocol {
            host: self.host.name.clone(),
            doing: self.doing.to_owned(),
            fault: fault.to_owned(),
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

/// A failure of a token server that may be over the next time.
struct Stumble {
    error: Error,
    /// How long it wants to be left alone.
    pause: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Question<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scopes: &'a [String],
    credential: Option<&'a Credential>,
}

impl Question<'_> {
    /// Returns the URL that asks it.
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

impl Form for reqwest::RequestBuilder {
    fn form_of(self, fields: &[(&str, &str)]) -> Self {
        // The query of a URL is written in the same way.
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

/// Returns `HOST[:PORT]` of a URL.
pub(super) fn authority_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
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
        // One that is over before it begins is used until it is refused.
        until: until.filter(|_| life > MARGIN),
    })
}

fn basic(user: &str, password: &Secret) -> Result<HeaderValue, Error> {
    let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
    sensitive(&format!("Basic {pair}"))
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    sensitive(&format!("Bearer {}", token.reveal()))
}

/// A header that is not shown in any log.
fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Local {
        doing: "use a token with line breaks in it".to_owned(),
        source: std::io::ErrorKind::InvalidData.into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
