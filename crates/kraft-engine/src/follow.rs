//! Consoles of machines, copied to stdout as they grow.
//!
//! ```
//! use kraft_engine::follow::writers;
//!
//! let mut writers = writers(&["web", "database"], false);
//! let shown = writers[0].take(b"hello\nwor".to_vec());
//! assert_eq!(shown, b"web      | hello\n", "lines are written whole");
//! assert_eq!(writers[0].finish(), b"web      | wor\n");
//! ```

use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use kraft_core::readable;
use kraft_machine::{Arrival, Chunk, Logs};
use tokio::sync::mpsc;

use super::interrupt::{Interrupt, Interrupted};
use crate::context::{Context, RuntimeError};
use crate::output::{OutputError, put};

/// How long a console is waited for at a time.
const TURN: Duration = Duration::from_secs(1);
/// Pieces of consoles that may wait to be written, so that a slow reader does not fill memory.
const WAITING: usize = 16;

/// Longer lines are broken where several consoles share the screen, so that one without newlines
/// does not fill memory, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Why consoles cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A console cannot be read.
    #[error(transparent)]
    Logs(#[from] kraft_machine::Error),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The async runtime cannot be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Why [`follow`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every machine has ended, and its whole console is written.
    AllEnded,
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// One console, and how it is written: byte for byte, or line by line behind a prefix.
#[derive(Debug)]
pub struct Console {
    logs: Logs,
    writer: Writer,
}

/// How the bytes of one console are written: as they are, or line by line behind a prefix; and
/// whether lines begin with the time of their arrival.
#[derive(Debug, Default)]
pub struct Writer {
    prefix: Option<String>,
    timestamps: bool,
    /// The line that has no end yet, behind a prefix only.
    line: Vec<u8>,
    /// Whether something of the line was written, or waits in `line`.
    begun: bool,
}

impl Console {
    /// Takes a console that is written as it is.
    pub fn plain(logs: Logs) -> Self {
        Self {
            logs,
            writer: Writer::default(),
        }
    }

    /// Begins every line with the time of its arrival, which the logs were opened with.
    #[must_use]
    pub fn timestamps(mut self, wanted: bool) -> Self {
        self.writer.timestamps = wanted;
        self
    }
}

/// Prepares the consoles of machines: as they are, or with `prefixes` each with the name of its
/// machine at the beginning of every line.
pub fn consoles(named: Vec<(&str, Logs)>, prefixes: bool, colour: bool) -> Vec<Console> {
    if !prefixes {
        let logs = named.into_iter().map(|(_, logs)| logs);
        return logs.map(Console::plain).collect();
    }
    let (titles, logs): (Vec<&str>, Vec<Logs>) = named.into_iter().unzip();
    logs.into_iter()
        .zip(writers(&titles, colour))
        .map(|(logs, writer)| Console { logs, writer })
        .collect()
}

/// Makes a writer for each name, which begins every line with it, in a colour of its own.
pub fn writers(names: &[&str], in_colour: bool) -> Vec<Writer> {
    let widest = names.iter().map(|name| name.len()).max().unwrap_or(0);
    names
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(|(name, colour)| {
            let style = if in_colour {
                Style::new().fg_color(Some((*colour).into()))
            } else {
                Style::new()
            };
            Writer {
                prefix: Some(format!("{style}{name:<widest$} |{style:#} ")),
                ..Writer::default()
            }
        })
        .collect()
}

const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// Writes what the consoles contain now.
///
/// # Errors
///
/// If a console cannot be read, or the output cannot be written.
pub fn dump(ctx: &Context, out: &mut dyn Write, consoles: Vec<Console>) -> Result<(), Error> {
    tracing::debug!(consoles = consoles.len(), "reading consoles");
    for Console {
        mut logs,
        mut writer,
    } in consoles
    {
        logs.stop_at_present_end()?;
        while let Some(chunk) = logs.follow(TURN)? {
            missed(ctx, logs.take_lost());
            put(out, &writer.take_chunk(chunk))?;
        }
        put(out, &writer.finish())?;
    }
    Ok(())
}

/// Warns that a part of a console was removed before it could be printed.
fn missed(ctx: &Context, bytes: u64) {
    if bytes > 0 {
        ctx.warn(&format!(
            "{} of output are not shown: they were removed because of the limit `console_limit`",
            readable::bytes(bytes)
        ));
    }
}

/// Writes the consoles as they grow, until all machines have ended or the user presses Ctrl-C.
///
/// # Errors
///
/// As [`dump`]; and if the async runtime cannot be started.
pub fn follow(
    ctx: &Context,
    out: &mut dyn Write,
    consoles: Vec<Console>,
    interrupt: &Interrupt,
) -> Result<Stopped, Error> {
    tracing::debug!(consoles = consoles.len(), "following consoles");
    let runtime = ctx.runtime()?;
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let mut writers = Vec::with_capacity(consoles.len());
    for (index, Console { logs, writer }) in consoles.into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || read(index, logs, &sender));
        writers.push(writer);
    }
    // The channel closes when the last console has ended.
    drop(sender);
    loop {
        match runtime.block_on(interrupt.unless(pieces.recv())) {
            Err(Interrupted) => return Ok(Stopped::Interrupted),
            Ok(None) => return Ok(Stopped::AllEnded),
            Ok(Some((index, piece))) => {
                let Some(writer) = writers.get_mut(index) else {
                    continue;
                };
                if let Some((chunk, lost)) = piece? {
                    missed(ctx, lost);
                    put(out, &writer.take_chunk(chunk))?;
                } else {
                    tracing::debug!(console = index, "the console has ended");
                    put(out, &writer.finish())?;
                }
            }
        }
    }
}

/// A piece of a console, with the number of bytes that were lost before it; `None` is its end.
type Piece = Result<Option<(Chunk, u64)>, kraft_machine::Error>;

/// Hands a console on as it grows.
fn read(index: usize, mut logs: Logs, sender: &mpsc::Sender<(usize, Piece)>) {
    loop {
        let piece = logs.follow(TURN);
        let lost = logs.take_lost();
        let nothing = matches!(&piece, Ok(Some(chunk)) if chunk.bytes.is_empty() && lost == 0);
        let is_end = !matches!(&piece, Ok(Some(_)));
        let piece = piece.map(|chunk| chunk.map(|chunk| (chunk, lost)));
        // The receiver is gone after an interrupt.
        if !nothing && sender.blocking_send((index, piece)).is_err() || is_end {
            return;
        }
    }
}

impl Writer {
    /// Takes new bytes and returns what can be written of them.
    pub fn take(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let arrivals = Vec::new();
        self.take_chunk(Chunk { bytes, arrivals })
    }

    /// Takes the next piece of a console and returns what can be written of it.
    pub fn take_chunk(&mut self, chunk: Chunk) -> Vec<u8> {
        if self.prefix.is_none() && !self.timestamps {
            return chunk.bytes;
        }
        let mut out = Vec::with_capacity(chunk.bytes.len());
        let mut index = 0;
        for piece in chunk.bytes.split_inclusive(|&byte| byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            if !self.begun && self.timestamps {
                let time = time_of(&chunk.arrivals, index);
                let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.6}"));
                let begin = if self.prefix.is_some() {
                    &mut self.line
                } else {
                    &mut out
                };
                begin.extend(format!("{time} ").into_bytes());
            }
            self.begun = !whole;
            index += piece.len();
            let Some(prefix) = &self.prefix else {
                out.extend_from_slice(piece);
                continue;
            };
            self.line.extend_from_slice(piece);
            if whole || self.line.len() > LONGEST_LINE {
                out.extend_from_slice(prefix.as_bytes());
                out.append(&mut self.line);
                if !whole {
                    out.push(b'\n');
                    self.begun = false;
                }
            }
        }
        out
    }

    /// Returns the last line if it has no end, with one.
    pub fn finish(&mut self) -> Vec<u8> {
        match &self.prefix {
            Some(prefix) if !self.line.is_empty() => {
                let mut out = prefix.clone().into_bytes();
                out.append(&mut self.line);
                out.push(b'\n');
                out
            }
            Some(_) | None => Vec::new(),
        }
    }
}

/// Returns when a byte of a chunk arrived.
fn time_of(arrivals: &[Arrival], index: usize) -> Option<Timestamp> {
    let arrival = arrivals.iter().rev().find(|arrival| arrival.index <= index);
    arrival.map(|arrival| arrival.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(prefix: Option<&str>, pieces: &[&str]) -> String {
        let mut writer = Writer {
            prefix: prefix.map(str::to_owned),
            ..Writer::default()
        };
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(writer.take(piece.as_bytes().to_vec()));
        }
        out.extend(writer.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_get_a_prefix_however_they_arrive() {
        assert_eq!(
            written(Some("a | "), &["on", "e\ntw", "o\n\nlast"]),
            "a | one\na | two\na | \na | last\n"
        );
    }

    #[test]
    fn without_a_prefix_no_byte_is_changed() {
        assert_eq!(written(None, &["x\r\n", "\0y"]), "x\r\n\0y");
    }

    #[test]
    fn a_line_has_the_time_of_its_first_byte() {
        for (prefix, wanted) in [
            (
                None,
                "2023-11-14T22:13:20.000000Z one\n2023-11-14T22:13:21.500000Z two\n- three",
            ),
            (
                Some("a | "),
                "a | 2023-11-14T22:13:20.000000Z one\na | 2023-11-14T22:13:21.500000Z two\na | - three\n",
            ),
        ] {
            let mut writer = Writer {
                prefix: prefix.map(str::to_owned),
                timestamps: true,
                ..Writer::default()
            };
            let arrival = |index, millis: i64| Arrival {
                index,
                time: Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap(),
            };
            let mut out = Vec::new();
            for (text, arrivals) in [
                ("on", vec![arrival(0, 0)]),
                ("e\ntw", vec![arrival(0, 1000), arrival(2, 1500)]),
                ("o\n", vec![arrival(0, 2000)]),
                ("three", vec![]),
            ] {
                out.extend(writer.take_chunk(Chunk {
                    bytes: text.as_bytes().to_vec(),
                    arrivals,
                }));
            }
            out.extend(writer.finish());
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn a_line_without_an_end_is_broken_and_does_not_fill_memory() {
        let mut writer = Writer {
            prefix: Some("a | ".to_owned()),
            ..Writer::default()
        };
        let mut written = 0;
        for _ in 0..100 {
            written += writer.take(vec![b'x'; 10_000]).len();
            assert!(writer.line.len() <= LONGEST_LINE);
        }
        assert!(written > 900_000, "{written}");
    }
}
