//! Digests of stored files, equal to those that other programs compute from the original files.

use aws_lc_rs::digest::{Context, SHA256};

use crate::error::Result;
use crate::format::entry::Entry;
use crate::kloset::blob::BlobReader;
use crate::kloset::content::push;
use crate::util::interrupt::Interrupt;

/// A cryptographic hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// BLAKE3 with an output of 32 bytes and no key.
    Blake3,
}

/// The state of a hash function.
enum State {
    Sha256(Context),
    Blake3(Box<blake3::Hasher>),
}

/// The digest of the contents of the file `entry`, including holes.
///
/// # Errors
/// Errors of [`push::read`]; [`crate::error::Kind::Interrupted`] if the user requested a stop.
pub fn of_file(
    blobs: &BlobReader<'_>,
    entry: &Entry,
    hashing: Hashing,
    interrupt: &Interrupt,
) -> Result<Vec<u8>> {
    let mut state = match hashing {
        Hashing::Sha256 => State::Sha256(Context::new(&SHA256)),
        Hashing::Blake3 => State::Blake3(Box::default()),
    };
    let mut sink = |bytes: &[u8]| {
        match &mut state {
            State::Sha256(context) => context.update(bytes),
            State::Blake3(hasher) => drop(hasher.update(bytes)),
        }
        interrupt.check()
    };
    push::read(blobs, entry, &mut sink)?;
    Ok(match state {
        State::Sha256(context) => context.finish().as_ref().to_vec(),
        State::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
    })
}
