//! Character classes of ignore patterns: `[a-z]`, `[!abc]`, `[[:digit:]]`, `[\]]`.
//!
//! Parsed like git (`dowild` in its `wildmatch.c`) and written for the `globset` crate, which has
//! no escapes in classes: there `]` must be first, `-` last, and `!` not first. No class matches a
//! slash, since a class must not match across directories.
//!
//! This module does not know the syntax of patterns outside classes.

use std::iter::Peekable;
use std::str::Chars;

/// A range of characters, both ends included.
type Range = (char, char);

/// Rewrites the class at the start of `letters`, after its `[`.
pub(super) fn rewritten(letters: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let negation = letters.next_if(|&letter| letter == '!' || letter == '^');
    let mut ranges = Vec::new();
    loop {
        let letter = letters.next().ok_or("the [ is never closed")?;
        match letter {
            ']' if !ranges.is_empty() => break,
            '[' if letters.next_if_eq(&':').is_some() => ranges.extend(named(letters)?),
            '-' if follows_one(&ranges) && letters.peek().is_some_and(|&next| next != ']') => {
                let (start, _) = ranges.pop().expect("follows_one saw it");
                ranges.push(range(start, literal(letters)?)?);
                // A `-` after a range does not extend it.
                ranges.push(NOTHING);
            }
            '\\' => {
                let letter = letters.next().ok_or("nothing after the last backslash")?;
                ranges.push((letter, letter));
            }
            _ => ranges.push((letter, letter)),
        }
    }
    Ok(written(negation.is_some().into(), &ranges))
}

/// Returns a class that matches only `letter`.
pub(super) fn of_one(letter: char) -> String {
    written(Sense::Within, &[(letter, letter)])
}

/// Matches nothing, since no file name contains a NUL.
const NOTHING: Range = ('\0', '\0');

/// Whether the class is plain or negated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Within,
    Without,
}

impl From<bool> for Sense {
    fn from(is_negated: bool) -> Sense {
        if is_negated {
            Sense::Without
        } else {
            Sense::Within
        }
    }
}

/// Whether the last of `ranges` is a single character that a `-` can extend.
fn follows_one(ranges: &[Range]) -> bool {
    ranges
        .last()
        .is_some_and(|&(start, end)| start == end && start != NOTHING.0)
}

/// Takes the next character, which a backslash makes literal.
fn literal(letters: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let letter = match letters.next() {
        Some('\\') => letters.next(),
        other => other,
    };
    letter.ok_or_else(|| "the [ is never closed".to_owned())
}

/// Returns the range from `start` to `end`. In git a reversed range matches nothing; here it is an
/// error, because the user cannot have intended it.
fn range(start: char, end: char) -> Result<Range, String> {
    if start <= end {
        Ok((start, end))
    } else {
        Err(format!("{start}-{end} is the wrong way round"))
    }
}

/// Parses a named class such as `[:digit:]`, after its `[:`. ASCII only, as in git.
fn named(letters: &mut Peekable<Chars<'_>>) -> Result<Vec<Range>, String> {
    let name: String = std::iter::from_fn(|| letters.next_if(char::is_ascii_lowercase)).collect();
    if letters.next() != Some(':') || letters.next() != Some(']') {
        return Err(format!("[:{name} is not closed by :]"));
    }
    let mut ranges = match name.as_str() {
        "alnum" => vec![('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => vec![('A', 'Z'), ('a', 'z')],
        "blank" => vec![(' ', ' '), ('\t', '\t')],
        "cntrl" => vec![('\x01', '\x1f'), ('\x7f', '\x7f')],
        "digit" => vec![('0', '9')],
        "graph" => vec![('!', '~')],
        "lower" => vec![('a', 'z')],
        "print" => vec![(' ', '~')],
        "punct" => vec![('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => vec![('\t', '\r'), (' ', ' ')],
        "upper" => vec![('A', 'Z')],
        "xdigit" => vec![('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return Err(format!("there is no class [:{name}:]")),
    };
    ranges.push(NOTHING);
    Ok(ranges)
}

/// The characters that are special in a class of `globset`, and the slash.
const SPECIAL: [char; 5] = ['!', '-', '/', ']', '^'];

/// Writes `ranges` as a class of `globset`.
fn written(sense: Sense, ranges: &[Range]) -> String {
    let has = |special: char| {
        ranges
            .iter()
            .any(|&(start, end)| start <= special && special <= end)
    };
    let mut class = String::from(if sense == Sense::Without { "[!" } else { "[" });
    if has(']') {
        class.push(']');
    }
    // Prevents the next character from being first, and a negated class from matching a slash.
    class.push(if sense == Sense::Without {
        '/'
    } else {
        NOTHING.0
    });
    for piece in ranges.iter().flat_map(|&range| without_special(range)) {
        class.push(piece.0);
        if piece.1 != piece.0 {
            class.extend(['-', piece.1]);
        }
    }
    class.extend(['!', '^', '-'].into_iter().filter(|&special| has(special)));
    class.push(']');
    class
}

/// Splits `range` at the special characters and removes them.
fn without_special((start, end): Range) -> Vec<Range> {
    let mut pieces = Vec::new();
    let mut from = start;
    for special in SPECIAL
        .into_iter()
        .filter(|special| (start..=end).contains(special))
    {
        if from < special {
            pieces.push((from, char::from(special as u8 - 1)));
        }
        from = char::from(special as u8 + 1);
    }
    if from <= end {
        pieces.push((from, end));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rewrites a class, given without its leading `[`.
    fn class(text: &str) -> Result<String, String> {
        rewritten(&mut text.chars().peekable())
    }

    #[test]
    fn special_characters_go_where_they_mean_themselves() {
        assert_eq!(class("]a]"), Ok("[]\0a]".to_owned()));
        assert_eq!(class("!a-]"), Ok("[!/a-]".to_owned()));
        assert_eq!(class("\\]\\^]"), Ok("[]\0^]".to_owned()));
        assert_eq!(class("+-9]"), Ok("[\0+-,.0-9\0-]".to_owned()));
    }

    #[test]
    fn what_is_not_a_class_is_told() {
        for text in [
            "",
            "a",
            "a\\",
            "]",
            "z-a]",
            "[:alpha]",
            "[:alpha:",
            "[:vowel:]]",
        ] {
            assert!(class(text).is_err(), "{text:?}");
        }
    }
}
