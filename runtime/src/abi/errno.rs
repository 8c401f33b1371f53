//! The error numbers of Linux.
//!
//! Source: `asm-generic/errno.h` of Linux.

use core::fmt;

macro_rules! errors {
    ($($name:ident = $number:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("Linux's `E", stringify!($name), "`.")]
            pub const $name: Errno = Errno($number);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($number => f.write_str(concat!("E", stringify!($name))),)*
                    other => write!(f, "error {other}"),
                }
            }
        }
    };
}

/// Why a system call failed: a positive number that the program receives negated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u16);

errors! {
    PERM = 1;
    NOENT = 2;
    SRCH = 3;
    INTR = 4;
    IO = 5;
    NXIO = 6;
    TOO_BIG = 7;
    NOEXEC = 8;
    BADF = 9;
    CHILD = 10;
    AGAIN = 11;
    NOMEM = 12;
    ACCES = 13;
    FAULT = 14;
    NOTBLK = 15;
    BUSY = 16;
    EXIST = 17;
    XDEV = 18;
    NODEV = 19;
    NOTDIR = 20;
    ISDIR = 21;
    INVAL = 22;
    NFILE = 23;
    MFILE = 24;
    NOTTY = 25;
    TXTBSY = 26;
    FBIG = 27;
    NOSPC = 28;
    SPIPE = 29;
    ROFS = 30;
    MLINK = 31;
    PIPE = 32;
    DOM = 33;
    RANGE = 34;
    DEADLK = 35;
    NAMETOOLONG = 36;
    NOLCK = 37;
    NOSYS = 38;
    NOTEMPTY = 39;
    LOOP = 40;
    NOMSG = 42;
    IDRM = 43;
    NODATA = 61;
    TIME = 62;
    PROTO = 71;
    OVERFLOW = 75;
    ILSEQ = 84;
    NOTSOCK = 88;
    DESTADDRREQ = 89;
    MSGSIZE = 90;
    PROTOTYPE = 91;
    NOPROTOOPT = 92;
    PROTONOSUPPORT = 93;
    SOCKTNOSUPPORT = 94;
    OPNOTSUPP = 95;
    PFNOSUPPORT = 96;
    AFNOSUPPORT = 97;
    ADDRINUSE = 98;
    ADDRNOTAVAIL = 99;
    NETDOWN = 100;
    NETUNREACH = 101;
    CONNABORTED = 103;
    CONNRESET = 104;
    NOBUFS = 105;
    ISCONN = 106;
    NOTCONN = 107;
    SHUTDOWN = 108;
    TIMEDOUT = 110;
    CONNREFUSED = 111;
    HOSTDOWN = 112;
    HOSTUNREACH = 113;
    ALREADY = 114;
    INPROGRESS = 115;
    STALE = 116;
    CANCELED = 125;
    // Never seen by a program: a signal came, and the call starts again unless a handler
    // without SA_RESTART runs (Linux: ERESTARTSYS).
    RESTART = 512;
    // As RESTART, but any handler ends the call with EINTR (Linux: ERESTARTNOHAND).
    RESTART_WITHOUT_HANDLER = 514;
}

/// The result of a system call or of a part of one.
pub type Result<T = usize> = core::result::Result<T, Errno>;

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Errno {
    /// What the error means, for messages of the kernel.
    pub fn message(self) -> &'static str {
        match self {
            Errno::NOENT => "no such file in the root filesystem",
            Errno::ACCES => "it is not executable, or not a file",
            Errno::NOEXEC => "it is not a Linux program for this processor",
            Errno::NOMEM => "the machine has not enough memory",
            Errno::LOOP => "too many symbolic links or scripts lead to it",
            Errno::TOO_BIG => "its arguments are too long",
            Errno::NOTDIR => "a part of its path is not a directory",
            _ => "an error",
        }
    }
}
