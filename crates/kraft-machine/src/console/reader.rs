//! Reads the segments of a console from any offset, while they are written and removed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::short_path;

use super::{ENTRY, Entry, log, segments, times};
use crate::layout::MachineDir;
use crate::logs::Arrival;

/// The number of bytes of the times that are read at once.
const TIMES: usize = 4096;

/// The number of bytes that are read at once when a console is searched.
const BLOCK: usize = 64 << 10;

/// How often the list of segments is read again because one of them was removed.
const ATTEMPTS: usize = 16;

/// A console that is read in order.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Held open, so that it stays the same when the machine is removed or started again.
    dir: File,
    open: Option<Open>,
    position: u64,
    lost: u64,
}

/// The segment that is being read.
#[derive(Debug)]
struct Open {
    log: File,
    start: u64,
    times: Option<Times>,
}

impl Reader {
    /// Opens a console at its beginning; `None` if the machine was never started.
    pub(crate) fn open(dir: &MachineDir) -> Result<Option<Self>, fs::Error> {
        let path = dir.console();
        let dir = match File::open(&path) {
            Ok(dir) => dir,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fs::Error::on("open", &path)(e)),
        };
        Ok(Some(Self {
            dir,
            open: None,
            position: 0,
            lost: 0,
        }))
    }

    /// Returns the offset of the next byte that is read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Continues at another offset.
    pub(crate) fn seek(&mut self, position: u64) {
        self.position = position;
        self.open = None;
    }

    /// Returns how many bytes were skipped since the last call, because they were removed before
    /// they were read.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Returns whether a monitor still copies the console.
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(Lock::try_shared(&self.path()), Ok(None))
    }

    /// Returns the path of the directory; valid while this is open.
    pub(crate) fn path(&self) -> PathBuf {
        short_path(&self.dir)
    }

    /// Returns the range of offsets that are on disk.
    pub(crate) fn bounds(&self) -> io::Result<Range<u64>> {
        self.with_segments(|all| {
            let (Some(first), Some(last)) = (all.first(), all.last()) else {
                return Ok(0..0);
            };
            let length = std::fs::metadata(log(&self.path(), *last))?.len();
            Ok(*first..last + length)
        })
    }

    /// Reads the next bytes; nothing at the present end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.open.is_none() && !self.open_at_position()? {
                return Ok(0);
            }
            let read = self.read_open(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let start = self.open.as_ref().map_or(0, |open| open.start);
            let Some(next) = segments(&self.path())?.into_iter().find(|at| *at > start) else {
                return Ok(0);
            };
            // The next one was created after the last byte of this one was written.
            let read = self.read_open(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.lost += next.saturating_sub(self.position);
            self.seek(next);
        }
    }

    fn read_open(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(open) = &self.open else {
            return Ok(0);
        };
        let read = open
            .log
            .read_at(buffer, self.position.saturating_sub(open.start))?;
        self.position += read as u64;
        Ok(read)
    }

    /// Opens the segment that contains the position, or the next one.
    fn open_at_position(&mut self) -> io::Result<bool> {
        let dir = self.path();
        let position = self.position;
        let found = self.with_segments(|all| {
            let start = all.iter().rev().find(|start| **start <= position);
            let Some(start) = start.or(all.first()).copied() else {
                return Ok(None);
            };
            let log = open(&log(&dir, start))?;
            let times = open(&times(&dir, start)).ok().map(Times::new);
            Ok(Some(Open { log, start, times }))
        })?;
        let Some(open) = found else {
            return Ok(false);
        };
        self.lost += open.start.saturating_sub(self.position);
        self.position = self.position.max(open.start);
        self.open = Some(open);
        Ok(true)
    }

    /// Returns when the bytes of a range arrived, whose last byte was just read.
    pub(crate) fn arrivals(&mut self, range: Range<u64>) -> io::Result<Vec<Arrival>> {
        let times = self.open.as_mut().and_then(|open| open.times.as_mut());
        times.map_or_else(|| Ok(Vec::new()), |times| times.arrivals(range))
    }

    /// Returns at most `most` bytes from the start of the console; `None` if they were removed.
    pub(crate) fn beginning(&self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let bounds = self.bounds()?;
        if bounds.start > 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while bytes.len() < most {
            let mut block = vec![0; (most - bytes.len()).min(BLOCK)];
            let read = self.read_at(&mut block, bytes.len() as u64)?;
            if read == 0 {
                break;
            }
            bytes.extend(block.iter().take(read));
        }
        Ok(Some(bytes))
    }

    /// Returns the offset of the first byte that arrived at a time or later; the end if none did.
    pub(crate) fn arrived_since(&self, time: Timestamp) -> io::Result<u64> {
        let micros = u64::try_from(time.as_microsecond()).unwrap_or(0);
        self.with_segments(|all| {
            let dir = self.path();
            // The last segment that begins before that time, or the one after it.
            for start in all.iter().rev() {
                let mut entries = Times::new(open(&times(&dir, *start))?);
                let mut before = false;
                while let Some(entry) = entries.next()? {
                    if entry.micros < micros {
                        before = true;
                    } else if before || Some(start) == all.first() {
                        return Ok(entry.offset);
                    } else {
                        break;
                    }
                }
                if before {
                    let next = all.iter().find(|next| *next > start);
                    return Ok(match next {
                        Some(next) => *next,
                        None => self.bounds()?.end,
                    });
                }
            }
            Ok(self.bounds()?.end)
        })
    }

    /// Returns the start of the first line at or after an offset in the range; the offset itself if
    /// there is none.
    pub(crate) fn line_at(&self, offset: u64, bounds: &Range<u64>) -> io::Result<u64> {
        if offset <= bounds.start {
            return Ok(offset);
        }
        let newline = self.newline_in(offset - 1..bounds.end)?;
        Ok(newline.map_or(offset, |at| at + 1))
    }

    /// Returns the start of the first complete line after a removed part; the offset itself if that
    /// is far away.
    pub(crate) fn whole_line_after(&self, offset: u64) -> io::Result<u64> {
        let newline = self.newline_in(offset..offset + BLOCK as u64)?;
        Ok(newline.map_or(offset, |at| at + 1))
    }

    fn newline_in(&self, range: Range<u64>) -> io::Result<Option<u64>> {
        let mut block = vec![0; BLOCK];
        let mut at = range.start;
        while at < range.end {
            let most = usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK);
            let read = self.read_at(block.get_mut(..most).unwrap_or_default(), at)?;
            let bytes = block.get(..read).unwrap_or_default();
            if let Some(found) = bytes.iter().position(|&byte| byte == b'\n') {
                return Ok(Some(at + found as u64));
            }
            if read == 0 {
                break;
            }
            at += read as u64;
        }
        Ok(None)
    }

    /// Returns the start of the last `count` lines of a range. Bytes after the last newline are a
    /// line as well.
    pub(crate) fn tail(&self, count: u64, bounds: &Range<u64>) -> io::Result<u64> {
        let mut left = count;
        let mut end = bounds.end;
        let mut block = vec![0; BLOCK];
        if count == 0 {
            return Ok(end);
        }
        while end > bounds.start {
            let start = end.saturating_sub(BLOCK as u64).max(bounds.start);
            let wanted = usize::try_from(end - start).unwrap_or(BLOCK);
            let block = block.get_mut(..wanted).unwrap_or_default();
            if !self.read_exact_at(block, start)? {
                // Removed meanwhile: the rest begins here.
                return Ok(end);
            }
            for (index, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
                let after = start + index as u64 + 1;
                // The newline at the end of the last line starts no other.
                if after == bounds.end {
                    continue;
                }
                left -= 1;
                if left == 0 {
                    return Ok(after);
                }
            }
            end = start;
        }
        Ok(bounds.start)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let mut done = 0;
        while done < buffer.len() {
            let rest = buffer.get_mut(done..).unwrap_or_default();
            match self.read_at(rest, offset + done as u64)? {
                0 => return Ok(false),
                read => done += read,
            }
        }
        Ok(true)
    }

    /// Reads at an offset; returns 0 where there are no bytes.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let all = segments(&self.path())?;
        let Some(index) = all.iter().rposition(|start| *start <= offset) else {
            return Ok(0);
        };
        let start = all.get(index).copied().unwrap_or_default();
        match open(&log(&self.path(), start)) {
            Ok(file) => file.read_at(buffer, offset - start),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// Runs a function on the list of segments, again if one of them was removed meanwhile.
    fn with_segments<T>(&self, run: impl Fn(&[u64]) -> io::Result<T>) -> io::Result<T> {
        let mut attempt = 0;
        loop {
            match run(&segments(&self.path())?) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    fs::open_file(path).map_err(|error| error.source)
}

/// The times of one segment, read in order.
#[derive(Debug)]
struct Times {
    file: File,
    /// The offset of the next block in the file.
    offset: u64,
    block: Vec<u8>,
    used: usize,
    current: Option<Entry>,
    ahead: Option<Entry>,
}

impl Times {
    fn new(file: File) -> Self {
        Self {
            file,
            offset: 0,
            block: Vec::new(),
            used: 0,
            current: None,
            ahead: None,
        }
    }

    /// Returns the next entry; `None` at the present end.
    fn next(&mut self) -> io::Result<Option<Entry>> {
        if self.used + ENTRY > self.block.len() {
            // The last entry may be incomplete: it is read again.
            let mut block = vec![0; TIMES];
            let read = self.file.read_at(&mut block, self.offset)?;
            block.truncate(read / ENTRY * ENTRY);
            self.offset += block.len() as u64;
            self.block = block;
            self.used = 0;
        }
        let entry = self.block.get(self.used..).unwrap_or_default();
        let Some(entry) = entry.get(..ENTRY).and_then(Entry::from_bytes) else {
            return Ok(None);
        };
        self.used += ENTRY;
        Ok(Some(entry))
    }

    fn arrivals(&mut self, range: Range<u64>) -> io::Result<Vec<Arrival>> {
        let mut arrivals = Vec::new();
        arrivals.extend(self.current.and_then(|entry| arrival(0, entry)));
        loop {
            let entry = match self.ahead.take() {
                Some(entry) => entry,
                None => match self.next()? {
                    Some(entry) => entry,
                    None => break,
                },
            };
            if entry.offset >= range.end {
                self.ahead = Some(entry);
                break;
            }
            let index = entry.offset.saturating_sub(range.start);
            if index == 0 {
                arrivals.clear();
            }
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            arrivals.extend(arrival(index, entry));
            self.current = Some(entry);
        }
        Ok(arrivals)
    }
}

fn arrival(index: usize, entry: Entry) -> Option<Arrival> {
    let micros = i64::try_from(entry.micros).ok()?;
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(Arrival { index, time })
}
