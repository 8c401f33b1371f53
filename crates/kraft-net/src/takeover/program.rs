//! Programs that the kernel runs for every packet that arrives at an interface (`bpf(2)`, `tc-bpf(8)`).
//!
//! A small assembler: registers, labels and the few instructions that [`super::sharing`] needs. The kernel
//! verifies a program when it is loaded; one that it refuses is never run.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A register: the result of a call is in 0, its arguments in 1 to 5; 6 to 9 survive it; 10 is the end of
/// the stack.
pub(super) type Register = u8;

/// The end of the stack.
pub(super) const STACK: Register = 10;

/// A place in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// The width of a value in memory, as the bits of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    /// One byte.
    Byte = 0x10,
    /// Two bytes.
    Half = 0x08,
    /// Four bytes.
    Word = 0x00,
}

/// Functions of the kernel that a program calls (`bpf-helpers(7)`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    StoreBytes = 9,
    ReplaceHeaderChecksum = 10,
    ReplaceChecksum = 11,
    CloneRedirect = 13,
    Redirect = 23,
    LoadBytes = 26,
    FindUdp = 85,
    Release = 86,
    FindTcp = 99,
}

/// A program that is being written.
#[derive(Debug, Default)]
pub(super) struct Program {
    instructions: Vec<[u8; 8]>,
    /// Jumps whose distance is not known yet.
    jumps: Vec<(usize, Label)>,
    /// Where each label is.
    places: Vec<Option<usize>>,
}

impl Program {
    fn push(&mut self, code: u8, to: Register, from: Register, offset: i16, value: i32) {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = value.to_le_bytes();
        // Registers are in one byte; every platform with KVM or QEMU here has the lower byte first.
        self.instructions
            .push([code, to | (from << 4), low, high, a, b, c, d]);
    }

    /// Returns a label, to be [placed](Self::place) once.
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Gives a label the place of the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(self.instructions.len());
        }
    }

    /// Sets a register to a number; a negative one keeps its sign.
    pub(super) fn set(&mut self, to: Register, value: i32) {
        self.push(0xb7, to, 0, 0, value);
    }

    /// Sets a register to a word.
    pub(super) fn set_word(&mut self, to: Register, value: u32) {
        self.push(0xb4, to, 0, 0, value.cast_signed());
    }

    /// Copies a register.
    pub(super) fn copy(&mut self, to: Register, from: Register) {
        self.push(0xbf, to, from, 0, 0);
    }

    /// Sets a register to the address of a place on the stack.
    pub(super) fn address(&mut self, to: Register, offset: i16) {
        self.copy(to, STACK);
        self.push(0x07, to, 0, 0, offset.into());
    }

    /// Keeps some bits of a register.
    pub(super) fn mask(&mut self, to: Register, bits: u16) {
        self.push(0x54, to, 0, 0, bits.into());
    }

    /// Loads a register from memory.
    pub(super) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(0x61 | width as u8, to, from, offset, 0);
    }

    /// Stores a word on the stack.
    pub(super) fn store(&mut self, offset: i16, value: u32) {
        self.push(0x62, STACK, 0, offset, value.cast_signed());
    }

    /// Calls a function.
    pub(super) fn call(&mut self, function: Call) {
        self.push(0x85, 0, 0, 0, function as i32);
    }

    /// Jumps.
    pub(super) fn jump(&mut self, label: Label) {
        self.jump_by(0x05, 0, 0, label);
    }

    /// Jumps if the lower half of a register has a value.
    pub(super) fn jump_if(&mut self, register: Register, value: u32, label: Label) {
        self.jump_by(0x16, register, value, label);
    }

    /// Jumps unless the lower half of a register has a value.
    pub(super) fn jump_unless(&mut self, register: Register, value: u32, label: Label) {
        self.jump_by(0x56, register, value, label);
    }

    /// Jumps if a register is 0, which is no object.
    pub(super) fn jump_if_none(&mut self, register: Register, label: Label) {
        self.jump_by(0x15, register, 0, label);
    }

    /// Jumps unless a register is 0.
    pub(super) fn jump_if_some(&mut self, register: Register, label: Label) {
        self.jump_by(0x55, register, 0, label);
    }

    fn jump_by(&mut self, code: u8, register: Register, value: u32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(code, register, 0, 0, value.cast_signed());
    }

    /// Ends the program; the result is in register 0.
    pub(super) fn exit(&mut self) {
        self.push(0x95, 0, 0, 0, 0);
    }

    /// Returns the instructions, with the distances of jumps.
    fn finish(mut self) -> io::Result<Vec<u8>> {
        let too_far = || io::Error::from(io::ErrorKind::InvalidInput);
        for (from, label) in self.jumps {
            let to = self.places.get(label.0).copied().flatten();
            let to = to.ok_or_else(too_far)?;
            let distance = i64::try_from(to).and_then(|to| Ok(to - i64::try_from(from)? - 1));
            let distance = distance.ok().and_then(|it| i16::try_from(it).ok());
            let [low, high] = distance.ok_or_else(too_far)?.to_le_bytes();
            if let Some([_, _, first, second, ..]) = self.instructions.get_mut(from) {
                (*first, *second) = (low, high);
            }
        }
        Ok(self.instructions.concat())
    }

    /// Has the kernel verify the program; returns it for a filter of packets.
    pub(super) fn verified(self) -> io::Result<OwnedFd> {
        /// `BPF_PROG_LOAD` and `BPF_PROG_TYPE_SCHED_CLS`
        const LOAD: libc::c_int = 5;
        const CLASSIFIER: u32 = 3;
        let bytes = self.finish()?;
        let license = c"BSD";
        let address = |pointer: *const u8| u64::try_from(pointer.addr()).unwrap_or_default();
        let count = u32::try_from(bytes.len() / 8).unwrap_or_default();
        // The first fields of `union bpf_attr`; all others are 0.
        let mut request = Vec::with_capacity(64);
        request.extend(CLASSIFIER.to_ne_bytes());
        request.extend(count.to_ne_bytes());
        request.extend(address(bytes.as_ptr()).to_ne_bytes());
        request.extend(address(license.as_ptr().cast()).to_ne_bytes());
        request.resize(64, 0);
        // SAFETY: the request names the instructions and the license, which outlive the call, and has
        // the length that is passed; the result is a new descriptor.
        #[expect(unsafe_code, reason = "no library loads such programs")]
        unsafe {
            let loaded = libc::syscall(libc::SYS_bpf, LOAD, request.as_ptr(), request.len());
            match i32::try_from(loaded) {
                Ok(descriptor) if descriptor >= 0 => Ok(OwnedFd::from_raw_fd(descriptor)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_to_their_labels() {
        let mut program = Program::default();
        let end = program.label();
        program.set(0, 0);
        program.jump_if(0, 7, end);
        program.set(0, -1);
        program.place(end);
        program.exit();
        let bytes = program.finish().unwrap();
        assert_eq!(bytes.get(8..16), Some(&[0x16, 0, 1, 0, 7, 0, 0, 0][..]));
        let mut program = Program::default();
        let nowhere = program.label();
        program.jump(nowhere);
        assert!(program.finish().is_err());
    }
}
