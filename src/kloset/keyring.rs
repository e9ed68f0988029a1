//! The passphrases of a store: listing, adding, changing and removing key slots.
//!
//! Every change writes or removes slots and touches nothing else, whatever the store
//! holds. A change writes the new slot before it removes the old one, so that at no
//! moment there is none. Whoever once opened the store may have kept the master key:
//! removing a passphrase locks out those who know only that.

use super::Kloset;
use super::object;
use super::progress::{Event, Observer};
use super::slot::{self, SlotInfo};
use crate::error::{During, Error, Kind, Result};
use crate::store::{Area, Store};
use crate::util::Id;

/// Slots that are read at most: each costs a key derivation to try.
const SLOTS_LIMIT: usize = 64;

/// The bytes of every key slot of `store`, cheapest first, so that slots somebody planted to
/// cost time are tried last.
pub fn slots(store: &dyn Store, observer: &dyn Observer) -> Result<Vec<(Id, Vec<u8>)>> {
    let mut names = Vec::new();
    let mut note = |object: crate::store::Object| {
        names.push(object.id);
        Ok(())
    };
    store
        .list(Area::Keys, &mut note)
        .during(|| "list key slots")?;
    names.sort();
    if names.len() > SLOTS_LIMIT {
        let error = Error::corrupt(format!(
            "{} key slots; only the first {SLOTS_LIMIT} are tried",
            names.len()
        ));
        observer.event(&Event::Warning(&error));
        names.truncate(SLOTS_LIMIT);
    }
    let mut slots = Vec::with_capacity(names.len());
    for name in names {
        match store
            .get(Area::Keys, name)
            .and_then(|slot| object::check_name(name, slot))
        {
            Ok(slot) => slots.push((name, slot)),
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                observer.event(&Event::Warning(&error))
            }
            Err(error) => return Err(error),
        }
    }
    slots.sort_by_key(|(_, slot)| slot::inspect(slot).map_or(u64::MAX, |info| info.cost.work()));
    Ok(slots)
}

/// What can be told of every intact slot.
pub fn list(store: &dyn Store, observer: &dyn Observer) -> Result<Vec<(Id, SlotInfo)>> {
    let mut infos = Vec::new();
    for (id, slot) in slots(store, observer)? {
        match slot::inspect(&slot) {
            Ok(info) => infos.push((id, info)),
            Err(error) => observer.event(&Event::Warning(
                &error.during(format!("read key slot {}", id.short())),
            )),
        }
    }
    Ok(infos)
}

/// Lets `passphrase` open the store too, and returns the name of its slot.
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

/// The one slot whose name starts with `prefix`.
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

/// Takes the slot `id` away.
///
/// # Errors
/// [`Kind::Failed`] for the last slot that can be read: nobody could open the store any more.
pub fn remove(kloset: &Kloset, id: Id) -> Result<()> {
    let others = list(kloset.store(), kloset.observer())?
        .into_iter()
        .filter(|(other, _)| *other != id)
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

/// The slot that `passphrase` opens.
pub fn slot_of(kloset: &Kloset, passphrase: &[u8]) -> Result<Option<(Id, SlotInfo)>> {
    for (id, bytes) in slots(kloset.store(), kloset.observer())? {
        if let Ok(Some(_)) = slot::unwrap(&bytes, passphrase) {
            return Ok(Some((id, slot::inspect(&bytes)?)));
        }
    }
    Ok(None)
}

/// # Errors
/// [`Kind::Unsupported`] for a store without passphrases: a slot would pretend there is a secret.
fn refuse_plaintext(kloset: &Kloset) -> Result<()> {
    match kloset.config().plaintext_key()? {
        Some(_) => Err(Error::new(
            Kind::Unsupported,
            "this store was created with -plaintext: it has no passphrases",
        )),
        None => Ok(()),
    }
}
