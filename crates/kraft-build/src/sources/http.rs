//! Downloads: resumed where they broke off, tried again where that may help.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Certificate, StatusCode, Url, redirect};

use super::error::Error;
use super::memory::Memory;
use super::url::{is_this_computer, shown};
use super::{Patience, Told};

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(10);
/// How often a server may send us elsewhere.
const MOST_REDIRECTS: usize = 10;
/// The longest that a server may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A document (an index, an answer of an API) has at most so many bytes.
const LARGEST_DOCUMENT: u64 = 32 << 20;
/// A component has at most so many bytes.
const LARGEST_ARCHIVE: u64 = 4 << 30;
/// A PEM file is at most this long, in bytes.
const LARGEST_PEM: u64 = 4 << 20;

/// How HTTP is spoken.
#[derive(Clone, Debug)]
pub struct Web {
    /// What we call ourselves.
    pub user_agent: String,
    /// How patient we are.
    pub patience: Patience,
    /// A PEM file with further authorities.
    pub ca_file: Option<PathBuf>,
    /// Hosts (`HOST[:PORT]`) whose certificates are not looked at.
    pub insecure: Vec<String>,
    /// Credentials by host.
    pub credentials: Vec<(String, Credential)>,
}

/// A user and a token; without a user, the token is a bearer's.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user, or nothing.
    pub user: String,
    /// The token or password.
    pub token: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A client, made when it is needed first.
#[derive(Debug)]
pub struct Http {
    web: Web,
    /// By whether certificates count, and whether it is this computer.
    clients: [OnceLock<Client>; 4],
}

/// A document, and what marks this state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its `ETag`, if the server gives one.
    pub etag: Option<String>,
    /// Further headers that callers look at: `Link`.
    pub link: Option<String>,
}

impl Http {
    /// Makes a client; opens no connection.
    pub fn new(web: Web) -> Self {
        Self {
            web,
            clients: Default::default(),
        }
    }

    /// Fetches a document; `None` if it is still what `etag` marks.
    pub fn document(&self, url: &str, etag: Option<&str>) -> Result<Option<Document>, Error> {
        self.patiently(url, || {
            let mut headers = HeaderMap::new();
            if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
                headers.insert(IF_NONE_MATCH, etag);
            }
            let response = self.get(url, &headers)?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let response = good(url, response)?;
            let text = |name| {
                let value: Option<&HeaderValue> = response.headers().get(name);
                value.and_then(|v| v.to_str().ok()).map(ToOwned::to_owned)
            };
            let (etag, link) = (text("etag"), text("link"));
            let mut bytes = Vec::new();
            response
                .take(LARGEST_DOCUMENT + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| Trouble::again(url, &error))?;
            if bytes.len() as u64 > LARGEST_DOCUMENT {
                return Err(Trouble::last(Error::Network {
                    url: shown(url),
                    why: format!("it has more than {LARGEST_DOCUMENT} bytes"),
                }));
            }
            Ok(Some(Document { bytes, etag, link }))
        })
    }

    /// Downloads into a file, behind what an earlier try left in it; returns what the server says
    /// of it, without its sum. Returns `None`, and the file is as it was, if it is what is known.
    pub(super) fn download(
        &self,
        url: &str,
        file: &Path,
        known: Option<&Memory>,
        told: &Told<'_>,
    ) -> Result<Option<Memory>, Error> {
        let mut mark: Option<String> = None;
        self.patiently(url, || {
            let mut part =
                kraft_sys::fs::append(file).map_err(|error| Trouble::last(error.into()))?;
            let have = part
                .seek(SeekFrom::End(0))
                .map_err(|error| Trouble::last(write_error(file, error)))?;
            let mut headers = HeaderMap::new();
            // Only what we saw the beginning of is continued: without a mark it may be another.
            let resumes = have > 0 && mark.is_some();
            if resumes {
                if let Ok(range) = HeaderValue::from_str(&format!("bytes={have}-")) {
                    headers.insert(RANGE, range);
                }
                if let Some(mark) = mark.as_deref().and_then(|m| HeaderValue::from_str(m).ok()) {
                    headers.insert(IF_RANGE, mark);
                }
            } else if let Some(known) = known {
                let value = |text: &Option<String>| HeaderValue::from_str(text.as_ref()?).ok();
                headers.extend(value(&known.etag).map(|etag| (IF_NONE_MATCH, etag)));
                headers.extend(value(&known.last_modified).map(|time| (IF_MODIFIED_SINCE, time)));
            }
            let response = self.get(url, &headers)?;
            if response.status() == StatusCode::NOT_MODIFIED && known.is_some() {
                return Ok(None);
            }
            let response = good(url, response)?;
            let continues = response.status() == StatusCode::PARTIAL_CONTENT
                && begins_at(&response) == Some(have);
            if !continues && have > 0 {
                part.set_len(0)
                    .map_err(|error| Trouble::last(write_error(file, error)))?;
            }
            mark = response
                .headers()
                .get(ETAG)
                .and_then(|value| value.to_str().ok())
                .filter(|etag| !etag.starts_with("W/"))
                .map(ToOwned::to_owned);
            let start = if continues { have } else { 0 };
            let text = |name| {
                let value: Option<&HeaderValue> = response.headers().get(name);
                let text = value.and_then(|value| value.to_str().ok());
                text.filter(|text| text.len() < 1024).map(ToOwned::to_owned)
            };
            let memory = Memory {
                sha256: String::new(),
                etag: text(ETAG),
                last_modified: text(LAST_MODIFIED),
            };
            pour(url, response, &mut part, file, start, told)?;
            Ok(Some(memory))
        })
    }

    fn get(&self, url: &str, headers: &HeaderMap) -> Result<Response, Trouble> {
        let mut url = Url::parse(url).map_err(|error| {
            Trouble::last(Error::Network {
                url: shown(url),
                why: error.to_string(),
            })
        })?;
        let first = url.clone();
        for _ in 0..MOST_REDIRECTS {
            let client = self.client(&url)?;
            let mut request = client
                .get(url.clone())
                .headers(headers.clone())
                .header(ACCEPT_ENCODING, "identity");
            // Credentials are for the host that they are configured for, and for no other.
            if let Some(value) = self.authorization(&url) {
                request = request.header(AUTHORIZATION, value);
            }
            let response = request
                .send()
                .map_err(|error| Trouble::again(first.as_str(), &error))?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|target| url.join(target).ok());
            let Some(target) = target else {
                return Err(nonsense(
                    &first,
                    "it sends us elsewhere without saying where",
                ));
            };
            if !matches!(target.scheme(), "http" | "https")
                || (url.scheme() == "https" && target.scheme() == "http")
            {
                return Err(nonsense(
                    &first,
                    "it sends us to a place without encryption",
                ));
            }
            url = target;
        }
        Err(nonsense(&first, "it sends us around in circles"))
    }

    fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        use base64::Engine as _;

        let host = host(url);
        let (_, credential) = self
            .web
            .credentials
            .iter()
            .find(|(name, _)| *name == host || Some(name.as_str()) == url.host_str())?;
        let text = if credential.user.is_empty() {
            format!("Bearer {}", credential.token)
        } else {
            let pair = format!("{}:{}", credential.user, credential.token);
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("Basic {pair}")
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn client(&self, url: &Url) -> Result<&Client, Trouble> {
        let lax = self.web.insecure.contains(&host(url));
        let direct = is_this_computer(url.host_str().unwrap_or_default());
        let Some(made) = self.clients.get(usize::from(lax) + 2 * usize::from(direct)) else {
            return Err(nonsense(url, "no client"));
        };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let mut builder = Client::builder()
            .user_agent(&self.web.user_agent)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECTING)
            // In this client it is the time between two reads.
            .timeout(self.web.patience.silence)
            .tls_danger_accept_invalid_certs(lax)
            .tls_danger_accept_invalid_hostnames(lax);
        if let Some(path) = self.web.ca_file.as_ref().filter(|_| !lax) {
            let pem = kraft_sys::fs::read_file(path, LARGEST_PEM)
                .map_err(|error| Trouble::last(error.into()))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| nonsense(url, &format!("`{}`: {error}", path.display())))?;
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if direct {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| nonsense(url, &error.to_string()))?;
        Ok(made.get_or_init(|| client))
    }

    /// Tries until it works, or cannot work, or has been tried often enough.
    fn patiently<T>(
        &self,
        url: &str,
        mut work: impl FnMut() -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        let mut wait = Duration::from_millis(200);
        let mut tries = 0;
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(trouble) if !trouble.again || tries == self.web.patience.retries => {
                    return Err(*trouble.error);
                }
                Err(trouble) => {
                    tries += 1;
                    // Not everybody at the same moment again.
                    let jitter = u64::from(std::process::id() % 100) + url.len() as u64 % 50;
                    let pause = trouble.after.unwrap_or(wait) + Duration::from_millis(jitter);
                    std::thread::sleep(pause.min(LONGEST_WAIT));
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A try that failed.
struct Trouble {
    error: Box<Error>,
    /// Whether another try may help.
    again: bool,
    /// How long the server wants us to wait.
    after: Option<Duration>,
}

impl Trouble {
    fn last(error: Error) -> Self {
        Self {
            error: Box::new(error),
            again: false,
            after: None,
        }
    }

    fn again(url: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut why = String::new();
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            // The client repeats the URL in every sentence.
            if !text.contains(url) && !why.contains(&text) {
                if !why.is_empty() {
                    why.push_str(": ");
                }
                why.push_str(&text);
            }
            next = cause.source();
        }
        let why = if why.is_empty() {
            error.to_string()
        } else {
            why
        };
        let url = shown(url);
        // A name that does not exist will not exist in a second.
        let again = !why.contains("Name or service not known");
        Self {
            error: Box::new(Error::Network { url, why }),
            again,
            after: None,
        }
    }
}

fn nonsense(url: &Url, why: &str) -> Trouble {
    Trouble::last(Error::Network {
        url: shown(url.as_str()),
        why: why.to_owned(),
    })
}

fn write_error(path: &Path, source: std::io::Error) -> Error {
    kraft_sys::fs::Error::on("write", path)(source).into()
}

/// Insists on success.
fn good(url: &str, response: Response) -> Result<Response, Trouble> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let (url, code) = (shown(url), status.as_u16());
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    Err(match code {
        404 | 410 => Trouble::last(Error::NotThere { url, status: code }),
        401 | 403 => Trouble::last(Error::Denied { url, status: code }),
        _ => Trouble {
            error: Box::new(Error::Network {
                url,
                why: format!("the server says {code}"),
            }),
            again: code == 429 || code == 408 || status.is_server_error(),
            after,
        },
    })
}

/// Returns where a part of a file begins, by `Content-Range` (RFC 9110, section 14.4).
fn begins_at(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Writes what comes into a file.
fn pour(
    url: &str,
    mut response: Response,
    part: &mut File,
    file: &Path,
    start: u64,
    told: &Told<'_>,
) -> Result<(), Trouble> {
    let mut done = start;
    let mut chunk = vec![0; 128 << 10];
    loop {
        let read = response
            .read(&mut chunk)
            .map_err(|error| Trouble::again(url, &error))?;
        if read == 0 {
            return Ok(());
        }
        done += read as u64;
        if done > LARGEST_ARCHIVE {
            return Err(Trouble::last(Error::Network {
                url: shown(url),
                why: format!("it has more than {LARGEST_ARCHIVE} bytes"),
            }));
        }
        part.write_all(chunk.get(..read).unwrap_or_default())
            .map_err(|error| Trouble::last(write_error(file, error)))?;
        told.advanced(done);
    }
}
