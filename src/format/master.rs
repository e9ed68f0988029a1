//! The master key, and the keys derived from it.
//!
//! One random 32-byte key per store. It is never used itself: every purpose has
//! a key of its own, derived with BLAKE3 under a context string that is used for
//! nothing else (BLAKE3 specification, section 2.3), so that no two purposes can
//! ever meet in one key. Changing a passphrase wraps the same master key anew
//! and touches no data.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, Kind, Result};

/// Length of every symmetric key here.
pub const KEY_BYTES: usize = 32;

/// What a derived key is for. The context strings are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Ids of chunks.
    ChunkId,
    /// Nonces of sealed parts.
    Nonce,
    /// The chunker's gear table.
    Gear,
    /// The MAC of CONFIG.
    ConfigMac,
    /// The MAC of key slots.
    SlotMac,
    /// Sealing what is in packs.
    SealPacks,
    /// Sealing index objects.
    SealIndex,
    /// Sealing snapshots.
    SealSnapshots,
    /// Sealing condemnations.
    SealCondemned,
}

impl Purpose {
    /// The context string of the derivation.
    fn context(self) -> &'static str {
        match self {
            Purpose::ChunkId => "kloset 2026-11 v1 chunk id",
            Purpose::Nonce => "kloset 2026-11 v1 nonce",
            Purpose::Gear => "kloset 2026-11 v1 gear table",
            Purpose::ConfigMac => "kloset 2026-11 v1 config mac",
            Purpose::SlotMac => "kloset 2026-11 v1 slot mac",
            Purpose::SealPacks => "kloset 2026-11 v1 seal packs",
            Purpose::SealIndex => "kloset 2026-11 v1 seal index",
            Purpose::SealSnapshots => "kloset 2026-11 v1 seal snapshots",
            Purpose::SealCondemned => "kloset 2026-11 v1 seal condemned",
        }
    }
}

/// A 32-byte key that is wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    /// The bytes, for the primitive that needs them.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether `other` is the same key; takes as long whether or not.
    pub fn is(&self, other: &Key) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The key for `purpose` that belongs to this master key.
    pub fn derive(&self, purpose: Purpose) -> Key {
        Key(blake3::derive_key(purpose.context(), &self.0))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// `N` bytes from the operating system's random generator.
///
/// # Errors
/// [`Kind::Failed`] if there is none, which no supported kernel says.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| {
        Error::new(Kind::Failed, cause.to_string()).during("ask for random bytes")
    })?;
    Ok(bytes)
}
