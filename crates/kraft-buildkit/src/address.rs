//! Where a BuildKit is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a BuildKit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix://PATH`: the socket of a buildkitd.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`: a buildkitd elsewhere.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The files of its TLS; without them nothing is encrypted.
        tls: Option<TlsFiles>,
    },
    /// `docker://PATH`: the socket of a Docker engine, in which a BuildKit is built.
    Docker(PathBuf),
    /// `docker-container://NAME`, `podman-container://NAME`: a buildkitd in a container, reached
    /// through the program of the engine.
    Container {
        /// `docker` or `podman`.
        program: &'static str,
        /// The container.
        name: String,
    },
    /// `ssh://[USER@]HOST`: a buildkitd on another computer, reached through `ssh`.
    Ssh(String),
}

/// A directory as `buildctl --tlsdir` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that the daemon's certificate must be of: `ca.pem`.
    pub authorities: PathBuf,
    /// Our certificate and its key: `cert.pem`, `key.pem`.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// The scheme is none of ours.
    #[error(
        "`{0}` is no address of a BuildKit: it begins with `unix://`, `tcp://`, `docker://`, \
         `docker-container://`, `podman-container://` or `ssh://`"
    )]
    Scheme(String),
    /// What follows the scheme is not what it needs.
    #[error("`{address}` is no address of a BuildKit: {needs}")]
    Rest {
        /// What was given.
        address: String,
        /// What is missing.
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
            let tame = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let begins = rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            if begins && rest.chars().all(tame) {
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
                let port = port.parse().map_err(|_| wrong("the port is no number"))?;
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
    fn addresses_are_read_and_written_back() {
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
    fn what_is_no_address_is_refused() {
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
