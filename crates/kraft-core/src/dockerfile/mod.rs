//! Dockerfiles: what their text says, with the place of every word.
//!
//! The language is that of BuildKit's frontend (docs.docker.com, "Dockerfile reference"). Reading
//! happens in three steps, each in a file of its own:
//!
//! ```text
//! text ─ lines ─► logical lines, here-documents ─ parse ─► Dockerfile ─ expand ─► words
//! ```
//!
//! Variables are expanded by whoever executes a [`Step`], because what they are depends on the
//! steps before it. [`patterns`] is the language of `.dockerignore`.

mod affix;
mod documents;
pub mod expand;
mod flags;
mod glob;
mod instruction;
mod lines;
mod mount;
mod parse;
pub mod patterns;
mod steps;
#[cfg(test)]
mod tests;

pub use instruction::{Command, Copy, Document, From, Instruction, Pair, Run, Source};
pub use mount::{Mount, MountKind, MountOptions, Sharing};
pub use parse::parse;

use crate::problem::{Problem, Span};

/// A Dockerfile that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// What `# syntax=` names: an image of another frontend.
    pub syntax: Option<String>,
    /// The character that takes the meaning of the next: `\`, or a backtick by `# escape=`.
    pub escape: char,
    /// The `ARG`s before the first `FROM`: names with their defaults.
    pub arguments: Vec<Pair>,
    /// The stages, at least one.
    pub stages: Vec<Stage>,
    /// What is likely not meant so.
    pub warnings: Vec<Problem>,
}

/// A `FROM` with everything up to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it begins with.
    pub from: From,
    /// Where the `FROM` stands.
    pub span: Span,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it stands, here-documents included.
    pub span: Span,
    /// Its text on one line, for people.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

impl Stage {
    /// Returns what its instructions name after `from=`: stages and images.
    pub fn froms(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| match &step.instruction {
            Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
            Instruction::Run(run) => run
                .mounts
                .iter()
                .filter_map(|mount| mount.from.as_deref())
                .collect(),
            _ => Vec::new(),
        })
    }
}

impl Dockerfile {
    /// Returns the number of the stage that is meant: by its name (letter case is ignored), by
    /// its number, or the last.
    pub fn stage(&self, wanted: Option<&str>) -> Option<usize> {
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
            return self.stages.len().checked_sub(1);
        };
        self.named_before(self.stages.len(), wanted).or_else(|| {
            let number = wanted.parse::<usize>().ok();
            number.filter(|number| *number < self.stages.len())
        })
    }

    /// Returns the last stage before stage `before` that has a name.
    pub fn named_before(&self, before: usize, name: &str) -> Option<usize> {
        let stages = self.stages.get(..before)?;
        stages.iter().rposition(|stage| {
            let own = stage.from.name.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }
}
