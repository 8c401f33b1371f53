//! The terminal of the user: its size, and raw mode.
//!
//! ```no_run
//! use kraft_sys::terminal::{RawMode, size};
//!
//! let raw = RawMode::enter()?;
//! let (rows, columns) = size().unwrap_or((24, 80));
//! // Each key is read as it is pressed.
//! drop(raw);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Returns whether stdin is a terminal.
pub fn stdin_is_terminal() -> bool {
    isatty(io::stdin())
}

/// Returns the rows and columns of the terminal at stdin; `None` if it has no size.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Has the terminal at stdin pass every key as it is, without echo, until it is dropped.
#[derive(Debug)]
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Changes the mode of the terminal.
    ///
    /// # Errors
    ///
    /// If stdin is not a terminal.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Drained: the last output of the guest is for the raw terminal.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
