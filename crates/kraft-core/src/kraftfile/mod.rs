//! Kraftfiles: a text becomes a typed project, or everything that is wrong with it.
//!
//! ```text
//! text ─yaml─► tree ─version─► spec ─interpolate─► tree ─check─► faults
//!                                                   └───lower──► Kraftfile ─resolve─► Resolved
//! ```
//!
//! Versions 0.4 to 0.7 become the same [`Kraftfile`]. `shape` is the table of
//! what may stand where; the check, the fetching of values and the JSON Schema
//! all follow it. Nothing here opens a file or reads the environment.

mod component;
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

use crate::document::faults::Faults;
use crate::document::open::{Kind, open};
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
};

/// What reading a Kraftfile gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The project; `None` if any of the problems is an error.
    pub kraftfile: Option<Kraftfile>,
    /// Everything that is wrong, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Reads a Kraftfile; `vars` looks up the variables that files up to v0.6 may use.
pub fn parse(text: &str, vars: &dyn Fn(&str) -> Option<String>) -> Parsed {
    let mut faults = Faults::default();
    let kraftfile = read(text, vars, &mut faults).filter(|_| !faults.fatal());
    Parsed {
        kraftfile,
        problems: faults.into_problems(),
    }
}

/// Reads a Kraftfile that may not even be text.
///
/// The second value is the text that the spans of the problems refer to: where
/// bytes are not UTF-8, they are replaced by `U+FFFD`.
pub fn parse_bytes(bytes: &[u8], vars: &dyn Fn(&str) -> Option<String>) -> (Parsed, String) {
    let fault = match std::str::from_utf8(bytes) {
        Ok(text) => return (parse(text, vars), text.to_owned()),
        Err(fault) => fault,
    };
    let start = fault.valid_up_to();
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
    faults: &mut Faults,
) -> Option<Kraftfile> {
    let (mut root, partial) = open(text, &KIND, faults)?;
    let spec = version::version(&root, partial, faults);
    if spec < Spec::V07 {
        faults.append(interpolate::interpolate(text, &mut root, vars));
    }
    faults.append(check::check(
        &root,
        &shape::PROJECT,
        spec >= Spec::V07,
        KIND.name,
    ));
    let kraftfile = lower::lower(&root, spec, faults);
    Some(kraftfile)
}

/// Whether any of the problems is an error.
pub fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|p| p.severity == Severity::Error)
}
