//! Whether a passphrase is weak: an estimate that is wrong on the safe side for
//! short and repetitive ones, and no promise for the others.
//!
//! Whoever steals a store may guess for years, but the key derivation makes each
//! guess cost a tenth of a second and more: 2^40 of them take one processor
//! thousands of years. Forty bits of random letters are therefore enough, and
//! since people choose words and not letters, only half of what random letters
//! would be worth is counted, and half of forty is asked for:
//!
//! 1. letters that repeat the one before, or follow it in the alphabet, among the
//!    digits or on a keyboard, count nothing;
//! 2. each other letter counts the logarithm of how many of its kind there are:
//!    10 digits, 26 letters of a case, 33 marks, 100 beyond ASCII, halved;
//! 3. one that is, apart from case, digits and marks around it, among the commonest
//!    is weak whatever it counts.

/// Bits below which a passphrase is weak.
const ENOUGH_BITS: f64 = 20.0;
/// Letters below which a passphrase is weak, however varied.
const ENOUGH_LETTERS: usize = 8;
/// Different letters below which a passphrase is weak, however long.
const ENOUGH_VARIETY: usize = 5;

/// Rows along which fingers run.
const RUNS: [&str; 6] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
];

/// Cores of the passphrases found most often in leaked lists.
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

/// Why `passphrase` is weak, as a clause, or nothing if it is not.
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

/// `text` in lower case without what people put around a word to please a rule,
/// and with the letters that they replace by digits put back.
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

/// The estimate that the page above describes.
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

/// Whether `letter` is no surprise after `before`.
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

/// How many letters there are of the kind of `letter`.
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
