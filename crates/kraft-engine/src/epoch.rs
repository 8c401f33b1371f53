//! The time that builds write into what they make: `SOURCE_DATE_EPOCH` (reproducible-builds.org).
//!
//! Root filesystems, images and kernels carry a fixed time, so that the same input gives the same
//! bytes. Everything that writes a time, or remembers what it was made from, reads it here.

use kraft_config::env::Environment;

/// The variable.
pub const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The variable does not hold a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`SOURCE_DATE_EPOCH={0}` is not a time: expected seconds since 1970, at most 4294967295")]
pub struct Error(pub String);

/// Reads the time in seconds since 1970; `None` if the variable is not set, or
/// empty.
///
/// An archive holds 32 bits of it, so later times are refused everywhere alike.
///
/// # Errors
///
/// If the variable holds anything else than a decimal number of that size.
///
/// ```
/// use kraft_config::env::Environment;
/// use kraft_engine::epoch;
///
/// let env = Environment::from([("SOURCE_DATE_EPOCH", "1700000000")]);
/// assert_eq!(epoch::read(&env), Ok(Some(1_700_000_000)));
/// assert_eq!(epoch::read(&Environment::default()), Ok(None));
/// ```
pub fn read(env: &Environment) -> Result<Option<u32>, Error> {
    env.text(VARIABLE).map(|text| parse(&text)).transpose()
}

fn parse(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| Error(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_decimal_number_of_32_bits() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("-1", None),
            ("1.5", None),
            ("0x10", None),
            ("today", None),
            (" 1", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "`{text}`");
        }
        assert_eq!(
            parse("soon").unwrap_err().to_string(),
            "`SOURCE_DATE_EPOCH=soon` is not a time: expected seconds since 1970, at most 4294967295"
        );
        let empty = Environment::from([(VARIABLE, "")]);
        assert_eq!(read(&empty), Ok(None));
    }
}
