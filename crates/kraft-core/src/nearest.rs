//! The nearest of several names to one that was mistyped.

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
}
