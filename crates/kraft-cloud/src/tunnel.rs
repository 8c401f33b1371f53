//! Tunnels to ports of instances that are not published, through a helper instance.
//!
//! ```text
//! program ─► 127.0.0.1:PORT ─ kraft ─ TLS ─► helper:PROXY PORT ─► instance:PORT
//!                               └──── TLS ─► helper:CONTROL PORT   heartbeat, every minute
//! ```
//!
//! The protocol is the one of KraftKit's client (cloud description, 2.9); the platform provides the
//! image of the helper.
//!
//! ```
//! use kraft_cloud::tunnel::{Password, Way, arguments};
//!
//! let password = Password::new()?;
//! let way = Way { proxy: 4444, host: "web.internal".to_owned(), port: 80 };
//! let arguments = arguments(4443, &password, &[way]);
//! assert_eq!(arguments[0], "4443:5");
//! assert!(arguments[3].contains("web.internal:80:4444"));
//! assert!(!format!("{password:?}").contains(password.expose()));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// Image of the helper instance.
pub const IMAGE: &str = "official/utils/tunnel:1.0";
/// Heartbeat message: the emojis U+1F44B (waving hand) and U+1F412 (monkey) in UTF-8, then a zero
/// byte.
const HEARTBEAT: [u8; 9] = [0xf0, 0x9f, 0x91, 0x8b, 0xf0, 0x9f, 0x90, 0x92, 0x00];
/// Interval between two heartbeats.
const PULSE: Duration = Duration::from_mins(1);
/// Timeout for the helper's reply to a request for a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Secret shared by this client and its helper. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Generates a random password of 32 letters and digits.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub fn new() -> io::Result<Self> {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789Aa";
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let letters = bytes.iter().filter_map(|byte| {
            let letter = LETTERS.get(usize::from(byte & 63))?;
            Some(char::from(*letter))
        });
        Ok(Self(letters.collect()))
    }

    /// Returns the password in plain text, for sending.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Port forwarding from a port of the helper to a port of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Port of the helper.
    pub proxy: u16,
    /// Private IP address or private name of the instance.
    pub host: String,
    /// Port of the instance.
    pub port: u16,
}

/// Returns the command-line arguments for the helper instance.
pub fn arguments(control: u16, password: &Password, ways: &[Way]) -> Vec<String> {
    let ways: Vec<String> = ways
        .iter()
        .map(|way| format!("TCP2TCP:{}:{}:{}:27", way.host, way.port, way.proxy))
        .collect();
    vec![
        format!("{control}:5"),
        format!("5:{}", password.expose()),
        "600".to_owned(),
        format!("[{}]", ways.join("|")),
    ]
}

/// Error from the helper when it does not forward a connection.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The helper has reached its maximum number of connections.
    #[error("the helper has no room for another connection")]
    Full,
    /// The helper reported an error; the value is its negative status code.
    #[error("the helper failed with the number {0}")]
    Failed(i16),
    /// The helper did not reply: the connection failed or timed out.
    #[error("the helper does not answer")]
    Silent(#[source] io::Error),
}

/// Sends heartbeats to the helper's control port until the connection ends. Returns the error that
/// ended it.
pub async fn control(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    password: &Password,
) -> io::Error {
    let (mut from, mut to) = tokio::io::split(stream);
    let beating = async {
        let begin = [password.expose().as_bytes(), &HEARTBEAT].concat();
        if let Err(error) = to.write_all(&begin).await {
            return error;
        }
        loop {
            if let Err(error) = to.flush().await {
                return error;
            }
            sleep(PULSE).await;
            if let Err(error) = to.write_all(&HEARTBEAT).await {
                return error;
            }
        }
    };
    let listening = async {
        let mut piece = [0; 64];
        loop {
            match from.read(&mut piece).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                // The protocol defines no messages in this direction.
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        error = beating => error,
        error = listening => error,
    }
}

/// Requests that the helper forward this connection.
pub async fn enter(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    password: &Password,
) -> Result<(), Refusal> {
    let asked = async {
        stream.write_all(password.expose().as_bytes()).await?;
        stream.flush().await?;
        stream.read_i16_le().await
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0)) => Err(Refusal::Full),
        Ok(Ok(number)) => Err(Refusal::Failed(number)),
        Ok(Err(error)) => Err(Refusal::Silent(error)),
        Err(_) => Err(Refusal::Silent(io::ErrorKind::TimedOut.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_32_letters_and_is_not_shown() {
        let (one, two) = (Password::new().unwrap(), Password::new().unwrap());
        assert_eq!(one.expose().len(), 32);
        assert!(
            one.expose()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
        assert_ne!(one, two);
        assert_eq!(format!("{one:?}"), "Password");
    }

    #[test]
    fn the_helper_is_told_every_way() {
        let password = Password("x".repeat(32));
        let way = |proxy, port| Way {
            proxy,
            host: "172.16.0.2".to_owned(),
            port,
        };
        let told = arguments(4443, &password, &[way(4444, 80), way(4445, 443)]);
        let ways = "[TCP2TCP:172.16.0.2:80:4444:27|TCP2TCP:172.16.0.2:443:4445:27]";
        assert_eq!(
            told,
            ["4443:5", &format!("5:{}", "x".repeat(32)), "600", ways]
        );
    }
}
