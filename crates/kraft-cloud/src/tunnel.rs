//! The tunnel: connections to ports that are not published, by way of an instance that helps.
//!
//! ```text
//! program ─► 127.0.0.1:PORT ─ kraft ─ TLS ─► helper:PROXY PORT ─► instance:PORT
//!                               └──── TLS ─► helper:CONTROL PORT   "I am still here", every minute
//! ```
//!
//! The protocol is that of KraftKit's client (cloud description, 2.9); the helper is the platform's.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// The image of the helper.
pub const IMAGE: &str = "official/utils/tunnel:1.0";
/// What says that the client is still there: a hand that waves, a monkey, and a zero.
const HEARTBEAT: [u8; 9] = [0xf0, 0x9f, 0x91, 0x8b, 0xf0, 0x9f, 0x90, 0x92, 0x00];
/// Between two heartbeats.
const PULSE: Duration = Duration::from_mins(1);
/// How long the helper may take to say whether it leads on.
const PATIENCE: Duration = Duration::from_secs(30);

/// What only this client and its helper know; it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Makes one by chance: 32 letters and digits.
    ///
    /// # Errors
    /// If the system has no chance to give.
    pub fn new() -> io::Result<Self> {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789Aa";
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let letters = bytes.iter().filter_map(|byte| {
            let letter = LETTERS.get(usize::from(byte & 63))?;
            Some(char::from(*letter))
        });
        Ok(Self(letters.collect()))
    }

    /// Returns it, to be sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Where a port of the helper leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The port of the helper.
    pub proxy: u16,
    /// The address of the instance, or its name inside.
    pub host: String,
    /// The port of the instance.
    pub port: u16,
}

/// Returns the arguments that the helper is started with.
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

/// Why the helper does not lead on.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It leads as many connections as it can.
    #[error("the helper has no room for another connection")]
    Full,
    /// Something is wrong with it.
    #[error("the helper failed with the number {0}")]
    Failed(i16),
    /// It did not say.
    #[error("the helper does not answer: {0}")]
    Silent(io::Error),
}

/// Tells the helper for as long as it listens that this client is there. Returns why it does not any
/// more.
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
                // It has nothing to say that anybody knows of.
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

/// Asks the helper to lead a connection on.
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
