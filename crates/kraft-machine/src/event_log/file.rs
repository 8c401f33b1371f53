//! The file of the event log: reading it, and keeping it small.
//!
//! A guest can make its VMM write without end, an event per write to some ports. The VMM has the
//! file open, so it is not replaced. Instead, the monitor stores what it has read of it as a
//! summary and gives the space back to the disk, which leaves a hole:
//!
//! ```text
//! events.sum   {"offset": 1048601, "log": {…}}     the first 1048601 bytes, folded
//! events.out   [ hole ………………… ]{"event": …}⏎ …
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use crate::event_log::EventLog;
use crate::layout::MachineDir;

/// The maximal length of a line in bytes; the rest of a longer one is skipped.
const MAX_LINE: u64 = 64 << 10;

/// The maximal size of a summary in bytes.
const MAX_SUMMARY: u64 = 1 << 20;

/// How often the file is read again because it was compacted while it was read.
const ATTEMPTS: usize = 8;

/// Parses a line of the file and records it.
pub(crate) type Parse<'a> = &'a dyn Fn(&[u8], &mut EventLog);

/// The beginning of the file, folded.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    /// The length of the folded part.
    offset: u64,
    /// Earlier versions named it `diary`.
    #[serde(alias = "diary")]
    log: EventLog,
}

/// Returns whether events may be missing: the VMM could not write them when it had reached the
/// limit of its files.
pub(crate) fn may_have_gaps(dir: &MachineDir, limit: u64) -> bool {
    let full = || std::fs::metadata(dir.events()).is_ok_and(|meta| meta.len() >= limit);
    dir.events_summary().exists() || full()
}

/// Reads the event log of a machine; an empty one if there is no file.
pub(crate) fn read(dir: &MachineDir, parse: Parse<'_>) -> EventLog {
    let mut summary = summary(dir);
    for _ in 0..ATTEMPTS {
        let from = summary.offset;
        let Ok((log, _)) = read_on(dir, summary, parse) else {
            return EventLog::default();
        };
        // A part may have become a hole before it was read.
        summary = self::summary(dir);
        if summary.offset == from {
            return log;
        }
    }
    summary.log
}

/// Returns the length of the part that is folded into the summary.
pub(crate) fn compacted(dir: &MachineDir) -> u64 {
    summary(dir).offset
}

/// What a compaction achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The length of the part that is folded into the summary, in bytes.
    pub folded: u64,
    /// Whether its space was given back: not every file system has holes.
    pub freed: bool,
}

/// Folds all complete lines into the summary and gives their space back.
pub(crate) fn compact(dir: &MachineDir, parse: Parse<'_>) -> Result<Compaction, fs::Error> {
    let (_, complete) = read_on(dir, summary(dir), parse)?;
    let path = dir.events_summary();
    let json =
        serde_json::to_vec(&complete).map_err(|e| fs::Error::on("write", &path)(e.into()))?;
    fs::replace_file(&path, &json)?;
    let path = dir.events();
    let file = OpenOptions::new().write(true).open(&path);
    let freed = file.and_then(|file: File| fs::punch_hole(&file, 0, complete.offset));
    Ok(Compaction {
        folded: complete.offset,
        freed: freed.is_ok(),
    })
}

fn summary(dir: &MachineDir) -> Summary {
    let stored = fs::read_file(&dir.events_summary(), MAX_SUMMARY).ok();
    stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Continues to the end of the file; returns all events, and those of complete lines as a summary.
fn read_on(
    dir: &MachineDir,
    mut from: Summary,
    parse: Parse<'_>,
) -> Result<(EventLog, Summary), fs::Error> {
    let path = dir.events();
    let mut file = fs::open_file(&path)?;
    let mut read = || {
        file.seek(SeekFrom::Start(from.offset))?;
        // Bounded by the present length: the VMM may be writing without end.
        let left = file.metadata()?.len().saturating_sub(from.offset);
        let mut lines = BufReader::with_capacity(64 << 10, Read::by_ref(&mut file).take(left));
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let complete = line.ends_with(b"\n") || length == MAX_LINE;
            if !complete {
                return Ok(line);
            }
            parse(&line, &mut from.log);
            from.offset += length;
        }
    };
    let incomplete = read().map_err(fs::Error::on("read", &path))?;
    let mut log = from.log.clone();
    parse(&incomplete, &mut log);
    Ok((log, from))
}
