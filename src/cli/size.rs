//! Parses sizes such as `8388608`, `8M` or `8MiB`.

use crate::error::{Error, Result};

/// Unit letters and the corresponding powers of two.
const UNITS: [(char, u32); 4] = [('k', 10), ('m', 20), ('g', 30), ('t', 40)];

/// Parses a size in bytes: an integer, optionally followed by K, M, G or T, optionally followed by
/// `B` or `iB`. All units are powers of 1024, as for memory.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for an invalid size, or one of 2^64 bytes or more.
pub fn parse(text: &str) -> Result<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let shift = match letter {
        "" => Some(0),
        letter => UNITS
            .iter()
            .find(|(known, _)| letter.chars().eq([*known]))
            .map(|(_, shift)| *shift),
    };
    let bytes = shift.zip(number.parse::<u64>().ok());
    let bytes = bytes.and_then(|(shift, number)| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| Error::usage(format!("{text:?} is not a size such as 16M")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_letter() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("1k", 1024),
            ("8M", 8 << 20),
            ("8 MiB", 8 << 20),
            ("2gb", 2 << 30),
            ("3B", 3),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "",
            "M",
            "-1",
            "1.5M",
            "1x",
            "1iM",
            "18446744073709551616",
            "99999999T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
