//! The registers of user mode as `boot.s` saves them.

/// What user mode had in its registers when it entered the kernel.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default, Debug)]
#[expect(missing_docs, reason = "the names are those of the registers")]
pub struct Registers {
    pub x: [usize; 31],
    pub sp: usize,
    pub pc: usize,
    /// The state to which the processor returns; zero is user mode with interrupts on.
    pub pstate: usize,
}

/// Bytes of an instruction.
const INSTRUCTION: usize = 4;

impl Registers {
    /// The registers with which a program starts.
    pub fn start(entry: usize, stack: usize) -> Registers {
        Registers {
            pc: entry,
            sp: stack,
            ..Registers::default()
        }
    }

    /// The number of the system call.
    pub fn call_number(&self) -> usize {
        self.x[8]
    }

    /// The six arguments of the system call.
    pub fn arguments(&self) -> [usize; 6] {
        let [a, b, c, d, e, f, ..] = self.x;
        [a, b, c, d, e, f]
    }

    /// Sets what the system call returns.
    pub fn set_result(&mut self, value: usize) {
        self.x[0] = value;
    }

    /// What the system call returns.
    pub fn result(&self) -> usize {
        self.x[0]
    }

    /// Goes back to the instruction that made system call `number`, so that it is made again.
    pub fn repeat_call(&mut self, number: usize, first_argument: usize) {
        self.x[0] = first_argument;
        self.x[8] = number;
        self.pc = self.pc.wrapping_sub(INSTRUCTION);
    }

    /// The address of the next instruction.
    pub fn instruction(&self) -> usize {
        self.pc
    }

    /// The stack pointer.
    pub fn stack(&self) -> usize {
        self.sp
    }

    /// Sets the stack pointer.
    pub fn set_stack(&mut self, stack: usize) {
        self.sp = stack;
    }
}
