//! Commands in the input of the console: who is at the other end can say how large their window
//! is, that their input has ended, that the machine is to stop, and that it was restored.
//!
//! The byte 255 begins a command of Telnet (RFC 854), and twice it stands for itself:
//!
//! | bytes | meaning |
//! |---|---|
//! | `IAC SB NAWS` columns rows `IAC SE` | the size of the window (RFC 1073) |
//! | `IAC DONT ECHO` | the input is no keyboard: no echo, editing and signals (RFC 857) |
//! | `IAC EOF` | the input has ended (RFC 1184) |
//! | `IAC IP` | terminate the first process |
//! | `IAC SB` 200 text `IAC SE` | the machine was [restored](crate::restored) |

use crate::restored;

const IAC: u8 = 255;
const DONT: u8 = 254;
const SB: u8 = 250;
const IP: u8 = 244;
const SE: u8 = 240;
const EOF: u8 = 236;
const NAWS: u8 = 31;
const ECHO: u8 = 1;

/// Bytes of a command that are kept at most.
const LONGEST: usize = restored::LONGEST + 1;

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A byte of the keyboard.
    Byte(u8),
    /// The size of the window: rows and columns.
    Size(u16, u16),
    /// The input is not typed.
    NotTyped,
    /// The end of the input.
    End,
    /// The request to stop.
    Terminate,
    /// The machine was restored: [`Decoder::text`] says more.
    Restored,
}

#[derive(Clone, Copy)]
enum State {
    /// Nothing was received yet.
    Start,
    Text,
    /// After `IAC`.
    Command,
    /// After `IAC` and a command that has an option; whether it is `DONT`.
    Option(bool),
    /// Between `IAC SB` and `IAC SE`.
    Inside,
    /// After `IAC` inside.
    InsideCommand,
}

/// Takes commands out of the input.
pub struct Decoder {
    state: State,
    inside: [u8; LONGEST],
    length: usize,
}

impl Decoder {
    /// A decoder at the beginning of the input.
    pub const fn new() -> Decoder {
        Decoder {
            state: State::Start,
            inside: [0; LONGEST],
            length: 0,
        }
    }

    /// Takes the next byte. Commands that are not known are left out.
    pub fn take(&mut self, byte: u8) -> Option<Received> {
        let (state, received) = match (self.state, byte) {
            // Sent ahead by kraft: the serial port loses a byte that it receives before it is set up.
            (State::Start, 0) => (State::Text, None),
            (State::Start | State::Text, IAC) => (State::Command, None),
            (State::Start | State::Text, _) => (State::Text, Some(Received::Byte(byte))),
            (State::Command, IAC) => (State::Text, Some(Received::Byte(IAC))),
            (State::Command, SB) => {
                self.length = 0;
                (State::Inside, None)
            }
            (State::Command, IP) => (State::Text, Some(Received::Terminate)),
            (State::Command, EOF) => (State::Text, Some(Received::End)),
            (State::Command, 251..=DONT) => (State::Option(byte == DONT), None),
            (State::Command, _) => (State::Text, None),
            (State::Option(true), ECHO) => (State::Text, Some(Received::NotTyped)),
            (State::Option(_), _) => (State::Text, None),
            (State::Inside, IAC) => (State::InsideCommand, None),
            (State::Inside, _) => {
                self.keep(byte);
                (State::Inside, None)
            }
            (State::InsideCommand, IAC) => {
                self.keep(IAC);
                (State::Inside, None)
            }
            (State::InsideCommand, SE) => (State::Text, self.inside()),
            // Broken off.
            (State::InsideCommand, _) => (State::Text, None),
        };
        self.state = state;
        received
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.inside.get_mut(self.length) {
            *place = byte;
        }
        // One that is too long is no command.
        self.length = (self.length + 1).min(LONGEST + 1);
    }

    /// Whether the machine was restored, and the rest of what it has to know comes next.
    pub fn is_restored(&self) -> bool {
        let inside = matches!(self.state, State::Inside | State::InsideCommand);
        inside && self.length > 0 && self.inside[0] == restored::OPTION
    }

    /// The text of the last command, without its option.
    pub fn text(&self) -> &[u8] {
        self.inside.get(1..self.length).unwrap_or(&[])
    }

    fn inside(&self) -> Option<Received> {
        match *self.inside.get(..self.length)? {
            [restored::OPTION, ..] => Some(Received::Restored),
            [NAWS, high, low, top, bottom] => {
                let columns = u16::from_be_bytes([high, low]);
                Some(Received::Size(u16::from_be_bytes([top, bottom]), columns))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn decoded(bytes: &[u8]) -> Vec<Received> {
        let mut decoder = Decoder::new();
        bytes
            .iter()
            .filter_map(|&byte| decoder.take(byte))
            .collect()
    }

    #[test]
    fn commands_are_taken_out_of_what_is_typed() {
        use Received::{Byte, End, NotTyped, Size, Terminate};
        let input = [
            &b"a"[..],
            &[IAC, SB, NAWS, 0, 132, 0, 43, IAC, SE],
            &[IAC, IAC],
            &[IAC, DONT, ECHO],
            &[IAC, EOF],
            &[IAC, IP],
            b"b",
        ]
        .concat();
        assert_eq!(
            decoded(&input),
            [
                Byte(b'a'),
                Size(43, 132),
                Byte(IAC),
                NotTyped,
                End,
                Terminate,
                Byte(b'b')
            ]
        );
        // A size with the byte 255 in it.
        let wide = [IAC, SB, NAWS, 1, IAC, IAC, 0, 1, IAC, SE];
        assert_eq!(decoded(&wide), [Size(1, 511)]);
    }

    #[test]
    fn the_text_of_a_restored_machine_is_kept() {
        let mut decoder = Decoder::new();
        let begin = [IAC, SB, restored::OPTION];
        assert!(begin.iter().all(|&byte| decoder.take(byte).is_none()));
        assert!(decoder.is_restored());
        for &byte in b"time 1\xff\xff" {
            assert_eq!(decoder.take(byte), None);
        }
        assert_eq!(decoder.take(IAC), None);
        assert!(decoder.is_restored());
        assert_eq!(decoder.take(SE), Some(Received::Restored));
        assert!(!decoder.is_restored());
        assert_eq!(decoder.text(), b"time 1\xff");
    }

    #[test]
    fn only_the_first_byte_may_be_a_filler() {
        assert_eq!(
            decoded(&[0, b'x', 0]),
            [Received::Byte(b'x'), Received::Byte(0)]
        );
        assert_eq!(decoded(b"x"), [Received::Byte(b'x')]);
    }

    #[test]
    fn commands_that_are_not_known_are_left_out() {
        let mut long = [&[IAC, SB][..], &[NAWS; 2000], &[IAC, SE, b'x']].concat();
        assert_eq!(decoded(&long), [Received::Byte(b'x')]);
        long.truncate(50);
        assert_eq!(decoded(&long), []);
        for unknown in [
            &[IAC, 241][..],
            &[IAC, 251, 3],
            &[IAC, 252, 1],
            &[IAC, DONT, 3],
            &[IAC, SB, 24, 1, IAC, SE],
            &[IAC, SB, NAWS, IAC, 1],
        ] {
            assert_eq!(decoded(unknown), [], "{unknown:?}");
        }
    }
}
