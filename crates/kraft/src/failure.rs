//! The error desk: the only place that decides exit codes. `docs/errors.md` lists them.

pub(crate) use kraft_engine::failure::{Failure, Kind, Text, chain};

/// Returns the exit code of a kind of failure.
pub(crate) fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Unread => 0,
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::NotFound => 3,
        Kind::Network => 4,
        Kind::Authentication => 5,
        Kind::Build => 6,
        Kind::Host => 7,
        Kind::Crashed => 8,
        Kind::Guest(status) => status,
        Kind::Interrupted => 130,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Every kind but the guest's own status.
    const ALL: [Kind; 10] = [
        Kind::Failed,
        Kind::Usage,
        Kind::NotFound,
        Kind::Network,
        Kind::Authentication,
        Kind::Build,
        Kind::Host,
        Kind::Crashed,
        Kind::Interrupted,
        Kind::Unread,
    ];

    #[test]
    fn a_broken_pipe_exits_with_0() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(exit_code(failure.kind), 0);
    }

    #[test]
    fn exit_codes_are_distinct() {
        let mut codes: Vec<u8> = ALL.iter().map(|&kind| exit_code(kind)).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
    }

    #[test]
    fn the_manual_lists_every_code_with_its_exit_code() {
        let manual = include_str!("../../../docs/errors.md");
        for kind in ALL {
            let row = format!("| {} | `{}` |", exit_code(kind), kind.code());
            assert!(kind == Kind::Unread || manual.contains(&row), "{row}");
        }
    }
}
