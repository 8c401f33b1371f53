//! Copies what the VMM writes into the pipe to the segments.

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
use rustix::fs::{FileType, Mode, OFlags};

use super::{ENTRY, Entry, LEAST_LIMIT, SEGMENTS, log, segments, times};
use crate::machines::now;

/// Bytes that arrive within this time of each other have the same time.
const GRANULARITY: Duration = Duration::from_millis(10);

/// What a file may take on disk beyond its length, in bytes.
const BLOCK: u64 = 4096;

/// How much is copied at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// Makes the directory of the console, empty, with its pipe.
pub(crate) fn prepare(dir: &Path) -> Result<(), fs::Error> {
    fs::remove_tree(dir)?;
    fs::create_dir(dir, 0o700)?;
    let pipe = dir.join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0)
        .map_err(|e| fs::Error::on("create", &pipe)(e.into()))
}

/// The reading end of the pipe, and where the bytes go.
#[derive(Debug)]
pub(crate) struct Drain {
    pipe: File,
    recorder: Recorder,
    buffer: Vec<u8>,
}

impl Drain {
    /// Opens a console that was [prepared](prepare) to be recorded, and goes on where the last
    /// one who did that stopped. Waits until that one has stopped.
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

    /// Copies what is in the pipe now.
    pub(crate) fn copy(&mut self) -> Copied {
        let mut copied = Copied::Nothing;
        // As much as a full pipe holds, so that a guest that never stops does not keep us here.
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
    /// Returns the pipe, which is readable when there is something to copy.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// What a copy found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// The pipe was empty.
    Nothing,
    /// Bytes.
    Something,
    /// Nothing, and no process has the pipe open for writing.
    Closed,
}

/// Writes segments.
#[derive(Debug)]
pub(super) struct Recorder {
    /// The directory stays the one we opened, whatever is at its path later.
    lock: Lock,
    /// The most a segment may have, bytes and times together.
    capacity: u64,
    segment: Option<Segment>,
    /// Where the next segment begins.
    end: u64,
    last: u64,
}

/// The segment that is written to.
#[derive(Debug)]
struct Segment {
    log: File,
    times: File,
    start: u64,
    length: u64,
    entries: u64,
    /// The time of the last entry, in microseconds; none if it is not known.
    noted: Option<u64>,
}

impl Recorder {
    pub(super) fn open(dir: &Path, limit: u64) -> Result<Self, fs::Error> {
        let lock = Lock::exclusive(dir)?;
        // Less by the blocks that are not full: those of two files for each segment.
        let capacity = limit.max(LEAST_LIMIT) / SEGMENTS as u64 - 2 * BLOCK;
        let last = segments(dir).ok().and_then(|all| all.last().copied());
        let segment = last.and_then(|start| Segment::open(dir, start, false).ok());
        Ok(Self {
            lock,
            capacity,
            // Never where another segment is, even if that one does not open.
            end: segment
                .as_ref()
                .map_or(last.map_or(0, |start| start + 1), Segment::end),
            segment,
            last: 0,
        })
    }

    /// Writes bytes that arrived now. What cannot be written, on a full disk, is dropped.
    pub(super) fn record(&mut self, mut bytes: &[u8], now: Timestamp) {
        // Times never run backwards, whatever the clock does.
        let now = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let now = now.max(self.last);
        let capacity = self.capacity;
        while !bytes.is_empty() {
            let Some(segment) = self.segment_with_room() else {
                return;
            };
            segment.arrive(now);
            let room = usize::try_from(segment.room_in(capacity)).unwrap_or(usize::MAX);
            // The entry may just have taken the last of it: one byte always goes.
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

    /// Returns the segment to write to, a new one if the last is full.
    fn segment_with_room(&mut self) -> Option<&mut Segment> {
        let full = |segment: &Segment| segment.room_in(self.capacity) <= ENTRY as u64;
        if self.segment.as_ref().is_none_or(full) {
            let dir = self.dir();
            let all = segments(&dir).ok()?;
            // Room is made first.
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
        // Whoever sees the bytes is to see their times.
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

    /// Notes the time of what comes next, if the last note is not of about the same time.
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
