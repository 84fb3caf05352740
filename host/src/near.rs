//! Finds the word that somebody probably meant.

/// The candidate that is close enough to `word` to be what was meant.
pub(crate) fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    let distance = |candidate: &'a str| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate);
    let (distance, nearest) = candidates.into_iter().map(distance).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + nearest.chars().count() / 5).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["memory_limit", "name", "url", "when_full"];
        for (word, meant) in [
            ("memry_limit", Some("memory_limit")),
            ("memory-limit", Some("memory_limit")),
            ("Name", Some("name")),
            ("whenfull", Some("when_full")),
            ("uri", Some("url")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(near(word, keys), meant, "{word}");
        }
    }
}
