//! What a machine printed, as it grows, without the firmware's chatter.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use kraft_core::arch::Arch;
use kraft_sys::fs;
use kraft_sys::process::{Identity, Process, wait_readable};
use rustix::fs::inotify;

use crate::console::Cutter;
use crate::layout::MachineDir;
use crate::machines::Error;

/// A machine's console, open.
#[derive(Debug)]
pub struct Logs {
    /// `None` if the machine was never started.
    file: Option<File>,
    cutter: Cutter,
    /// The VMM, if it lived when the logs were opened.
    vmm: Option<Process>,
    /// Wakes us when the console grows.
    grown: Option<OwnedFd>,
}

impl Logs {
    pub(crate) fn open(
        dir: &MachineDir,
        arch: Arch,
        vmm: Option<&Identity>,
    ) -> Result<Self, Error> {
        let path = dir.console();
        let file = match File::open(&path) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(fs::Error::on("read", &path)(e).into()),
        };
        let vmm = vmm.map(Process::open).transpose();
        let vmm = vmm.map_err(Error::on("look after the VMM"))?.flatten();
        let grown = vmm.as_ref().and_then(|_| {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let watch = inotify::init(flags).ok()?;
            inotify::add_watch(&watch, &path, inotify::WatchFlags::MODIFY).ok()?;
            Some(watch)
        });
        Ok(Self {
            file,
            cutter: Cutter::new(arch),
            vmm,
            grown,
        })
    }

    /// Returns what was printed since the last call; nothing if that is nothing.
    ///
    /// Read once more after [`ended`](Self::ended) said so: what came in between is there then.
    pub fn read_new(&mut self) -> Result<Vec<u8>, Error> {
        let ended = self.ended();
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes)
                .map_err(Error::on("read the machine's console"))?;
        }
        let mut out = self.cutter.feed(&bytes);
        if ended {
            out.extend(self.cutter.finish());
        }
        Ok(out)
    }

    /// Tells whether nothing will be printed any more.
    pub fn ended(&self) -> bool {
        self.vmm
            .as_ref()
            .is_none_or(|vmm| vmm.wait(Some(Duration::ZERO)).unwrap_or(true))
    }

    /// Waits until more is printed, and returns it; nothing when the limit passed; `None` when the
    /// machine has ended and all was returned.
    pub fn follow(&mut self, limit: Duration) -> Result<Option<Vec<u8>>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended();
            let new = self.read_new()?;
            if !new.is_empty() {
                return Ok(Some(new));
            }
            if ended {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                return Ok(Some(new));
            }
            self.sleep(deadline)
                .map_err(Error::on("wait for the machine's console"))?;
        }
    }

    /// Sleeps until the console grows or the VMM ends.
    fn sleep(&self, deadline: Instant) -> std::io::Result<()> {
        let mut files = Vec::new();
        files.extend(self.vmm.as_ref().map(AsFd::as_fd));
        let until = match &self.grown {
            Some(grown) => {
                files.push(grown.as_fd());
                deadline
            }
            // Without inotify we look every now and then.
            None => deadline.min(Instant::now() + Duration::from_millis(20)),
        };
        wait_readable(&files, Some(until))?;
        if let Some(grown) = &self.grown {
            let mut events = [0; 4096];
            // What it says does not matter, only that it is silent afterwards.
            let _ = rustix::io::read(grown, &mut events);
        }
        Ok(())
    }
}
