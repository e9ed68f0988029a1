//! Suggestions: the known word of which an unknown word is most likely a misspelling.

/// Returns ` (did you mean PREFIXword?)` for the closest of `known`, or an empty string if none is
/// close.
pub fn did_you_mean<'a>(
    unknown: &str,
    known: impl Iterator<Item = &'a str>,
    prefix: &str,
) -> String {
    match closest(unknown, known) {
        Some(word) => format!(" (did you mean {prefix}{word}?)"),
        None => String::new(),
    }
}

/// Returns the closest of `known` within the number of typos that a word of this length may have.
/// With more typos allowed, a different word would lead to a wrong suggestion, such as `info` for
/// `init`.
fn closest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match unknown.chars().count() {
        0 | 1 => 0,
        2..=5 => 1,
        6..=12 => 2,
        // No known word is longer. The limit keeps the computation of the distance cheap.
        13..=64 => 3,
        _ => return None,
    };
    known
        .map(|word| (distance(unknown, word), word))
        .filter(|(slips, _)| (1..=allowed).contains(slips))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

/// The optimal string alignment distance: the number of letters inserted, deleted, replaced, or
/// swapped with their neighbor (Boytsov 2011, section 2.2.1).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = || ["backup", "check", "restore", "rm", "ls"].into_iter();
        assert_eq!(closest("bakcup", known()), Some("backup"));
        assert_eq!(closest("chekc", known()), Some("check"));
        assert_eq!(closest("retsore", known()), Some("restore"));
        assert_eq!(closest("mr", known()), Some("rm"));
        assert_eq!(closest("frobnicate", known()), None);
        assert_eq!(closest("x", known()), None);
        // Commands of other programs, not typos.
        for word in ["copy", "list", "init", "clean", "stash", "repack", "report"] {
            assert_eq!(
                closest(word, ["cat", "ls", "info", "create", "restore"].into_iter()),
                None
            );
        }
    }

    #[test]
    fn a_swap_is_one_slip() {
        assert_eq!(distance("fsat", "fast"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
