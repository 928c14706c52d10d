//! "Did you mean …?"

/// The candidate that is most similar to `word`, if one is similar at all: at most a third of its letters differ.
pub(crate) fn most_similar<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance_max = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= distance_max * 4)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance of two short words, without regard to case.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.to_lowercase().chars().take(64).enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, &to) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            before = replaced.min(before + 1).min(*cell + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        let check = |word: &str, expect: Option<&str>| {
            assert_eq!(most_similar(word, ["percentile", "median", "max", "notify"]), expect, "{word}");
        };
        check("percentil", Some("percentile"));
        check("notifi", Some("notify"));
        check("Median", Some("median"));
        check("mx", Some("max"));
        check("banana", None);
        check("", None);
    }
}
