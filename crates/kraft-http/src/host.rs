//! Names of servers, and which of them are this host.

use std::net::IpAddr;

use reqwest::Url;

/// Returns `HOST[:PORT]` of a URL; a port that the scheme implies is left out.
///
/// ```
/// use kraft_http::{Url, authority, host_of_authority, is_loopback};
///
/// let url: Url = "https://example.com:443/v2/".parse()?;
/// assert_eq!(authority(&url), "example.com");
/// assert_eq!(host_of_authority("[::1]:5000"), "::1");
/// assert!(is_loopback("localhost") && !is_loopback("example.com"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns the host of `HOST[:PORT]`, an IPv6 address without its brackets.
pub fn host_of_authority(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// Returns whether a host is this one. No proxy is asked for it, and TLS is not needed.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_recognised() {
        for here in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "localhost.example",
            "10.0.0.1",
            "127.0.0.1.nip.io",
            "unikraft.org",
            "",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for (authority, host) in [
            ("[::1]:5000", "::1"),
            ("[::1]", "::1"),
            ("a.example:443", "a.example"),
            ("a.example", "a.example"),
            ("", ""),
        ] {
            assert_eq!(host_of_authority(authority), host, "{authority}");
        }
        let of = |url: &str| authority(&Url::parse(url).unwrap());
        assert_eq!(of("https://u:p@a.example:443/x"), "a.example");
        assert_eq!(of("http://[::1]:5000/"), "[::1]:5000");
    }
}
