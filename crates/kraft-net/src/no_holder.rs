//! In place of holders where there are no network namespaces: every network is refused.

use std::ffi::OsString;
use std::io::{self, Write};

use crate::host::Refusal;
use crate::protocol::{Report, line};

/// The hidden first word that makes this program the holder of a network.
pub const ARGUMENT: &str = "__network";

pub(crate) const START: &str = "start";
pub(crate) const WAY_OUT: &str = "slirp4netns";

/// Returns why networks cannot be made.
pub(crate) fn refusal() -> Option<Refusal> {
    let why = "not on macOS: networks between machines need Linux";
    Some(Refusal::with_cure(
        why,
        "publish ports with `--port` instead",
    ))
}

/// Refuses to be a holder, and returns the exit code.
pub fn main(_: impl IntoIterator<Item = OsString>) -> i32 {
    if let Some(Refusal { why, cure }) = refusal() {
        let _ = io::stdout().write_all(&line(&Report::Refused { why, cure }));
    }
    1
}

/// Network cards: there are none.
pub(crate) mod tap {
    use std::io;
    use std::os::fd::AsRawFd;

    pub(crate) fn name(_: &impl AsRawFd) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn keep(_: &impl AsRawFd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
