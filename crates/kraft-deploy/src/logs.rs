//! Logs of instances, read by offset so that nothing is lost or doubled when a connection breaks.

use std::io::Write;
use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::instances::{self, Instance, LONGEST_LOG, Log, Span};

use super::Cloud;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::follow::{Writer, put};

/// Between two looks at logs that say nothing new.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two tries while the platform cannot be reached, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The end of a log is looked for in at most so many bytes.
const LARGEST_TAIL: usize = 64 << 20;

/// What is wanted of logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Only so many lines of the end.
    pub tail: Option<usize>,
    /// Go on until the instances have ended.
    pub follow: bool,
}

/// One log, and how far it has been read.
struct Reader {
    id: Id,
    title: String,
    writer: Writer,
    /// The first byte that was not read.
    at: i64,
    over: bool,
}

/// Writes the logs of instances to stdout.
pub fn print(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    instances: Vec<(Instance, Writer)>,
    wish: Wish,
) -> Result<(), Failure> {
    let mut readers = Vec::with_capacity(instances.len());
    for (instance, writer) in instances {
        let mut reader = Reader {
            title: instance.title().to_owned(),
            id: instance.id(),
            writer,
            at: 0,
            over: false,
        };
        if let Some(lines) = wish.tail {
            let end = tail(cloud, &reader.id, lines)?;
            reader.at = end.at;
            put(out, &reader.writer.take(end.bytes))?;
        }
        readers.push(reader);
    }
    if wish.follow {
        follow(ctx, out, cloud, &mut readers)
    } else {
        dump(ctx, out, cloud, &mut readers)
    }
}

/// Writes what is there now.
fn dump(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    readers: &mut [Reader],
) -> Result<(), Failure> {
    for reader in readers {
        while reader.read(ctx, out, cloud)? {}
        put(out, &reader.writer.finish())?;
    }
    Ok(())
}

/// Writes what is there and what comes, until every instance has ended.
fn follow(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    readers: &mut [Reader],
) -> Result<(), Failure> {
    let mut broken: u32 = 0;
    loop {
        match round(ctx, out, cloud, readers) {
            Ok(_) if readers.iter().all(|reader| reader.over) => return Ok(()),
            Ok(news) => {
                if broken > 0 {
                    ctx.info("the platform answers again");
                    broken = 0;
                }
                if !news {
                    cloud.pause(PAUSE)?;
                }
            }
            Err(failure) if failure.kind == Kind::Network => {
                if broken == 0 {
                    ctx.failure(&failure);
                    ctx.info("trying on: nothing of the log gets lost");
                }
                broken = broken.saturating_add(1);
                cloud.pause((PAUSE * broken.min(10)).min(LONGEST_PAUSE))?;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Looks at every log once; returns whether there was news.
fn round(
    ctx: &Context,
    out: &mut dyn Write,
    cloud: &Cloud,
    readers: &mut [Reader],
) -> Result<bool, Failure> {
    // The states are older than the logs: who had ended before has said everything by now.
    let ended = ended(cloud, readers)?;
    let mut news = false;
    for (reader, ended) in readers.iter_mut().zip(ended) {
        if reader.over {
            continue;
        }
        let read = match (reader.read(ctx, out, cloud), &ended) {
            (Err(failure), Some(_)) if failure.kind == Kind::NotFound => false,
            (read, _) => read?,
        };
        news |= read;
        if let (false, Some(how)) = (read, ended) {
            put(out, &reader.writer.finish())?;
            ctx.info(&format!("`{}` {how}", reader.title));
            reader.over = true;
        }
    }
    Ok(news)
}

/// Returns for each log how its instance ended, if it did for good.
fn ended(cloud: &Cloud, readers: &[Reader]) -> Result<Vec<Option<String>>, Failure> {
    let asked: Vec<Id> = readers
        .iter()
        .filter(|reader| !reader.over)
        .map(|reader| reader.id.clone())
        .collect();
    let found = cloud.send(&instances::get(&asked))?.found()?;
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
    /// Reads on and writes it; returns whether there was anything.
    fn read(&mut self, ctx: &Context, out: &mut dyn Write, cloud: &Cloud) -> Result<bool, Failure> {
        let page = Page::read(cloud, &self.id, self.at)?;
        if page.available.end < self.at && page.available != Span::default() {
            ctx.warn(&format!("the log of `{}` begins anew", self.title));
            self.at = page.available.start;
            return Ok(true);
        }
        if page.bytes.is_empty() {
            return Ok(false);
        }
        if page.at > self.at {
            ctx.warn(&format!(
                "{} bytes of the log of `{}` are gone: the platform keeps its end only",
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
    fn read(cloud: &Cloud, id: &Id, offset: i64) -> Result<Self, Failure> {
        let asked = instances::log(id, offset, LONGEST_LOG);
        Self::of(&cloud.send(&asked)?.one()?, offset)
    }

    /// Understands an answer to a question for what begins at an offset.
    fn of(log: &Log, offset: i64) -> Result<Self, Failure> {
        let bytes = log.bytes().ok_or_else(|| {
            let what = format!("the log of `{}` is not base64", log.name);
            Failure::new(Kind::Network, what)
        })?;
        let mut page = Self {
            at: log.range.start,
            bytes,
            available: log.available,
        };
        // Whatever was read already is not written again, however the platform cuts its pages.
        if let (true, Ok(known)) = (offset >= 0, usize::try_from(offset - page.at)) {
            page.bytes.drain(..known.min(page.bytes.len()));
            page.at = offset;
        }
        Ok(page)
    }

    /// The first byte behind it.
    fn end(&self) -> i64 {
        self.at
            .saturating_add(i64::try_from(self.bytes.len()).unwrap_or(i64::MAX))
    }
}

/// Returns the last lines of a log as text.
pub fn last(cloud: &Cloud, id: &Id, lines: usize) -> Result<String, Failure> {
    let tail = tail(cloud, id, lines)?;
    Ok(String::from_utf8_lossy(&tail.bytes).into_owned())
}

/// The end of a log, and where it ends.
struct Tail {
    bytes: Vec<u8>,
    at: i64,
}

/// Returns the last lines of a log.
fn tail(cloud: &Cloud, id: &Id, lines: usize) -> Result<Tail, Failure> {
    let last = match id {
        Id::Uuid(uuid) => Page::of(&cloud.send(&instances::log_end(uuid))?.one()?, -1)?,
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

/// Returns where the last lines begin, if the line before them is there too.
fn cut(bytes: &[u8], lines: usize) -> Option<usize> {
    // The end of the last line begins no other one.
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
