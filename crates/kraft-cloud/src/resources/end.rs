//! How an instance ended: the platform's bits in words.
//!
//! `stop_reason` tells who was involved, `stop_code` what the kernel said, if it said anything
//! (cloud description, object `Instance`).

use std::fmt;

/// The kernel ended it.
const KERNEL: u64 = 1;
/// The application ended.
const APPLICATION: u64 = 2;
/// The platform ended it.
const PLATFORM: u64 = 4;
/// The user had it ended.
const USER: u64 = 8;
/// It was not asked first.
const FORCED: u64 = 16;
/// Nobody needed it.
const SCALED: u64 = 32;

/// What the kernel gives as its reason, by the lowest eight bits of the stop code.
const REASONS: [(&str, &str); 8] = [
    ("OK", "the kernel shut down"),
    ("EXP", "the kernel met an exception"),
    (
        "MATH",
        "the kernel divided by zero, or computed something else that has no result",
    ),
    ("INVLOP", "the kernel met an invalid operation"),
    ("PGFAULT", "the kernel met a page fault"),
    ("SEGFAULT", "the kernel met a segmentation fault"),
    ("HWERR", "the hardware failed"),
    ("SECERR", "the kernel met a violation of its security"),
];
/// The numbers of errors that kernels end with, and their names (Linux's).
const ERRORS: [(u64, &str); 12] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (5, "EIO"),
    (8, "ENOEXEC"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (19, "ENODEV"),
    (22, "EINVAL"),
    (28, "ENOSPC"),
];

/// How an instance ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Who was involved: the bits of `stop_reason`.
    pub reason: u64,
    /// What the kernel said: `stop_code`; counts only if the kernel was involved.
    pub code: Option<u64>,
    /// What the application said: `exit_code`; counts only if it was involved.
    pub exit: Option<i64>,
}

impl End {
    /// Returns who began it: `initiated by user`; nothing if nobody knows.
    pub fn origin(&self) -> String {
        let who = [
            (USER, "user"),
            (PLATFORM, "platform"),
            (APPLICATION, "app"),
            (KERNEL, "kernel"),
        ];
        let found = who.iter().find(|(bit, _)| self.reason & bit != 0);
        match found {
            Some((_, who)) if self.reason & FORCED != 0 => format!("force initiated by {who}"),
            Some((_, who)) => format!("initiated by {who}"),
            None => String::new(),
        }
    }

    /// Returns whether it ended as it was meant to: by its user, for want of work, or by its
    /// application with success.
    pub fn is_clean(&self) -> bool {
        if self.reason & (USER | SCALED) != 0 {
            return true;
        }
        let kernel = self.kernel_code().is_none_or(|code| code % 0x100 == 0);
        let application = self.reason & APPLICATION != 0;
        application && self.exit_code().is_none_or(|code| code == 0) && kernel
    }

    /// Returns what its application ended with, if that counts.
    pub fn exit_code(&self) -> Option<i64> {
        self.exit.filter(|_| self.reason & APPLICATION != 0)
    }

    fn kernel_code(&self) -> Option<u64> {
        self.code.filter(|_| self.reason & KERNEL != 0)
    }

    /// Returns the reason of the kernel in short: `t127 PGFAULT ENOMEM`.
    pub fn short(&self) -> String {
        let Some(code) = self.kernel_code() else {
            return String::new();
        };
        let level = code >> 8 & 0x7f;
        let (name, _) = reason(code);
        let error = code >> 16 & 0xff;
        let error = match ERRORS.iter().find(|(number, _)| *number == error) {
            _ if error == 0 => String::new(),
            Some((_, name)) => format!(" {name}"),
            None => format!(" errno {error}"),
        };
        format!("t{level} {name}{error}")
    }
}

fn reason(code: u64) -> (&'static str, &'static str) {
    let low = usize::try_from(code & 0xff).unwrap_or(usize::MAX);
    REASONS.get(low).copied().unwrap_or((
        "UNKNOWN",
        "the kernel ended for a reason that has no name here",
    ))
}

/// The sentence for people, with the short form behind it where the kernel said something.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exit = self.exit_code();
        let out_of_memory = self
            .kernel_code()
            .is_some_and(|code| code >> 16 & 0xff == 12);
        if self.reason & SCALED != 0 {
            f.write_str("nobody needed it")?;
        } else if out_of_memory {
            f.write_str("out of memory")?;
        } else if self.reason & USER != 0 && self.reason & FORCED != 0 {
            f.write_str("killed by its user")?;
        } else if self.reason & USER != 0 {
            f.write_str("stopped by its user")?;
        } else if let Some(code) = self.kernel_code().filter(|code| code & 0xff != 0) {
            f.write_str(reason(code).1)?;
        } else if let Some(code) = exit {
            write!(f, "the application ended with exit code {code}")?;
        } else if self.reason & APPLICATION != 0 {
            f.write_str("the application ended")?;
        } else if self.reason & PLATFORM != 0 {
            f.write_str("stopped by the platform")?;
        } else if self.reason & KERNEL != 0 {
            f.write_str("the kernel crashed")?;
        } else {
            f.write_str("nobody knows why")?;
        }
        match self.short() {
            short if short.is_empty() => Ok(()),
            short => write!(f, " ({short})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(reason: u64, code: Option<u64>, exit: Option<i64>) -> End {
        End { reason, code, exit }
    }

    #[test]
    fn the_bits_are_told_in_words() {
        let told = |one: End| (one.origin(), one.to_string(), one.is_clean());
        let words = |origin: &str, why: &str, clean| (origin.to_owned(), why.to_owned(), clean);
        assert_eq!(
            told(end(1, Some(0x000c_7f04), None)),
            words(
                "initiated by kernel",
                "out of memory (t127 PGFAULT ENOMEM)",
                false
            )
        );
        assert_eq!(
            told(end(28, None, None)),
            words("force initiated by user", "killed by its user", true)
        );
        assert_eq!(
            told(end(3, Some(0x8100), Some(1))),
            words(
                "initiated by app",
                "the application ended with exit code 1 (t1 OK)",
                false
            )
        );
        assert_eq!(told(end(1, None, None)).1, "the kernel crashed");
        assert!(end(3, Some(0x8100), Some(0)).is_clean());
        assert!(!end(4, Some(1), None).is_clean());
        assert_eq!(end(0, None, None).origin(), "");
    }
}
