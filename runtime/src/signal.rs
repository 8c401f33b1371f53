//! Signals: their numbers, what they carry, what processes do with them.

use alloc::collections::VecDeque;
use core::cell::{Cell, RefCell};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of a signal, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $number:literal;)*) => {
        impl Signal {
            $(#[doc = concat!("`SIG", stringify!($name), "`")]
            pub const $name: Signal = Signal($number);)*

            /// The name with its `SIG`.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => concat!("SIG", stringify!($name)),)*
                    _ => "a real-time signal",
                }
            }
        }
    };
}

signals! {
    HUP = 1; INT = 2; QUIT = 3; ILL = 4; TRAP = 5; ABRT = 6; BUS = 7; FPE = 8; KILL = 9;
    USR1 = 10; SEGV = 11; USR2 = 12; PIPE = 13; ALRM = 14; TERM = 15; STKFLT = 16; CHLD = 17;
    CONT = 18; STOP = 19; TSTP = 20; TTIN = 21; TTOU = 22; URG = 23; XCPU = 24; XFSZ = 25;
    VTALRM = 26; PROF = 27; WINCH = 28; IO = 29; PWR = 30; SYS = 31;
}

/// What a signal does when the process has not said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// The process ends.
    Terminate,
    /// The process ends with a report.
    Report,
    /// Nothing.
    Ignore,
    /// The process stops until `SIGCONT`.
    Stop,
    /// The process continues.
    Continue,
}

impl Signal {
    /// How many signals there are.
    pub const COUNT: usize = 64;
    /// The first real-time signal: these queue.
    const REAL_TIME: u8 = 32;

    /// The signal with this number.
    pub fn from_number(number: usize) -> Option<Signal> {
        (1..=Self::COUNT)
            .contains(&number)
            .then_some(Signal(number as u8))
    }

    /// The number, 1 to 64.
    pub fn number(self) -> usize {
        self.0.into()
    }

    /// The signal's bit in a set.
    pub fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }

    /// What happens when the process has not said.
    pub fn default_action(self) -> Default {
        match self {
            Signal::CHLD | Signal::URG | Signal::WINCH => Default::Ignore,
            Signal::CONT => Default::Continue,
            Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => Default::Stop,
            Signal::QUIT
            | Signal::ILL
            | Signal::TRAP
            | Signal::ABRT
            | Signal::BUS
            | Signal::FPE
            | Signal::SEGV
            | Signal::XCPU
            | Signal::XFSZ
            | Signal::SYS => Default::Report,
            _ => Default::Terminate,
        }
    }
}

/// The signals that no one can block, catch or ignore.
pub const UNBLOCKABLE: u64 = 1 << 8 | 1 << 18;

/// What a handler learns of a signal (`siginfo_t`).
#[derive(Clone, Copy, Debug)]
pub struct Info {
    signal: Signal,
    code: i32,
    /// What follows the three first numbers; the meaning depends on the signal.
    fields: [u64; 3],
}

/// `si_code` of a signal that `kill` sent.
pub const FROM_USER: i32 = 0;
/// `si_code` of a signal that the kernel sent.
pub const FROM_KERNEL: i32 = 0x80;
/// `si_code` of a signal that `tgkill` sent.
pub const FROM_THREAD: i32 = -6;

impl Info {
    /// A signal of the kernel.
    pub fn kernel(signal: Signal) -> Info {
        Info {
            signal,
            code: FROM_KERNEL,
            fields: [0; 3],
        }
    }

    /// A signal of a process.
    pub fn sent(signal: Signal, code: i32, pid: i32, uid: u32) -> Info {
        Info {
            signal,
            code,
            fields: [u64::from(pid as u32) | u64::from(uid) << 32, 0, 0],
        }
    }

    /// A signal that carries a value (`sigqueue`, timers).
    pub fn with_value(signal: Signal, code: i32, first: u64, value: u64) -> Info {
        Info {
            signal,
            code,
            fields: [first, value, 0],
        }
    }

    /// An exception that an instruction caused.
    pub fn fault(signal: Signal, code: i32, address: usize) -> Info {
        Info {
            signal,
            code,
            fields: [address as u64, 0, 0],
        }
    }

    /// A change of a child: `code` is one of `CLD_*`, `status` its exit status or signal.
    pub fn child(code: i32, pid: i32, uid: u32, status: i32) -> Info {
        let mut info = Info::sent(Signal::CHLD, code, pid, uid);
        info.fields[1] = u64::from(status as u32);
        info
    }

    /// From the bytes that `rt_sigqueueinfo` was given.
    pub fn from_words(signal: Signal, words: &[u64; 16]) -> Info {
        Info {
            signal,
            code: words[1] as u32 as i32,
            fields: [words[2], words[3], words[4]],
        }
    }

    /// As `siginfo_t` is in memory.
    pub fn words(&self) -> [u64; 16] {
        let mut words = [0; 16];
        words[0] = self.signal.number() as u64;
        words[1] = u64::from(self.code as u32);
        words[2..5].copy_from_slice(&self.fields);
        words
    }

    /// The signal.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The signal's number.
    pub fn number(&self) -> usize {
        self.signal.number()
    }

    /// `si_code`
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The three words after `si_code`.
    pub fn fields(&self) -> [u64; 3] {
        self.fields
    }
}

/// What a process wants done with a signal (`struct sigaction` of the kernel).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Action {
    /// 0 for the default, 1 to ignore it, else the handler's address.
    pub handler: usize,
    /// `SA_*`
    pub flags: u64,
    /// Where a handler returns to.
    pub restorer: usize,
    /// What is blocked while the handler runs.
    pub mask: u64,
}

impl Action {
    /// `SIG_IGN`
    pub const IGNORE: usize = 1;
    /// `SA_NOCLDSTOP`
    pub const NO_CHILD_STOP: u64 = 1;
    /// `SA_NOCLDWAIT`
    pub const NO_CHILD_WAIT: u64 = 2;
    /// `SA_RESTORER`
    pub const RESTORER: u64 = 0x0400_0000;
    /// `SA_ONSTACK`
    pub const ON_STACK: u64 = 0x0800_0000;
    /// `SA_RESTART`
    pub const RESTART: u64 = 0x1000_0000;
    /// `SA_NODEFER`
    pub const NO_DEFER: u64 = 0x4000_0000;
    /// `SA_RESETHAND`
    pub const RESET: u64 = 0x8000_0000;

    /// Whether the handler is a function of the program.
    pub fn is_caught(&self) -> bool {
        self.handler > Action::IGNORE
    }

    /// Whether `signal` does nothing.
    pub fn ignores(&self, signal: Signal) -> bool {
        self.handler == Action::IGNORE
            || (self.handler == 0 && signal.default_action() == Default::Ignore)
    }
}

/// The actions of a process, by signal.
pub struct Handlers(RefCell<[Action; Signal::COUNT]>);

impl core::default::Default for Handlers {
    fn default() -> Handlers {
        Handlers(RefCell::new([Action::default(); Signal::COUNT]))
    }
}

impl Handlers {
    /// The action for a signal.
    pub fn get(&self, signal: Signal) -> Action {
        self.0.borrow()[signal.number() - 1]
    }

    /// Sets the action for a signal; the old one.
    pub fn set(&self, signal: Signal, action: Action) -> Action {
        core::mem::replace(&mut self.0.borrow_mut()[signal.number() - 1], action)
    }

    /// A copy that changes on its own.
    pub fn copy(&self) -> Handlers {
        Handlers(self.0.clone())
    }

    /// Forgets the handlers, which a new program does not have.
    pub fn reset_caught(&self) {
        for action in self.0.borrow_mut().iter_mut() {
            if action.is_caught() {
                *action = Action::default();
            }
        }
    }
}

/// Signals that wait for delivery.
#[derive(Default)]
pub struct Pending {
    set: Cell<u64>,
    queue: RefCell<VecDeque<Info>>,
}

impl Pending {
    /// The most real-time signals that wait for one process.
    const MOST: usize = 1024;

    /// The signals that wait.
    pub fn set(&self) -> u64 {
        self.set.get()
    }

    /// Adds a signal; an ordinary one that waits already stays as it is.
    pub fn add(&self, info: Info) {
        let signal = info.signal();
        let mut queue = self.queue.borrow_mut();
        let waits = self.set.get() & signal.bit() != 0;
        if (waits && signal.0 < Signal::REAL_TIME) || queue.len() >= Self::MOST {
            return;
        }
        queue.push_back(info);
        self.set.set(self.set.get() | signal.bit());
    }

    /// Takes one signal out of those in `wanted`, those of exceptions first and then the lowest number.
    pub fn take(&self, wanted: u64) -> Option<Info> {
        const FAULTS: u64 = 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 30;
        let set = self.set.get() & wanted;
        if set == 0 {
            return None;
        }
        let first = if set & FAULTS != 0 { set & FAULTS } else { set };
        let signal = Signal(first.trailing_zeros() as u8 + 1);
        let mut queue = self.queue.borrow_mut();
        let index = queue.iter().position(|info| info.signal() == signal)?;
        let info = queue.remove(index)?;
        if !queue.iter().any(|info| info.signal() == signal) {
            self.set.set(self.set.get() & !signal.bit());
        }
        Some(info)
    }

    /// Forgets signals.
    pub fn remove(&self, signals: u64) {
        self.set.set(self.set.get() & !signals);
        self.queue
            .borrow_mut()
            .retain(|info| info.signal().bit() & signals == 0);
    }
}

/// Where handlers run that ask for a stack of their own (`stack_t`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AlternateStack {
    /// The lowest address.
    pub start: usize,
    /// `SS_*`
    pub flags: u64,
    /// Bytes.
    pub size: usize,
}

impl AlternateStack {
    /// `SS_ONSTACK`
    pub const ACTIVE: u64 = 1;
    /// `SS_DISABLE`
    pub const DISABLED: u64 = 2;
    /// No such stack.
    pub const NONE: AlternateStack = AlternateStack {
        start: 0,
        flags: AlternateStack::DISABLED,
        size: 0,
    };

    /// As `stack_t` is in memory.
    pub fn words(&self) -> [u64; 3] {
        [self.start as u64, self.flags, self.size as u64]
    }

    /// From the 64-bit fields of a `stack_t`.
    pub fn from_words(words: &[u64]) -> AlternateStack {
        match *words {
            [start, flags, size, ..] => AlternateStack {
                start: start as usize,
                flags,
                size: size as usize,
            },
            _ => AlternateStack::NONE,
        }
    }

    /// Whether an address is on the stack.
    pub fn contains(&self, address: usize) -> bool {
        self.flags & AlternateStack::DISABLED == 0 && address.wrapping_sub(self.start) <= self.size
    }
}

/// What an architecture needs to run a handler.
pub struct Frame {
    /// The handler.
    pub handler: usize,
    /// Where it returns to, if the program said so.
    pub restorer: Option<usize>,
    /// The mask that returning restores.
    pub mask: u64,
    /// The end of the alternate stack, if the handler runs there.
    pub stack: Option<usize>,
    /// What the handler learns.
    pub info: Info,
    /// The alternate stack as it is set.
    pub alternate: AlternateStack,
}

impl Frame {
    /// The address that an exception is about; 0 for other signals.
    pub fn fault_address(&self) -> usize {
        match self.info.signal() {
            Signal::SEGV | Signal::BUS => self.info.fields()[0] as usize,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_signals_wait_once_and_real_time_signals_queue() {
        let pending = Pending::default();
        let real_time = Signal::from_number(40).unwrap();
        for value in 1..=2 {
            pending.add(Info::with_value(Signal::USR1, -1, 0, value));
            pending.add(Info::with_value(real_time, -1, 0, value));
        }
        let taken: alloc::vec::Vec<_> = core::iter::from_fn(|| pending.take(u64::MAX))
            .map(|info| (info.number(), info.fields()[1]))
            .collect();
        assert_eq!(taken, [(10, 1), (40, 1), (40, 2)]);
        assert_eq!(pending.set(), 0);
    }

    #[test]
    fn faults_come_first_and_blocked_signals_wait() {
        let pending = Pending::default();
        pending.add(Info::kernel(Signal::HUP));
        pending.add(Info::fault(Signal::SEGV, 1, 0));
        assert_eq!(
            pending.take(u64::MAX).map(|info| info.signal()),
            Some(Signal::SEGV)
        );
        assert!(pending.take(!Signal::HUP.bit()).is_none());
        assert_eq!(pending.set(), Signal::HUP.bit());
    }
}
