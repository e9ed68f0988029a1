//! The master key, and the keys derived from it.
//!
//! Each store has one random 32-byte master key. It is never used directly. Every purpose has its
//! own key, derived with BLAKE3 and a context string that is used for nothing else (BLAKE3
//! specification, section 2.3), so no two purposes share a key. Changing a passphrase only wraps
//! the same master key again and touches no data.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, Kind, Result};

/// Length of every symmetric key.
pub const KEY_BYTES: usize = 32;

/// The purpose of a derived key. The context strings are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Computing the ids of chunks.
    ChunkId,
    /// Computing the nonces of sealed parts.
    Nonce,
    /// Generating the gear table of the chunker.
    Gear,
    /// Authenticating CONFIG.
    ConfigMac,
    /// Authenticating key slots.
    SlotMac,
    /// Sealing blocks and footers of packs.
    SealPacks,
    /// Sealing index objects.
    SealIndex,
    /// Sealing snapshots.
    SealSnapshots,
    /// Sealing condemnations.
    SealCondemned,
}

impl Purpose {
    /// The context string for the key derivation.
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

/// A 32-byte key that is erased when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// Creates a key from raw bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    /// The raw bytes, for a cryptographic primitive.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether `other` is the same key. The comparison takes constant time.
    pub fn is(&self, other: &Key) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Derives the key for `purpose` from this master key.
    pub fn derive(&self, purpose: Purpose) -> Key {
        Key(blake3::derive_key(purpose.context(), &self.0))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Returns `N` bytes from the random generator of the operating system.
///
/// # Errors
/// [`Kind::Failed`] if it is not available, which does not happen on supported kernels.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| {
        Error::new(Kind::Failed, cause.to_string()).during("ask for random bytes")
    })?;
    Ok(bytes)
}
