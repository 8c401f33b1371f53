//! What a bug report needs: versions, the host, settings with their origins, checks and the last
//! errors. Secrets are left out.

use std::fmt::Write as _;

use kraft_config::layers::Value;
use kraft_core::escape::escape;
use kraft_sys::command_line::redacted;
use serde::Serialize;

use super::checks;
use crate::app::App;
use crate::commands::version::{self, Build};
use kraft_engine::doctor::Check;
use kraft_engine::recent::{self, Recent};

/// A bug report, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    kraft: Build,
    host: Host,
    settings: Vec<Setting>,
    checks: Vec<Check>,
    recent_errors: Vec<Recent>,
}

/// The host.
#[derive(Debug, Serialize)]
struct Host {
    system: String,
    kernel: String,
    arch: &'static str,
    /// Virtual processors.
    cpus: usize,
}

/// A setting that is not the default.
#[derive(Debug, Serialize)]
struct Setting {
    key: String,
    value: String,
    origin: String,
}

impl Report {
    /// Gathers everything.
    pub(super) fn gather(app: &App) -> Self {
        Self {
            kraft: version::build(),
            host: host(),
            settings: settings(app),
            checks: checks::all(app),
            recent_errors: recent::read(&app.dirs),
        }
    }

    /// Returns the report as Markdown, to be pasted into an issue.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("### kraft\n\n{}\n\n### Host\n\n", self.kraft);
        let host = &self.host;
        let _ = writeln!(
            text,
            "{}, Linux {}, {}, {} processors\n",
            host.system, host.kernel, host.arch, host.cpus
        );
        text.push_str("### Settings that are not the default\n\n");
        for setting in &self.settings {
            let Setting { key, value, origin } = setting;
            let _ = writeln!(text, "- `{key}`: `{value}` ({origin})");
        }
        text.push_str("\n### Checks\n\n");
        for check in &self.checks {
            let _ = writeln!(
                text,
                "- {} {}: {}",
                super::word(check.status),
                check.name,
                check.detail
            );
        }
        text.push_str("\n### Last errors\n\n");
        for error in &self.recent_errors {
            let Recent {
                time,
                command,
                code,
                message,
            } = error;
            let _ = writeln!(text, "- {time} `kraft {command}` ({code}): {message}");
        }
        escape(&text, &['\n'])
    }
}

fn settings(app: &App) -> Vec<Setting> {
    let layers = &app.config.layers;
    let settings = layers.settings.iter().map(|setting| Setting {
        key: setting.key.name.to_owned(),
        value: redacted(&match &setting.value {
            Value::List(items) => items.join(", "),
            value @ (Value::Switch(_) | Value::Text(_)) => value.to_string(),
        }),
        origin: (setting.origin.place()).unwrap_or_else(|| setting.origin.name().to_owned()),
    });
    // That a host has credentials matters; their values are secrets.
    let credentials = layers.credentials.iter().map(|credential| Setting {
        key: credential.name.clone(),
        value: "********".to_owned(),
        origin: (credential.origin.place()).unwrap_or_else(|| credential.origin.name().to_owned()),
    });
    settings
        .filter(|setting| setting.origin != "default")
        .chain(credentials)
        .collect()
}

fn host() -> Host {
    let kernel = rustix::system::uname();
    let release = kraft_sys::fs::read_file("/etc/os-release".as_ref(), 1 << 16);
    let release = String::from_utf8_lossy(&release.unwrap_or_default()).into_owned();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Host {
        system: name
            .map_or("unknown", |name| name.trim_matches('"'))
            .to_owned(),
        kernel: kernel.release().to_string_lossy().into_owned(),
        arch: kraft_core::arch::HOST,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
    }
}
