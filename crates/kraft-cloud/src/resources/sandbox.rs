//! Commands inside an instance, by its plugin `sandbox`.
//!
//! The platform passes on requests below `/instances/UUID/plugins/NAME` to the plugin.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::request::Request;

/// Maximum number of bytes of an output in one response.
const LONGEST_OUTPUT: u32 = 1 << 20;

/// Plugin of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// UUID of the instance.
    pub instance: String,
    /// Name of the plugin: `sandbox`, unless it was attached under another one.
    pub plugin: String,
}

/// Command to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Program and its arguments; no shell interprets them.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Working directory; if `None`, that of the plugin.
    pub cwd: Option<String>,
}

/// State of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Running {
    /// UUID of the command.
    pub uuid: String,
    /// Exit code, or minus the number of the signal that ended it; `None` while it runs.
    pub exitcode: Option<i64>,
}

/// Part of the output of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Output {
    /// Part of its stdout, in base64.
    pub stdout: String,
    /// Part of its stderr, in base64.
    pub stderr: String,
    /// Number of bytes of its stdout so far.
    pub stdout_available: Option<usize>,
    /// Number of bytes of its stderr so far.
    pub stderr_available: Option<usize>,
}

impl Output {
    /// Returns the decoded parts of stdout and stderr, or `None` if one is not valid base64.
    pub fn bytes(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let stdout = STANDARD.decode(&self.stdout).ok()?;
        Some((stdout, STANDARD.decode(&self.stderr).ok()?))
    }

    /// Returns whether there is output up to these offsets; if not, the parts are not those that were
    /// requested.
    pub fn reaches(&self, (stdout, stderr): (usize, usize)) -> bool {
        let has =
            |available: Option<usize>, end| available.is_none_or(|available| end <= available);
        has(self.stdout_available, stdout) && has(self.stderr_available, stderr)
    }
}

impl Sandbox {
    fn ask<T>(&self, method: Method, rest: &[&str], doing: &str) -> Request<T> {
        let mut path = vec![
            "instances",
            &self.instance,
            "plugins",
            &self.plugin,
            "commands",
        ];
        path.extend(rest);
        Request::new(method, &path, doing)
    }

    /// Starts a command.
    pub fn start(&self, command: &Command) -> Request<Running> {
        let mut body = Map::new();
        body.insert("cmd".to_owned(), json!(command.args));
        if !command.env.is_empty() {
            body.insert("env".to_owned(), json!(command.env));
        }
        if let Some(cwd) = &command.cwd {
            body.insert("cwd".to_owned(), json!(cwd));
        }
        let doing = format!("start a command with the plugin `{}`", self.plugin);
        self.ask(Method::POST, &[], &doing)
            .with(Value::Object(body))
    }

    /// Gets the state of a command.
    pub fn get(&self, uuid: &str) -> Request<Running> {
        self.ask(Method::GET, &[uuid], "get the state of the command")
    }

    /// Gets parts of the output of a command, from these offsets on.
    pub fn output(&self, uuid: &str, (stdout, stderr): (usize, usize)) -> Request<Output> {
        let part = |offset| json!({"offset": offset, "limit": LONGEST_OUTPUT});
        let request = self.ask(
            Method::GET,
            &[uuid, "logs"],
            "get the output of the command",
        );
        request.with(json!({"stdout": part(stdout), "stderr": part(stderr)}))
    }

    /// Sends bytes to the stdin of a command, and closes it if there are none.
    pub fn input(&self, uuid: &str, bytes: &[u8]) -> Request<Value> {
        let body = json!({"data": STANDARD.encode(bytes), "eof": bytes.is_empty()});
        self.ask(Method::POST, &[uuid, "stdin"], "send input to the command")
            .with(body)
    }

    /// Sends a signal, such as `INT`, to a command.
    pub fn signal(&self, uuid: &str, signal: &str) -> Request<Value> {
        self.ask(
            Method::POST,
            &[uuid, "signal"],
            "send a signal to the command",
        )
        .with(json!({"signal": signal}))
    }

    /// Removes the record of a command that has ended.
    pub fn forget(&self, uuid: &str) -> Request<Value> {
        self.ask(Method::DELETE, &[uuid], "remove the record of the command")
    }
}
