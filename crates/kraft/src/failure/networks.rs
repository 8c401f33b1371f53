//! Kinds and hints of the errors of networks.

use super::{Failure, Kind};

impl From<kraft_net::Error> for Failure {
    fn from(error: kraft_net::Error) -> Self {
        use kraft_net::Error;

        let kind = match &error {
            Error::NotFound { .. } => Kind::NotFound,
            Error::Name(_) | Error::Size { .. } | Error::Gateway { .. } | Error::Outside { .. } => {
                Kind::Usage
            }
            Error::Host { .. } => Kind::Host,
            Error::Exists { .. }
            | Error::Overlaps { .. }
            | Error::PoolExhausted
            | Error::Exhausted { .. }
            | Error::AddressTaken { .. }
            | Error::MacTaken { .. }
            | Error::InUse { .. }
            | Error::Running { .. }
            | Error::Down { .. }
            | Error::Damaged { .. }
            | Error::TooNew { .. }
            | Error::Port { .. }
            | Error::Connect { .. }
            | Error::Holder { .. }
            | Error::File(_) => Kind::Failed,
        };
        let hint = match &error {
            Error::NotFound { name } => Some(format!(
                "see all networks with `kraft net ls`, or make this one: `kraft net create {name}`"
            )),
            Error::Overlaps { .. } | Error::PoolExhausted => Some(
                "give a network that is free: `kraft net create --network 10.99.0.1/24 NAME`"
                    .to_owned(),
            ),
            Error::Gateway { .. } | Error::Size { .. } => {
                Some("give an address and a mask such as `172.23.0.1/16`".to_owned())
            }
            Error::AddressTaken { .. } | Error::MacTaken { .. } | Error::Outside { .. } => {
                Some("leave it out, and a free one is taken".to_owned())
            }
            // KraftKit compat: its sentence.
            Error::InUse { .. } => Some("Use --force to remove it anyway".to_owned()),
            Error::Running { machines, .. } => {
                Some(format!("stop them: `kraft stop {}`", machines.join(" ")))
            }
            Error::Down { name } => Some(format!("bring it online: `kraft net up {name}`")),
            Error::Host {
                cure: Some(cure), ..
            } => Some(format!("`{cure}`")),
            Error::Name(_)
            | Error::Exists { .. }
            | Error::Exhausted { .. }
            | Error::Damaged { .. }
            | Error::TooNew { .. }
            | Error::Host { cure: None, .. }
            | Error::Port { .. }
            | Error::Connect { .. }
            | Error::Holder { .. }
            | Error::File(_) => None,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
