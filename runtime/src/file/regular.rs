//! Files and directories of a file system.

use alloc::rc::Rc;

use super::File;
use super::io::{Input, Output};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata, Node};
use crate::signal::{Info, Signal};
use crate::task::{self, Limit};

/// A node that was opened.
pub struct NodeFile(pub Rc<dyn Node>);

/// How long the program may make a file (`RLIMIT_FSIZE`).
fn longest() -> u64 {
    task::current_process().limits.borrow()[Limit::FILE_SIZE].soft
}

fn refuse() -> Errno {
    task::current_process().send(Info::kernel(Signal::XFSZ));
    Errno::FBIG
}

/// Whether the program may write `length` bytes at an offset of a file; if not all of them, how many.
///
/// # Errors
/// `EFBIG` for none, with a signal.
pub fn check_room(file: &dyn File, offset: u64, length: usize) -> Result<Option<usize>> {
    let room = longest().saturating_sub(offset);
    if room >= length as u64 || file.node().is_none_or(|node| node.kind() != Kind::File) {
        return Ok(None);
    }
    if room == 0 {
        return Err(refuse());
    }
    Ok(Some(room as usize))
}

/// Whether the program may give a file that size.
///
/// # Errors
/// `EFBIG`, with a signal.
pub fn check_size(size: u64) -> Result<()> {
    if size > longest() {
        return Err(refuse());
    }
    Ok(())
}

impl File for NodeFile {
    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        if self.0.kind() == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        self.0.read(offset, out)
    }

    fn write(&self, offset: u64, input: &mut Input<'_>) -> Result {
        self.0.write(offset, input)
    }

    fn node(&self) -> Option<&Rc<dyn Node>> {
        Some(&self.0)
    }

    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn is_seekable(&self) -> bool {
        true
    }
}
