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
use crate::util::interrupt::Interrupt;

/// Maximum number of slots that are read. Trying each one costs a key derivation.
const SLOTS_LIMIT: usize = 64;

/// The key slots of a store that were read.
pub struct Slots {
    /// The slots whose bytes hash to their name, cheapest first. So genuine slots come before slots
    /// that were planted to cost time.
    pub intact: Vec<(Id, Vec<u8>)>,
    /// One error for each of the other slots. It names the slot.
    pub unreadable: Vec<Error>,
}

/// Reads the key slots of `store`: at most 64, the oldest ones.
///
/// # Errors
/// Those of the store. Errors that concern one slot are in the result.
pub fn read(store: &dyn Store, observer: &dyn Observer) -> Result<Slots> {
    let mut slots = Slots {
        intact: Vec::new(),
        unreadable: Vec::new(),
    };
    for name in names(store, observer)? {
        match store
            .get(Area::Keys, name)
            .and_then(|slot| object::check_name(name, slot))
        {
            Ok(slot) => slots.intact.push((name, slot)),
            // Removed since it was listed.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if error.is_of_one_object() => slots.unreadable.push(of(name, error)),
            Err(error) => return Err(error),
        }
    }
    let work = |slot: &[u8]| slot::inspect(slot).map_or(u64::MAX, |info| info.cost.work());
    slots.intact.sort_by_key(|(_, slot)| work(slot));
    Ok(slots)
}

/// Adds the key slot `id` to the context of `error`.
pub(super) fn of(id: Id, error: Error) -> Error {
    error.during(format!("key slot {}", id.short()))
}

/// Returns the bytes of every intact key slot of `store`, cheapest first. The others are reported
/// as warnings.
pub fn slots(store: &dyn Store, observer: &dyn Observer) -> Result<Vec<(Id, Vec<u8>)>> {
    let Slots { intact, unreadable } = read(store, observer)?;
    for error in &unreadable {
        observer.event(&Event::Warning(error));
    }
    Ok(intact)
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
            Err(error) => observer.event(&Event::Warning(&of(*id, error))),
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

/// Restores an exported slot, and returns its name. This needs no key: a slot of this store cannot
/// be distinguished from one of another store until a passphrase opens it.
pub fn restore(store: &dyn Store, slot: &[u8]) -> Result<Id> {
    slot::inspect(slot)?;
    let id = Id::of(slot);
    store
        .put(Area::Keys, id, slot)
        .during(|| "restore a key slot")?;
    Ok(id)
}

/// The only one of `slots` whose name starts with `prefix`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Usage`] if there are several.
pub fn named(slots: &[(Id, Vec<u8>)], prefix: &str) -> Result<Id> {
    let names = slots.iter().map(|(id, _)| *id);
    let mut matching = names.filter(|id| id.to_string().starts_with(prefix));
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
/// Two machines may concurrently remove one slot each while the other slot still exists. Therefore
/// the slots are listed again after the deletion. If none is left, the removed slot is restored. Of
/// any number of concurrent removals, the last one sees the effects of all others.
///
/// # Errors
/// [`Kind::Failed`] for the last intact slot of this store, because the store could not be opened
/// without it.
pub fn remove(kloset: &Kloset, id: Id) -> Result<()> {
    let store = kloset.store();
    let before = slots(store, kloset.observer())?;
    if !others(kloset, &before, id) {
        let cause = "this is the only passphrase of the store";
        return Err(Error::new(Kind::Failed, cause));
    }
    store
        .delete(Area::Keys, id)
        .during(|| format!("remove key slot {}", id.short()))?;
    let lost = match slots(store, kloset.observer()) {
        Ok(after) if others(kloset, &after, id) => return Ok(()),
        Ok(_) => Error::new(
            Kind::Failed,
            "every other passphrase was removed at the same time",
        ),
        // Without a list, this slot may have been the last one.
        Err(error) => error.during("list the remaining key slots"),
    };
    if let Some((_, slot)) = before.iter().find(|(other, _)| *other == id) {
        store
            .put(Area::Keys, id, slot)
            .during(|| format!("put key slot {} back", id.short()))
            .during(|| lost.to_string())?;
    }
    Err(lost.during(format!("key slot {} was put back", id.short())))
}

/// Whether `slots` contains an intact slot of this store other than `id`.
fn others(kloset: &Kloset, slots: &[(Id, Vec<u8>)], id: Id) -> bool {
    slots.iter().any(|(other, slot)| {
        *other != id && slot::inspect(slot).is_ok() && slot::belongs_to(slot, kloset.master())
    })
}

/// The slot of this store that `passphrase` opens, if there is one. Planted slots are not tried, so
/// their cost does not matter.
///
/// # Errors
/// Those of the store. [`Kind::Interrupted`].
pub fn slot_of(
    kloset: &Kloset,
    passphrase: &[u8],
    interrupt: &Interrupt,
) -> Result<Option<(Id, SlotInfo)>> {
    let slots = slots(kloset.store(), kloset.observer())?;
    let own = |slot: &[u8]| slot::belongs_to(slot, kloset.master());
    for (id, bytes) in slots.iter().filter(|(_, slot)| own(slot)) {
        match slot::unwrap(bytes, passphrase, interrupt) {
            Ok(Some(_)) => return Ok(Some((*id, slot::inspect(bytes)?))),
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
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
