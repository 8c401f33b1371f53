//! Files and directories of a file system.

use alloc::rc::Rc;

use super::File;
use super::io::{Input, Output};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata, Node};

/// A node that was opened.
pub struct NodeFile(pub Rc<dyn Node>);

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
