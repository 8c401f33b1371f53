//! Copies the pipe to the segments.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::short_path;
use rustix::fs::OFlags;

use super::{ENTRY, Entry, MIN_LIMIT, SEGMENTS, log, segments, times};
use crate::machines::now;

/// Bytes that arrive within this time of each other have the same time.
const GRANULARITY: Duration = Duration::from_millis(10);

/// The disk space that a file may use beyond its length, in bytes.
const BLOCK: u64 = 4096;

/// The number of bytes that are copied at once.
const CHUNK: usize = 64 << 10;

/// Creates the directory of the console, with an empty pipe.
pub(crate) fn prepare(dir: &Path) -> Result<(), fs::Error> {
    fs::remove_tree(dir)?;
    fs::create_dir(dir, 0o700)?;
    super::input::create(dir)?;
    create_pipe(dir)
}

/// Replaces the pipe of a console, whose output is kept: what comes next is added to it. The input
/// stays, with what is connected to it.
pub(crate) fn continue_with(dir: &Path) -> Result<(), fs::Error> {
    if !dir.is_dir() {
        return prepare(dir);
    }
    super::input::create(dir)?;
    fs::remove_file(&dir.join("pipe"))?;
    create_pipe(dir)
}

fn create_pipe(dir: &Path) -> Result<(), fs::Error> {
    fs::make_fifo(&dir.join("pipe"), 0o600)
}

/// The reading end of the pipe, and the segments.
#[derive(Debug)]
pub(crate) struct Drain {
    pipe: File,
    recorder: Recorder,
    buffer: Vec<u8>,
}

impl Drain {
    /// Opens a [prepared](prepare) console for recording, and continues where the last recorder
    /// stopped. Waits until that one has stopped.
    pub(crate) fn open(dir: &Path, limit: u64) -> Result<Self, fs::Error> {
        let recorder = Recorder::open(dir, limit)?;
        let pipe = dir.join("pipe");
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let pipe = OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking)
            .open(&pipe)
            .map_err(fs::Error::on("open", &pipe))?;
        Ok(Self {
            pipe,
            recorder,
            buffer: vec![0; CHUNK],
        })
    }

    /// Copies the present content of the pipe.
    pub(crate) fn copy(&mut self) -> Copied {
        let mut copied = Copied::Nothing;
        // At most as much as a full pipe holds: the guest may print without end.
        for _ in 0..16 {
            match self.pipe.read(&mut self.buffer) {
                Ok(0) => {
                    return if copied == Copied::Nothing {
                        Copied::Closed
                    } else {
                        copied
                    };
                }
                Ok(read) => {
                    let bytes = self.buffer.get(..read).unwrap_or_default();
                    self.recorder.record(bytes, now());
                    copied = Copied::Something;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return copied,
            }
        }
        copied
    }
}

impl AsFd for Drain {
    /// Returns the pipe, which is readable when there are bytes to copy.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The outcome of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// The pipe was empty.
    Nothing,
    /// Bytes were copied.
    Something,
    /// The pipe was empty, and no process has it open for writing.
    Closed,
}

/// Writes segments.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Holds the directory open: its path may become another directory.
    lock: Lock,
    /// The maximal size of a segment, bytes and times together.
    capacity: u64,
    segment: Option<Segment>,
    /// Where the next segment begins.
    end: u64,
    last: u64,
}

/// The segment that is being written.
#[derive(Debug)]
struct Segment {
    log: File,
    times: File,
    start: u64,
    length: u64,
    entries: u64,
    /// The time of the last entry in microseconds, if it is known.
    noted: Option<u64>,
}

impl Recorder {
    pub(super) fn open(dir: &Path, limit: u64) -> Result<Self, fs::Error> {
        let lock = Lock::exclusive(dir)?;
        // Each segment has two files whose last blocks are not full.
        let capacity = limit.max(MIN_LIMIT) / SEGMENTS as u64 - 2 * BLOCK;
        let last = segments(dir).ok().and_then(|all| all.last().copied());
        let segment = last.and_then(|start| Segment::open(dir, start, false).ok());
        Ok(Self {
            lock,
            capacity,
            // Never the start of another segment, even if that one cannot be opened.
            end: segment
                .as_ref()
                .map_or(last.map_or(0, |start| start + 1), Segment::end),
            segment,
            last: 0,
        })
    }

    /// Writes bytes that arrived now. If the disk is full, they are dropped.
    pub(super) fn record(&mut self, mut bytes: &[u8], now: Timestamp) {
        // Times never go backwards, even if the clock does.
        let now = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let now = now.max(self.last);
        let capacity = self.capacity;
        while !bytes.is_empty() {
            let Some(segment) = self.segment_with_room() else {
                return;
            };
            segment.arrive(now);
            let room = usize::try_from(segment.room_in(capacity)).unwrap_or(usize::MAX);
            // The entry may have used the last space: one byte always fits.
            let piece = bytes
                .get(..room.max(1).min(bytes.len()))
                .unwrap_or_default();
            match segment.log.write_at(piece, segment.length) {
                Ok(written) if written > 0 => {
                    segment.length += written as u64;
                    self.end = segment.end();
                    self.last = now;
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Returns the segment to write to; creates a new one if the last is full.
    fn segment_with_room(&mut self) -> Option<&mut Segment> {
        let full = |segment: &Segment| segment.room_in(self.capacity) <= ENTRY as u64;
        if self.segment.as_ref().is_none_or(full) {
            let dir = self.dir();
            let all = segments(&dir).ok()?;
            // The oldest are removed first, to stay within the limit.
            let surplus = (all.len() + 1).saturating_sub(SEGMENTS);
            for start in all.iter().take(surplus) {
                let _ = std::fs::remove_file(log(&dir, *start));
                let _ = std::fs::remove_file(times(&dir, *start));
            }
            self.segment = Some(Segment::open(&dir, self.end, true).ok()?);
        }
        self.segment.as_mut()
    }

    fn dir(&self) -> PathBuf {
        short_path(self.lock.file())
    }
}

impl Segment {
    fn open(dir: &Path, start: u64, new: bool) -> io::Result<Self> {
        let open = |path: &Path| {
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(new);
            options.mode(0o600).custom_flags(flags).open(path)
        };
        // Created first: a reader of the bytes must find their times.
        let times = open(&times(dir, start))?;
        let log = open(&log(dir, start))?;
        Ok(Self {
            start,
            length: log.metadata()?.len(),
            entries: times.metadata()?.len() / ENTRY as u64,
            noted: None,
            log,
            times,
        })
    }

    fn end(&self) -> u64 {
        self.start + self.length
    }

    /// Returns how many bytes may still be added.
    fn room_in(&self, capacity: u64) -> u64 {
        capacity.saturating_sub(self.length + self.entries * ENTRY as u64)
    }

    /// Records the time of the next bytes, unless the last entry is about as old.
    fn arrive(&mut self, now: u64) {
        let granularity = u64::try_from(GRANULARITY.as_micros()).unwrap_or(0);
        let noted = self.noted.map(|noted| noted.saturating_add(granularity));
        if noted.is_some_and(|next| now < next) {
            return;
        }
        let entry = Entry {
            offset: self.end(),
            micros: now,
        };
        let at = self.entries * ENTRY as u64;
        if self.times.write_all_at(&entry.to_bytes(), at).is_ok() {
            self.entries += 1;
            self.noted = Some(now);
        }
    }
}
