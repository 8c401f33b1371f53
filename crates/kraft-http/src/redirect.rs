//! Redirects: followed by hand, so that each is judged.
//!
//! A redirect never leads from TLS to a plain connection, nor to anything but HTTP. A credential is
//! for one server: a client that follows a redirect sends it only where [`same_server`] holds.
//!
//! ```
//! use http::HeaderMap;
//! use kraft_http::Url;
//! use kraft_http::redirect::{same_server, target};
//!
//! let from: Url = "https://example.com/v2/".parse()?;
//! let mut headers = HeaderMap::new();
//! headers.insert("location", "/blobs/1".parse()?);
//! let to = target(&headers, &from)?;
//! assert_eq!(to.as_str(), "https://example.com/blobs/1");
//! assert!(same_server(&from, &to));
//!
//! headers.insert("location", "http://example.com/".parse()?);
//! assert!(target(&headers, &from).is_err(), "never from TLS to plain HTTP");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use http::HeaderMap;
use http::header::LOCATION;
use reqwest::Url;

use crate::text::redacted_url;

/// Why a redirect is not followed. The text follows the name of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// The answer does not say where it leads.
    #[error("it redirects without a `Location`")]
    NoLocation,
    /// It leads to something that is not a URL.
    #[error("it leads to `{0}`, which is not a URL")]
    NotUrl(String),
    /// It leads to a URL of another scheme than HTTP.
    #[error("it leads to `{0}`, which is not an HTTP URL")]
    NotHttp(String),
    /// It leads from TLS to a plain connection.
    #[error("it leads to `{0}`, from a protected connection to an unprotected one")]
    Unprotected(String),
    /// A request was redirected more than [`MOST_REDIRECTS`] times.
    #[error("it redirects in circles")]
    Circle,
}

/// The maximum number of redirects of one request.
pub const MOST_REDIRECTS: u32 = 10;

/// Returns whether two URLs lead to the same server over the same protocol.
pub fn same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Returns whether a status asks a client to repeat a GET elsewhere (RFC 9110, section 15.4).
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Reads where an answer leads; `from` is the URL that was asked for.
///
/// # Errors
/// If it leads nowhere, or to a place that is less safe.
pub fn target(headers: &HeaderMap, from: &Url) -> Result<Url, RedirectError> {
    let text = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or(RedirectError::NoLocation)?;
    let shown = || redacted_url(text);
    let to = from
        .join(text)
        .map_err(|_| RedirectError::NotUrl(shown()))?;
    match (from.scheme(), to.scheme()) {
        ("https", "http") => Err(RedirectError::Unprotected(shown())),
        (_, "http" | "https") => Ok(to),
        _ => Err(RedirectError::NotHttp(shown())),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        let home = url("https://a.example");
        assert!(same_server(&url("https://a.example:443/x"), &home));
        for other in [
            "http://a.example/",
            "https://a.example:444/",
            "https://b.example/",
            "https://a.example.b.example/",
        ] {
            assert!(!same_server(&url(other), &home), "{other}");
        }
    }

    #[test]
    fn a_redirect_is_never_less_safe() {
        let to = |location: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            target(&headers, &url("https://a.example/x/y"))
        };
        assert_eq!(to("../z").unwrap(), url("https://a.example/z"));
        assert_eq!(to("//b.example/").unwrap(), url("https://b.example/"));
        for bad in [
            "http://a.example/",
            "file:///etc/passwd",
            "https://",
            "ftp://b",
        ] {
            assert!(to(bad).is_err(), "{bad}");
        }
        let secret = to("http://u:hush@b.example/?sig=hush")
            .unwrap_err()
            .to_string();
        assert!(!secret.contains("hush"), "{secret}");
        assert!(target(&HeaderMap::new(), &url("http://a/")).is_err());
        let plain = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("https://b/"))]);
        assert!(target(&plain, &url("http://a/")).is_ok());
    }
}
