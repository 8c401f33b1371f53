//! The registers of floating point and vectors, saved when threads are switched. The kernel
//! itself does not use them.

/// The saved registers of one thread, as Linux's `struct user_fpsimd_state` has them.
#[repr(C, align(16))]
#[derive(Clone)]
pub struct FpuState {
    vectors: [[u8; 16]; 32],
    status: u32,
    control: u32,
}

/// Bytes of the registers.
pub const SIZE: usize = 520;

unsafe extern "C" {
    fn save_vectors(at: *mut FpuState);
    fn load_vectors(at: *const FpuState);
}

/// What may be set in FPSR and FPCR; the rest is not writable or asks for traps.
const STATUS: u32 = 0xf800_009f;
const CONTROL: u32 = 0x07f7_0000;

impl FpuState {
    /// The state with which a program starts.
    pub fn new() -> FpuState {
        FpuState {
            vectors: [[0; 16]; 32],
            status: 0,
            control: 0,
        }
    }

    /// Sets all registers to what a program starts with.
    pub fn reset(&mut self) {
        *self = FpuState::new();
    }

    /// Saves the processor's registers here.
    pub fn save(&mut self) {
        // SAFETY: the structure has the layout that the code writes.
        unsafe { save_vectors(self) }
    }

    /// Loads the processor's registers from here.
    pub fn load(&self) {
        // SAFETY: the structure has the layout that the code reads.
        unsafe { load_vectors(self) }
    }

    /// The registers as a signal frame has them: FPSR, FPCR, then the vectors.
    pub fn frame(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0..4].copy_from_slice(&self.status.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.control.to_le_bytes());
        bytes[8..].copy_from_slice(self.vectors.as_flattened());
        bytes
    }

    /// Takes registers that a program wrote in the form of [`FpuState::frame`].
    pub fn accept(&mut self, frame: &[u8; SIZE]) {
        let word = |at: usize| {
            u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
        };
        self.status = word(0) & STATUS;
        self.control = word(4) & CONTROL;
        self.vectors.as_flattened_mut().copy_from_slice(&frame[8..]);
    }
}

impl Default for FpuState {
    fn default() -> FpuState {
        FpuState::new()
    }
}
