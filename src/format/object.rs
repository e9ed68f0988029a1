//! Objects that consist of one sealed part: index objects, snapshots and condemnations.
//!
//! `magic (8) ‖ sealed part`. The last byte of the magic is the format version.

use super::codec::{Decoder, Encoder};
use super::seal::{Part, Sealer};
use crate::error::{Error, Kind, Result};
use crate::util::Id;

/// Length of the magic of every object.
pub const MAGIC_BYTES: usize = 8;

/// The first bytes of an object that contains `part`.
pub fn magic(part: Part) -> &'static [u8; MAGIC_BYTES] {
    match part {
        Part::Block | Part::Footer => b"KLOSETP\x01",
        Part::Index => b"KLOSETI\x01",
        Part::Snapshot => b"KLOSETS\x01",
        Part::Condemned => b"KLOSETC\x01",
    }
}

/// # Errors
/// [`Kind::Corrupt`] unless `bytes` start with the magic of `part`. [`Kind::Unsupported`] if only
/// the version differs.
pub fn check_magic(part: Part, bytes: &[u8]) -> Result<()> {
    let magic = magic(part);
    match bytes.get(..MAGIC_BYTES) {
        Some(found) if found == magic => Ok(()),
        Some(found) if found[..7] == magic[..7] => Err(Error::new(
            Kind::Unsupported,
            format!("format version {} is not known", found[7]),
        )),
        _ => Err(Error::corrupt("not an object of its area")),
    }
}

/// Compresses and seals `body`, and returns the bytes of the object.
pub fn encode(sealer: &Sealer, part: Part, body: &[u8]) -> Result<Vec<u8>> {
    let mut sealed = Vec::new();
    Encoder::new(super::codec::DEFAULT_LEVEL)?.encode(sealer, part, body, &mut sealed)?;
    sealed.splice(0..0, *magic(part));
    Ok(sealed)
}

/// Returns `bytes` if their hash is `id`. Without this check, the same bytes under two names would
/// count as two objects.
///
/// # Errors
/// [`Kind::Corrupt`] if the hash differs.
pub fn check_name(id: Id, bytes: Vec<u8>) -> Result<Vec<u8>> {
    match Id::of(&bytes) == id {
        true => Ok(bytes),
        false => Err(misnamed()),
    }
}

/// The error of an object whose bytes do not match its name.
pub fn misnamed() -> Error {
    Error::corrupt("its bytes do not hash to its name")
}

/// Verifies and opens the object `id`, and returns its body.
///
/// # Errors
/// [`Kind::Corrupt`] unless every byte is what was sealed. [`Kind::Unsupported`] for an unknown
/// format version.
pub fn decode(sealer: &Sealer, part: Part, id: Id, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut bytes = check_name(id, bytes)?;
    check_magic(part, &bytes)?;
    let mut body = Vec::new();
    Decoder::new()?.decode(sealer, part, &mut bytes[MAGIC_BYTES..], &mut body)?;
    Ok(body)
}
