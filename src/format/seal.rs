//! Sealing: authenticated encryption that is hard to misuse.
//!
//! A sealed part is `nonce (24) ‖ ciphertext ‖ tag (16)`: XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03) with the key of its area.
//!
//! **The nonce** is the first 24 bytes of a keyed BLAKE3 hash over the associated data and the
//! plain bytes. It needs no counter and no random generator, and two machines cloned from one image
//! cannot collide. Equal nonces mean equal plaintexts. Their ciphertexts are then equal too, and
//! deduplication prevents them from being stored twice anyway. This is the SIV construction
//! (Rogaway and Shrimpton 2006) with a keyed hash as its PRF. With 192 bits, an accidental
//! collision of different plaintexts is expected only after 2^96 parts.
//!
//! **The associated data** is `key id (32) ‖ area (1) ‖ part (1)`. It prevents a footer from being
//! used as a block, an index object as a snapshot, and any part of a store with a different key as
//! a part of this one. It does not prevent one block from being used as another block. The layer
//! above detects that, because it recomputes chunk ids.
//!
//! **Two implementations.** `aws-lc-rs` encrypts the data (after HChaCha20, ChaCha20-Poly1305 of
//! RFC 8439 produces the same bytes as XChaCha20-Poly1305). The `chacha20poly1305` crate encrypts a
//! copy of the plain bytes that was made before. Both results must be equal before the part leaves
//! the machine. So a miscompiled cipher, a bit flip in memory or a bug in either implementation
//! results in an error while the source still exists.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::master::{KEY_BYTES, Key, Purpose};
use crate::error::{Error, Kind, Result};
use crate::util::Id;

/// Length of the nonce, before the ciphertext.
pub const NONCE_BYTES: usize = 24;
/// Length of the tag, after the ciphertext.
pub const TAG_BYTES: usize = 16;
/// Number of bytes that sealing adds to a part.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Length of the associated data.
const AAD_BYTES: usize = 34;

/// The kind of a sealed part. It determines the key and the associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A block of chunks in a pack.
    Block,
    /// The footer of a pack.
    Footer,
    /// The body of an index object.
    Index,
    /// The body of a snapshot.
    Snapshot,
    /// The body of a condemnation.
    Condemned,
}

impl Part {
    /// The area byte and the part byte of the associated data.
    fn codes(self) -> [u8; 2] {
        match self {
            Part::Block => [1, 1],
            Part::Footer => [1, 2],
            Part::Index => [2, 1],
            Part::Snapshot => [3, 1],
            Part::Condemned => [4, 1],
        }
    }
}

/// Seals and opens parts with the keys of one store. Can be used from several threads.
pub struct Sealer {
    key_id: Id,
    nonce: Key,
    packs: Key,
    index: Key,
    snapshots: Key,
    condemned: Key,
}

impl Sealer {
    /// Creates the sealer of the store with the master key `master` and the key id `key_id`.
    pub fn new(master: &Key, key_id: Id) -> Sealer {
        Sealer {
            key_id,
            nonce: master.derive(Purpose::Nonce),
            packs: master.derive(Purpose::SealPacks),
            index: master.derive(Purpose::SealIndex),
            snapshots: master.derive(Purpose::SealSnapshots),
            condemned: master.derive(Purpose::SealCondemned),
        }
    }

    /// Seals a part in place.
    ///
    /// `buffer` must contain [`NONCE_BYTES`] arbitrary bytes, then the plain bytes. On return, it
    /// contains the sealed part. `scratch` is used for a copy of the plain bytes.
    ///
    /// # Errors
    /// [`Kind::Failed`] if the two implementations produce different bytes, which means that the
    /// machine is defective.
    pub fn seal(&self, part: Part, buffer: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Result<()> {
        scratch.clear();
        scratch.extend_from_slice(&buffer[NONCE_BYTES..]);
        let aad = self.aad(part);
        let nonce = self.nonce(&aad, &buffer[NONCE_BYTES..]);
        let cipher = bulk_cipher(self.key(part), &nonce);
        let tag = cipher
            .0
            .seal_in_place_separate_tag(cipher.1, Aad::from(aad), &mut buffer[NONCE_BYTES..])
            .map_err(|_| Error::new(Kind::Failed, "the cipher refuses to seal"))?;
        buffer[..NONCE_BYTES].copy_from_slice(&nonce);
        let other = XChaCha20Poly1305::new(self.key(part).bytes().into())
            .encrypt_inout_detached(&nonce.into(), &aad, scratch.as_mut_slice().into())
            .map_err(|_| Error::new(Kind::Failed, "the other cipher refuses to seal"))?;
        if !are_equal(&buffer[NONCE_BYTES..], scratch) || tag.as_ref() != other.as_slice() {
            return Err(Error::new(
                Kind::Failed,
                "what was sealed twice is not the same: check this machine's memory",
            ));
        }
        buffer.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a part in place, and returns the plain bytes.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] unless every bit is what was sealed with this key as this kind of part.
    pub fn open<'a>(&self, part: Part, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        if sealed.len() < OVERHEAD_BYTES {
            return Err(Error::corrupt(format!(
                "{} bytes are too few to be sealed",
                sealed.len()
            )));
        }
        let (nonce, rest) = sealed.split_at_mut(NONCE_BYTES);
        let nonce = (&*nonce).try_into().expect("split at its length");
        let (key, nonce) = bulk_cipher(self.key(part), &nonce);
        let aad = Aad::from(self.aad(part));
        key.open_in_place(nonce, aad, rest)
            .map_err(|_| Error::corrupt("does not authenticate"))
    }

    /// The key of the area that `part` belongs to.
    fn key(&self, part: Part) -> &Key {
        match part {
            Part::Block | Part::Footer => &self.packs,
            Part::Index => &self.index,
            Part::Snapshot => &self.snapshots,
            Part::Condemned => &self.condemned,
        }
    }

    /// The associated data, which binds a sealed part to its store, area and kind.
    fn aad(&self, part: Part) -> [u8; AAD_BYTES] {
        let mut aad = [0; AAD_BYTES];
        aad[..32].copy_from_slice(&self.key_id.0);
        aad[32..].copy_from_slice(&part.codes());
        aad
    }

    /// The nonce for these plain bytes. The associated data has a fixed length, so the concatenated
    /// input is unambiguous.
    fn nonce(&self, aad: &[u8; AAD_BYTES], plain: &[u8]) -> [u8; NONCE_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(self.nonce.bytes());
        hasher.update(aad).update(plain);
        let mut nonce = [0; NONCE_BYTES];
        hasher.finalize_xof().fill(&mut nonce);
        nonce
    }
}

/// Whether both slices are equal. The `memcmp` of musl, the C library of static binaries, compares
/// one byte at a time. The compiler vectorizes this loop.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let differing = |all: u8, (a, b): (&u8, &u8)| all | (a ^ b);
    one.len() == other.len() && one.iter().zip(other).fold(0, differing) == 0
}

/// ChaCha20-Poly1305 with the subkey and the short nonce that make it equivalent to
/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, section 2.3).
fn bulk_cipher(key: &Key, nonce: &[u8; NONCE_BYTES]) -> (LessSafeKey, Nonce) {
    let prefix: [u8; 16] = nonce[..16].try_into().expect("16 of 24 bytes");
    let sub_key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(
        chacha20::hchacha::<chacha20::R20>(key.bytes().into(), &prefix.into()).into(),
    );
    let mut short = [0; 12];
    short[4..].copy_from_slice(&nonce[16..]);
    let key =
        UnboundKey::new(&CHACHA20_POLY1305, &*sub_key).expect("the key has the algorithm's length");
    (LessSafeKey::new(key), Nonce::assume_unique_for_key(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&Key::new([7; 32]), Id([9; 32]))
    }

    fn sealed(part: Part, plain: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; NONCE_BYTES];
        buffer.extend_from_slice(plain);
        sealer().seal(part, &mut buffer, &mut Vec::new()).unwrap();
        buffer
    }

    #[test]
    fn what_is_sealed_opens_to_the_same_bytes() {
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 1000, 100_000] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut sealed = sealed(Part::Block, &plain);
            assert_eq!(sealed.len(), plain.len() + OVERHEAD_BYTES);
            assert_eq!(sealer().open(Part::Block, &mut sealed).unwrap(), plain);
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = sealed(Part::Snapshot, b"some plain bytes");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                sealer().open(Part::Snapshot, &mut bad).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn every_truncation_is_found() {
        let good = sealed(Part::Index, b"some plain bytes");
        for length in 0..good.len() {
            assert!(
                sealer()
                    .open(Part::Index, &mut good[..length].to_vec())
                    .is_err(),
                "length {length}"
            );
        }
    }

    #[test]
    fn no_part_stands_in_for_another() {
        let parts = [
            Part::Block,
            Part::Footer,
            Part::Index,
            Part::Snapshot,
            Part::Condemned,
        ];
        for sealed_as in parts {
            for opened_as in parts {
                let opens = sealer()
                    .open(opened_as, &mut sealed(sealed_as, b"plain"))
                    .is_ok();
                assert_eq!(
                    opens,
                    sealed_as == opened_as,
                    "{sealed_as:?} as {opened_as:?}"
                );
            }
        }
    }

    #[test]
    fn another_key_id_or_key_does_not_open() {
        let sealed = sealed(Part::Block, b"plain");
        let other_id = Sealer::new(&Key::new([7; 32]), Id([8; 32]));
        let other_key = Sealer::new(&Key::new([6; 32]), Id([9; 32]));
        assert!(other_id.open(Part::Block, &mut sealed.clone()).is_err());
        assert!(other_key.open(Part::Block, &mut sealed.clone()).is_err());
    }

    #[test]
    fn equal_nonces_mean_equal_plaintexts() {
        assert_eq!(sealed(Part::Block, b"one"), sealed(Part::Block, b"one"));
        assert_ne!(
            sealed(Part::Block, b"one")[..24],
            sealed(Part::Block, b"two")[..24]
        );
        assert_ne!(
            sealed(Part::Block, b"one")[..24],
            sealed(Part::Footer, b"one")[..24]
        );
    }

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_bulk_cipher_is_xchacha20_poly1305() {
        let key: [u8; 32] = std::array::from_fn(|at| 0x80 + at as u8);
        let nonce: [u8; 24] = std::array::from_fn(|at| 0x40 + at as u8);
        let aad = [
            0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
        ];
        let mut text = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let (cipher, nonce) = bulk_cipher(&Key::new(key), &nonce);
        let tag = cipher
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut text)
            .unwrap();
        assert_eq!(text[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
        assert_eq!(tag.as_ref()[..4], [0xc0, 0x87, 0x59, 0x24]);
    }
}
