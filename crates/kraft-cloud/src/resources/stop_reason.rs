//! Stop reason of an instance: the platform's bit fields decoded into messages.
//!
//! `stop_reason` contains who was involved, `stop_code` the exit status of the kernel, if any
//! (cloud description, object `Instance`).

use std::fmt;

/// Bit of `stop_reason`: the kernel stopped the instance.
const KERNEL: u64 = 1;
/// Bit of `stop_reason`: the application exited.
const APPLICATION: u64 = 2;
/// Bit of `stop_reason`: the platform stopped the instance.
const PLATFORM: u64 = 4;
/// `stop_code` of the platform: an image could not be pulled.
const IMAGE: u64 = 1;
/// Bit of `stop_reason`: the user stopped the instance.
const USER: u64 = 8;
/// Bit of `stop_reason`: the stop was forced, without a graceful shutdown.
const FORCED: u64 = 16;
/// Bit of `stop_reason`: the instance was idle and scaled to zero.
const SCALED: u64 = 32;

/// Names and descriptions of the kernel's stop reasons, by the lowest eight bits of `stop_code`.
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
/// Linux `errno` values that kernels stop with, and their names.
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

/// Stop reason of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopReason {
    /// The bits of `stop_reason`: who was involved.
    pub reason: u64,
    /// `stop_code`: the exit status of the kernel; valid only if the kernel was involved.
    pub code: Option<u64>,
    /// `exit_code`: the exit code of the application; valid only if it was involved.
    pub exit: Option<i64>,
}

impl StopReason {
    /// Returns who initiated the stop, such as `initiated by user`; empty if unknown.
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

    /// Returns whether the stop is not a failure: the user stopped the instance, it was idle and
    /// scaled to zero, or its application exited successfully.
    pub fn is_clean(&self) -> bool {
        if self.reason & (USER | SCALED) != 0 {
            return true;
        }
        let kernel = self.kernel_code().is_none_or(|code| code % 0x100 == 0);
        let application = self.reason & APPLICATION != 0;
        application && self.exit_code().is_none_or(|code| code == 0) && kernel
    }

    /// Returns the exit code of the application, if the application was involved.
    pub fn exit_code(&self) -> Option<i64> {
        self.exit.filter(|_| self.reason & APPLICATION != 0)
    }

    fn kernel_code(&self) -> Option<u64> {
        self.code.filter(|_| self.reason & KERNEL != 0)
    }

    /// Returns the kernel's stop reason in short form, such as `t127 PGFAULT ENOMEM`; empty if the
    /// kernel reported none.
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
    REASONS
        .get(low)
        .copied()
        .unwrap_or(("UNKNOWN", "the kernel stopped for an unknown reason"))
}

/// Writes a message for users, followed by the short form in parentheses if the kernel reported a
/// reason.
impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exit = self.exit_code();
        let out_of_memory = self
            .kernel_code()
            .is_some_and(|code| code >> 16 & 0xff == 12);
        if self.reason & SCALED != 0 {
            f.write_str("it was not needed")?;
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
        } else if self.reason & !FORCED == PLATFORM && self.code == Some(IMAGE) {
            f.write_str("the platform could not pull the image")?;
        } else if self.reason & PLATFORM != 0 {
            f.write_str("stopped by the platform")?;
        } else if self.reason & KERNEL != 0 {
            f.write_str("the kernel crashed")?;
        } else {
            f.write_str("unknown reason")?;
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

    fn end(reason: u64, code: Option<u64>, exit: Option<i64>) -> StopReason {
        StopReason { reason, code, exit }
    }

    #[test]
    fn the_bits_are_told_in_words() {
        let told = |one: StopReason| (one.origin(), one.to_string(), one.is_clean());
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
