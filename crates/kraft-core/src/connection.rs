//! Causes of connection failures, with hints for users.
//!
//! Registries, downloads, Git and the cloud report failures as text from their libraries and from
//! the system. Recognising the cause in that text gives the same hint everywhere.
//!
//! ```
//! use kraft_core::connection::{Cause, hint};
//!
//! let text = "tcp connect error: Connection refused (os error 111)";
//! assert_eq!(Cause::of(text), Some(Cause::Refused));
//! assert!(hint(text).is_some());
//! assert_eq!(hint("the image has no kernel"), None);
//! ```

/// The cause of a connection failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name of the host cannot be resolved.
    Name,
    /// No server listens at the port.
    Refused,
    /// There is no route to the host.
    Route,
    /// The certificate is not trusted.
    Certificate,
    /// The other side does not speak TLS as expected.
    Tls,
    /// The proxy refuses, or cannot be used.
    Proxy,
    /// Nothing came in time.
    Timeout,
    /// The other side closed the connection.
    Closed,
}

/// Texts by which each cause is recognised, in lower case; the first match wins.
const WORDS: [(Cause, &[&str]); 8] = [
    (
        Cause::Name,
        &[
            "dns error",
            "failed to lookup address",
            "name or service not known",
            "name resolution",
            "name does not resolve",
            "no address associated with hostname",
            "could not resolve host",
        ],
    ),
    (
        Cause::Refused,
        &["connection refused", "couldn't connect to server"],
    ),
    (
        Cause::Route,
        &[
            "network is unreachable",
            "no route to host",
            "host is unreachable",
        ],
    ),
    (
        Cause::Timeout,
        &[
            "timed out",
            "timeout",
            "silent for",
            "no answer for",
            "deadline has elapsed",
        ],
    ),
    (
        Cause::Closed,
        &[
            "connection reset",
            "broken pipe",
            "connection closed",
            "unexpected eof",
            "early eof",
            "incompletemessage",
        ],
    ),
    (Cause::Proxy, &["proxy", "tunnel"]),
    (
        Cause::Certificate,
        &["certificate", "unknownissuer", "unknown issuer"],
    ),
    (
        Cause::Tls,
        &[
            "tls",
            "ssl",
            "handshake",
            "corrupt message",
            "invalidcontenttype",
        ],
    ),
];

impl Cause {
    /// Returns the cause found in an error text; `None` if it is not a connection failure.
    pub fn of(text: &str) -> Option<Self> {
        // URLs are ignored: their paths could contain such texts.
        let words = text.split_whitespace().filter(|word| !word.contains("://"));
        let text = words.collect::<Vec<_>>().join(" ").to_lowercase();
        let found = WORDS
            .iter()
            .find(|(_, words)| words.iter().any(|word| text.contains(word)));
        found.map(|(cause, _)| *cause)
    }

    /// Returns a hint for the user.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Name => {
                "check the spelling of the host name, the network and the DNS settings; behind a proxy, \
                 set `HTTPS_PROXY`"
            }
            Self::Refused => {
                "no server listens there: check the host name, the port and whether the server is running"
            }
            Self::Route => "check the network and the routes of this host; is it offline?",
            Self::Certificate => {
                "trust its issuer with `--ca-file FILE`; a wrong clock or a proxy in between can also be \
                 the cause"
            }
            Self::Tls => {
                "check the port: the server may not speak TLS there, or a proxy in between answers instead"
            }
            Self::Proxy => "check `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`",
            Self::Timeout => {
                "check the network, firewalls and the proxy settings; `--http-timeout SECONDS` waits longer"
            }
            Self::Closed => {
                "try again; if it happens again, check proxies and firewalls in between"
            }
        }
    }
}

/// Returns a hint for an error text; `None` if it is not a connection failure.
pub fn hint(text: &str) -> Option<&'static str> {
    Cause::of(text).map(Cause::hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_recognised_in_messages_of_every_library() {
        for (text, cause) in [
            (
                "failed to lookup address information: Name or service not known",
                Cause::Name,
            ),
            (
                "dns error: Temporary failure in name resolution",
                Cause::Name,
            ),
            (
                "unable to access 'https://x/': Could not resolve host: x",
                Cause::Name,
            ),
            (
                "ssh: Could not resolve hostname x: Name or service not known",
                Cause::Name,
            ),
            (
                "tcp connect error: Connection refused (os error 111)",
                Cause::Refused,
            ),
            (
                "connect to host x port 22: Connection refused",
                Cause::Refused,
            ),
            (
                "Failed to connect to x port 443 after 0 ms: Couldn't connect to server",
                Cause::Refused,
            ),
            ("Network is unreachable (os error 101)", Cause::Route),
            (
                "invalid peer certificate: UnknownIssuer",
                Cause::Certificate,
            ),
            (
                "SSL certificate problem: self-signed certificate",
                Cause::Certificate,
            ),
            (
                "received corrupt message of type InvalidContentType",
                Cause::Tls,
            ),
            (
                "gnutls_handshake() failed: An unexpected TLS packet was received.",
                Cause::Tls,
            ),
            ("unsuccessful tunnel", Cause::Proxy),
            ("Could not resolve proxy: x", Cause::Proxy),
            ("it was silent for 30 seconds", Cause::Timeout),
            ("operation timed out", Cause::Timeout),
            (
                "Failed to connect to x port 443: Connection timed out",
                Cause::Timeout,
            ),
            ("Connection reset by peer (os error 104)", Cause::Closed),
        ] {
            assert_eq!(Cause::of(text), Some(cause), "{text}");
            assert!(hint(text).is_some_and(|hint| hint.len() > 20));
        }
        for text in [
            "the server says 500",
            "repository 'https://x/tls-proxy.git/' not found",
            "",
        ] {
            assert_eq!(hint(text), None, "{text}");
        }
    }
}
