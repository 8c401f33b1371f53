//! Addresses of BuildKit daemons.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Address of a BuildKit daemon.
///
/// ```
/// use kraft_buildkit::Address;
///
/// let address: Address = "tcp://builder:1234".parse()?;
/// assert_eq!(address.to_string(), "tcp://builder:1234");
/// assert!("http://builder".parse::<Address>().is_err());
/// # Ok::<(), kraft_buildkit::BadAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix://PATH`: the socket of a buildkitd.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`: a buildkitd on another host.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Files for TLS; without them the connection is not encrypted.
        tls: Option<TlsFiles>,
    },
    /// `docker://PATH`: the socket of a Docker engine, which contains a BuildKit.
    Docker(PathBuf),
    /// `docker-container://NAME`, `podman-container://NAME`: a buildkitd in a container, reached
    /// through the program of the engine.
    Container {
        /// `docker` or `podman`.
        program: &'static str,
        /// The container.
        name: String,
    },
    /// `ssh://[USER@]HOST`: a buildkitd on another host, reached through `ssh`.
    Ssh(String),
}

/// Files for TLS, named as by `buildctl --tlsdir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that sign the daemon's certificate: `ca.pem`.
    pub authorities: PathBuf,
    /// The client's certificate and its key: `cert.pem`, `key.pem`.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Error in an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// The scheme is unknown.
    #[error(
        "`{0}` is not a valid address of a BuildKit: expected `unix://`, `tcp://`, `docker://`, \
         `docker-container://`, `podman-container://` or `ssh://`"
    )]
    Scheme(String),
    /// The part after the scheme is invalid.
    #[error("`{address}` is not a valid address of a BuildKit: {needs}")]
    Rest {
        /// The address.
        address: String,
        /// What the scheme needs.
        needs: &'static str,
    },
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let wrong = |needs| BadAddress::Rest {
            address: text.to_owned(),
            needs,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(BadAddress::Scheme(text.to_owned()));
        };
        let rest = rest.trim_end_matches('/');
        let path = || {
            if rest.starts_with('/') {
                Ok(PathBuf::from(rest))
            } else {
                Err(wrong("an absolute path must follow"))
            }
        };
        let container = |program| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let begins = rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            if begins && rest.chars().all(allowed) {
                Ok(Self::Container {
                    program,
                    name: rest.to_owned(),
                })
            } else {
                Err(wrong("the name of a container must follow"))
            }
        };
        match scheme {
            "unix" => path().map(Self::Unix),
            "docker" => path().map(Self::Docker),
            "docker-container" => container("docker"),
            "podman-container" => container("podman"),
            "tcp" => {
                let (host, port) = rest
                    .rsplit_once(':')
                    .ok_or_else(|| wrong("a host and a port must follow"))?;
                let port = port
                    .parse()
                    .map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                if host.is_empty() {
                    return Err(wrong("the host is missing"));
                }
                Ok(Self::Tcp {
                    host: host.to_owned(),
                    port,
                    tls: None,
                })
            }
            "ssh" if rest.is_empty() || rest.starts_with('-') => Err(wrong("a host must follow")),
            "ssh" => Ok(Self::Ssh(rest.to_owned())),
            _ => Err(BadAddress::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Docker(path) => write!(f, "docker://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => {
                write!(f, "tcp://[{host}]:{port}")
            }
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Self::Container { program, name } => write!(f, "{program}-container://{name}"),
            Self::Ssh(host) => write!(f, "ssh://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_displayed() {
        for text in [
            "unix:///run/buildkit/buildkitd.sock",
            "tcp://127.0.0.1:1234",
            "tcp://[::1]:1234",
            "docker:///var/run/docker.sock",
            "docker-container://buildkitd",
            "podman-container://b",
            "ssh://me@there",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in [
            "",
            "buildkitd.sock",
            "unix://relative",
            "tcp://host",
            "tcp://:1",
            "tcp://h:x",
            "http://x",
            "docker-container://",
            "docker-container://-v",
            "ssh://-oProxyCommand=x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
