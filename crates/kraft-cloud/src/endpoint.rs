//! Metros (regions of the platform) and their API endpoints.
//!
//! ```
//! use kraft_cloud::endpoint::{Endpoint, METROS};
//!
//! let endpoint = Endpoint::of(METROS[0].code)?;
//! assert_eq!(endpoint.metro(), METROS[0].code);
//! assert_eq!(endpoint.base().scheme(), "https");
//! assert!(Endpoint::of("fra0/../x").is_err());
//! # Ok::<(), kraft_cloud::endpoint::EndpointError>(())
//! ```

use std::fmt;

use kraft_http::{Url, is_loopback};

/// Region of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metro {
    /// Code, such as `fra0`.
    pub code: &'static str,
    /// City and country or state.
    pub location: &'static str,
}

/// Control plane of the public platform.
pub const CONTROL_PLANE: &str = "https://controlplane.unikraft.cloud/v1";
/// Build service of the public platform.
pub const BUILDS: &str = "https://build.unikraft.cloud/v1";

/// Public metros, where the control plane cannot be asked.
pub const METROS: &[Metro] = &[
    Metro {
        code: "fra0",
        location: "Frankfurt, DE",
    },
    Metro {
        code: "dal0",
        location: "Dallas, TX",
    },
    Metro {
        code: "sin0",
        location: "Singapore",
    },
    Metro {
        code: "was1",
        location: "Washington, DC",
    },
];

impl Metro {
    /// Returns the host name of the metro's proxy.
    pub fn host(&self) -> String {
        format!("{}.kraft.host", self.code)
    }
}

/// API endpoint of a metro: a base URL that ends with the version of the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: Url,
    metro: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.base)
    }
}

/// Error from parsing a metro.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The input is neither a code nor a URL.
    #[error("`{0}` is not a valid metro: expected a code such as `fra0`, or a URL")]
    Name(String),
    /// The URL cannot be used.
    #[error("the metro's URL cannot be used: {0}")]
    Url(&'static str),
    /// The URL is plain HTTP to a host that is not local, which would send the token unencrypted.
    #[error("`{0}` needs TLS: plain HTTP is allowed for loopback addresses only")]
    Plain(String),
}

impl Endpoint {
    /// Returns the endpoint of a metro, given by its code or a URL.
    ///
    /// A code that ends with a digit, such as `fra0`, is at `https://api.METRO.kraft.cloud/v1`, any
    /// other, such as `fra`, at `https://api.METRO.unikraft.cloud/v1` (the platform renamed both).
    /// `/v1` is added to a URL without a path.
    pub fn of(metro: &str) -> Result<Self, EndpointError> {
        let metro = metro.trim();
        let text = if metro.contains("://") {
            metro.to_owned()
        } else {
            let named = !metro.is_empty()
                && metro.len() <= 63
                && metro
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !named {
                return Err(EndpointError::Name(metro.chars().take(80).collect()));
            }
            let domain = if metro.ends_with(|last: char| last.is_ascii_digit()) {
                "kraft.cloud"
            } else {
                "unikraft.cloud"
            };
            format!("https://api.{metro}.{domain}/v1")
        };
        let mut base = Url::parse(&text).map_err(|_| EndpointError::Url("it is not a URL"))?;
        let host = base.host_str().unwrap_or_default().to_owned();
        match base.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => return Err(EndpointError::Plain(host)),
            _ => return Err(EndpointError::Url("it is neither `https` nor `http`")),
        }
        if host.is_empty() {
            return Err(EndpointError::Url("it has no host"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(EndpointError::Url("credentials do not belong into it"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(if path.is_empty() { "/v1" } else { &path });
        Ok(Self {
            base,
            metro: metro.to_owned(),
        })
    }

    /// Sets the name of the metro, where the platform gave its URL.
    #[must_use]
    pub fn named(mut self, metro: &str) -> Self {
        metro.clone_into(&mut self.metro);
        self
    }

    /// Returns the metro as given: its code or URL.
    pub fn metro(&self) -> &str {
        &self.metro
    }

    /// Returns the base URL, without a trailing slash.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the host, for messages.
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metro_is_a_code_or_a_url() {
        let at = |metro: &str| Endpoint::of(metro).unwrap().base().to_string();
        assert_eq!(at("fra0"), "https://api.fra0.kraft.cloud/v1");
        assert_eq!(at("sfo"), "https://api.sfo.unikraft.cloud/v1");
        assert_eq!(at("http://127.0.0.1:8080/v1/"), "http://127.0.0.1:8080/v1");
        assert_eq!(
            at("https://api.fra.unikraft.cloud"),
            "https://api.fra.unikraft.cloud/v1"
        );
    }

    #[test]
    fn a_metro_takes_no_token_where_others_could_read_it() {
        assert!(matches!(
            Endpoint::of("http://example.com/v1"),
            Err(EndpointError::Plain(_))
        ));
        for odd in ["", "a.b", "a/b", "fra0@evil", "ftp://x/", "https://u:p@x/"] {
            assert!(Endpoint::of(odd).is_err(), "{odd}");
        }
    }
}
