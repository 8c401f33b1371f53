//! The console: the first serial port (16550 at 0x3f8).

use core::cell::Cell;

use super::ports::{in8, out8};
use crate::sync::Global;

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
const RECEIVED: u8 = 1;
const CAN_SEND: u8 = 0x20;

/// Whether the last byte ended a line.
static AT_LINE_START: Global<Cell<bool>> = Global::new(Cell::new(true));

/// Lets the port interrupt when it has received a byte.
pub fn init() {
    out8(DATA + 3, 0x03); // eight bits, no parity, one stop bit
    out8(DATA + 2, 0x07); // queues on and empty
    out8(DATA + 4, 0x0b); // ready, and the interrupt line connected
    out8(DATA + 1, 0x01); // interrupt for received bytes
}

/// Writes bytes as they are.
pub fn console_write(bytes: &[u8]) {
    for &byte in bytes {
        // A port that is not there reads as all ones, so that this ends.
        while in8(LINE_STATUS) & CAN_SEND == 0 {
            core::hint::spin_loop();
        }
        out8(DATA, byte);
    }
    if let Some(last) = bytes.last() {
        AT_LINE_START.set(*last == b'\n');
    }
}

/// Returns whether the last byte ended a line.
pub fn is_at_line_start() -> bool {
    AT_LINE_START.get()
}

/// A byte of the keyboard, if there is one.
pub fn console_byte() -> Option<u8> {
    let status = in8(LINE_STATUS);
    (status != 0xff && status & RECEIVED != 0).then(|| in8(DATA))
}
