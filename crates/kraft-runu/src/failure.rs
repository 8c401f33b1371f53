//! How failures reach engines: as a line of the log file, and as a sentence on stderr.

use std::fmt;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use kraft_sys::fs;

use crate::arguments::Global;

/// A failure of a command, as one sentence that the engine shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    /// Makes a failure from an error with its causes.
    pub(crate) fn of(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self(format!("{what}: {}", kraft_core::error::chain(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<fs::Error> for Failure {
    fn from(error: fs::Error) -> Self {
        Self(kraft_core::error::chain(&error))
    }
}

/// Appends a line to the engine's log file; nothing without one.
pub(crate) fn log(global: &Global, level: &str, message: &str) {
    log_to(global.log.as_deref(), global.log_json, level, message);
}

/// Appends a line to a log file; nothing without one.
pub(crate) fn log_to(path: Option<&Path>, json: bool, level: &str, message: &str) {
    if let Some(path) = path {
        append(path, json, level, message);
    }
}

fn append(path: &Path, json: bool, level: &str, message: &str) {
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let line = if json {
        serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
    } else {
        let message = serde_json::Value::from(message);
        format!("time={time:?} level={level} msg={message}")
    };
    if let Ok(mut file) = fs::append(path) {
        // Written at once, so that lines of several processes do not mix.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_with_a_time_or_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, true, "error", "it \"fails\"\nhere");
        append(&path, false, "warning", "odd");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let line: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(line["msg"], "it \"fails\"\nhere");
        let time: Result<Timestamp, _> = line["time"].as_str().unwrap().parse();
        assert!(time.is_ok());
        assert!(lines.next().unwrap().ends_with("level=warning msg=\"odd\""));
    }
}
