//! Errors of builds, with their place in the Dockerfile where the daemon reports it.

use std::io;

use bollard_buildkit_proto::google::rpc;
use prost::Message as _;
use serde::Deserialize;

/// Error of a build or a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no daemon at an address, or it does not answer.
    #[error("no BuildKit answers at {address}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The daemon could not build it.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
    /// The connection to the daemon ended, or the daemon does not support a required call.
    #[error("the BuildKit at {address} stopped: {message}")]
    Broken {
        /// The address.
        address: String,
        /// What it reported.
        message: String,
    },
}

/// What a daemon reports about a failed build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The reason, without BuildKit's usual prefixes.
    pub message: String,
    /// Place in the Dockerfile, if the daemon reports it.
    pub place: Option<Place>,
    /// The step that failed, if one did.
    pub step: Option<String>,
    /// The last lines that it printed.
    pub lines: Vec<String>,
}

/// A range of lines of a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first line, from 1.
    pub first: usize,
    /// The last line.
    pub last: usize,
}

impl Failure {
    /// Reads the status of a failed call.
    pub(crate) fn of_status(status: &tonic::Status) -> Self {
        Self {
            message: without_prefixes(status.message()).to_owned(),
            place: place(status.details()),
            step: None,
            lines: Vec::new(),
        }
    }
}

/// Removes the prefixes that BuildKit adds to messages of a frontend or an executor.
fn without_prefixes(message: &str) -> &str {
    let mut message = message.trim();
    for prefix in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "failed to create LLB definition: ",
        "rpc error: code = Unknown desc = ",
    ] {
        message = message.strip_prefix(prefix).unwrap_or(message);
    }
    message
}

/// JSON form of BuildKit's `errdefs.Source`, one of the details of a status.
#[derive(Debug, Deserialize)]
struct Source {
    #[serde(default)]
    ranges: Vec<Range>,
}

#[derive(Debug, Deserialize)]
struct Range {
    start: Option<Position>,
    end: Option<Position>,
}

#[derive(Debug, Deserialize)]
struct Position {
    #[serde(default)]
    line: i32,
}

fn place(details: &[u8]) -> Option<Place> {
    let status = rpc::Status::decode(details).ok()?;
    // The outermost error comes first, the innermost last.
    status.details.iter().rev().find_map(|detail| {
        if !detail.type_url.contains("errdefs.Source") {
            return None;
        }
        let source: Source = serde_json::from_slice(&detail.value).ok()?;
        let range = source.ranges.first()?;
        let line = |position: &Option<Position>| {
            let line = position.as_ref()?.line;
            usize::try_from(line).ok().filter(|line| *line > 0)
        };
        let first = line(&range.start)?;
        Some(Place {
            first,
            last: line(&range.end).unwrap_or(first).max(first),
        })
    })
}
