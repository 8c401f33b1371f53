//! Consoles of machines, copied to stdout as they grow.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use kraft_machine::Logs;

use super::interrupt::Interrupt;
use crate::app::App;
use crate::failure::Failure;

/// Between two looks at whether the user has enough.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a console is waited for at a time.
const TURN: Duration = Duration::from_secs(1);
/// Pieces of consoles that may wait to be written, so that a slow reader does not fill memory.
const WAITING: usize = 16;

/// Why the following came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Every machine has ended and everything it said is written.
    AllEnded,
    /// The user had enough.
    Interrupted,
}

/// One console, and how it is written: byte for byte, or line by line behind a prefix.
#[derive(Debug)]
pub(crate) struct Console {
    logs: Logs,
    writer: Writer,
}

/// How the bytes of one console are written: as they are, or line by line behind a prefix.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    prefix: Option<String>,
    line: Vec<u8>,
}

impl Console {
    /// Takes a console that is written as it is.
    pub(crate) fn plain(logs: Logs) -> Self {
        Self {
            logs,
            writer: Writer::default(),
        }
    }
}

/// Prepares consoles, each with the name of its machine at the beginning of every line.
pub(crate) fn prefixed(app: &App, named: Vec<(&str, Logs)>) -> Vec<Console> {
    let (titles, logs): (Vec<&str>, Vec<Logs>) = named.into_iter().unzip();
    logs.into_iter()
        .zip(writers(app, &titles))
        .map(|(logs, writer)| Console { logs, writer })
        .collect()
}

/// Makes a writer for each name, which begins every line with it, in a colour of its own.
pub(crate) fn writers(app: &App, names: &[&str]) -> Vec<Writer> {
    let widest = names.iter().map(|name| name.len()).max().unwrap_or(0);
    names
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(|(name, colour)| {
            let style = if app.ui.colour() {
                Style::new().fg_color(Some((*colour).into()))
            } else {
                Style::new()
            };
            Writer {
                prefix: Some(format!("{style}{name:<widest$} |{style:#} ")),
                line: Vec::new(),
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

/// Writes what the consoles hold now.
pub(crate) fn dump(app: &App, consoles: Vec<Console>) -> Result<(), Failure> {
    for Console {
        mut logs,
        mut writer,
    } in consoles
    {
        let bytes = logs.read_new()?;
        app.ui.bytes(&writer.take(bytes))?;
        app.ui.bytes(&writer.finish())?;
    }
    Ok(())
}

/// Writes the consoles as they grow, until all machines have ended or the user has enough.
pub(crate) fn follow(
    app: &App,
    consoles: Vec<Console>,
    interrupt: &Interrupt,
) -> Result<Stopped, Failure> {
    let (sender, pieces) = mpsc::sync_channel(WAITING);
    let mut writers = Vec::with_capacity(consoles.len());
    for (index, Console { logs, writer }) in consoles.into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || read(index, logs, &sender));
        writers.push(writer);
    }
    // What is left are the senders of the consoles: when the last one has ended, so have we.
    drop(sender);
    loop {
        match pieces.recv_timeout(PATIENCE) {
            Ok((index, piece)) => {
                if let Some(writer) = writers.get_mut(index) {
                    match piece? {
                        Some(bytes) => app.ui.bytes(&writer.take(bytes))?,
                        None => app.ui.bytes(&writer.finish())?,
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Stopped::AllEnded),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.came() {
            return Ok(Stopped::Interrupted);
        }
    }
}

type Piece = Result<Option<Vec<u8>>, kraft_machine::Error>;

/// Hands a console on as it grows; `None` is its end.
fn read(index: usize, mut logs: Logs, sender: &mpsc::SyncSender<(usize, Piece)>) {
    loop {
        let piece = logs.follow(TURN);
        let nothing = matches!(&piece, Ok(Some(bytes)) if bytes.is_empty());
        let last = !matches!(&piece, Ok(Some(_)));
        // Nobody listens any more once the user has enough.
        if !nothing && sender.send((index, piece)).is_err() || last {
            return;
        }
    }
}

impl Writer {
    /// Takes new bytes and returns what can be written of them.
    pub(crate) fn take(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(prefix) = &self.prefix else {
            return bytes;
        };
        let mut out = Vec::with_capacity(bytes.len());
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                out.extend_from_slice(prefix.as_bytes());
                out.append(&mut self.line);
            }
        }
        out
    }

    /// Returns the last line if it has no end, with one.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(prefix: Option<&str>, pieces: &[&str]) -> String {
        let mut writer = Writer {
            prefix: prefix.map(str::to_owned),
            line: Vec::new(),
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
}
