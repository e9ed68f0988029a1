//! A key slot: the master key, encrypted under one passphrase.
//!
//! argon2id (RFC 9106) derives 32 bytes from the passphrase, the *wrapping key*. It encrypts the
//! master key with XChaCha20-Poly1305. That cipher does not commit to its key: an attacker can
//! create a ciphertext that decrypts under two passphrases (Len, Grubbs and Ristenpart,
//! "Partitioning Oracle Attacks", USENIX Security 2021). Therefore the slot also contains a
//! commitment to the wrapping key, which is compared first, in constant time. The commitment also
//! distinguishes a wrong passphrase from a damaged slot.
//!
//! An attacker with write access to a store can add slots with a different master key. Therefore a
//! slot ends with a MAC under a key derived from the master key. A holder of the master key uses it
//! to distinguish the slots of the store from others without knowing their passphrases.
//!
//! All bytes before the wrapped key are its associated data. Lowering the cost in a stored slot
//! changes the wrapping key, so the slot opens nothing. A cost below the floor is refused anyway.
//! So is a cost above the ceiling, before memory is allocated for it.
//!
//! Layout, all integers little-endian:
//!
//! | offset | length | content |
//! |---|---|---|
//! | 0 | 8 | magic `KLOSETK` and the format version, 1 |
//! | 8 | 4 | memory in KiB |
//! | 12 | 4 | passes |
//! | 16 | 4 | lanes |
//! | 20 | 16 | salt |
//! | 36 | 8 | created, nanoseconds since 1970 |
//! | 44 | 2 | length of the label |
//! | 46 | n | label, UTF-8 |
//! | 46 + n | 32 | commitment |
//! | 78 + n | 24 | nonce |
//! | 102 + n | 48 | wrapped master key with its tag |
//! | 150 + n | 32 | MAC of all bytes before it |

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::master::{KEY_BYTES, Key, Purpose, random};
use crate::error::{During, Error, Kind, Result};
use crate::util::interrupt::Interrupt;

/// First bytes of a slot. The last byte is the format version.
const MAGIC: &[u8; 8] = b"KLOSETK\x01";
/// Number of bytes before the label.
const HEAD_BYTES: usize = 46;
/// Length of the MAC at the end of a slot.
const MAC_BYTES: usize = 32;
/// Number of bytes after the label.
const TAIL_BYTES: usize = 32 + 24 + 48 + MAC_BYTES;
/// Maximum length of a label, in bytes.
pub const LABEL_LIMIT_BYTES: usize = 255;
/// Maximum delay until an interrupt during a key derivation is noticed.
const TICK: Duration = Duration::from_millis(50);
/// Context string of the commitment; used for nothing else.
const COMMITMENT: &str = "kloset 2026-11 v1 key slot commitment";

/// The cost parameters of argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Number of passes over the memory.
    pub passes: u32,
    /// Number of lanes. plakar computes them sequentially.
    pub lanes: u32,
}

impl Cost {
    /// The cost of new slots: 32 MiB and six passes. This is the memory traffic of the second
    /// recommendation of RFC 9106 (64 MiB, three passes) with half the memory, because opening a
    /// store must leave enough memory for the work on a machine with 128 MB.
    pub const DEFAULT: Cost = Cost {
        memory_kib: 32 << 10,
        passes: 6,
        lanes: 1,
    };
    /// The minimum cost that is created or accepted (the second recommendation of OWASP).
    pub const FLOOR: Cost = Cost {
        memory_kib: 19 << 10,
        passes: 2,
        lanes: 1,
    };
    /// The maximum cost that is accepted. A malicious slot must not use all memory or run all day.
    pub const CEILING: Cost = Cost {
        memory_kib: 1 << 20,
        passes: 64,
        lanes: 16,
    };

    /// The cost of trying a passphrase, for comparisons: KiB of memory times passes.
    pub fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// # Errors
    /// [`Kind::Unsupported`] if the cost is below the floor or above the ceiling.
    pub fn check(self) -> Result<()> {
        let within = |value, floor, ceiling| (floor..=ceiling).contains(&value);
        let good = within(
            self.memory_kib,
            Cost::FLOOR.memory_kib,
            Cost::CEILING.memory_kib,
        ) && within(self.passes, Cost::FLOOR.passes, Cost::CEILING.passes)
            && within(self.lanes, Cost::FLOOR.lanes, Cost::CEILING.lanes);
        match good {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Unsupported,
                format!("key derivation cost out of bounds: {self}"),
            )),
        }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "argon2id m={} KiB t={} p={}",
            self.memory_kib, self.passes, self.lanes
        )
    }
}

/// The public information in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// A name chosen by the user.
    pub label: String,
    /// Creation time in nanoseconds since 1970, by the clock of the creating machine.
    pub created_ns: i64,
    /// The cost of trying a passphrase.
    pub cost: Cost,
}

/// Creates the bytes of a slot that opens `master` with `passphrase`.
///
/// # Errors
/// [`Kind::Unsupported`] if the cost is out of bounds, [`Kind::Usage`] if the label is too long.
pub fn wrap(master: &Key, passphrase: &[u8], info: &SlotInfo) -> Result<Vec<u8>> {
    info.cost.check()?;
    if info.label.len() > LABEL_LIMIT_BYTES {
        return Err(Error::usage(format!(
            "a label has at most {LABEL_LIMIT_BYTES} bytes"
        )));
    }
    let salt: [u8; 16] = random()?;
    let nonce: [u8; 24] = random()?;
    let wrapping = derive(passphrase, &salt, info.cost)?;
    let mut slot = head(info, &salt);
    slot.extend_from_slice(&commitment(&wrapping));
    slot.extend_from_slice(&nonce);
    let mut wrapped = Zeroizing::new(*master.bytes());
    let tag = XChaCha20Poly1305::new(wrapping.bytes().into())
        .encrypt_inout_detached(&nonce.into(), &slot, wrapped.as_mut_slice().into())
        .map_err(|_| Error::new(Kind::Failed, "the cipher refuses to wrap the master key"))?;
    slot.extend_from_slice(&*wrapped);
    slot.extend_from_slice(&tag);
    let mac = mac(master, &slot);
    slot.extend_from_slice(&mac);
    Ok(slot)
}

/// Returns the master key in `slot`, or `None` if `passphrase` is not the passphrase of this slot.
///
/// A slot with a modified salt, cost or commitment cannot be distinguished from a slot with another
/// passphrase, except by its name, which is the hash of its bytes.
///
/// # Errors
/// [`Kind::Corrupt`] if the slot is damaged, or was modified after the commitment.
/// [`Kind::Unsupported`] if its version is unknown or its cost is out of bounds.
/// [`Kind::Interrupted`].
pub fn unwrap(slot: &[u8], passphrase: &[u8], interrupt: &Interrupt) -> Result<Option<Key>> {
    let info = inspect(slot)?;
    let salt = slot[20..36].try_into().expect("16 bytes");
    let wrapping = derive_unless(interrupt, passphrase, salt, info.cost)?;
    let (head, tail) = slot.split_at(slot.len() - TAIL_BYTES);
    if !bool::from(commitment(&wrapping).ct_eq(&tail[..32])) {
        return Ok(None);
    }
    let nonce: [u8; 24] = tail[32..56].try_into().expect("24 bytes");
    let mut master: Zeroizing<[u8; KEY_BYTES]> =
        Zeroizing::new(tail[56..88].try_into().expect("32 bytes"));
    let tag: [u8; 16] = tail[88..104].try_into().expect("16 bytes");
    let aad = &slot[..head.len() + 56];
    XChaCha20Poly1305::new(wrapping.bytes().into())
        .decrypt_inout_detached(
            &nonce.into(),
            aad,
            master.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| {
            Error::corrupt("the passphrase is correct, but the wrapped key does not authenticate")
        })?;
    let master = Key::new(*master);
    match belongs_to(slot, &master) {
        true => Ok(Some(master)),
        false => Err(Error::corrupt(
            "the passphrase is correct, but the slot does not authenticate",
        )),
    }
}

/// Whether `slot` was created by a holder of `master` and is unchanged.
pub fn belongs_to(slot: &[u8], master: &Key) -> bool {
    let end = slot.len().saturating_sub(MAC_BYTES);
    mac(master, &slot[..end]).ct_eq(&slot[end..]).into()
}

/// Decodes the public information in a slot. It is not authenticated.
///
/// # Errors
/// [`Kind::Corrupt`] if the bytes are not a slot. [`Kind::Unsupported`] if its version is unknown
/// or its cost is out of bounds.
pub fn inspect(slot: &[u8]) -> Result<SlotInfo> {
    let not = || Error::corrupt("not a key slot");
    if slot.len() < HEAD_BYTES + TAIL_BYTES || slot[..7] != MAGIC[..7] {
        return Err(not());
    }
    if slot[7] != MAGIC[7] {
        return Err(Error::new(
            Kind::Unsupported,
            format!("key slot of format version {}", slot[7]),
        ));
    }
    let word = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("4 bytes"));
    let label_bytes = usize::from(u16::from_le_bytes([slot[44], slot[45]]));
    if slot.len() != HEAD_BYTES + label_bytes + TAIL_BYTES {
        return Err(not());
    }
    let label =
        std::str::from_utf8(&slot[HEAD_BYTES..HEAD_BYTES + label_bytes]).map_err(|_| not())?;
    let cost = Cost {
        memory_kib: word(8),
        passes: word(12),
        lanes: word(16),
    };
    cost.check()?;
    let created_ns = i64::from_le_bytes(slot[36..44].try_into().expect("8 bytes"));
    Ok(SlotInfo {
        label: label.to_owned(),
        created_ns,
        cost,
    })
}

/// The part of a slot up to the label, inclusive.
fn head(info: &SlotInfo, salt: &[u8; 16]) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES + info.label.len() + TAIL_BYTES);
    head.extend_from_slice(MAGIC);
    for word in [info.cost.memory_kib, info.cost.passes, info.cost.lanes] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    head.extend_from_slice(salt);
    head.extend_from_slice(&info.created_ns.to_le_bytes());
    let label_bytes = u16::try_from(info.label.len()).expect("the caller checked its length");
    head.extend_from_slice(&label_bytes.to_le_bytes());
    head.extend_from_slice(info.label.as_bytes());
    head
}

/// Runs [`derive`] in another thread, because argon2 cannot be stopped. An interrupt ends only the
/// wait; the thread continues until the derivation or the process ends.
fn derive_unless(
    interrupt: &Interrupt,
    passphrase: &[u8],
    salt: [u8; 16],
    cost: Cost,
) -> Result<Key> {
    let passphrase = Zeroizing::new(passphrase.to_vec());
    let (sender, receiver) = channel();
    let derive = move || {
        // After an interrupt, there is no receiver for the key.
        let _ = sender.send(derive(&passphrase, &salt, cost));
    };
    thread::Builder::new()
        .spawn(derive)
        .during(|| "derive a key")?;
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(key) => return key,
            Err(RecvTimeoutError::Timeout) => interrupt.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(Kind::Failed, "the key derivation panicked"));
            }
        }
    }
}

/// Derives the wrapping key from a passphrase.
pub(crate) fn derive(passphrase: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Key> {
    use argon2::{Algorithm, Argon2, Params, Version};
    let failed =
        |cause: argon2::Error| Error::new(Kind::Failed, cause.to_string()).during("derive a key");
    let params =
        Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).map_err(failed)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon
        .hash_password_into(passphrase, salt, &mut *key)
        .map_err(failed)?;
    Ok(Key::new(*key))
}

/// The MAC that binds a slot to the store whose key it wraps.
fn mac(master: &Key, slot: &[u8]) -> [u8; MAC_BYTES] {
    *blake3::keyed_hash(master.derive(Purpose::SlotMac).bytes(), slot).as_bytes()
}

/// The commitment of a slot to one wrapping key. It reveals nothing about the key.
fn commitment(wrapping: &Key) -> [u8; 32] {
    blake3::derive_key(COMMITMENT, wrapping.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> SlotInfo {
        SlotInfo {
            label: "laptop".into(),
            created_ns: 5,
            cost: Cost::FLOOR,
        }
    }

    #[test]
    fn a_slot_opens_with_its_passphrase_only() {
        let slot = wrap(&Key::new([3; 32]), b"right", &info()).unwrap();
        assert_eq!(
            unwrap(&slot, b"right", &Interrupt::default())
                .unwrap()
                .unwrap()
                .bytes(),
            &[3; 32]
        );
        assert!(
            unwrap(&slot, b"wrong", &Interrupt::default())
                .unwrap()
                .is_none()
        );
        assert_eq!(inspect(&slot).unwrap(), info());
    }

    #[test]
    fn a_damaged_slot_never_opens() {
        let slot = wrap(&Key::new([3; 32]), b"right", &info()).unwrap();
        for at in (0..slot.len()).step_by(3) {
            let mut bad = slot.clone();
            bad[at] ^= 0x40;
            assert!(
                !matches!(unwrap(&bad, b"right", &Interrupt::default()), Ok(Some(_))),
                "byte {at}"
            );
        }
        for length in 0..slot.len() {
            assert!(inspect(&slot[..length]).is_err(), "length {length}");
            assert!(!belongs_to(&slot[..length], &Key::new([3; 32])));
        }
    }

    #[test]
    fn only_the_key_that_a_slot_wraps_owns_it() {
        let slot = wrap(&Key::new([3; 32]), b"right", &info()).unwrap();
        assert!(belongs_to(&slot, &Key::new([3; 32])));
        assert!(!belongs_to(&slot, &Key::new([4; 32])));
        for at in 0..slot.len() {
            let mut bad = slot.clone();
            bad[at] ^= 1;
            assert!(!belongs_to(&bad, &Key::new([3; 32])), "byte {at}");
        }
    }

    #[test]
    fn a_cost_out_of_bounds_is_refused_before_memory_is_taken() {
        let mut slot = wrap(&Key::new([3; 32]), b"right", &info()).unwrap();
        slot[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            unwrap(&slot, b"right", &Interrupt::default())
                .unwrap_err()
                .kind(),
            Kind::Unsupported
        );
        slot[8..12].copy_from_slice(&8u32.to_le_bytes());
        assert_eq!(
            unwrap(&slot, b"right", &Interrupt::default())
                .unwrap_err()
                .kind(),
            Kind::Unsupported
        );
    }

    #[test]
    fn an_interrupt_ends_the_wait_for_a_derivation() {
        let slot = wrap(&Key::new([3; 32]), b"right", &info()).unwrap();
        let mut expensive = slot.clone();
        expensive[8..12].copy_from_slice(&(256u32 << 10).to_le_bytes());
        expensive[12..16].copy_from_slice(&64u32.to_le_bytes());
        let interrupt = Interrupt::default();
        interrupt.set();
        let error = unwrap(&expensive, b"right", &interrupt).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
    }
}
