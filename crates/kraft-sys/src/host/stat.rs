//! What Linux says about a process or thread (`proc_pid_stat(5)`).

/// The fields of a line of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The name of its program.
    pub(crate) name: String,
    pub(crate) state: char,
    /// The time of the processor that it has used, in clock ticks.
    pub(crate) ticks: u64,
    pub(crate) threads: u32,
    /// When it was started, in clock ticks after boot.
    pub(crate) started: u64,
    /// The pages of its memory.
    pub(crate) pages: u64,
}

impl Stat {
    /// Parses a line.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        // The name may contain any character, including parentheses.
        let (before, rest) = line.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Field 3 is the first after the name.
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let number = |at: usize| field(at)?.parse::<u64>().ok();
        let state = field(3)?.chars().next()?;
        Some(Self {
            name: name.to_owned(),
            state,
            ticks: number(14)?.checked_add(number(15)?)?,
            threads: u32::try_from(number(20)?).ok()?,
            started: number(22)?,
            pages: number(24)?,
        })
    }

    /// Returns whether the process has ended, and its parent has not read how.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_behind_any_name() {
        let rest =
            "S 1 2 2 0 -1 4194560 9 0 0 0 70 30 0 0 20 0 5 0 4242 1000 77 18446744073709551615 1";
        let stat = Stat::parse(format!("7 (a) R (b) {rest}\n").as_bytes()).unwrap();
        assert_eq!(stat.name, "a) R (b");
        assert_eq!((stat.state, stat.ticks, stat.threads), ('S', 100, 5));
        assert_eq!((stat.started, stat.pages), (4242, 77));
        assert!(!stat.has_ended());
        for name in ["x", "((", ") Z", ""] {
            let line = format!("42 ({name}) {rest}");
            let stat = Stat::parse(line.as_bytes()).unwrap();
            assert_eq!((stat.name.as_str(), stat.started), (name, 4242));
        }
        let zombie = format!("7 (a) {}", rest.replacen('S', "Z", 1));
        assert!(Stat::parse(zombie.as_bytes()).unwrap().has_ended());
        for line in ["", "42 (x", "42 (x)", "42 (x) S 1 2", ")"] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
    }
}
