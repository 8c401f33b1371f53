//! The administration of the platform's own registry, which is a Harbor: how much an account keeps
//! there, and may (Harbor API v2.0, `/projects/{name}/summary`).

use std::time::Duration;

use reqwest::{Client as Http, redirect};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::answer::shown;
use crate::token::Token;

/// Where it is.
const HOST: &str = "harbor.unikraft.io";
/// It is only asked for a figure, so that nobody waits for it long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is kept, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// In use.
    pub used: i64,
    /// At most; less than nothing if there is no limit.
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

/// Asks how much the account of a token keeps in the platform's registry.
pub async fn storage(token: &Token, user_agent: &str) -> Result<Storage, Error> {
    let broken = |why: String| Error::Unreachable {
        host: HOST.to_owned(),
        doing: "get the storage of images".to_owned(),
        why: shown(&why),
        sent: false,
    };
    let http = Http::builder()
        .user_agent(user_agent)
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| broken(error.to_string()))?;
    let url = format!(
        "https://{HOST}/api/v2.0/projects/{}/summary",
        token.account()
    );
    let asked = http
        .get(url)
        .basic_auth(token.user(), Some(token.secret()))
        .send()
        .await;
    let answer = asked.map_err(|error| broken(error.without_url().to_string()))?;
    if !answer.status().is_success() {
        return Err(broken(format!("it answers {}", answer.status())));
    }
    let text = answer
        .text()
        .await
        .map_err(|error| broken(error.to_string()))?;
    read(&text).map_err(broken)
}

fn read(text: &str) -> Result<Storage, String> {
    let summary: Summary = serde_json::from_str(text).map_err(|error| error.to_string())?;
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
            read(text),
            Ok(Storage {
                used: 10,
                hard: 1000
            })
        );
        assert!(read("{}").is_err());
    }
}
