//! An id: 32 bytes that name an object, a chunk or a snapshot, printed as 64 hex digits.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// The length of an id in bytes.
pub const ID_BYTES: usize = 32;

/// The name of an object (BLAKE3 of its bytes), a chunk (keyed BLAKE3 of its plaintext) or a
/// snapshot (random).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; ID_BYTES]);

impl Id {
    /// Computes the id of an object with the contents `bytes`.
    pub fn of(bytes: &[u8]) -> Id {
        Id(*blake3::hash(bytes).as_bytes())
    }

    /// The first eight hex digits, which are enough for a user to distinguish ids.
    pub fn short(&self) -> String {
        self.0[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl TryFrom<&[u8]> for Id {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Id, Error> {
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::corrupt(format!("an id of {} bytes", bytes.len())))?;
        Ok(Id(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Id {
    type Err = Error;

    /// Accepts exactly 64 lower-case hex digits, so that each id has one spelling.
    fn from_str(text: &str) -> Result<Id, Error> {
        let wrong = || Error::new(Kind::Usage, format!("{text:?} is not an id"));
        let digits = text.as_bytes();
        if digits.len() != 2 * ID_BYTES {
            return Err(wrong());
        }
        let mut id = [0; ID_BYTES];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])
                .zip(digit(pair[1]))
                .map(|(high, low)| high << 4 | low)
                .ok_or_else(wrong)?;
        }
        Ok(Id(id))
    }
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = Id::of(b"");
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<Id>().is_err());
        assert!("../../etc/passwd".parse::<Id>().is_err());
    }
}
