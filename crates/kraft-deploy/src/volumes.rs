//! Volumes of an instance: `VOLUME:PATH[:ro][:size=SIZE]`.

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::WantedVolume;
use kraft_core::quantity::{self, QuantityError};

use crate::launch::NewVolume;

/// Why a size is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The text is not a size.
    #[error(transparent)]
    Syntax(#[from] QuantityError),
    /// The platform has no smaller unit than MiB.
    #[error("`{0}` is less than 1Mi")]
    TooSmall(String),
}

/// Why the text of a volume is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not begin with a volume.
    #[error("`--volume {0}`: the volume is missing")]
    NoVolume(String),
    /// The text has no absolute path in the instance.
    #[error("`--volume {0}`: an absolute path is missing")]
    NoPath(String),
    /// An option does not exist.
    #[error("`--volume {text}`: `{option}` is not a valid option")]
    Option {
        /// The text.
        text: String,
        /// The option.
        option: String,
    },
    /// The size of a new volume is invalid.
    #[error(transparent)]
    Size(#[from] SizeError),
}

/// Parses an amount of memory or space, in whole MiB; a number without a unit is in MiB.
///
/// ```
/// use kraft_deploy::volumes::mebibytes;
///
/// assert_eq!(mebibytes("256"), Ok(256));
/// assert_eq!(mebibytes("1Gi"), Ok(1024));
/// assert!(mebibytes("512Ki").is_err());
/// ```
///
/// # Errors
///
/// If the text is not a size, or is less than 1 MiB.
pub fn mebibytes(text: &str) -> Result<u64, SizeError> {
    let bytes = match text.trim().parse::<u64>() {
        Ok(number) => number.saturating_mul(quantity::MIB),
        Err(_) => quantity::parse(text)?,
    };
    match bytes / quantity::MIB {
        0 => Err(SizeError::TooSmall(text.to_owned())),
        whole => Ok(whole),
    }
}

/// Parses a volume of an instance; with a size, it is created if it does not exist.
///
/// # Errors
///
/// If a part is missing or invalid.
pub fn parse(text: &str) -> Result<(WantedVolume, Option<NewVolume>), Error> {
    let mut parts = text.split(':');
    let name = parts.next().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::NoVolume(text.to_owned()))?;
    let at = parts.next().filter(|path| path.starts_with('/'));
    let at = at.ok_or_else(|| Error::NoPath(text.to_owned()))?;
    let (mut readonly, mut new) = (false, None);
    for option in parts {
        match option.split_once('=') {
            None if option == "ro" => readonly = true,
            None if option == "rw" => readonly = false,
            Some(("size", size)) => {
                new = Some(NewVolume {
                    name: name.to_owned(),
                    size_mb: mebibytes(size)?,
                });
            }
            _ => {
                return Err(Error::Option {
                    text: text.to_owned(),
                    option: option.to_owned(),
                });
            }
        }
    }
    let wanted = WantedVolume {
        id: Id::new(name),
        at: at.to_owned(),
        readonly,
    };
    Ok((wanted, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_mebibytes() {
        for (text, expected) in [
            ("256", Some(256)),
            ("1Gi", Some(1024)),
            ("64M", Some(61)),
            ("512Ki", None),
            ("0", None),
            ("much", None),
        ] {
            assert_eq!(mebibytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_volume_has_options() {
        let (wanted, new) = parse("data:/srv:ro:size=1Gi").unwrap();
        assert_eq!((wanted.at.as_str(), wanted.readonly), ("/srv", true));
        assert_eq!(new.unwrap().size_mb, 1024);
        for (text, error) in [
            ("data", "`--volume data`: an absolute path is missing"),
            (":/x", "`--volume :/x`: the volume is missing"),
            ("data:x", "`--volume data:x`: an absolute path is missing"),
            (
                "data:/x:huge",
                "`--volume data:/x:huge`: `huge` is not a valid option",
            ),
            ("data:/x:size=0", "`0` is less than 1Mi"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error);
        }
    }
}
