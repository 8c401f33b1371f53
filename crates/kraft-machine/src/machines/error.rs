//! Errors of operations on machines, and suggestions for mistyped names.

use std::path::Path;

use kraft_core::machine::{MachineNameError, MachineState};
use kraft_sys::fs;

use crate::driver::{ControlError, NoDriver};
use crate::id::Id;
use crate::machines::StartError;
use crate::record::RecordError;
use crate::saved::SavedMachineError;
use crate::volumes::VolumeError;

/// An operation on machines failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No machine has that name or id.
    #[error("no machine `{query}`{}", suggestion(similar))]
    NotFound {
        /// The name or id.
        query: String,
        /// Similar names.
        similar: Vec<String>,
    },
    /// The names or ids of several machines begin with the text.
    #[error("`{query}` could be any of {}", quoted(candidates))]
    Ambiguous {
        /// The beginning of a name or id.
        query: String,
        /// The machines it could mean.
        candidates: Vec<String>,
    },
    /// Another machine has the name.
    #[error("a machine named `{name}` already exists")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name is not valid.
    #[error(transparent)]
    MachineNameError(#[from] MachineNameError),
    /// The machine is not running, and the operation requires that.
    #[error("machine `{name}` is not running, it is {}", state.name())]
    NotRunning {
        /// Its name.
        name: String,
        /// Its state.
        state: MachineState,
    },
    /// The machine is running, and the operation requires that it is not.
    #[error("machine `{name}` is {}", state.name())]
    Running {
        /// Its name.
        name: String,
        /// `running`, `paused` or `suspended`.
        state: MachineState,
    },
    /// The machine was never started, so there is no end to wait for.
    #[error("machine `{name}` was never started")]
    NeverStarted {
        /// Its name.
        name: String,
    },
    /// The machine is paused.
    #[error("machine `{name}` is already paused")]
    AlreadyPaused {
        /// Its name.
        name: String,
    },
    /// The machine is not paused.
    #[error("machine `{name}` is not paused, it is {}", state.name())]
    NotPaused {
        /// Its name.
        name: String,
        /// Its state.
        state: MachineState,
    },
    /// The machine is suspended.
    #[error("machine `{name}` is already suspended")]
    AlreadySuspended {
        /// Its name.
        name: String,
    },
    /// The memory of a machine that mounts volumes cannot be saved.
    #[error("machine `{name}` mounts volumes, and its VMM cannot save what it has open there")]
    MountsVolumes {
        /// Its name.
        name: String,
    },
    /// The memory of the machine could not be saved; it continues.
    #[error("cannot save machine `{name}`: {why}")]
    Save {
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// A snapshot has that name.
    #[error("a snapshot named `{name}` already exists")]
    SnapshotTaken {
        /// The name.
        name: String,
    },
    /// No snapshot has that name.
    #[error("no snapshot `{name}`{}", suggestion(similar))]
    NoSnapshot {
        /// The name.
        name: String,
        /// Similar names.
        similar: Vec<String>,
    },
    /// Saved memory cannot be read or written.
    #[error(transparent)]
    Saved(#[from] SavedMachineError),
    /// The machine could not be started.
    #[error("cannot start machine `{name}`")]
    Start {
        /// Its name.
        name: String,
        /// The reason.
        source: StartError,
        /// The log of the VMM and the monitor, if it may say more.
        log: Option<Box<Path>>,
    },
    /// Another process holds its lock for too long.
    #[error("machine `{name}` is locked: another kraft is starting, stopping or removing it")]
    Busy {
        /// The machine's name.
        name: String,
    },
    /// Its start was ended, and the process that started it has removed it.
    #[error("machine `{id}` was ended while it started, and is removed")]
    EndedAndRemoved {
        /// Its id.
        id: Id,
    },
    /// The VMM did not exit in time after SIGKILL.
    #[error("the VMM of machine `{name}` (pid {pid}) does not exit")]
    WillNotEnd {
        /// The machine's name.
        name: String,
        /// The VMM's process.
        pid: u32,
    },
    /// The VMM did not do what it was asked to do.
    #[error("cannot {what} machine `{name}`")]
    Vmm {
        /// The operation: `pause`.
        what: &'static str,
        /// The machine's name.
        name: String,
        /// The reason.
        source: ControlError,
    },
    /// There is no driver for its platform.
    #[error(transparent)]
    NoDriver(#[from] NoDriver),
    /// It cannot be in a network.
    #[error(transparent)]
    Network(#[from] kraft_net::Error),
    /// A named volume cannot be made, read or removed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Its record or directory cannot be read.
    #[error("cannot read machine `{id}`")]
    Unreadable {
        /// Its id.
        id: Id,
        /// The reason.
        source: RecordError,
    },
    /// A file or directory cannot be accessed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// Another operation of the system failed.
    #[error("cannot {what}")]
    System {
        /// The operation.
        what: &'static str,
        /// The error of the system.
        source: std::io::Error,
    },
}

impl Error {
    /// There is no machine with that id (any more).
    pub(crate) fn not_found(id: Id) -> Self {
        Self::NotFound {
            query: id.to_string(),
            similar: Vec::new(),
        }
    }

    /// Returns a function that adds the operation to an error, for `map_err`.
    pub(crate) fn on(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

fn suggestion(similar: &[String]) -> String {
    if similar.is_empty() {
        return String::new();
    }
    format!(": did you mean {}?", quoted(similar))
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Returns the names that are similar to a text, most similar first.
pub(super) fn similar<'a>(query: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (query.chars().count() / 3).max(1);
    let mut similar: Vec<(usize, &str)> = names
        .map(|name| (distance(query, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    similar.sort_unstable();
    similar
        .into_iter()
        .take(3)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Returns the Levenshtein distance: the number of characters to change, add or remove.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let change = diagonal + usize::from(from != *to);
            diagonal = *cell;
            *cell = change.min(left + 1).min(*cell + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_differ_by_a_few_characters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        let names = ["anna", "annette", "bert"];
        assert_eq!(similar("ana", names.into_iter()), ["anna"]);
        assert_eq!(similar("zoe", names.into_iter()), [""; 0]);
    }
}
