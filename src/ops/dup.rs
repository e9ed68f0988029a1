//! Copies a snapshot within a store.
//!
//! Only a snapshot object is stored. The original guarantees that all data that it references exists
//! and stays: maintenance never deletes data that a snapshot in the store references. If the original
//! still exists after the copy was published, then every program that listed snapshots before found
//! the original, and every program that lists them later finds the copy. So the packs of both were
//! never considered unreferenced. If the original no longer exists at that time, the copy is removed
//! again. This needs no clock and no list of condemned packs, because the copy references only data
//! that a snapshot in the store references.

use crate::error::{During, Error, Kind, Result};
use crate::format::master::random;
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Snapshot, Stored};
use crate::store::Area;
use crate::util::Id;
use crate::util::clock::now_ns;

/// Publishes a copy of the snapshot with a new id, and returns this id. Durable on return.
///
/// # Errors
/// [`Kind::NotFound`] if the original is removed meanwhile; then there is no copy.
pub fn run(kloset: &Kloset, original: &Stored) -> Result<Id> {
    let dup = || -> Result<Id> {
        let copy = Snapshot {
            id: Id(random()?),
            revision: 0,
            synced_ns: Some(now_ns()),
            ..snapshot::read(kloset, original.object)?
        };
        snapshot::publish(kloset, &copy)?;
        keep_beside(kloset, original, copy.id)?;
        Ok(copy.id)
    };
    dup().during(|| format!("dup {}", original.snapshot.id.short()))
}

/// Removes the snapshot `copy`, which was just published, unless `original` still exists.
///
/// # Errors
/// [`Kind::NotFound`] if the original does not exist.
pub(crate) fn keep_beside(kloset: &Kloset, original: &Stored, copy: Id) -> Result<()> {
    is_there(kloset, original).or_else(|error| snapshot::take_back(kloset, copy).and(Err(error)))
}

/// # Errors
/// [`Kind::NotFound`] if the snapshot was removed: its first object exists as long as the snapshot.
fn is_there(kloset: &Kloset, original: &Stored) -> Result<()> {
    match kloset.store().stat(Area::Snapshots, original.first) {
        Err(error) if error.kind() == Kind::NotFound => {
            Err(Error::new(Kind::NotFound, "it was removed meanwhile"))
        }
        outcome => outcome.map(|_| ()),
    }
}
