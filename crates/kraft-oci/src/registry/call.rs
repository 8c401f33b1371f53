//! Sends a request to a registry, with authorization and retries.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::header::{AUTHORIZATION, IF_NONE_MATCH, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kraft_http::redirect::{self, MOST_REDIRECTS, RedirectError, same_server};
use kraft_http::{
    Body, Failed, LONGEST_PAUSE, Response, TransferError, Url, authority, is_transient,
    retry_after, send_upload, send_within,
};
use tokio::time::sleep;

use super::Registry;
use super::auth::{Doing, Refused};
use super::complaint::complaint;
use super::error::Error;
use super::header::{Challenge, challenge};
use super::transport::Host;

/// Maximum number of attempts with different authorization.
const MOST_ROUNDS: u32 = 4;

/// A request.
pub(super) struct Call<'a> {
    /// The registry.
    pub(super) host: Arc<Host>,
    pub(super) method: Method,
    /// A path below the registry, or a URL from it.
    pub(super) to: Target<'a>,
    /// The required scopes, such as `repository:a/b:pull`.
    pub(super) scopes: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) content: Content<'a>,
    /// The operation, as it follows "cannot".
    pub(super) doing: String,
    /// The requested object, as it follows "has no".
    pub(super) what: String,
}

/// The URL of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Path(&'a str),
    Given(&'a Url),
}

/// The body of a request.
pub(super) enum Content<'a> {
    None,
    Bytes(Bytes),
    /// A body created for each attempt, and a counter of the bytes sent.
    Made(&'a (dyn Fn() -> (Body, Arc<AtomicU64>) + Send + Sync)),
}

impl Call<'_> {
    pub(super) fn at(&self) -> Doing<'_> {
        Doing {
            host: &self.host,
            doing: &self.doing,
        }
    }

    /// Returns a connection error.
    fn unreachable(&self, source: TransferError) -> Failed<Error> {
        let again = !source.is_permanent();
        let error = Error::Unreachable {
            host: self.host.name.clone(),
            doing: self.doing.clone(),
            source,
        };
        Failed::new(error, again, None)
    }
}

impl Registry {
    /// Sends a request, with retries. Success includes 304 for conditional and 416 for range
    /// requests; any other status is an error.
    ///
    /// A request with a generated body is sent once: the upload may contain a part of it, so the
    /// caller must start another upload first.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Response, Error> {
        let advise = || self.inner.credentials.advice(&call.host.name);
        let outcome = self.call_again(call).await;
        outcome.map_err(|error| error.with_advice(advise))
    }

    async fn call_again(&self, call: &Call<'_>) -> Result<Response, Error> {
        if self.policy().offline {
            return Err(Error::Offline {
                doing: call.doing.clone(),
            });
        }
        let mut retry = self.policy().retry();
        loop {
            let mut failed = match self.attempt(call, retry.attempt()).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let pause = failed.after.unwrap_or_default();
            if failed.again && pause <= LONGEST_PAUSE && matches!(call.content, Content::Made(_)) {
                // The caller waits before a retry; here only as long as the server requires.
                sleep(pause).await;
                failed.again = false;
            }
            let busy = |pause| Error::Busy {
                host: call.host.name.clone(),
                pause,
            };
            sleep(retry.delay(failed, busy)?).await;
        }
    }

    /// Sends a request; again with authorization if required, and once more if a token expired
    /// meanwhile.
    async fn attempt(&self, call: &Call<'_>, attempt: u32) -> Result<Response, Failed<Error>> {
        let base = call.host.base().await;
        let base = base.map_err(|error| call.unreachable(error))?;
        let own = |reason: String| call.at().protocol(&reason);
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
            let answer = self
                .send(call, attempt, url.clone(), &home, header.clone())
                .await?;
            // The challenge of a host that the registry redirected to is ignored.
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
            let words = complaint(answer, self.policy().idle).await;
            let had = self.has_credentials(&call.host).await;
            // Rejected credentials are not sent again.
            let hopeless = round + 1 == MOST_ROUNDS
                || (header.is_some() && challenge == Some(Challenge::Basic));
            let Some(challenge) = challenge.filter(|_| !hopeless) else {
                let reason = if had {
                    format!("the credentials for it are refused{words}")
                } else if header.is_some() || round > 0 {
                    format!("it denies access to all users{words}")
                } else {
                    format!("it wants credentials of an unspecified kind{words}")
                };
                return Err(call.at().unauthorized(&reason, had).into());
            };
            let refused = Refused {
                header: header.as_ref(),
                challenge,
            };
            header = self
                .authorization(call.at(), &call.scopes, Some(refused))
                .await?;
            if header.is_none() {
                let reason = format!("it wants credentials{words}");
                return Err(call.at().unauthorized(&reason, had).into());
            }
        }
        Err(own("it asked for credentials without end".to_owned()).into())
    }

    /// Sends a request, and follows redirects. Only the registry itself gets the authorization.
    async fn send(
        &self,
        call: &Call<'_>,
        attempt: u32,
        mut url: Url,
        home: &Url,
        header: Option<HeaderValue>,
    ) -> Result<Response, Failed<Error>> {
        for _ in 0..=MOST_REDIRECTS {
            let at_home = same_server(&url, home);
            let server = if at_home {
                call.host.name.clone()
            } else {
                authority(&url)
            };
            let client = self.inner.clients.get(&server);
            let mut request = client
                .map_err(Error::Client)?
                .request(call.method.clone(), url.clone())
                .headers(call.headers.clone());
            if let Some(header) = header.clone().filter(|_| at_home) {
                request = request.header(AUTHORIZATION, header);
            }
            let idle = self.policy().idle;
            let sent = match &call.content {
                Content::None => send_within(request, attempt, idle).await,
                Content::Bytes(bytes) => {
                    send_within(request.body(bytes.clone()), attempt, idle).await
                }
                Content::Made(make) => {
                    let (body, progress) = make();
                    send_upload(request.body(body), attempt, idle, &progress).await
                }
            };
            let answer = sent.map_err(|error| call.unreachable(error))?;
            let follows = matches!(call.method, Method::GET | Method::HEAD)
                && redirect::is_redirect(answer.status().as_u16());
            if !follows {
                return Ok(answer);
            }
            url = redirect::target(answer.headers(), &url)
                .map_err(|error| call.at().protocol(&error.to_string()))?;
        }
        Err(call
            .at()
            .protocol(&RedirectError::Circle.to_string())
            .into())
    }

    /// Classifies responses.
    async fn judge(&self, call: &Call<'_>, answer: Response) -> Result<Response, Failed<Error>> {
        let status = answer.status();
        let wanted = match status {
            StatusCode::NOT_MODIFIED => call.headers.contains_key(IF_NONE_MATCH),
            StatusCode::RANGE_NOT_SATISFIABLE => call.headers.contains_key(RANGE),
            other => other.is_success(),
        };
        if wanted {
            return Ok(answer);
        }
        let (host, doing) = (call.host.name.clone(), call.doing.clone());
        let after = retry_after(answer.headers());
        let elsewhere = authority(answer.url());
        let words = complaint(answer, self.policy().idle).await;
        let error = match status.as_u16() {
            304 => call
                .at()
                .protocol("it returned 304 for a request without a condition"),
            401 => call.at().unauthorized(
                &format!("`{elsewhere}`, where it leads to, wants credentials{words}"),
                false,
            ),
            403 => Error::Forbidden {
                host,
                doing,
                words,
                advice: Vec::new(),
            },
            404 => Error::NotFound {
                host,
                what: call.what.clone(),
                words,
            },
            code => Error::Server {
                host,
                doing,
                status: code,
                words,
            },
        };
        Err(Failed::new(error, is_transient(status.as_u16()), after))
    }
}
