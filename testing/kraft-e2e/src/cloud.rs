//! A cloud of one's own: the emulator, a token for it, and a plain client beside the one under test.

use std::cell::Cell;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use kraft_cloud_emulator::{Dialect, Emulator, Settings};
use serde_json::Value;

use crate::harness::{Bench, Outcome, kraft_binary, repository};
use crate::http;
use crate::limit::Limit;
use crate::registry::Registry;

/// `tester:secret` as a token: base64 of the pair.
pub const TOKEN: &str = "dGVzdGVyOnNlY3JldA==";

/// The variable that selects the description of the API for a run of the whole suite: `2024` or
/// `2026`.
const DIALECT: &str = "KRAFT_CLOUD_DIALECT";

thread_local! {
    static CURRENT: Cell<Option<Dialect>> = const { Cell::new(None) };
}

/// Returns the description that the clouds of this thread speak.
pub fn dialect() -> Dialect {
    let selected = std::env::var(DIALECT).ok();
    let selected = selected.and_then(|year| Dialect::of(&year));
    CURRENT.get().or(selected).unwrap_or_default()
}

/// Runs a test against both descriptions of the API at once, or against the one that
/// `KRAFT_CLOUD_DIALECT` selects.
///
/// # Panics
/// If the test fails in one of them.
pub fn in_both(test: impl Fn() + Sync) {
    if std::env::var_os(DIALECT).is_some() {
        return test();
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    std::thread::scope(|scope| {
        for dialect in [Dialect::V2024, Dialect::V2026] {
            let test = &test;
            let run = move || {
                CURRENT.set(Some(dialect));
                test();
            };
            // The name is printed when the test fails.
            let builder = std::thread::Builder::new().name(format!("{name} ({dialect:?})"));
            let _ = builder.spawn_scoped(scope, run).unwrap();
        }
    });
}

/// An emulator for one test.
#[derive(Debug)]
pub struct Cloud {
    emulator: Emulator,
    registry: Option<String>,
    _limit: Limit,
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
        settings.dialect = dialect();
        Self::start(settings)
    }

    /// Starts one that speaks the description of 2024.
    pub fn former() -> Self {
        let mut settings = Settings {
            dialect: Dialect::V2024,
            ..Settings::default()
        };
        settings.tokens.clear();
        Self::start(settings)
    }

    /// Starts one that speaks today's description of the API; [`TOKEN`] is added.
    pub fn today(mut settings: Settings) -> Self {
        settings.dialect = Dialect::V2026;
        Self::start(settings)
    }

    fn start(mut settings: Settings) -> Self {
        settings.tokens.push(TOKEN.to_owned());
        let any = "127.0.0.1:0".parse().unwrap();
        let emulator = Emulator::start(any, settings).unwrap();
        Self {
            emulator,
            registry: None,
            _limit: Limit::new(),
        }
    }

    /// Starts one whose instances are real machines of `bench`, from the images of `registry`.
    ///
    /// # Panics
    /// If this host has no free port.
    pub fn real(bench: &Bench, registry: &Registry) -> Self {
        let command = bench.command([""; 0]);
        let env = command.get_envs();
        let mut cloud = Self::with(Settings {
            kraft: Some(kraft_binary().to_owned()),
            kraft_env: env
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect(),
            registry: Some(registry.address().parse().unwrap()),
            ..Settings::default()
        });
        cloud.registry = Some(registry.address());
        cloud
    }

    /// Prepares a `kraft` of a bench that speaks to this cloud.
    pub fn command(&self, bench: &Bench, args: &[&str]) -> Command {
        let mut command = bench.command(args);
        command
            .env("UKC_METRO", self.metro())
            .env("UKC_TOKEN", TOKEN);
        if let Some(registry) = &self.registry {
            command.env("UKC_REGISTRY", registry);
        }
        command
    }

    /// Prepares a `kraft` as [`command`](Self::command) does, which reaches what is published by
    /// its names.
    ///
    /// # Panics
    /// If the emulator has no authority.
    pub fn visitor(&self, bench: &Bench, args: &[&str]) -> Command {
        let mut command = self.command(bench, args);
        let door = format!("http://{}", self.emulator.address());
        command
            .env("HTTP_PROXY", &door)
            .env("HTTPS_PROXY", &door)
            .env("NO_PROXY", "127.0.0.1")
            .env("KRAFTKIT_CA_FILE", self.ca(bench));
        command
    }

    /// Writes what clients of published names are to trust below a bench.
    ///
    /// # Panics
    /// If the emulator has no authority.
    pub fn ca(&self, bench: &Bench) -> PathBuf {
        let path = bench.path().join("cloud-ca.pem");
        let ca = self.door("GET ca", &Value::Null);
        std::fs::write(&path, ca["pem"].as_str().unwrap()).unwrap();
        path
    }

    /// Asks for an address by a published name: `https://NAME/PATH`. Returns the body, a line with
    /// the status and where a redirection points to, and what `curl` complains about.
    ///
    /// # Panics
    /// If `curl` cannot be started.
    pub fn curl(&self, bench: &Bench, url: &str) -> String {
        let outcome = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--proxy"])
            .arg(format!("http://{}", self.emulator.address()))
            .arg("--cacert")
            .arg(self.ca(bench))
            .args(["--write-out", "\n%{http_code} %{redirect_url}", url])
            .output()
            .unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&outcome.stdout),
            String::from_utf8_lossy(&outcome.stderr)
        )
    }

    /// Runs a `kraft` of a bench against this cloud to its end.
    pub fn kraft(&self, bench: &Bench, args: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(bench, args))
    }

    /// Where a public port is reached; of several groups that publish it, the first one's.
    ///
    /// # Panics
    /// If nothing is published there.
    pub fn published(&self, port: u16) -> SocketAddr {
        let all = self.door("GET addresses", &Value::Null);
        let mut all = all.as_array().unwrap().iter();
        let found = all.find(|one| one["port"] == port).unwrap();
        found["address"].as_str().unwrap().parse().unwrap()
    }

    /// What `--metro` takes.
    pub fn metro(&self) -> String {
        self.emulator.endpoint()
    }

    /// Asks the API one thing, `POST /instances`, with [`TOKEN`]; returns status and answer. It is
    /// asked in the form of 2024, whatever commands speak.
    ///
    /// # Panics
    /// If the answer is not JSON.
    pub fn ask(&self, what: &str, body: &Value) -> (u16, Value) {
        let (method, path) = what.split_once(' ').unwrap();
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("X-Emulator-Dialect", "2024"),
        ];
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

    /// What was asked and answered so far, without requests in a form that this cloud does not
    /// know: a command repeats them in another form.
    ///
    /// # Panics
    /// If the emulator is gone.
    pub fn journal(&self) -> Vec<Value> {
        let journal = self.door("GET requests", &Value::Null);
        let mut journal = journal.as_array().unwrap().clone();
        journal.retain(|entry| {
            let refused = [400, 404, 405]
                .iter()
                .any(|status| entry["status"] == *status);
            !refused || !entry["fault"].is_null()
        });
        journal
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
        // Third-party data without a set-up step: if missing, it is never a failure.
        eprintln!("SKIPPED: KRAFT_CLOUD_OPENAPI names no description of the cloud's API");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}
