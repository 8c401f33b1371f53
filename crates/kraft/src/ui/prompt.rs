//! Prompts, shown only if stdin and stderr are terminals and `--no-prompt` is not set.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kraft_core::escape::escape;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use kraft_engine::context::AskError;

/// Poll interval for signals.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Asks for one of several lines; returns its index.
pub(super) fn select(question: &str, lines: &[String]) -> Result<usize, AskError> {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{}", escape(question, &['\n']));
    for (number, line) in lines.iter().enumerate() {
        let _ = writeln!(stderr, "  {}) {}", number + 1, escape(line, &[]));
    }
    loop {
        let _ = write!(stderr, "1-{} [1]: ", lines.len());
        let answer = read_line(&mut stderr)?;
        if answer.is_empty() {
            return Ok(0);
        }
        match answer.parse::<usize>() {
            Ok(number) if (1..=lines.len()).contains(&number) => return Ok(number - 1),
            _ => {
                let _ = writeln!(stderr, "`{}` is not one of them.", escape(&answer, &[]));
            }
        }
    }
}

/// Asks for a line of text.
pub(super) fn line(question: &str) -> Result<String, AskError> {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{}", escape(question, &['\n']));
    read_line(&mut stderr)
}

/// Asks for a line without echo. A signal ends the prompt.
pub(super) fn secret(question: &str) -> Result<String, AskError> {
    let interrupts = Interrupts::listen();
    let hidden = Hidden::begin()?;
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{}", escape(question, &['\n']));
    let _ = stderr.flush();
    let answer = read_hidden(&interrupts);
    drop(hidden);
    let _ = writeln!(stderr);
    answer
}

/// The signals that end the program, deferred while the terminal has no echo.
struct Interrupts {
    came: Arc<AtomicBool>,
    /// Whether they have their default effect again.
    over: Arc<AtomicBool>,
}

impl Interrupts {
    fn listen() -> Self {
        let interrupts = Self {
            came: Arc::default(),
            over: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            // If this fails, the signal keeps its default effect.
            let _ = flag::register_conditional_default(signal, Arc::clone(&interrupts.over));
            let _ = flag::register(signal, Arc::clone(&interrupts.came));
        }
        interrupts
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Disables the terminal's echo until it is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> Result<Self, AskError> {
        let failed = |error: Errno| AskError::Read(error.into());
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Reads a line from the terminal without a buffer.
fn read_hidden(interrupts: &Interrupts) -> Result<String, AskError> {
    let failed = |error: Errno| AskError::Read(error.into());
    let stdin = io::stdin();
    let mut answer = Vec::new();
    loop {
        if interrupts.came.load(Ordering::SeqCst) {
            return Err(AskError::Interrupted);
        }
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waiting, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut bytes = [0; 1024];
        let count = match rustix::io::read(&stdin, &mut bytes) {
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(failed(error)),
        };
        answer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if count == 0 && answer.is_empty() {
            return Err(AskError::Interrupted);
        }
        if count == 0 || answer.ends_with(b"\n") {
            break;
        }
    }
    let answer = String::from_utf8(answer).map_err(|_| AskError::NotText)?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_line(stderr: &mut impl Write) -> Result<String, AskError> {
    let _ = stderr.flush();
    let mut answer = String::new();
    let count = io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(AskError::Read)?;
    if count == 0 {
        return Err(AskError::Interrupted);
    }
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}
