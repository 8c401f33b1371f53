//! Selects the Kraftfile in a directory.

/// Names of Kraftfiles, in order of preference.
pub const FILE_NAMES: [&str; 5] = [
    "kraft.yaml",
    "kraft.yml",
    "Kraftfile.yml",
    "Kraftfile.yaml",
    "Kraftfile",
];

/// A directory contains several Kraftfiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("several Kraftfiles in one directory: {}", .names.join(", "))]
pub struct Ambiguous {
    /// Their names, in order of preference.
    pub names: Vec<&'static str>,
}

/// Selects the Kraftfile from the file names of a directory.
///
/// It is not an error if there is none: the caller may search elsewhere.
pub fn choose<'n>(
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Option<&'static str>, Ambiguous> {
    let mut present = [false; FILE_NAMES.len()];
    for name in names {
        for (known, present) in FILE_NAMES.iter().zip(&mut present) {
            *present |= *known == name;
        }
    }
    let found: Vec<_> = FILE_NAMES
        .iter()
        .zip(present)
        .filter_map(|(name, present)| present.then_some(*name))
        .collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Ambiguous { names: found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_name_is_chosen_and_two_are_refused_by_name() {
        assert_eq!(choose(["a", "kraftfile", "Kraftfile.base"]), Ok(None));
        for name in FILE_NAMES {
            assert_eq!(choose(["src", name]), Ok(Some(name)));
        }
        let error = choose(["kraft.yml", "x", "Kraftfile"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "several Kraftfiles in one directory: kraft.yml, Kraftfile"
        );
    }
}
