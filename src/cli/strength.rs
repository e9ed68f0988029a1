//! Estimates whether a passphrase is weak. The estimate is conservative for short and repetitive
//! passphrases. It guarantees nothing for others.
//!
//! An attacker who copies a store can guess for years, but the key derivation makes each guess take
//! at least a tenth of a second: 2^40 guesses take one processor thousands of years. Forty bits of
//! random letters are therefore sufficient. Because people choose words rather than letters, only
//! half of the value of random letters is counted, and the threshold is half of forty:
//!
//! 1. a letter that repeats the previous one, or follows it in the alphabet, in the digits or on a
//!    keyboard, counts nothing;
//! 2. each other letter counts half of the logarithm of the size of its class: 10 digits, 26
//!    letters of a case, 33 punctuation characters, 100 beyond ASCII;
//! 3. a passphrase that equals one of the most common ones, apart from case and from digits and
//!    punctuation around it, is weak regardless of this sum.

/// A passphrase with fewer bits is weak.
const ENOUGH_BITS: f64 = 20.0;
/// A passphrase with fewer letters is weak, regardless of its variety.
const ENOUGH_LETTERS: usize = 8;
/// A passphrase with fewer different letters is weak, regardless of its length.
const ENOUGH_VARIETY: usize = 5;

/// Sequences of adjacent characters: the alphabet, digits, and rows of a keyboard.
const RUNS: [&str; 6] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
];

/// The most common passwords in leaked lists, reduced by [`core()`].
const COMMONEST: [&str; 32] = [
    "password",
    "passwort",
    "passw",
    "passphrase",
    "secret",
    "letmein",
    "welcome",
    "admin",
    "administrator",
    "root",
    "changeme",
    "default",
    "iloveyou",
    "monkey",
    "dragon",
    "football",
    "baseball",
    "master",
    "superman",
    "batman",
    "sunshine",
    "princess",
    "shadow",
    "michael",
    "trustno",
    "starwars",
    "whatever",
    "backup",
    "plakar",
    "motdepasse",
    "azerty",
    "hello",
];

/// The reason why `passphrase` is weak, as a clause, or `None` if it is not.
pub(super) fn weakness(passphrase: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(passphrase);
    let letters: Vec<char> = text.chars().collect();
    let mut different = letters.clone();
    different.sort_unstable();
    different.dedup();
    if letters.len() < ENOUGH_LETTERS {
        Some("shorter than 8 letters")
    } else if different.len() < ENOUGH_VARIETY {
        Some("made of too few different letters")
    } else if COMMONEST.contains(&core(&text).as_str()) {
        Some("one of the commonest")
    } else if bits(&letters) < ENOUGH_BITS {
        Some("easily guessed: mostly digits, repeats or rows of the keyboard")
    } else {
        None
    }
}

/// `text` in lower case, without the non-letters that users add around a word to satisfy a policy,
/// and with digits that replace letters changed back.
fn core(text: &str) -> String {
    let trimmed = text.trim_matches(|letter: char| !letter.is_alphabetic());
    let plain = |letter: char| match letter {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        other => other,
    };
    trimmed.to_lowercase().chars().map(plain).collect()
}

/// The estimate that the module documentation describes.
fn bits(letters: &[char]) -> f64 {
    let mut total = 0.0;
    let mut before = None;
    for &letter in letters {
        if !before.is_some_and(|before| follows(before, letter)) {
            total += kinds(letter).log2() / 2.0;
        }
        before = Some(letter);
    }
    total
}

/// Whether `letter` is predictable after `before`.
fn follows(before: char, letter: char) -> bool {
    let (before, letter) = (before.to_ascii_lowercase(), letter.to_ascii_lowercase());
    let runs = |run: &str| {
        let place = |wanted| run.find(wanted);
        place(before)
            .zip(place(letter))
            .is_some_and(|(a, b)| a.abs_diff(b) == 1)
    };
    before == letter || RUNS.into_iter().any(runs)
}

/// The number of letters in the class of `letter`.
fn kinds(letter: char) -> f64 {
    match letter {
        '0'..='9' => 10.0,
        'a'..='z' | 'A'..='Z' => 26.0,
        letter if letter.is_ascii() => 33.0,
        _ => 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guessers_try_first_is_weak() {
        for weak in [
            "",
            "short",
            "Tr0ub4d",
            "aaaaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "12345678901234567890",
            "qwertyuiop123456",
            "Password123!",
            "P4ssw0rd2026",
            "!!sunshine99",
            "20261122",
            "abcdefghijkl",
        ] {
            assert!(weakness(weak.as_bytes()).is_some(), "{weak}");
        }
    }

    #[test]
    fn what_people_are_told_to_choose_is_not() {
        for good in [
            "correct horse battery staple",
            "x8Kq!2mVzR",
            "über den Wolken",
            "mein hund frisst gern kohl",
            "7c2f9e4b1a6d8035",
        ] {
            assert_eq!(weakness(good.as_bytes()), None, "{good}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_judged_too() {
        assert!(weakness(&[0xff; 40]).is_some());
    }
}
