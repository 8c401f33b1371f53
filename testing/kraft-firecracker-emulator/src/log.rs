//! Firecracker's log: a file that exists, or stdout.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How important a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Off,
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" | "trace" => Self::Debug,
            _ => return None,
        })
    }
}

/// The log of one process.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    id: String,
    file: Option<File>,
    level: Level,
}

impl Log {
    pub(crate) fn new(id: &str, level: Level) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            id: id.to_owned(),
            file: None,
            level,
        })))
    }

    /// Changes where the log goes and what it holds.
    pub(crate) fn update(&self, path: Option<&Path>, level: Option<Level>) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = path {
            // It is not made, and not appended to.
            inner.file = Some(OpenOptions::new().read(true).write(true).open(path)?);
        }
        // Without a level it is the default again.
        inner.level = level.unwrap_or(Level::Info);
        Ok(())
    }

    pub(crate) fn write(&self, level: Level, message: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if level > inner.level {
            return;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = format!(
            "{}.{:09} [{}:main] {message}\n",
            now.as_secs(),
            now.subsec_nanos(),
            inner.id
        );
        // The disk may be full.
        let _ = match &mut inner.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stdout().write_all(line.as_bytes()),
        };
    }

    pub(crate) fn error(&self, message: &str) {
        self.write(Level::Error, message);
    }

    pub(crate) fn info(&self, message: &str) {
        self.write(Level::Info, message);
    }
}
