//! Suggestions for mistyped names.
//!
//! ```
//! use kraft_core::nearest::{nearest, typo_of};
//!
//! assert_eq!(nearest("stauts", ["status", "start", "stop"]), Some("status"));
//! assert_eq!(nearest("deploy", ["status", "start"]), None);
//! assert_eq!(typo_of("LWIP_DHPC", ["LWIP_DHCP", "LWIP_UDP"]), Some("LWIP_DHCP"));
//! ```

/// Names shorter than this may differ in one letter only: with two it would be another name.
const SHORT: usize = 8;

/// Returns the candidate most similar to `word`, if one is similar enough.
///
/// Case is ignored, and swapping two adjacent letters counts as one edit.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let reach = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= reach && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the candidate that `word` is a misspelling of: equal except for one or two letters (one
/// in a short name), underscores, or a `LIB` prefix. Case is ignored.
pub fn typo_of<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > 64 {
        return None;
    }
    let plain = |text: &str| {
        let text = text.replace('_', "").to_lowercase();
        text.strip_prefix("lib")
            .map(ToOwned::to_owned)
            .unwrap_or(text)
    };
    let (lower, bare) = (word.to_lowercase(), plain(word));
    let most = if word.chars().count() < SHORT { 1 } else { 2 };
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
            let same = !bare.is_empty() && plain(candidate) == bare;
            (distance <= most || same).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_matched_and_other_names_are_not() {
        let names = ["runtime", "rootfs", "roms", "cmd"];
        assert_eq!(nearest("rutnime", names), Some("runtime"));
        assert_eq!(nearest("rootFS", names), Some("rootfs"));
        assert_eq!(nearest("network", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn misspellings_are_told_apart_from_other_names() {
        let names = [
            "LIBUKDEBUG_PRINTK",
            "LIBPOSIX_EVENT",
            "LIBLWIP",
            "I2C",
            "LWIP_DHCP",
        ];
        for (word, meant) in [
            ("LIBUKDEBUG_PRINKT", Some("LIBUKDEBUG_PRINTK")),
            ("LIBUKDEBUG_PRINTKS", Some("LIBUKDEBUG_PRINTK")),
            ("LIBUKDEBUGPRINTK", Some("LIBUKDEBUG_PRINTK")),
            ("libukdebug_printk", Some("LIBUKDEBUG_PRINTK")),
            ("UKDEBUG_PRINTK", Some("LIBUKDEBUG_PRINTK")),
            ("LWIP", Some("LIBLWIP")),
            ("LWIP_DCHP", Some("LWIP_DHCP")),
            // Names of other options, however similar.
            ("LIBPOSIX_NETLINK", None),
            ("LIBUKDEBUG_CRASH_SCREEN", None),
            ("I8042", None),
            ("LIB", None),
            ("", None),
        ] {
            assert_eq!(typo_of(word, names), meant, "{word}");
        }
    }
}
