//! Downloads with resumption and retries.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, LINK, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use kraft_http::blocking::{Client, Response};
use kraft_http::redirect::{self, MOST_REDIRECTS, RedirectError};
use kraft_http::text::redacted_url;
use kraft_http::{
    Clients, Failed, Policy, TransferError, Url, authority, credential, is_transient, retry_after,
    send_blocking,
};

use super::TaskProgress;
use super::error::{DownloadError, Error};
use super::validators::Validators;

/// The maximum size of a document (an index, an answer of an API), in bytes.
const LARGEST_DOCUMENT: u64 = 32 << 20;
/// The maximum size of a component, in bytes.
const LARGEST_ARCHIVE: u64 = 4 << 30;

/// A user and a token; without a user, a bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user; empty for a bearer token.
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

/// An HTTP client for components and catalogs.
#[derive(Debug)]
pub struct Http {
    policy: Policy,
    /// By host, `HOST[:PORT]`.
    credentials: Vec<(String, Credential)>,
    clients: OnceLock<Clients<Client>>,
}

/// A document and its `ETag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its `ETag`, if the server gives one.
    pub etag: Option<String>,
    /// The `Link` header.
    pub link: Option<String>,
}

impl Http {
    /// Creates a client with credentials by host; opens no file and no connection.
    pub fn new(policy: Policy, credentials: Vec<(String, Credential)>) -> Self {
        Self {
            policy,
            credentials,
            clients: OnceLock::new(),
        }
    }

    /// Fetches a document; `None` if it still matches `etag`.
    pub fn document(&self, url: &str, etag: Option<&str>) -> Result<Option<Document>, Error> {
        self.patiently(url, |attempt| {
            let mut headers = HeaderMap::new();
            if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
                headers.insert(IF_NONE_MATCH, etag);
            }
            let response = self.get(url, &headers, attempt)?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let response = good(url, response)?;
            let (etag, link) = (text(&response, &ETAG), text(&response, &LINK));
            let mut bytes = Vec::new();
            response
                .take(LARGEST_DOCUMENT + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| self.broken(url, &error))?;
            if bytes.len() as u64 > LARGEST_DOCUMENT {
                return Err(failed(url, DownloadError::TooLarge(LARGEST_DOCUMENT)));
            }
            Ok(Some(Document { bytes, etag, link }))
        })
    }

    /// Downloads into a file, resuming an earlier attempt; returns the validators of the response,
    /// without a checksum. Returns `None`, with the file unchanged, if the file is up to date.
    pub(super) fn download(
        &self,
        url: &str,
        file: &Path,
        known: Option<&Validators>,
        told: &TaskProgress<'_>,
    ) -> Result<Option<Validators>, Error> {
        let mut mark: Option<String> = None;
        self.patiently(url, |attempt| {
            let mut part = kraft_sys::fs::append(file).map_err(Error::from)?;
            let have = part
                .seek(SeekFrom::End(0))
                .map_err(|error| write_error(file, error))?;
            let mut headers = HeaderMap::new();
            // Only a download with a validator is resumed: without one the file may have changed.
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
            let response = self.get(url, &headers, attempt)?;
            if response.status() == StatusCode::NOT_MODIFIED && known.is_some() {
                return Ok(None);
            }
            let response = good(url, response)?;
            let continues = response.status() == StatusCode::PARTIAL_CONTENT
                && begins_at(&response) == Some(have);
            if !continues && have > 0 {
                part.set_len(0).map_err(|error| write_error(file, error))?;
            }
            mark = text(&response, &ETAG).filter(|etag| !etag.starts_with("W/"));
            let start = if continues { have } else { 0 };
            let known = |name| text(&response, name).filter(|text| text.len() < 1024);
            let validators = Validators {
                sha256: String::new(),
                etag: known(&ETAG),
                last_modified: known(&LAST_MODIFIED),
            };
            self.pour(url, response, &mut part, file, start, told)?;
            Ok(Some(validators))
        })
    }

    fn get(&self, url: &str, headers: &HeaderMap, attempt: u32) -> Result<Response, Failed<Error>> {
        let first = url;
        let mut url = Url::parse(url).map_err(|error| failed(first, DownloadError::Url(error)))?;
        for _ in 0..=MOST_REDIRECTS {
            let client = self.client(&url)?;
            let mut request = client
                .get(url.clone())
                .headers(headers.clone())
                .header(ACCEPT_ENCODING, "identity");
            // Credentials are only sent to the host that they are configured for.
            if let Some(value) = self.authorization(&url) {
                request = request.header(AUTHORIZATION, value);
            }
            let response =
                send_blocking(request, attempt).map_err(|error| self.broken(first, &error))?;
            if !redirect::is_redirect(response.status().as_u16()) {
                return Ok(response);
            }
            url =
                redirect::target(response.headers(), &url).map_err(|error| failed(first, error))?;
        }
        Err(failed(first, RedirectError::Circle))
    }

    fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        let host = authority(url);
        let (_, Credential { user, token }) = self
            .credentials
            .iter()
            .find(|(name, _)| *name == host || Some(name.as_str()) == url.host_str())?;
        if user.is_empty() {
            credential::bearer(token).ok()
        } else {
            credential::basic(user, token).ok()
        }
    }

    fn client(&self, url: &Url) -> Result<&Client, Error> {
        let clients = if let Some(clients) = self.clients.get() {
            clients
        } else {
            let made = Clients::new(self.policy.clone())?;
            self.clients.get_or_init(|| made)
        };
        Ok(clients.get(&authority(url))?)
    }

    /// Retries transient failures.
    fn patiently<T>(
        &self,
        url: &str,
        mut work: impl FnMut(u32) -> Result<T, Failed<Error>>,
    ) -> Result<T, Error> {
        let mut retry = self.policy.retry();
        let busy = |pause: Duration| Error::Network {
            url: redacted_url(url),
            source: DownloadError::Busy(pause),
        };
        loop {
            match work(retry.attempt()) {
                Ok(done) => return Ok(done),
                Err(failed) => std::thread::sleep(retry.delay(failed, busy)?),
            }
        }
    }

    /// Returns a failure of the connection.
    fn broken(&self, url: &str, error: &(dyn std::error::Error + 'static)) -> Failed<Error> {
        let error = TransferError::of(error, self.policy.idle);
        let again = !error.is_permanent();
        let mut failed = failed(url, error);
        failed.again = again;
        failed
    }

    /// Writes a response body to a file.
    fn pour(
        &self,
        url: &str,
        mut response: Response,
        part: &mut File,
        file: &Path,
        start: u64,
        told: &TaskProgress<'_>,
    ) -> Result<(), Failed<Error>> {
        let mut done = start;
        let mut chunk = vec![0; 128 << 10];
        loop {
            let read = response
                .read(&mut chunk)
                .map_err(|error| self.broken(url, &error))?;
            if read == 0 {
                return Ok(());
            }
            done += read as u64;
            if done > LARGEST_ARCHIVE {
                return Err(failed(url, DownloadError::TooLarge(LARGEST_ARCHIVE)));
            }
            part.write_all(chunk.get(..read).unwrap_or_default())
                .map_err(|error| write_error(file, error))?;
            told.advanced(done);
        }
    }
}

fn text(response: &Response, name: &HeaderName) -> Option<String> {
    let value = response.headers().get(name)?;
    value.to_str().ok().map(ToOwned::to_owned)
}

/// Returns the error of a download, which is not tried again.
fn failed(url: &str, source: impl Into<DownloadError>) -> Failed<Error> {
    Failed::from(Error::Network {
        url: redacted_url(url),
        source: source.into(),
    })
}

fn write_error(path: &Path, source: std::io::Error) -> Error {
    kraft_sys::fs::Error::on("write", path)(source).into()
}

/// Returns an error for an unsuccessful status.
fn good(url: &str, response: Response) -> Result<Response, Failed<Error>> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (url, status) = (redacted_url(url), response.status().as_u16());
    let error = match status {
        404 | 410 => Error::NotThere { url, status },
        401 | 403 => Error::Denied { url, status },
        _ => Error::Network {
            url,
            source: DownloadError::Status(status),
        },
    };
    let after = retry_after(response.headers());
    Err(Failed::new(error, is_transient(status), after))
}

/// Returns the start of a partial response, by `Content-Range` (RFC 9110, section 14.4).
fn begins_at(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
