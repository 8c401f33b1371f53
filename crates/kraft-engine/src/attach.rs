//! The user's terminal at the console of a machine.
//!
//! ```
//! use kraft_engine::attach::DetachKeys;
//!
//! let keys: DetachKeys = "ctrl-p,ctrl-q".parse()?;
//! assert_eq!(keys, DetachKeys::default());
//! # Ok::<(), kraft_engine::attach::DetachKeysError>(())
//! ```

use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use kraft_machine::ConsoleInput;
use kraft_sys::terminal::{self, RawMode};

use crate::interrupt::Interrupt;

/// How long a guest may take to read: as long as the user waits.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How long a guest may take to read a command.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval of looking at the size of the window.
const RESIZE_INTERVAL: Duration = Duration::from_millis(250);

/// The keys that end the connection to a console, as in Docker; empty for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// A text does not name keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key: expected a letter, or ctrl- and one of a-z, @, [, \\, ], ^ and _")]
pub struct DetachKeysError(String);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = DetachKeysError;

    fn from_str(text: &str) -> Result<Self, DetachKeysError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let key = |word: &str| {
            let wrong = || DetachKeysError(word.to_owned());
            let (name, control) = match word.strip_prefix("ctrl-") {
                Some(name) => (name, true),
                None => (word, false),
            };
            match (name.as_bytes(), control) {
                ([byte], false) if byte.is_ascii_graphic() => Ok(*byte),
                ([byte], true) if byte.is_ascii_alphabetic() || b"@[\\]^_".contains(byte) => {
                    Ok(byte.to_ascii_uppercase() & 0x1f)
                }
                _ => Err(wrong()),
            }
        };
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

/// Looks for the keys in the input: the first ones are held back until it is clear that the
/// others do not follow.
#[derive(Debug)]
struct Filter {
    keys: DetachKeys,
    held: usize,
}

impl Filter {
    /// Takes typed bytes; returns those for the guest, and whether the keys were pressed.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if keys.get(self.held) == Some(&byte) {
                self.held += 1;
                if self.held == keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend(keys.iter().take(self.held));
            self.held = 0;
            if keys.first() == Some(&byte) {
                self.held = 1;
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

/// The user's input on its way to a console. Dropping it restores the terminal.
#[derive(Debug)]
pub struct Session {
    detached: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    _raw: Option<RawMode>,
}

impl Session {
    /// Forwards `stdin` to a console; with `tty`, each key as it is pressed. The detach keys cancel
    /// `interrupt`.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be set to raw mode.
    pub fn begin(
        stdin: OwnedFd,
        mut input: ConsoleInput,
        tty: bool,
        keys: DetachKeys,
        interrupt: &Interrupt,
    ) -> io::Result<Self> {
        let raw = tty.then(RawMode::enter).transpose()?;
        if tty {
            if let Some((rows, columns)) = terminal::size() {
                // The next look at the size repeats it.
                let _ = input.resize(rows, columns, COMMAND_TIMEOUT);
            }
        } else {
            let _ = input.not_typed(COMMAND_TIMEOUT);
        }
        let session = Self {
            detached: Arc::default(),
            over: Arc::default(),
            _raw: raw,
        };
        let input = Arc::new(Mutex::new(input));
        if tty {
            let (input, over) = (Arc::clone(&input), Arc::clone(&session.over));
            thread::spawn(move || resize(&input, &over));
        }
        let (detached, interrupt) = (Arc::clone(&session.detached), interrupt.clone());
        let filter = Filter {
            // Without a terminal there are no keys.
            keys: if tty { keys } else { DetachKeys(Vec::new()) },
            held: 0,
        };
        thread::spawn(move || {
            if forward(&stdin, &input, filter) {
                detached.store(true, Ordering::SeqCst);
                interrupt.cancel();
            }
        });
        Ok(session)
    }

    /// Returns whether the user pressed the detach keys.
    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::SeqCst)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Forwards stdin until it ends; returns whether the detach keys were pressed.
fn forward(stdin: &OwnedFd, input: &Mutex<ConsoleInput>, mut filter: Filter) -> bool {
    let mut bytes = [0; 4096];
    loop {
        let read = match rustix::io::read(stdin, &mut bytes) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => 0,
        };
        let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
        if read == 0 {
            // The guest may have ended.
            let _ = input.end(FOR_EVER);
            return false;
        }
        let (out, detach) = filter.take(bytes.get(..read).unwrap_or_default());
        if input.send(&out, FOR_EVER).is_err() {
            return detach;
        }
        if detach {
            return true;
        }
    }
}

/// Reports each new size of the window to the guest.
fn resize(input: &Mutex<ConsoleInput>, over: &AtomicBool) {
    let mut last = terminal::size();
    while !over.load(Ordering::SeqCst) {
        let size = terminal::size();
        if size != last
            && let Some((rows, columns)) = size
            && let Ok(mut input) = input.try_lock()
            && input.resize(rows, columns, COMMAND_TIMEOUT).unwrap_or(true)
        {
            last = size;
        }
        thread::sleep(RESIZE_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_in_docker() {
        for (text, bytes) in [
            ("ctrl-p,ctrl-q", &[0x10, 0x11][..]),
            ("ctrl-A,d", &[1, b'd']),
            ("ctrl-],ctrl-@,ctrl-_", &[0x1d, 0, 0x1f]),
            ("", &[]),
        ] {
            assert_eq!(text.parse(), Ok(DetachKeys(bytes.to_vec())), "{text}");
        }
        for text in ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-ab", "shift-a"] {
            assert!(text.parse::<DetachKeys>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_held_back_until_the_others_follow_or_do_not() {
        let mut filter = Filter {
            keys: "a,a,b".parse().unwrap(),
            held: 0,
        };
        assert_eq!(filter.take(b"xa"), (b"x".to_vec(), false));
        assert_eq!(filter.take(b"c"), (b"ac".to_vec(), false));
        assert_eq!(filter.take(b"aa"), (b"".to_vec(), false));
        assert_eq!(filter.take(b"bz"), (b"".to_vec(), true));
        let mut none = Filter {
            keys: DetachKeys(Vec::new()),
            held: 0,
        };
        assert_eq!(none.take(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
        let mut usual = Filter {
            keys: DetachKeys::default(),
            held: 0,
        };
        assert_eq!(usual.take(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(usual.take(b"\x11"), (b"".to_vec(), true));
    }
}
