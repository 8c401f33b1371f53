//! Parser for Dockerfiles that keeps the position of every element.
//!
//! The language is that of BuildKit's frontend (docs.docker.com, "Dockerfile reference"). Parsing
//! has three stages, each in its own file:
//!
//! ```text
//! text ─ lines ─► logical lines, here-documents ─ parse ─► Dockerfile ─ expand ─► words
//! ```
//!
//! Variables are expanded when a [`Step`] is executed, because their values depend on earlier
//! steps. [`patterns`] implements `.dockerignore`.
//!
//! ```
//! use kraft_core::dockerfile::parse;
//! use kraft_core::dockerfile::patterns::Patterns;
//!
//! let file = parse("FROM alpine AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /\n")
//!     .expect("a Dockerfile");
//! assert_eq!(file.stages.len(), 2);
//! assert_eq!(file.stages[1].steps.len(), 1);
//!
//! let ignored = Patterns::new(["target", "!target/app"])?;
//! assert!(ignored.matches("target/debug/app"));
//! assert!(!ignored.matches("target/app"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The image of another frontend (`# syntax=`).
    pub syntax: Option<String>,
    /// The escape character: `\`, or a backtick with `# escape=`.
    pub escape: char,
    /// The `ARG`s before the first `FROM`: names with default values.
    pub arguments: Vec<Pair>,
    /// The stages, at least one.
    pub stages: Vec<Stage>,
    /// Warnings about likely mistakes.
    pub warnings: Vec<Problem>,
}

/// A build stage: a `FROM` and the instructions up to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its base image.
    pub from: From,
    /// Position of the `FROM`.
    pub span: Span,
    /// Its instructions, in order.
    pub steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Position, including here-documents.
    pub span: Span,
    /// Its text on one line, for display.
    pub text: String,
    /// The parsed instruction.
    pub instruction: Instruction,
}

impl Stage {
    /// Returns the stages and images that its instructions reference by `from=`.
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
    /// Returns the index of a stage: by its name (case-insensitive), by its number, or by default
    /// the last.
    pub fn stage(&self, wanted: Option<&str>) -> Option<usize> {
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
            return self.stages.len().checked_sub(1);
        };
        self.named_before(self.stages.len(), wanted).or_else(|| {
            let number = wanted.parse::<usize>().ok();
            number.filter(|number| *number < self.stages.len())
        })
    }

    /// Returns the last stage before stage `before` with a name.
    pub fn named_before(&self, before: usize, name: &str) -> Option<usize> {
        let stages = self.stages.get(..before)?;
        stages.iter().rposition(|stage| {
            let own = stage.from.name.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }
}
