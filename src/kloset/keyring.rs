//! The passphrases of a store: listing, adding, changing and removing key slots.
//!
//! Every change writes or removes slots and touches nothing else, regardless of the size of the
//! store. A change writes the new slot before it removes the old one, so there is a usable slot at
//! all times. A user who opened the store once may have kept the master key. Therefore removing a
//! passphrase locks out only users who know nothing but that passphrase.

use super::Kloset;
use super::progress::{Event, Observer};
use crate::error::{During, Error, Kind, Result};
use crate::format::object;
use crate::format::slot::{self, SlotInfo};
use crate::store::{Area, Object, Store};
use crate::util::Id;

/// Maximum number of slots that are read. Trying each one costs a key derivation.
const SLOTS_LIMIT: usize = 64;

/// The bytes of every intact key slot of `store`, cheapest first, so that planted slots with a high
/// cost are tried last.
pub fn slots(store: &dyn Store, observer: &dyn Observer) -> Result<Vec<(Id, Vec<u8>)>> {
    let mut slots = Vec::new();
    for name in names(store, observer)? {
        match store
            .get(Area::Keys, name)
            .and_then(|slot| object::check_name(name, slot))
        {
            Ok(slot) => slots.push((name, slot)),
            Err(error) if error.is_of_one_object() => observer.event(&Event::Warning(&error)),
            Err(error) => return Err(error),
        }
    }
    slots.sort_by_key(|(_, slot)| slot::inspect(slot).map_or(u64::MAX, |info| info.cost.work()));
    Ok(slots)
}

/// The names of the slots to read. If there are too many, these are the oldest ones by the store's
/// clock, because planted slots are more recent than those of the store's owner.
fn names(store: &dyn Store, observer: &dyn Observer) -> Result<Vec<Id>> {
    let mut found = Vec::new();
    let mut note = |object: Object| {
        found.push((object.modified_ns, object.id));
        Ok(())
    };
    store
        .list(Area::Keys, &mut note)
        .during(|| "list key slots")?;
    found.sort();
    if found.len() > SLOTS_LIMIT {
        let error = Error::corrupt(format!(
            "{} key slots; only the oldest {SLOTS_LIMIT} are tried",
            found.len()
        ));
        observer.event(&Event::Warning(&error));
        found.truncate(SLOTS_LIMIT);
    }
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Whether a slot belongs to the store it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is intact and wraps the key of this store.
    Store,
    /// It cannot open this store: it is left from an interrupted creation, or planted.
    Stranger,
}

/// Lists every intact slot and its owner. This needs the master key.
pub fn owners(kloset: &Kloset) -> Result<Vec<(Id, SlotInfo, Owner)>> {
    let owner = |slot: &[u8]| match slot::belongs_to(slot, kloset.master()) {
        true => Owner::Store,
        false => Owner::Stranger,
    };
    let slots = slots(kloset.store(), kloset.observer())?;
    let told = slots.into_iter().filter_map(|(id, slot)| {
        let info = slot::inspect(&slot).ok()?;
        Some((id, info, owner(&slot)))
    });
    Ok(told.collect())
}

/// The public information of every intact slot.
pub fn list(store: &dyn Store, observer: &dyn Observer) -> Result<Vec<(Id, SlotInfo)>> {
    Ok(infos(&slots(store, observer)?, observer))
}

/// The public information of these slots. Damaged ones are reported to `observer` and skipped.
pub fn infos(slots: &[(Id, Vec<u8>)], observer: &dyn Observer) -> Vec<(Id, SlotInfo)> {
    let mut infos = Vec::new();
    for (id, slot) in slots {
        match slot::inspect(slot) {
            Ok(info) => infos.push((*id, info)),
            Err(error) => observer.event(&Event::Warning(
                &error.during(format!("read key slot {}", id.short())),
            )),
        }
    }
    infos
}

/// Adds a slot with which `passphrase` opens the store. Returns the name of the slot.
pub fn add(kloset: &Kloset, passphrase: &[u8], info: &SlotInfo) -> Result<Id> {
    refuse_plaintext(kloset)?;
    let slot = slot::wrap(kloset.master(), passphrase, info)?;
    let id = Id::of(&slot);
    kloset
        .store()
        .put(Area::Keys, id, &slot)
        .during(|| "add a key slot")?;
    Ok(id)
}

/// The only slot whose name starts with `prefix`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Usage`] if there are several.
pub fn find(kloset: &Kloset, prefix: &str) -> Result<Id> {
    let slots = slots(kloset.store(), kloset.observer())?;
    let mut matching = slots
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| id.to_string().starts_with(prefix));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(Error::usage(format!(
            "{prefix:?} is the beginning of several key slots"
        ))),
        (None, _) => Err(Error::new(
            Kind::NotFound,
            format!("no key slot begins with {prefix:?}"),
        )),
    }
}

/// Removes the slot `id`.
///
/// # Errors
/// [`Kind::Failed`] for the last intact slot of this store, because no one could open the store
/// afterwards.
pub fn remove(kloset: &Kloset, id: Id) -> Result<()> {
    let others = owners(kloset)?
        .into_iter()
        .filter(|(other, _, owner)| *other != id && *owner == Owner::Store)
        .count();
    if others == 0 {
        return Err(Error::new(
            Kind::Failed,
            "this is the only passphrase of the store",
        ));
    }
    kloset
        .store()
        .delete(Area::Keys, id)
        .during(|| format!("remove key slot {}", id.short()))
}

/// The slot of this store that `passphrase` opens, if there is one.
pub fn slot_of(kloset: &Kloset, passphrase: &[u8]) -> Result<Option<(Id, SlotInfo)>> {
    for (id, bytes) in slots(kloset.store(), kloset.observer())? {
        match slot::unwrap(&bytes, passphrase) {
            Ok(Some(key)) if key.is(kloset.master()) => {
                return Ok(Some((id, slot::inspect(&bytes)?)));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// # Errors
/// [`Kind::Unsupported`] for an unencrypted store: a key slot would give a false impression of
/// secrecy.
fn refuse_plaintext(kloset: &Kloset) -> Result<()> {
    match kloset.config().plaintext_key()? {
        Some(_) => Err(Error::new(
            Kind::Unsupported,
            "this store was created with -plaintext: it has no passphrases",
        )),
        None => Ok(()),
    }
}
