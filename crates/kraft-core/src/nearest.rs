//! The nearest of several names to one that was mistyped.

/// Two letters of a word that is shorter than this make another word.
const SHORT: usize = 8;

/// Returns the candidate that `word` was most likely meant to be, if any is near.
///
/// Case does not count, and a swap of two neighbouring letters counts once.
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

/// Returns the candidate of which `word` is a typing error: the same but for one or two letters (one
/// in a short word), for underscores, or for a `LIB` in front. Case does not count.
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
    fn a_typo_finds_its_name_and_a_stranger_none() {
        let names = ["runtime", "rootfs", "roms", "cmd"];
        assert_eq!(nearest("rutnime", names), Some("runtime"));
        assert_eq!(nearest("rootFS", names), Some("rootfs"));
        assert_eq!(nearest("network", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn a_typing_error_is_told_from_the_name_of_something_else() {
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
            // The names of other things, however alike they are.
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
