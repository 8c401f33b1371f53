//! The id of a machine: a UUID.

use std::fmt;
use std::str::FromStr;

use kraft_core::net::Mac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a machine: a random UUID, written in lower case with hyphens.
///
/// ```
/// use kraft_machine::Id;
///
/// let id: Id = "6fa459ea-ee8a-4ca4-894e-db77e160355e".parse().unwrap();
/// assert_eq!(id.to_string(), "6fa459ea-ee8a-4ca4-894e-db77e160355e");
/// assert!("6FA459EA-EE8A-4CA4-894E-DB77E160355E".parse::<Id>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Uuid);

impl Id {
    /// Returns a new random id.
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the id of no machine: all zeros.
    pub(crate) fn nil() -> Self {
        Self(Uuid::nil())
    }

    /// Returns its bytes.
    pub(crate) fn bytes(self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    /// Returns the hardware address of the card of a machine that is in no network. The prefix is
    /// KraftKit's.
    pub(crate) fn card(self) -> Mac {
        let [a, b, ..] = *self.0.as_bytes();
        Mac([0x02, 0xb0, 0xb0, a, b, 1])
    }
}

impl Default for Id {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

/// The text is not the id of a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a machine's id: expected a UUID in lower case")]
pub struct NotAnId(pub String);

impl FromStr for Id {
    type Err = NotAnId;

    /// Parses the form that [`Display`](fmt::Display) writes and no other, so that an id and the
    /// name of its directory are the same.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Uuid::try_parse(text)
            .map(Self)
            .ok()
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| NotAnId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_that_is_written_is_parsed() {
        let id = Id::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "x",
            &id.to_string().to_uppercase(),
            &id.to_string().replace('-', ""),
            &format!("{{{id}}}"),
        ] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
