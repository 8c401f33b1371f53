//! The streams of a container: its output, its input and the size of its terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_machine::ConsoleInput;
use kraft_machine::direct::Direct;
use kraft_machine::driver::Driver;
use kraft_sys::process::wait_readable;
use rustix::termios::tcgetwinsize;

use super::Event;

/// The number of bytes that are copied at once.
const CHUNK: usize = 64 << 10;

/// The number of bytes of the end of the output that are kept.
const TAIL: usize = 64;

/// How long the guest may take to read its input before it runs.
const SHORT: Duration = Duration::from_millis(200);

/// What a Unikraft kernel prints when it crashes (lib/ukdebug, `crashdump.c`). It then halts, or prints
/// the same for ever.
const CRASH: &[u8] = b"Unikraft crash - ";

/// The thread that copies the output.
#[derive(Debug)]
pub(super) struct Output(Receiver<Vec<u8>>);

impl Output {
    /// Begins to copy what a guest prints to stdout. `terminal` is whether that is one.
    pub(super) fn copy(
        machine: &Direct,
        arch: Arch,
        terminal: bool,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let pipe = machine.output().try_clone()?;
        let driver = machine.driver();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut copier = Copier {
                driver,
                arch,
                terminal,
                beginning: Some(Vec::new()),
                tail: Vec::new(),
                carriage_return: false,
                crash: Some(events),
            };
            // An engine that does not read any more loses the output, as with every container.
            let _ = copier.run(pipe, &mut io::stdout());
            let _ = sender.send(copier.tail);
        });
        Ok(Self(receiver))
    }

    /// Waits until all is copied, and returns the end of it.
    pub(super) fn finish(&self, limit: Duration) -> Vec<u8> {
        self.0.recv_timeout(limit).unwrap_or_default()
    }
}

struct Copier {
    driver: &'static dyn Driver,
    arch: Arch,
    terminal: bool,
    /// The first bytes, until it is known where the firmware's end.
    beginning: Option<Vec<u8>>,
    tail: Vec<u8>,
    carriage_return: bool,
    /// Where a crash is reported; `None` once that was done.
    crash: Option<Sender<Event>>,
}

impl Copier {
    fn run(&mut self, mut pipe: File, to: &mut impl Write) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    let bytes = chunk.get(..read).unwrap_or_default();
                    self.take(bytes, false, to)?;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    wait_readable(&[pipe.as_fd()], None)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.take(&[], true, to)
    }

    fn take(&mut self, bytes: &[u8], complete: bool, to: &mut impl Write) -> io::Result<()> {
        let Some(mut first) = self.beginning.take() else {
            return self.put(bytes, to);
        };
        first.extend(bytes);
        if let Some(at) = self.driver.guest_output(self.arch, &first, complete) {
            return self.put(first.get(at..).unwrap_or_default(), to);
        }
        self.beginning = Some(first);
        Ok(())
    }

    /// Writes output of the guest. Its serial port ends lines as terminals need it, and other streams
    /// do not.
    fn put(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        self.look(bytes);
        if self.terminal {
            to.write_all(bytes)?;
            return to.flush();
        }
        let mut plain = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if std::mem::take(&mut self.carriage_return) && byte != b'\n' {
                plain.push(b'\r');
            }
            if byte == b'\r' {
                self.carriage_return = true;
            } else {
                plain.push(byte);
            }
        }
        to.write_all(&plain)?;
        to.flush()
    }

    /// Remembers the end, and looks for a crash in it.
    fn look(&mut self, bytes: &[u8]) {
        let seen = [&self.tail[..], bytes].concat();
        if self.crash.is_some()
            && seen.windows(CRASH.len()).any(|part| part == CRASH)
            && let Some(events) = self.crash.take()
        {
            let _ = events.send(Event::Crashed);
        }
        let from = seen.len().saturating_sub(TAIL);
        self.tail = seen.get(from..).unwrap_or_default().to_vec();
    }
}

/// Begins to copy stdin to the guest.
pub(super) fn copy_input(machine: &Direct, terminal: bool) -> io::Result<()> {
    let mut input = machine.input()?;
    std::thread::spawn(move || {
        // The guest has ended, if this fails.
        let _ = input_loop(&mut input, terminal);
    });
    Ok(())
}

fn input_loop(input: &mut ConsoleInput, terminal: bool) -> io::Result<()> {
    input.begin(Duration::MAX)?;
    if terminal {
        send_size(input);
    } else {
        input.not_typed(Duration::MAX)?;
    }
    let mut chunk = vec![0; CHUNK];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut chunk) {
            Ok(0) => {
                input.end(Duration::MAX)?;
                return Ok(());
            }
            Ok(read) => {
                input.send(chunk.get(..read).unwrap_or_default(), Duration::MAX)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // The terminal was closed.
            Err(e) => return Err(e),
        }
    }
}

fn send_size(input: &mut ConsoleInput) {
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        let _ = input.resize(size.ws_row, size.ws_col, SHORT);
    }
}

/// Sends the size of the terminal to the guest.
pub(super) fn resize(machine: &Direct) {
    if let Ok(mut input) = machine.input() {
        send_size(&mut input);
    }
}

/// Prints a sentence for the logs of the container.
pub(super) fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "runu: {sentence}");
}

#[cfg(test)]
mod tests {
    use kraft_core::platform::Platform;

    use super::*;

    #[test]
    fn output_has_plain_lines_and_no_firmware_and_a_crash_is_seen() {
        let (events, seen) = mpsc::channel();
        let mut copier = Copier {
            driver: kraft_machine::driver::built_in(Platform::Qemu).unwrap(),
            arch: Arch::X86_64,
            terminal: false,
            beginning: Some(Vec::new()),
            tail: Vec::new(),
            carriage_return: false,
            crash: Some(events),
        };
        let mut out = Vec::new();
        for bytes in [
            &b"SeaBIOS (version 1.16.3)\r\nBooting "[..],
            b"from ROM..hello\r",
            b"\na\rb\r\n",
        ] {
            copier.take(bytes, false, &mut out).unwrap();
        }
        assert_eq!(String::from_utf8_lossy(&out), "hello\na\rb\n");
        assert!(seen.try_recv().is_err());
        for bytes in [
            &b"CRIT: Unikraft cra"[..],
            b"sh - Telesto\r\n",
            b"Unikraft crash - ",
        ] {
            copier.take(bytes, false, &mut out).unwrap();
        }
        assert!(matches!(seen.try_recv(), Ok(Event::Crashed)));
        assert!(seen.try_recv().is_err(), "only once");
        assert!(copier.tail.len() <= TAIL);
    }
}
