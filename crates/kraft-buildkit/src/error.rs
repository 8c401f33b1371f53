//! Why a build failed, with the place in the Dockerfile where the daemon tells it.

use std::io;

use bollard_buildkit_proto::google::rpc;
use prost::Message as _;
use serde::Deserialize;

/// Why a build did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no daemon at an address, or it does not talk.
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
    /// The daemon went away, or does not do what is needed.
    #[error("the BuildKit at {address} does not go on: {message}")]
    Broken {
        /// The address.
        address: String,
        /// What it said.
        message: String,
    },
}

/// What a daemon tells about a build that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Why, without the words every message of its kind begins with.
    pub message: String,
    /// Where in the Dockerfile, if the daemon tells.
    pub place: Option<Place>,
    /// The step that failed, if one did.
    pub step: Option<String>,
    /// The last lines it wrote.
    pub lines: Vec<String>,
}

/// A stretch of lines of a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first line, from 1.
    pub first: usize,
    /// The last line.
    pub last: usize,
}

impl Failure {
    /// Reads the status a call ended with.
    pub(crate) fn of_status(status: &tonic::Status) -> Self {
        Self {
            message: cut(status.message()).to_owned(),
            place: place(status.details()),
            step: None,
            lines: Vec::new(),
        }
    }
}

/// Takes off what BuildKit puts before every message of a frontend or an executor.
fn cut(message: &str) -> &str {
    let mut message = message.trim();
    for words in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "failed to create LLB definition: ",
        "rpc error: code = Unknown desc = ",
    ] {
        message = message.strip_prefix(words).unwrap_or(message);
    }
    message
}

/// The JSON form of BuildKit's `errdefs.Source`, which travels among the details of a status.
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
    // The outermost error comes first, the one nearest to the fault last.
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
