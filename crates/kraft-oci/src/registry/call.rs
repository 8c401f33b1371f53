//! One question to a registry: asked with what it takes, asked again where that may help.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, IF_NONE_MATCH, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kraft_sys::clock;
use reqwest::{Body, Response, Url};
use tokio::time::{sleep, timeout};

use super::auth::{Doing, Refused, authority_of};
use super::body::complaint;
use super::error::{Error, Trouble};
use super::header::{Challenge, challenge};
use super::transport::{Host, shown, trouble};
use super::{LONGEST_PAUSE, Registry};

/// So often a request is made with other authorization.
const MOST_ROUNDS: u32 = 4;
/// Redirects are followed this far.
const MOST_HOPS: u32 = 10;

/// A question.
pub(super) struct Call<'a> {
    /// The registry.
    pub(super) host: Arc<Host>,
    pub(super) method: Method,
    /// A path below the registry, or a URL that it gave.
    pub(super) to: Target<'a>,
    /// What the question needs to be allowed, such as `repository:a/b:pull`.
    pub(super) scopes: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) content: Content<'a>,
    /// What is attempted, as it follows "cannot".
    pub(super) doing: String,
    /// What is asked for, as it follows "has no".
    pub(super) what: String,
}

/// Where a question goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Path(&'a str),
    Given(&'a Url),
}

/// What goes with a question.
pub(super) enum Content<'a> {
    None,
    Bytes(Bytes),
    /// A body that is made for each try, and a counter of its bytes that went out.
    Made(&'a (dyn Fn() -> (Body, Arc<AtomicU64>) + Send + Sync)),
}

/// What became of one try.
enum Outcome {
    Answer(Response),
    /// It may succeed another time.
    Again {
        trouble: Again,
        pause: Option<Duration>,
    },
}

enum Again {
    Trouble(Trouble),
    Status(StatusCode, String),
}

impl Call<'_> {
    pub(super) fn at(&self) -> Doing<'_> {
        Doing {
            host: &self.host,
            doing: &self.doing,
        }
    }

    fn again(&self, again: Again) -> Error {
        let (host, doing) = (self.host.name.clone(), self.doing.clone());
        match again {
            Again::Trouble(source) => Error::Unreachable {
                host,
                doing,
                source,
            },
            Again::Status(status, words) => Error::Server {
                host,
                doing,
                status: status.as_u16(),
                words,
            },
        }
    }
}

impl Registry {
    /// Asks, as often as it may help. An answer is a success, or the 304 or 416 that only a question
    /// with a condition or a range has; everything else is an error.
    ///
    /// A body that is made for each try is sent once: where it was to go there may be a part of it,
    /// so that whoever sent it has to find another place first.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Response, Error> {
        let advise = || self.inner.settings.credentials.advice(&call.host.name);
        let outcome = self.call_again(call).await;
        outcome.map_err(|error| error.with_advice(advise))
    }

    async fn call_again(&self, call: &Call<'_>) -> Result<Response, Error> {
        let settings = &self.inner.settings;
        if settings.offline {
            return Err(Error::Offline {
                doing: call.doing.clone(),
            });
        }
        let mut tries = 0;
        loop {
            let (trouble, pause) = match self.attempt(call).await? {
                Outcome::Answer(answer) => return Ok(answer),
                Outcome::Again { trouble, pause } => (trouble, pause),
            };
            if let Some(pause) = pause.filter(|pause| *pause > LONGEST_PAUSE) {
                return Err(Error::Busy {
                    host: call.host.name.clone(),
                    pause,
                });
            }
            // A certificate does not become better by asking again.
            let hopeless = matches!(trouble, Again::Trouble(Trouble::Certificate(_)));
            if tries >= settings.retries || hopeless {
                return Err(call.again(trouble));
            }
            if matches!(call.content, Content::Made(_)) {
                // Whoever sends it again waits before that; here only as long as the server wants.
                sleep(pause.unwrap_or_default()).await;
                return Err(call.again(trouble));
            }
            let waited = pause.unwrap_or_default().max(self.backoff(tries));
            sleep(waited).await;
            tries += 1;
        }
    }

    /// Returns how long to wait: any time below a limit that doubles, so that many who failed
    /// together do not come back together.
    pub(super) fn backoff(&self, tries: u32) -> Duration {
        let limit = self
            .inner
            .settings
            .pause
            .saturating_mul(1 << tries.min(6))
            .min(LONGEST_PAUSE);
        let mut random = [0; 4];
        // Without randomness everybody waits for the whole time.
        let share = match getrandom::fill(&mut random) {
            Ok(()) => f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX),
            Err(_) => 1.0,
        };
        limit.mul_f64(share)
    }

    /// Asks; again with authorization if that is wanted, and once more if a token ran out meanwhile.
    async fn attempt(&self, call: &Call<'_>) -> Result<Outcome, Error> {
        let base = match call.host.base().await {
            Ok(base) => base,
            Err(trouble) => {
                return Ok(Outcome::Again {
                    trouble: Again::Trouble(trouble),
                    pause: None,
                });
            }
        };
        let own = |fault: String| call.at().protocol(&fault);
        let url = match call.to {
            Target::Path(path) => {
                Url::parse(&format!("{base}{path}")).map_err(|error| own(error.to_string()))?
            }
            Target::Given(url) => url.clone(),
        };
        let home = Url::parse(&base).map_err(|error| own(error.to_string()))?;
        let at_home = same_server(&url, &home);
        let mut header = if at_home {
            self.authorization(call.at(), &call.scopes, None).await?
        } else {
            None
        };
        for round in 0..MOST_ROUNDS {
            let answer = match self.send(call, url.clone(), &home, header.clone()).await? {
                Ok(answer) => answer,
                Err(trouble) => {
                    return Ok(Outcome::Again {
                        trouble: Again::Trouble(trouble),
                        pause: None,
                    });
                }
            };
            // A host that we were led to has no say in who is shown the registry's credentials.
            let is_asked = at_home && same_server(answer.url(), &home);
            if answer.status() != StatusCode::UNAUTHORIZED || !is_asked {
                return self.judge(call, answer).await;
            }
            let asked = answer
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect::<Vec<_>>()
                .join(", ");
            let challenge = challenge(&asked);
            let words = complaint(answer, self.inner.settings.silence).await;
            let had = self.has_credentials(&call.host).await;
            // A password does not become right by being shown twice.
            let hopeless = round + 1 == MOST_ROUNDS
                || (header.is_some() && challenge == Some(Challenge::Basic));
            let Some(challenge) = challenge.filter(|_| !hopeless) else {
                let reason = if had {
                    format!("the credentials for it are refused{words}")
                } else if header.is_some() || round > 0 {
                    format!("it does not let anybody in{words}")
                } else {
                    format!("it wants credentials, and does not say of what kind{words}")
                };
                return Err(call.at().unauthorized(&reason, had));
            };
            let refused = Refused {
                header: header.as_ref(),
                challenge,
            };
            header = self
                .authorization(call.at(), &call.scopes, Some(refused))
                .await?;
            if header.is_none() {
                return Err(call
                    .at()
                    .unauthorized(&format!("it wants credentials{words}"), had));
            }
        }
        Err(own("it asked for credentials without end".to_owned()))
    }

    /// Sends a request, and follows where it leads. Only the registry itself sees authorization.
    async fn send(
        &self,
        call: &Call<'_>,
        mut url: Url,
        home: &Url,
        header: Option<HeaderValue>,
    ) -> Result<Result<Response, Trouble>, Error> {
        for _ in 0..=MOST_HOPS {
            let at_home = same_server(&url, home);
            let elsewhere;
            let host = if at_home {
                &*call.host
            } else {
                elsewhere = Host::new(&authority_of(&url), &self.inner.settings);
                &elsewhere
            };
            let mut request = self
                .inner
                .clients
                .get(host)?
                .request(call.method.clone(), url.clone())
                .headers(call.headers.clone());
            if let Some(header) = header.clone().filter(|_| at_home) {
                request = request.header(AUTHORIZATION, header);
            }
            let sent = match &call.content {
                Content::None => self.wait(request.send(), None).await,
                Content::Bytes(bytes) => self.wait(request.body(bytes.clone()).send(), None).await,
                Content::Made(make) => {
                    let (body, progress) = make();
                    self.wait(request.body(body).send(), Some(progress)).await
                }
            };
            let answer = match sent {
                Ok(answer) => answer,
                Err(trouble) => return Ok(Err(trouble)),
            };
            let follows = matches!(call.method, Method::GET | Method::HEAD)
                && matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !follows {
                return Ok(Ok(answer));
            }
            url = location(&answer, &url).map_err(|fault| call.at().protocol(&fault))?;
        }
        Err(call.at().protocol("it redirects in a circle"))
    }

    /// Waits for the head of an answer as long as something moves.
    async fn wait(
        &self,
        request: impl Future<Output = Result<Response, reqwest::Error>>,
        progress: Option<Arc<AtomicU64>>,
    ) -> Result<Response, Trouble> {
        let silence = self.inner.settings.silence;
        let Some(progress) = progress else {
            return match timeout(silence, request).await {
                Ok(answer) => answer.map_err(|error| trouble(&error)),
                Err(_) => Err(Trouble::Silent(silence)),
            };
        };
        tokio::pin!(request);
        let mut before = 0;
        loop {
            // Whoever has taken all of a large blob needs time to put it down.
            let patience = silence.saturating_mul(4);
            if let Ok(answer) = timeout(patience, &mut request).await {
                return answer.map_err(|error| trouble(&error));
            }
            let now = progress.load(Ordering::Relaxed);
            if now == before {
                return Err(Trouble::Silent(patience));
            }
            before = now;
        }
    }

    /// Sorts answers.
    async fn judge(&self, call: &Call<'_>, answer: Response) -> Result<Outcome, Error> {
        let status = answer.status();
        let wanted = match status {
            StatusCode::NOT_MODIFIED => call.headers.contains_key(IF_NONE_MATCH),
            StatusCode::RANGE_NOT_SATISFIABLE => call.headers.contains_key(RANGE),
            other => other.is_success(),
        };
        if wanted {
            return Ok(Outcome::Answer(answer));
        }
        let (host, doing) = (call.host.name.clone(), call.doing.clone());
        let pause = pause(&answer);
        let elsewhere = authority_of(answer.url());
        let words = complaint(answer, self.inner.settings.silence).await;
        match status.as_u16() {
            304 => Err(call
                .at()
                .protocol("it says that nothing changed, and nobody asked")),
            401 => Err(call.at().unauthorized(
                &format!("`{elsewhere}`, where it leads to, wants credentials{words}"),
                false,
            )),
            403 => Err(Error::Forbidden {
                host,
                doing,
                words,
                advice: Vec::new(),
            }),
            404 => Err(Error::NotFound {
                host,
                what: call.what.clone(),
                words,
            }),
            code if may_pass(code) => Ok(Outcome::Again {
                trouble: Again::Status(status, words),
                pause,
            }),
            code => Err(Error::Server {
                host,
                doing,
                status: code,
                words,
            }),
        }
    }
}

/// Returns whether a failure may be over the next time (RFC 9110, section 15; RFC 6585, section 4;
/// RFC 8470, section 5.2).
pub(super) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Returns how long a server wants to be left alone.
pub(super) fn pause(answer: &Response) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?;
    clock::retry_after(value.to_str().ok()?, clock::now())
}

/// Returns whether two URLs lead to the same server in the same way.
fn same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Reads where an answer leads; `from` is where it came from.
pub(super) fn location(answer: &Response, from: &Url) -> Result<Url, String> {
    let text = answer
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| "it does not say where to go on".to_owned())?;
    let to = from
        .join(text)
        .map_err(|_| format!("it leads to `{}`, which is no URL", shown(text)))?;
    match (from.scheme(), to.scheme()) {
        ("https", "http") => Err(format!(
            "it leads to `{}`, from a protected connection to an unprotected one",
            shown(text)
        )),
        (_, "http" | "https") => Ok(to),
        _ => Err(format!(
            "it leads to `{}`, which is no web server",
            shown(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_server_is_home() {
        let url = |text: &str| Url::parse(text).unwrap();
        let home = url("https://a.example");
        assert!(same_server(&url("https://a.example:443/x"), &home));
        for other in [
            "http://a.example/",
            "https://a.example:444/",
            "https://b.example/",
        ] {
            assert!(!same_server(&url(other), &home), "{other}");
        }
    }
}
