//! A cloud of one's own: the emulator, a token for it, and a plain client beside the one under test.

use std::net::TcpStream;
use std::path::PathBuf;

use kraft_cloud_emulator::{Emulator, Settings};
use serde_json::Value;

use crate::harness::{repository, skip};
use crate::http;

/// `tester:secret` as a token: base64 of the pair.
pub const TOKEN: &str = "dGVzdGVyOnNlY3JldA==";

/// An emulator for one test.
#[derive(Debug)]
pub struct Cloud {
    emulator: Emulator,
}

impl Default for Cloud {
    fn default() -> Self {
        Self::new()
    }
}

impl Cloud {
    /// Starts one that knows [`TOKEN`].
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Starts one with settings; [`TOKEN`] is added.
    ///
    /// # Panics
    /// If this host has no free port.
    pub fn with(mut settings: Settings) -> Self {
        settings.tokens.push(TOKEN.to_owned());
        let any = "127.0.0.1:0".parse().unwrap();
        let emulator = Emulator::start(any, settings).unwrap();
        Self { emulator }
    }

    /// What `--metro` takes.
    pub fn metro(&self) -> String {
        self.emulator.endpoint()
    }

    /// Asks the API one thing, `POST /instances`, with [`TOKEN`]; returns status and answer.
    ///
    /// # Panics
    /// If the answer is not JSON.
    pub fn ask(&self, what: &str, body: &Value) -> (u16, Value) {
        let (method, path) = what.split_once(' ').unwrap();
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", bearer.as_str())];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let connection = TcpStream::connect(self.emulator.address()).unwrap();
        let what = format!("{method} /v1{path}");
        let answer = http::ask(connection, &what, &headers, body.as_bytes());
        let value = serde_json::from_slice(&answer.body);
        (
            answer.status,
            value.unwrap_or_else(|e| panic!("{what}: {e}")),
        )
    }

    /// As [`ask`](Self::ask), of what must succeed; returns the items of the one collection.
    ///
    /// # Panics
    /// If it fails.
    pub fn ok(&self, what: &str, body: &Value) -> Vec<Value> {
        let (status, answer) = self.ask(what, body);
        assert_eq!(
            (status, &answer["status"]),
            (200, &"success".into()),
            "{what}: {answer}"
        );
        let data = answer["data"].as_object().unwrap();
        assert_eq!(data.len(), 1, "{answer}");
        data.values().next().unwrap().as_array().unwrap().clone()
    }

    /// Goes through the emulator's own door, `POST faults`.
    ///
    /// # Panics
    /// If the emulator makes nothing of it.
    pub fn door(&self, what: &str, body: &Value) -> Value {
        let (method, path) = what.split_once(' ').unwrap();
        let connection = TcpStream::connect(self.emulator.address()).unwrap();
        let what = format!("{method} /_emulator/{path}");
        let answer = http::ask(connection, &what, &[], body.to_string().as_bytes());
        serde_json::from_slice(&answer.expect(&[200]).body).unwrap()
    }

    /// What was asked and answered so far.
    ///
    /// # Panics
    /// If the emulator is gone.
    pub fn journal(&self) -> Vec<Value> {
        let journal = self.door("GET requests", &Value::Null);
        journal.as_array().unwrap().clone()
    }
}

/// The platform's own description: `KRAFT_CLOUD_OPENAPI`, else beside the repository; `None`, and a
/// word of why, if it is nowhere.
///
/// # Panics
/// If it is there and not JSON.
pub fn description() -> Option<Value> {
    let path = std::env::var_os("KRAFT_CLOUD_OPENAPI").map_or_else(
        || repository().join("../shared/spec/unikraft-cloud-openapi.json"),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(&path) else {
        skip("no description of the cloud's API: set KRAFT_CLOUD_OPENAPI to the file");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}
