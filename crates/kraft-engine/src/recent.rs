//! The last errors of this user, kept for bug reports.
//!
//! Only the name of the command is kept, not its arguments: they may hold secrets. Errors of the
//! command line and interrupts are not kept.
//!
//! ```
//! # use kraft_config::dirs::Dirs;
//! use kraft_engine::recent;
//!
//! # let dir = tempfile::tempdir()?;
//! # let dirs = Dirs { config: dir.path().to_owned(), data: dir.path().to_owned() };
//! recent::keep(&dirs, "pkg pull", "network", "no route to host");
//! let kept = recent::read(&dirs);
//! assert_eq!(kept[0].command, "pkg pull");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::path::PathBuf;

use kraft_config::dirs::Dirs;
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

/// Errors that are kept.
const KEPT: usize = 10;
/// The file is not longer than this, in bytes.
const LARGEST: u64 = 1 << 20;
/// Longer messages are cut, in characters.
const LONGEST: usize = 2000;

/// One error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// When it happened.
    pub time: jiff::Timestamp,
    /// The command.
    pub command: String,
    /// Its stable code; see `docs/errors.md`.
    pub code: String,
    /// The error with its causes.
    pub message: String,
}

/// Returns the errors that were kept, oldest first; none if they cannot be read.
pub fn read(dirs: &Dirs) -> Vec<Recent> {
    let bytes = fs::read_file(&file(dirs), LARGEST).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Codes of errors that say nothing about kraft or the host.
const NOT_KEPT: [&str; 4] = ["usage", "interrupted", "output_closed", "guest"];

/// Keeps an error. No data directory is created for it.
pub fn keep(dirs: &Dirs, command: &str, code: &str, message: &str) {
    if NOT_KEPT.contains(&code) || !dirs.data.is_dir() {
        return;
    }
    let mut all = read(dirs);
    all.push(Recent {
        time: jiff::Timestamp::now(),
        command: command.to_owned(),
        code: code.to_owned(),
        message: message.chars().take(LONGEST).collect(),
    });
    let surplus = all.len().saturating_sub(KEPT);
    if let Ok(json) = serde_json::to_vec(all.get(surplus..).unwrap_or_default()) {
        // The error itself is what counts.
        let _ = fs::replace_file(&file(dirs), &json);
    }
}

fn file(dirs: &Dirs) -> PathBuf {
    dirs.data.join("recent-errors.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(data: &std::path::Path) -> Dirs {
        Dirs {
            config: data.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn the_last_errors_are_kept_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        for number in 0..KEPT + 3 {
            keep(&dirs, "pkg", "network", &format!("error {number}"));
        }
        let kept = read(&dirs);
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].message, "error 3");
        assert_eq!(
            (kept[0].command.as_str(), kept[0].code.as_str()),
            ("pkg", "network")
        );
    }

    #[test]
    fn a_mistyped_command_is_not_kept_and_nothing_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dirs(&dir.path().join("none"));
        keep(&missing, "run", "failed", "x");
        assert!(!missing.data.exists());
        let dirs = dirs(dir.path());
        keep(&dirs, "run", "usage", "x");
        assert_eq!(read(&dirs), []);
    }

    #[test]
    fn a_damaged_file_counts_as_empty_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        fs::replace_file(&file(&dirs), b"[{").unwrap();
        assert_eq!(read(&dirs), []);
        keep(&dirs, "run", "host", "x");
        assert_eq!(read(&dirs).len(), 1);
    }
}
