//! Print logs of instances. They are read by offset, so that a broken connection neither loses nor
//! repeats output.
//!
//! ```no_run
//! use kraft_cloud::request::Id;
//! use kraft_deploy::logs::last;
//! # fn example(cloud: &kraft_deploy::Cloud) -> Result<(), kraft_deploy::logs::Error> {
//! let text = last(cloud, &Id::new("web"), 20)?;
//! assert!(text.lines().count() <= 20);
//! # Ok(())
//! # }
//! ```

use std::io::Write;
use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::instances::{self, Instance, LONGEST_LOG, Log, Span};
use kraft_core::error::chain;
use kraft_engine::context::Context;
use kraft_engine::follow::Writer;
use kraft_engine::output::{OutputError, put};

use crate::cloud::Cloud;
use crate::error::{Interrupted, RequestError};

/// Interval between two polls of logs without new output.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest interval between two attempts while the platform cannot be reached.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The last lines of a log are searched in at most this many bytes.
const LARGEST_TAIL: usize = 64 << 20;

/// Why logs cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The platform's answer cannot be decoded.
    #[error("the log of `{0}` is not valid base64")]
    Base64(String),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<Interrupted> for Error {
    fn from(error: Interrupted) -> Self {
        Self::Request(error.into())
    }
}

impl Error {
    /// Returns whether the user interrupted the command.
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Request(RequestError::Interrupted(_)))
    }

    /// Returns whether the same request may succeed later.
    fn is_network(&self) -> bool {
        match self {
            Self::Request(error) => error.is_network(),
            Self::Base64(_) => true,
            Self::Output(_) => false,
        }
    }
}

/// Which part of logs is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Number of lines at the end; `None` prints all.
    pub tail: Option<usize>,
    /// Whether to continue until the instances have ended.
    pub follow: bool,
}

/// A log and the position in it.
struct Reader {
    id: Id,
    title: String,
    writer: Writer,
    /// Offset of the first byte that was not read.
    at: i64,
    over: bool,
}

/// Writes the logs of instances.
///
/// # Errors
///
/// If a log cannot be read or the output cannot be written. While logs are followed, an unreachable
/// platform is reported and retried.
pub fn print(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    instances: Vec<(Instance, Writer)>,
    options: LogOptions,
) -> Result<(), Error> {
    let mut readers = Vec::with_capacity(instances.len());
    for (instance, writer) in instances {
        let mut reader = Reader {
            title: instance.title().to_owned(),
            id: instance.id(),
            writer,
            at: 0,
            over: false,
        };
        if let Some(lines) = options.tail {
            let end = tail(cloud, &reader.id, lines)?;
            reader.at = end.at;
            put(out, &reader.writer.take(end.bytes))?;
        }
        readers.push(reader);
    }
    if options.follow {
        follow(ctx, out, cloud, &mut readers)
    } else {
        dump(ctx, out, cloud, &mut readers)
    }
}

/// Writes what the logs contain now.
fn dump(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    readers: &mut [Reader],
) -> Result<(), Error> {
    for reader in readers {
        while reader.read(ctx, out, cloud)? {}
        put(out, &reader.writer.finish())?;
    }
    Ok(())
}

/// Writes the logs as they grow, until every instance has ended.
fn follow(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    readers: &mut [Reader],
) -> Result<(), Error> {
    let mut broken: u32 = 0;
    loop {
        match round(ctx, out, cloud, readers) {
            Ok(_) if readers.iter().all(|reader| reader.over) => return Ok(()),
            Ok(new_output) => {
                if broken > 0 {
                    ctx.info("the platform answers again");
                    broken = 0;
                }
                if !new_output {
                    cloud.pause(PAUSE)?;
                }
            }
            Err(error) if error.is_network() => {
                if broken == 0 {
                    ctx.warn(&chain(&error));
                    ctx.info("retrying: no part of the log is lost");
                } else {
                    tracing::debug!(
                        attempt = broken,
                        error = chain(&error),
                        "the platform is still unreachable"
                    );
                }
                broken = broken.saturating_add(1);
                cloud.pause((PAUSE * broken.min(10)).min(LONGEST_PAUSE))?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Polls every log once; returns whether there was new output.
fn round(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    readers: &mut [Reader],
) -> Result<bool, Error> {
    // The states are older than the logs: an instance that had ended before has a complete log now.
    let ended = ended(cloud, readers)?;
    let mut new_output = false;
    for (reader, ended) in readers.iter_mut().zip(ended) {
        if reader.over {
            continue;
        }
        let read = match (reader.read(ctx, out, cloud), &ended) {
            (Err(Error::Request(error)), Some(_)) if error.is_not_found() => false,
            (read, _) => read?,
        };
        new_output |= read;
        if let (false, Some(how)) = (read, ended) {
            put(out, &reader.writer.finish())?;
            ctx.info(&format!("`{}` {how}", reader.title));
            reader.over = true;
        }
    }
    Ok(new_output)
}

/// Returns for each log how its instance ended; `None` if it runs or is restarted.
fn ended(cloud: &Cloud, readers: &[Reader]) -> Result<Vec<Option<String>>, RequestError> {
    let asked: Vec<Id> = readers
        .iter()
        .filter(|reader| !reader.over)
        .map(|reader| reader.id.clone())
        .collect();
    let found = cloud.found(&instances::get(&asked))?;
    Ok(readers
        .iter()
        .map(|reader| {
            let Some(one) = found.iter().find(|one| one.uuid == reader.id.as_str()) else {
                return Some("was removed".to_owned());
            };
            (one.state == "stopped" && one.restart.is_none()).then(|| match one.end() {
                Some(end) => format!("has ended: {end}"),
                None => "does not run".to_owned(),
            })
        })
        .collect())
}

impl Reader {
    /// Reads and writes the next part; returns whether there was any.
    fn read(&mut self, ctx: &Context, out: &mut dyn Write, cloud: &Cloud) -> Result<bool, Error> {
        let page = Page::read(cloud, &self.id, self.at)?;
        if page.available.end < self.at && page.available != Span::default() {
            ctx.warn(&format!(
                "the log of `{}` starts again from the beginning",
                self.title
            ));
            self.at = page.available.start;
            return Ok(true);
        }
        if page.bytes.is_empty() {
            return Ok(false);
        }
        if page.at > self.at {
            ctx.warn(&format!(
                "{} bytes of the log of `{}` are lost: the platform keeps only its end",
                page.at - self.at,
                self.title
            ));
        }
        self.at = page.end();
        put(out, &self.writer.take(page.bytes))?;
        Ok(true)
    }
}

/// A part of a log.
struct Page {
    at: i64,
    bytes: Vec<u8>,
    available: Span,
}

impl Page {
    fn read(cloud: &Cloud, id: &Id, offset: i64) -> Result<Self, Error> {
        let asked = instances::log(id, offset, LONGEST_LOG);
        Self::of(&cloud.one(&asked)?, offset)
    }

    /// Decodes the answer to a request for the part that begins at an offset.
    fn of(log: &Log, offset: i64) -> Result<Self, Error> {
        let bytes = log.bytes().ok_or_else(|| Error::Base64(log.name.clone()))?;
        let mut page = Self {
            at: log.range.start,
            bytes,
            available: log.available,
        };
        // Drop what was read before: the platform decides where its pages begin.
        if let (true, Ok(known)) = (offset >= 0, usize::try_from(offset - page.at)) {
            page.bytes.drain(..known.min(page.bytes.len()));
            page.at = offset;
        }
        Ok(page)
    }

    /// Returns the offset behind its last byte.
    fn end(&self) -> i64 {
        self.at
            .saturating_add(i64::try_from(self.bytes.len()).unwrap_or(i64::MAX))
    }
}

/// Returns the last lines of a log as text.
///
/// # Errors
///
/// If the log cannot be read.
pub fn last(cloud: &Cloud, id: &Id, lines: usize) -> Result<String, Error> {
    let tail = tail(cloud, id, lines)?;
    Ok(String::from_utf8_lossy(&tail.bytes).into_owned())
}

/// The last lines of a log.
struct Tail {
    bytes: Vec<u8>,
    /// Offset behind the last byte.
    at: i64,
}

/// Returns the last lines of a log.
fn tail(cloud: &Cloud, id: &Id, lines: usize) -> Result<Tail, Error> {
    let last = match id {
        Id::Uuid(uuid) => Page::of(&cloud.one(&instances::log_end(uuid))?, -1)?,
        Id::Name(_) => Page::read(cloud, id, -i64::from(LONGEST_LOG))?,
    };
    let at = last.end();
    let first = last.available.start;
    let (mut start, mut bytes) = (last.at, last.bytes);
    while cut(&bytes, lines).is_none() && start > first && bytes.len() < LARGEST_TAIL {
        let from = (start - i64::from(LONGEST_LOG)).max(first);
        let page = Page::read(cloud, id, from)?;
        let Ok(wanted) = usize::try_from(start - page.at) else {
            break;
        };
        let mut before = page.bytes;
        before.truncate(wanted);
        if before.len() < wanted || wanted == 0 {
            break;
        }
        start = page.at;
        before.append(&mut bytes);
        bytes = before;
    }
    let begin = cut(&bytes, lines).unwrap_or(0);
    bytes.drain(..begin);
    Ok(Tail { bytes, at })
}

/// Returns where the last lines begin; `None` if the bytes do not contain the end of the line before.
fn cut(bytes: &[u8], lines: usize) -> Option<usize> {
    // A newline at the end does not begin another line.
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if lines == 0 {
        return Some(bytes.len());
    }
    body.iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(lines - 1)
        .map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_cut_at_line_ends() {
        let last = |text: &str, lines| {
            cut(text.as_bytes(), lines).map(|at| text.get(at..).unwrap_or_default().to_owned())
        };
        assert_eq!(last("a\nb\nc\n", 2).as_deref(), Some("b\nc\n"));
        assert_eq!(last("a\nb\nc", 1).as_deref(), Some("c"));
        assert_eq!(last("a\nb\n", 2), None);
        assert_eq!(last("a\nb\n", 0).as_deref(), Some(""));
        assert_eq!(last("", 1), None);
    }
}
