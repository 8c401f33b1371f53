//! The output of a machine as it grows, without that of its firmware.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_sys::process::{Identity, Process, wait_readable};

use crate::console::Reader;
use crate::driver::{Driver, MAX_FIRMWARE};
use crate::file_watch::FileWatch;
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::{Error, Machines, Status};
use crate::record::Record;

/// The maximal number of bytes that are returned at once.
const MAX_CHUNK: usize = 64 << 10;

/// How long a monitor may take to copy the last bytes of a VMM that has exited.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The interval of polling where waiting is not possible.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The interval of looking at a machine that may be started again.
const RESTART_INTERVAL: Duration = Duration::from_millis(50);

/// The interval of attempts to find a monitor for an orphaned VMM.
const ADOPTION_INTERVAL: Duration = Duration::from_millis(100);

/// The part of a console to read.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    /// The number of lines to start with, from the end of the present output; `None` for all.
    pub tail: Option<u64>,
    /// Skips lines that began before this time.
    pub since: Option<Timestamp>,
    /// Skips lines that began after this time.
    pub until: Option<Timestamp>,
    /// Whether to return [`Chunk::arrivals`].
    pub arrivals: bool,
    /// Whether [`Logs::follow`] continues when the restart policy starts the machine again.
    pub restarts: bool,
}

/// A piece of a console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When they arrived, if [`LogsOptions::arrivals`] is set and it is known.
    pub arrivals: Vec<Arrival>,
}

/// The time of arrival of the bytes of a chunk from an index on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The index of the byte in the chunk.
    pub index: usize,
    /// The time of arrival, by the clock of the host.
    pub time: Timestamp,
}

/// The console of a machine, opened for reading.
///
/// ```no_run
/// # fn example(machines: kraft_machine::Machines) -> Result<(), kraft_machine::Error> {
/// use std::time::Duration;
///
/// let machine = machines.find("web")?;
/// let mut logs = machines.logs(&machine.id, kraft_machine::LogsOptions::default())?;
/// while let Some(chunk) = logs.follow(Duration::from_secs(1))? {
///     print!("{}", String::from_utf8_lossy(&chunk.bytes));
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Logs {
    machines: Machines,
    id: Id,
    arch: Arch,
    /// `None` if this kraft has no driver for the machine.
    driver: Option<&'static dyn Driver>,
    options: LogsOptions,
    /// `None` if the machine was never started.
    reader: Option<Reader>,
    /// Whether the start was found.
    begun: bool,
    /// The number of requested bytes that were removed before the start was found.
    lost: u64,
    /// The offset to stop at, if it is not the end of the machine.
    end: Option<u64>,
    /// The run that is read: its VMM, and how often the policy had started the machine before.
    run: (Option<Identity>, u32),
    /// The VMM, if it was alive when the logs were opened.
    vmm: Option<Process>,
    /// The monitor, which copies the console.
    monitor: Option<Process>,
    ended: Option<Instant>,
    /// Readable when the console grows.
    file_watch: Option<FileWatch>,
}

/// When there may be more output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Now,
    /// When it is decided whether the machine is started again, or when it is.
    Later,
    Never,
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
        let watch = |reader: &Reader| FileWatch::new([reader.path()]);
        Ok(Self {
            id: record.id,
            arch: record.spec.get().arch,
            driver: machines.driver(record),
            machines,
            options,
            file_watch: vmm.as_ref().and(reader.as_ref()).and_then(watch),
            reader,
            begun: false,
            lost: 0,
            end: None,
            run: (run.and_then(|run| run.vmm.clone()), record.restarts.count),
            monitor: match vmm {
                Some(_) => process(run.map(|run| &run.monitor))?,
                None => None,
            },
            vmm,
            ended: None,
        })
    }

    /// Makes the logs end at their present end, unless the machine has ended.
    pub fn stop_at_present_end(&mut self) -> Result<(), Error> {
        if self.vmm_lives()
            && let Some(reader) = &self.reader
        {
            self.end = Some(reader.bounds().map_err(unreadable())?.end);
        }
        Ok(())
    }

    /// Returns how many bytes were skipped since the last call: they were removed, because of the
    /// limit of the console, before they were read.
    pub fn take_lost(&mut self) -> u64 {
        let before = std::mem::take(&mut self.lost);
        before + self.reader.as_mut().map_or(0, Reader::take_lost)
    }

    /// Returns the output since the last call, at most 64 KiB of it; an empty chunk if there is
    /// none.
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
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(MAX_CHUNK).min(MAX_CHUNK)];
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

    /// Finds the start; `false` if it cannot be decided yet.
    fn begin(&mut self, complete: bool) -> std::io::Result<bool> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        let mut bounds = reader.bounds()?;
        if let Some(first) = reader.beginning(MAX_FIRMWARE)? {
            let start = self.driver.map_or(Some(0), |driver| {
                driver.guest_output(self.arch, &first, complete)
            });
            match start {
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
            // The latest representable time has no successor.
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

    /// Returns whether the machine has ended and its whole output is on disk.
    fn ended(&mut self) -> bool {
        if self.vmm_lives() {
            return false;
        }
        let since = *self.ended.get_or_insert_with(Instant::now);
        let recorded = self.reader.as_ref().is_some_and(Reader::is_recorded);
        !recorded || since.elapsed() > FLUSH_TIMEOUT
    }

    /// Waits for more output and returns it; an empty chunk after `limit`; `None` when the machine
    /// has ended and everything was returned. With [`LogsOptions::restarts`], it has not ended as
    /// long as its policy starts it again.
    pub fn follow(&mut self, limit: Duration) -> Result<Option<Chunk>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended() || self.is_at_end();
            let new = self.read_more(ended).map_err(unreadable())?;
            if !new.bytes.is_empty() {
                return Ok(Some(new));
            }
            let next = match ended {
                true if self.options.restarts && !self.is_at_end() => self.next_run()?,
                true => Next::Never,
                false => Next::Now,
            };
            if next == Next::Never {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Some(new));
            }
            match next {
                Next::Later => std::thread::sleep(RESTART_INTERVAL.min(left)),
                // Of the next run there may be something already.
                Next::Now if ended => {}
                Next::Now | Next::Never => self
                    .sleep(deadline)
                    .map_err(Error::on("wait for the machine's console"))?,
            }
        }
    }

    /// Continues with the run that the restart policy began after this one. Its output is added to
    /// the same console.
    fn next_run(&mut self) -> Result<Next, Error> {
        let dir = self.machines.machine_dir(self.id);
        let Ok(record) = Record::load(&dir) else {
            // It was removed.
            return Ok(Next::Never);
        };
        let run = record.run.as_ref();
        let vmm = run.and_then(|run| run.vmm.clone());
        let count = record.restarts.count;
        let another = vmm.is_some() && vmm != self.run.0;
        if another && count > self.run.1 {
            self.vmm = process(vmm.as_ref())?;
            self.monitor = process(run.map(|run| &run.monitor))?;
            self.run = (vmm, count);
            self.ended = None;
            return Ok(Next::Now);
        }
        Ok(match self.machines.observe(&record, &dir) {
            Status::Idle => Next::Never,
            // The user has started it.
            Status::Running { .. } | Status::Orphaned { .. } if another => Next::Never,
            Status::Starting
            | Status::StartLost
            | Status::Unrecorded { .. }
            | Status::Running { .. }
            | Status::Orphaned { .. }
            | Status::Restarting
            | Status::RestartLost
            | Status::Asleep
            | Status::SleepLost
            | Status::Ended { .. } => {
                // Records the end, and starts a monitor for the restart, if no other process will.
                let _ = self.machines.refresh(self.id);
                Next::Later
            }
        })
    }

    fn is_at_end(&self) -> bool {
        let position = self.reader.as_ref().map_or(0, Reader::position);
        self.end.is_some_and(|end| position >= end)
    }

    /// Sleeps until the console grows, or the VMM or its monitor ends.
    fn sleep(&mut self, deadline: Instant) -> std::io::Result<()> {
        if self.ended.is_some() {
            // The monitor is copying the last bytes.
            std::thread::sleep(POLL_INTERVAL);
            return Ok(());
        }
        self.find_monitor();
        let mut files = Vec::new();
        files.extend(self.vmm.as_ref().map(AsFd::as_fd));
        let mut until = deadline;
        match &self.file_watch {
            Some(watch) => files.push(watch.as_fd()),
            // Without inotify, the console is polled.
            None => until = until.min(Instant::now() + 20 * POLL_INTERVAL),
        }
        match &self.monitor {
            Some(monitor) => files.push(monitor.as_fd()),
            None => until = until.min(Instant::now() + ADOPTION_INTERVAL),
        }
        wait_readable(&files, Some(until))?;
        if let Some(watch) = &self.file_watch {
            watch.clear();
        }
        Ok(())
    }

    /// Has an orphaned VMM adopted: its output is dropped until then.
    fn find_monitor(&mut self) {
        let ended = |monitor: &Process| monitor.wait(Some(Duration::ZERO)).unwrap_or(true);
        if self.monitor.as_ref().is_some_and(|monitor| !ended(monitor)) {
            return;
        }
        let _ = self.machines.refresh(self.id);
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
