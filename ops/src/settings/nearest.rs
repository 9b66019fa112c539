//! Which known name an unknown one was probably meant to be.
//!
//! Invariant: suggests only names within `DISTANCE_MAX` edits.

/// More edits than this are another word, not a slip.
const DISTANCE_MAX: usize = 3;

/// The closest of `known` to `name`, if one is close.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= DISTANCE_MAX)
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_slips_and_not_other_words() {
        let known = ["LISTEN", "OPS_LISTEN", "LOG"];
        assert_eq!(nearest("LISTNE", known.into_iter()), Some("LISTEN"));
        assert_eq!(nearest("OPSLISTEN", known.into_iter()), Some("OPS_LISTEN"));
        assert_eq!(nearest("SOMETHING_ELSE", known.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
