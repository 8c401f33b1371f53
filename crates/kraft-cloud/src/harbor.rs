//! Storage usage and quota of an account in the platform's registry, which is a Harbor instance
//! (Harbor API v2.0, `/projects/{name}/summary`).
//!
//! ```no_run
//! use kraft_cloud::harbor::storage;
//! use kraft_cloud::token::Token;
//! use kraft_http::Policy;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Token::parse(&std::env::var("UKC_TOKEN")?)?;
//! let storage = storage(&token, &Policy::new("example")).await?;
//! println!("{} of {} bytes", storage.used, storage.hard);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use kraft_http::{Policy, TransferError, read_body, send};
use serde::{Deserialize, Serialize};

use crate::error::{AnswerError, ConnectionError, Error};
use crate::token::Token;

/// Host of the registry's API.
const HOST: &str = "harbor.unikraft.io";
/// The operation, phrased to follow "cannot".
const DOING: &str = "get the storage of images";
/// Timeout for a request. It is short because the result is only informative.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum size of a response body, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// Storage of an account in the registry, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Bytes in use.
    pub used: i64,
    /// Quota; negative if there is no limit.
    pub hard: i64,
}

#[derive(Deserialize)]
struct Summary {
    quota: Quota,
}

#[derive(Deserialize)]
struct Quota {
    #[serde(default)]
    used: Amount,
    #[serde(default)]
    hard: Amount,
}

#[derive(Default, Deserialize)]
struct Amount {
    #[serde(default)]
    storage: i64,
}

/// Gets the storage usage of the token's account in the platform's registry.
pub async fn storage(token: &Token, policy: &Policy) -> Result<Storage, Error> {
    let broken = |source: ConnectionError| Error::Unreachable {
        host: HOST.to_owned(),
        doing: DOING.to_owned(),
        source: Box::new(source),
        sent: false,
    };
    let clients = crate::client::clients(policy.clone());
    let clients = clients.map_err(|error| Error::client(HOST, error))?;
    let client = clients.get(HOST);
    let account = token.account();
    let request = client
        .map_err(|error| Error::client(HOST, error))?
        .get(format!(
            "https://{HOST}/api/v2.0/projects/{account}/summary"
        ))
        .timeout(PATIENCE)
        .basic_auth(token.user(), Some(token.secret()));
    let asked = send(request, 1).await;
    let answer = asked.map_err(|error| broken(TransferError::of(&error, PATIENCE).into()))?;
    if !answer.status().is_success() {
        return Err(broken(ConnectionError::Status(answer.status())));
    }
    let body = read_body(answer, LARGEST_ANSWER, PATIENCE).await;
    let body = body.map_err(|error| broken(error.into()))?;
    read(&body).map_err(|source| Error::Nonsense {
        host: HOST.to_owned(),
        doing: DOING.to_owned(),
        source,
    })
}

fn read(body: &[u8]) -> Result<Storage, AnswerError> {
    let summary: Summary = serde_json::from_slice(body)?;
    Ok(Storage {
        used: summary.quota.used.storage,
        hard: summary.quota.hard.storage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_stands_in_the_summary() {
        let text = r#"{"repo_count":2,"quota":{"hard":{"storage":1000},"used":{"storage":10}}}"#;
        assert_eq!(
            read(text.as_bytes()).unwrap(),
            Storage {
                used: 10,
                hard: 1000
            }
        );
        assert!(read(b"{}").is_err());
    }
}
