//! What a machine printed, as it grows, without what its firmware printed.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_sys::process::{Identity, Process, wait_readable};

use crate::console::{Reader, firmware};
use crate::grown::Grown;
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::{Error, Machines};
use crate::record::Record;

/// The most that is returned at once, in bytes.
const CHUNK: usize = 64 << 10;

/// How long a monitor may take to copy the last bytes of a VMM that has ended.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// Between two looks at what cannot be waited for.
const STEP: Duration = Duration::from_millis(1);

/// Between two attempts to find a monitor for a VMM that has lost its own.
const ADOPTION: Duration = Duration::from_millis(100);

/// Which part of a console is wanted.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    /// The number of lines to begin with, from the end of the present output.
    pub tail: Option<u64>,
    /// Only lines that began at this time or later.
    pub since: Option<Timestamp>,
    /// Only lines that began at this time or earlier.
    pub until: Option<Timestamp>,
    /// Whether [`Chunk::arrivals`] is wanted.
    pub arrivals: bool,
}

/// A piece of a console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When they arrived, if that was asked for and is known.
    pub arrivals: Vec<Arrival>,
}

/// From this byte of a chunk on, the bytes arrived at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The index of the byte in the chunk.
    pub index: usize,
    /// When it arrived, by the clock of the host.
    pub time: Timestamp,
}

/// A machine's console, open.
#[derive(Debug)]
pub struct Logs {
    machines: Machines,
    id: Id,
    arch: Arch,
    options: LogsOptions,
    /// `None` if the machine was never started.
    reader: Option<Reader>,
    /// Whether it was found where to begin.
    begun: bool,
    /// How many bytes were removed before it was begun, and were wanted.
    lost: u64,
    /// Where to stop, if it is not where the machine does.
    end: Option<u64>,
    /// The VMM, if it lived when the logs were opened.
    vmm: Option<Process>,
    /// The monitor, which copies what the VMM prints.
    monitor: Option<Process>,
    ended: Option<Instant>,
    /// Wakes us when the console grows.
    grown: Option<Grown>,
}

impl Logs {
    pub(crate) fn open(
        machines: Machines,
        record: &Record,
        dir: &MachineDir,
        options: LogsOptions,
    ) -> Result<Self, Error> {
        let reader = Reader::open(dir)?;
        let run = record.run.as_ref();
        let vmm = process(run.and_then(|run| run.vmm.as_ref()))?;
        let watch = |reader: &Reader| Grown::watch([reader.path()]);
        Ok(Self {
            id: record.id,
            machines,
            arch: record.spec.get().arch,
            options,
            grown: vmm.as_ref().and(reader.as_ref()).and_then(watch),
            reader,
            begun: false,
            lost: 0,
            end: None,
            monitor: match vmm {
                Some(_) => process(run.map(|run| &run.monitor))?,
                None => None,
            },
            vmm,
            ended: None,
        })
    }

    /// Has the logs end where they end now, unless the machine has ended.
    pub fn stop_at_present_end(&mut self) -> Result<(), Error> {
        if self.vmm_lives()
            && let Some(reader) = &self.reader
        {
            self.end = Some(reader.bounds().map_err(unreadable())?.end);
        }
        Ok(())
    }

    /// Returns how many bytes were passed over since the last call: they were removed, because of
    /// the limit of the console, before they were read.
    pub fn take_lost(&mut self) -> u64 {
        let before = std::mem::take(&mut self.lost);
        before + self.reader.as_mut().map_or(0, Reader::take_lost)
    }

    /// Returns what was printed since the last call, at most 64 KiB of it; nothing if that is
    /// nothing.
    pub fn read(&mut self) -> Result<Chunk, Error> {
        let ended = self.ended();
        self.read_more(ended).map_err(unreadable())
    }

    fn read_more(&mut self, ended: bool) -> std::io::Result<Chunk> {
        if !self.begun && !self.begin(ended)? {
            return Ok(Chunk::default());
        }
        let Some(reader) = &mut self.reader else {
            return Ok(Chunk::default());
        };
        let left = self
            .end
            .map_or(u64::MAX, |end| end.saturating_sub(reader.position()));
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        let read = if bytes.is_empty() {
            0
        } else {
            reader.read(&mut bytes)?
        };
        bytes.truncate(read);
        let end = reader.position();
        let arrivals = if self.options.arrivals && read > 0 {
            reader.arrivals(end - read as u64..end)?
        } else {
            Vec::new()
        };
        Ok(Chunk { bytes, arrivals })
    }

    /// Finds where to begin; `false` if that cannot be told yet.
    fn begin(&mut self, complete: bool) -> std::io::Result<bool> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        let mut bounds = reader.bounds()?;
        if let Some(first) = reader.beginning(firmware::MOST)? {
            match firmware::kernel_start(self.arch, &first, complete) {
                Some(start) => bounds.start = start as u64,
                None => return Ok(false),
            }
        } else {
            if self.options.tail.is_none() && self.options.since.is_none() {
                self.lost = bounds.start;
            }
            bounds.start = reader.whole_line_after(bounds.start)?;
        }
        if let Some(since) = self.options.since {
            let arrived = reader.arrived_since(since)?.max(bounds.start);
            bounds.start = reader.line_at(arrived, &bounds)?;
        }
        if let Some(until) = self.options.until {
            // The last moment there is has none after it.
            let later = until
                .checked_add(jiff::SignedDuration::from_micros(1))
                .unwrap_or(until);
            let later = reader.arrived_since(later)?.max(bounds.start);
            let end = reader.line_at(later, &bounds)?;
            self.end = Some(self.end.map_or(end, |limit| limit.min(end)));
        }
        if let Some(end) = self.end {
            bounds.end = bounds.end.min(end);
        }
        if let Some(count) = self.options.tail {
            bounds.start = reader.tail(count, &bounds)?;
        }
        reader.seek(bounds.start);
        self.begun = true;
        Ok(true)
    }

    fn vmm_lives(&self) -> bool {
        let ended = |vmm: &Process| vmm.wait(Some(Duration::ZERO)).unwrap_or(true);
        self.vmm.as_ref().is_some_and(|vmm| !ended(vmm))
    }

    /// Tells whether nothing will be printed any more, and all of it is on disk.
    fn ended(&mut self) -> bool {
        if self.vmm_lives() {
            return false;
        }
        let since = *self.ended.get_or_insert_with(Instant::now);
        let recorded = self.reader.as_ref().is_some_and(Reader::is_recorded);
        !recorded || since.elapsed() > LAST_BYTES
    }

    /// Waits until more is printed, and returns it; nothing when the limit passed; `None` when the
    /// machine has ended and all was returned.
    pub fn follow(&mut self, limit: Duration) -> Result<Option<Chunk>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended() || self.is_at_end();
            let new = self.read_more(ended).map_err(unreadable())?;
            if !new.bytes.is_empty() {
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

    fn is_at_end(&self) -> bool {
        let position = self.reader.as_ref().map_or(0, Reader::position);
        self.end.is_some_and(|end| position >= end)
    }

    /// Sleeps until the console grows, or the VMM or its monitor ends.
    fn sleep(&mut self, deadline: Instant) -> std::io::Result<()> {
        if self.ended.is_some() {
            // The monitor copies the last bytes.
            std::thread::sleep(STEP);
            return Ok(());
        }
        self.find_monitor();
        let mut files = Vec::new();
        files.extend(self.vmm.as_ref().map(AsFd::as_fd));
        let mut until = deadline;
        match &self.grown {
            Some(grown) => files.push(grown.as_fd()),
            // Without inotify we look every now and then.
            None => until = until.min(Instant::now() + 20 * STEP),
        }
        match &self.monitor {
            Some(monitor) => files.push(monitor.as_fd()),
            None => until = until.min(Instant::now() + ADOPTION),
        }
        wait_readable(&files, Some(until))?;
        if let Some(grown) = &self.grown {
            grown.clear();
        }
        Ok(())
    }

    /// Has a VMM adopted that has lost its monitor: nothing of what it prints is kept meanwhile.
    fn find_monitor(&mut self) {
        let ended = |monitor: &Process| monitor.wait(Some(Duration::ZERO)).unwrap_or(true);
        if self.monitor.as_ref().is_some_and(|monitor| !ended(monitor)) {
            return;
        }
        let _ = self.machines.look(self.id);
        let record = Record::load(&self.machines.machine_dir(self.id)).ok();
        let run = record.and_then(|record| record.run);
        self.monitor = process(run.as_ref().map(|run| &run.monitor)).ok().flatten();
    }
}

fn process(identity: Option<&Identity>) -> Result<Option<Process>, Error> {
    let process = identity.map(Process::open).transpose();
    Ok(process
        .map_err(Error::on("open the VMM's process"))?
        .flatten())
}

fn unreadable() -> impl FnOnce(std::io::Error) -> Error {
    Error::on("read the machine's console")
}
