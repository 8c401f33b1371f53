//! What can go wrong with machines, and the names a user may have meant.

use kraft_core::machine::{BadName, MachineState};
use kraft_sys::fs;

use crate::id::Id;
use crate::machines::StartError;
use crate::qmp::QmpError;
use crate::record::RecordError;

/// Something could not be done to machines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No machine has that name or id.
    #[error("no machine `{word}`{}", near_names(near))]
    NotFound {
        /// What was asked for.
        word: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// Several machines begin like that.
    #[error("`{word}` could be any of {}", quoted(candidates))]
    Ambiguous {
        /// What was asked for.
        word: String,
        /// The machines it could mean.
        candidates: Vec<String>,
    },
    /// Another machine has the name.
    #[error("a machine named `{name}` exists already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The text cannot name a machine.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// It is not running, and what was asked needs it to.
    #[error("machine `{name}` is not running, it is {}", state.name())]
    NotRunning {
        /// Its name.
        name: String,
        /// What it is instead.
        state: MachineState,
    },
    /// It runs, and what was asked needs it not to.
    #[error("machine `{name}` is {}", state.name())]
    Running {
        /// Its name.
        name: String,
        /// `running`, `paused` or `suspended`.
        state: MachineState,
    },
    /// It was never started, so there is no end to wait for.
    #[error("machine `{name}` was never started")]
    NeverStarted {
        /// Its name.
        name: String,
    },
    /// It was paused before.
    #[error("machine `{name}` is paused already")]
    AlreadyPaused {
        /// Its name.
        name: String,
    },
    /// It was not paused.
    #[error("machine `{name}` is not paused, it is {}", state.name())]
    NotPaused {
        /// Its name.
        name: String,
        /// What it is instead.
        state: MachineState,
    },
    /// It did not come up.
    #[error("cannot start machine `{name}`")]
    Start {
        /// Its name.
        name: String,
        /// Why.
        source: StartError,
    },
    /// Another process is at work on it and does not finish.
    #[error("machine `{name}` is locked: another kraft is starting, stopping or removing it")]
    Busy {
        /// The machine's name.
        name: String,
    },
    /// Its start was interrupted, and the process that started it has removed it.
    #[error("machine `{id}` was ended while it started, and is removed")]
    EndedAndRemoved {
        /// Its identity.
        id: Id,
    },
    /// Not even SIGKILL ended the VMM in time.
    #[error("the VMM of machine `{name}` (pid {pid}) does not end")]
    WillNotEnd {
        /// The machine's name.
        name: String,
        /// The VMM's process.
        pid: u32,
    },
    /// The VMM would not do what was asked.
    #[error("cannot {what} machine `{name}`")]
    Vmm {
        /// What was attempted: `pause`.
        what: &'static str,
        /// The machine's name.
        name: String,
        /// What went wrong.
        source: QmpError,
    },
    /// Its record or directory cannot be read.
    #[error("cannot tell anything about machine `{id}`")]
    Unreadable {
        /// Its identity.
        id: Id,
        /// Why.
        source: RecordError,
    },
    /// A file or directory is in the way.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The system refused something else.
    #[error("cannot {what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Says that there is no machine with that id (any more).
    pub(crate) fn not_found(id: Id) -> Self {
        Self::NotFound {
            word: id.to_string(),
            near: Vec::new(),
        }
    }

    /// Returns a function that wraps what the system said, for `map_err`.
    pub(crate) fn on(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

fn near_names(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    format!(": did you mean {}?", quoted(near))
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Returns the names that differ little from a word, nearest first.
pub(super) fn near<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let most = (word.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort_unstable();
    near.into_iter()
        .take(3)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Counts the letters to change, add or drop to make one word of the other (Levenshtein).
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
    fn near_names_are_those_a_slip_of_the_finger_away() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        let names = ["anna", "annette", "bert"];
        assert_eq!(near("ana", names.into_iter()), ["anna"]);
        assert_eq!(near("zoe", names.into_iter()), [""; 0]);
    }
}
