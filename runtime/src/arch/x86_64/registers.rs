//! The registers of user mode as `boot.s` saves them.

/// What user mode had in its registers when it entered the kernel.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
#[expect(missing_docs, reason = "the names are those of the registers")]
pub struct Registers {
    pub r15: usize,
    pub r14: usize,
    pub r13: usize,
    pub r12: usize,
    pub rbp: usize,
    pub rbx: usize,
    pub r11: usize,
    pub r10: usize,
    pub r9: usize,
    pub r8: usize,
    pub rax: usize,
    pub rcx: usize,
    pub rdx: usize,
    pub rsi: usize,
    pub rdi: usize,
    /// The number of the trap; 0x100 for a system call.
    pub vector: usize,
    pub error: usize,
    pub rip: usize,
    pub cs: usize,
    pub rflags: usize,
    pub rsp: usize,
    pub ss: usize,
}

/// User mode's code and stack segments (see the descriptor table in `cpu.rs`).
pub const USER_CODE: usize = 0x23;
/// As [`USER_CODE`], for data.
pub const USER_DATA: usize = 0x1b;
/// Interrupts on, and the bit that is always one.
const FLAGS: usize = 0x202;

impl Registers {
    /// The registers with which a program starts.
    pub fn start(entry: usize, stack: usize) -> Registers {
        Registers {
            rip: entry,
            rsp: stack,
            cs: USER_CODE,
            ss: USER_DATA,
            rflags: FLAGS,
            ..Registers::default()
        }
    }

    /// The number of the system call.
    pub fn call_number(&self) -> usize {
        self.rax
    }

    /// The six arguments of the system call.
    pub fn arguments(&self) -> [usize; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets what the system call returns.
    pub fn set_result(&mut self, value: usize) {
        self.rax = value;
    }

    /// What the system call returns.
    pub fn result(&self) -> usize {
        self.rax
    }

    /// Goes back to the instruction that made system call `number`, so that it is made again.
    pub fn repeat_call(&mut self, number: usize, _first_argument: usize) {
        self.rax = number;
        self.rip = self.rip.wrapping_sub(2);
    }

    /// The address of the next instruction.
    pub fn instruction(&self) -> usize {
        self.rip
    }

    /// The stack pointer.
    pub fn stack(&self) -> usize {
        self.rsp
    }

    /// Sets the stack pointer.
    pub fn set_stack(&mut self, stack: usize) {
        self.rsp = stack;
    }
}
