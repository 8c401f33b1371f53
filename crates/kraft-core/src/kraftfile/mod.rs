//! Parser for Kraftfiles: returns a typed project, or all problems of the file.
//!
//! ```text
//! text ─yaml─► tree ─version─► spec ─interpolate─► tree ─check─► problems
//!                                                   └───lower──► Kraftfile ─resolve─► Resolved
//! ```
//!
//! Versions 0.4 to 0.7 become the same [`Kraftfile`]. `shape` is the table of allowed keys and
//! values, used by the validation, the conversion and the JSON Schema. Nothing here opens a file or
//! reads the environment.
//!
//! ```
//! use kraft_core::kraftfile::{has_errors, parse};
//!
//! let text = "spec: v0.6\nname: web\nunikraft: stable\ntargets: [qemu/x86_64]\n";
//! let parsed = parse(text, &|_| None);
//! let file = parsed.kraftfile.expect("a sound project");
//! assert_eq!(file.targets[0].platform.value, "qemu");
//!
//! let text = "spec: v0.6\ntargets: everything\n";
//! let wrong = parse(text, &|_| None);
//! assert!(has_errors(&wrong.problems));
//! let span = wrong.problems[0].span.expect("a position");
//! assert_eq!(&text[span.start..span.end], "everything");
//! ```

mod component;
pub mod cursor;
mod filesystem;
mod lower;
mod model;
mod names;
pub mod options;
mod resolved;
mod schema;
mod search;
mod shape;
mod target;
mod template;
mod version;

use crate::problem::{Problem, Severity, Span};

use crate::document::open::{Kind, Opened, open};
use crate::document::problems::Problems;
use crate::document::{check, interpolate};

pub use crate::document::located::Located;
pub use crate::document::open::LARGEST;
pub use model::{
    Component, EnvVar, Filesystem, FilesystemFormat, KconfigOption, Kraftfile, Library, Runtime,
    RuntimeKernel, Spec, Target, Volume,
};
pub use names::normalised;
pub use resolved::{
    Resolved, ResolvedComponent, ResolvedFilesystem, ResolvedLibrary, ResolvedRuntime,
    ResolvedTarget, ResolvedVariable, ResolvedVolume,
};
pub use schema::schema;
pub use search::{Ambiguous, FILE_NAMES, choose};

const KIND: Kind = Kind {
    name: "a Kraftfile",
    begin: "a Kraftfile begins with its format, for example `spec: v0.6`",
    tags: &[],
};

/// The result of parsing a Kraftfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The project; `None` if any of the problems is an error.
    pub kraftfile: Option<Kraftfile>,
    /// All problems, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Parses a Kraftfile; `vars` looks up the variables that files up to v0.6 may use.
pub fn parse(text: &str, vars: &dyn Fn(&str) -> Option<String>) -> Parsed {
    let mut problems = Problems::default();
    let kraftfile = read(text, vars, &mut problems).filter(|_| !problems.fatal());
    Parsed {
        kraftfile,
        problems: problems.into_problems(),
    }
}

/// Parses a Kraftfile that may not be UTF-8.
///
/// The second value is the text that the spans of the problems refer to, in which invalid UTF-8 is
/// replaced by `U+FFFD`.
pub fn parse_bytes(bytes: &[u8], vars: &dyn Fn(&str) -> Option<String>) -> (Parsed, String) {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return (parse(text, vars), text.to_owned()),
        Err(error) => error,
    };
    let start = error.valid_up_to();
    let span = Span {
        start,
        end: start + '\u{fffd}'.len_utf8(),
    };
    let problem = Problem::error("the file is not UTF-8 text")
        .at(span)
        .label("the first byte that is not")
        .help("save it as UTF-8");
    let parsed = Parsed {
        kraftfile: None,
        problems: vec![problem],
    };
    (parsed, String::from_utf8_lossy(bytes).into_owned())
}

fn read(
    text: &str,
    vars: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<Kraftfile> {
    let Opened {
        mut root, partial, ..
    } = open(text, &KIND, problems)?;
    let spec = version::version(&root, partial, problems);
    if spec < Spec::V07 {
        problems.append(interpolate::interpolate(text, &mut root, vars));
    }
    problems.append(check::check(
        &root,
        &shape::PROJECT,
        spec >= Spec::V07,
        KIND.name,
    ));
    let kraftfile = lower::lower(&root, spec, problems);
    Some(kraftfile)
}

/// Returns whether any of the problems is an error.
pub fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|p| p.severity == Severity::Error)
}
