//! Snapshot objects, and the totals of all snapshots.

use std::collections::{BTreeMap, HashSet};

use super::{NAMED_LIMIT, Prefix, answered, listed, only};
use crate::error::{Error, Result};
use crate::format::entry::Totals;
use crate::kloset::progress::Event;
use crate::kloset::snapshot::{self, Snapshot};
use crate::kloset::{Kloset, condemned};
use crate::store::{Area, Object};
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Callback for each snapshot object.
pub type EachSnapshot<'a> = &'a mut dyn FnMut(Object, Result<Snapshot>) -> Result<()>;

/// Calls `each` with every snapshot object, in the order of publication, with the snapshot in it or
/// its damage.
pub fn each_snapshot(kloset: &Kloset, interrupt: &Interrupt, each: EachSnapshot<'_>) -> Result<()> {
    let mut objects = listed(kloset.store(), Area::Snapshots)?;
    objects.sort_by_key(|object| (object.modified_ns, object.id));
    for object in objects {
        interrupt.check()?;
        if let Some(snapshot) = answered(snapshot::read(kloset, object.id))? {
            each(object, snapshot)?;
        }
    }
    Ok(())
}

/// A snapshot object, with the snapshot in it or its damage.
pub type Looked = (Object, Result<Snapshot>);

/// The objects of the only snapshot whose id, or one of whose objects, begins with `prefix`. There
/// are several objects if labels were changed: see `revision`.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] if there is none, [`crate::error::Kind::Usage`] if there are
/// several.
pub fn of_one(kloset: &Kloset, prefix: &Prefix, interrupt: &Interrupt) -> Result<Vec<Looked>> {
    let mut found: BTreeMap<Id, Vec<Looked>> = BTreeMap::new();
    each_snapshot(kloset, interrupt, &mut |object, snapshot| {
        // The id of an unreadable snapshot is unknown, so the name of its object is used.
        let id = snapshot.as_ref().map_or(object.id, |snapshot| snapshot.id);
        if prefix.fits(&id) || prefix.fits(&object.id) {
            found.entry(id).or_default().push((object, snapshot));
        }
        match found.len() > NAMED_LIMIT {
            true => Err(too_many(prefix)),
            false => Ok(()),
        }
    })?;
    let found: Vec<(Id, Vec<Looked>)> = found.into_iter().collect();
    let (_, objects) = only(prefix, "snapshots", found, |(id, _)| id.to_string())?;
    Ok(objects)
}

/// The error for more snapshots than are worth listing.
fn too_many(prefix: &Prefix) -> Error {
    Error::usage(format!("{prefix} is the beginning of many snapshots"))
}

/// The totals of all snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Number of readable snapshots.
    pub snapshots: u64,
    /// Number of snapshots that cannot be read.
    pub damaged: u64,
    /// Files, directories and bytes, summed over all snapshots.
    pub totals: Totals,
    /// Time of the oldest snapshot, in nanoseconds since 1970.
    pub oldest_ns: Option<i64>,
    /// Time of the newest snapshot, in nanoseconds since 1970.
    pub newest_ns: Option<i64>,
    /// Number of condemned packs that still exist.
    pub condemned_packs: u64,
    /// Total size of the condemned packs that still exist.
    pub condemned_bytes: u64,
}

/// Computes the totals of all snapshots. Damage is reported to the observer of `kloset`.
pub fn holdings(kloset: &Kloset) -> Result<Holdings> {
    let (snapshots, damaged) = snapshot::list(kloset, kloset.observer())?;
    let mut totals = Totals::default();
    for stored in &snapshots {
        totals.add(stored.snapshot.totals());
    }
    let mut holdings = Holdings {
        snapshots: snapshots.len() as u64,
        damaged,
        totals,
        oldest_ns: snapshots.first().map(|stored| stored.snapshot.time_ns),
        newest_ns: snapshots.last().map(|stored| stored.snapshot.time_ns),
        ..Holdings::default()
    };
    count_condemned(kloset, &mut holdings)?;
    Ok(holdings)
}

/// Counts the packs that wait for deletion.
fn count_condemned(kloset: &Kloset, holdings: &mut Holdings) -> Result<()> {
    let mut packs: HashSet<Id> = HashSet::new();
    for object in listed(kloset.store(), Area::Condemned)? {
        match answered(condemned::read(kloset, object.id))? {
            Some(Ok(Some((named, _)))) => packs.extend(named),
            Some(Ok(None)) | None => {}
            Some(Err(error)) => kloset.observer().event(&Event::Warning(&error)),
        }
    }
    for pack in packs {
        match kloset.store().stat(Area::Packs, pack) {
            Ok(object) => {
                holdings.condemned_packs += 1;
                holdings.condemned_bytes += object.size_bytes;
            }
            Err(error) if error.is_of_one_object() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
