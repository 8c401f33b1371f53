//! Processes that are files (`pidfd`): ready to read when the process has ended.

use alloc::rc::Rc;
use core::any::Any;

use super::{Description, Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata};
use crate::task::{Process, WaitQueue};

/// A file that stands for a process.
pub struct ProcessFile {
    process: Rc<Process>,
    number: u64,
}

impl ProcessFile {
    /// The file for a process.
    pub fn new(process: Rc<Process>) -> Rc<ProcessFile> {
        Rc::new(ProcessFile {
            process,
            number: super::anonymous::next_number(),
        })
    }

    /// The process that an open file stands for.
    ///
    /// # Errors
    /// `EBADF`
    pub fn process_of(description: &Description) -> Result<&Rc<Process>> {
        let any: &dyn Any = &*description.file;
        any.downcast_ref::<ProcessFile>()
            .map(|file| &file.process)
            .ok_or(Errno::BADF)
    }
}

impl File for ProcessFile {
    fn ready(&self) -> Events {
        if self.process.is_zombie.get() {
            Events::IN
        } else {
            Events::empty()
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        // It is woken by signals too; the end of the process is one of the occasions.
        Some(&self.process.signal_queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::File, self.number)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[pidfd]"
    }
}
