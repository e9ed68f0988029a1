//! A further snapshot of what a snapshot holds.
//!
//! Nothing but the snapshot object is stored. Whether everything it refers to is there, and
//! stays there, rests on the original: maintenance never deletes what a snapshot needs that
//! it finds in the store. If the original is still there once the copy is published, then
//! whoever listed snapshots before that found the original, and whoever lists them later
//! finds the copy; so at no time did the packs of either seem needless. If it is gone by then,
//! the copy is taken back. No clock and no list of condemned packs is needed for that: the
//! copy deduplicates against nothing but what a snapshot in the store needs.

use crate::error::{During, Error, Kind, Result};
use crate::format::master::random;
use crate::kloset::Kloset;
use crate::kloset::snapshot::{self, Snapshot, Stored};
use crate::store::Area;
use crate::util::Id;
use crate::util::clock::now_ns;

/// Publishes a copy of the snapshot with an id of its own, and returns that. Durable on return.
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

/// Takes the snapshot `copy`, which was just published, back unless `original` is still there.
///
/// # Errors
/// [`Kind::NotFound`] if it is not.
pub(crate) fn keep_beside(kloset: &Kloset, original: &Stored, copy: Id) -> Result<()> {
    is_there(kloset, original).or_else(|error| snapshot::take_back(kloset, copy).and(Err(error)))
}

/// # Errors
/// [`Kind::NotFound`] if the snapshot was removed: its first object stays as long as it does.
fn is_there(kloset: &Kloset, original: &Stored) -> Result<()> {
    match kloset.store().stat(Area::Snapshots, original.first) {
        Err(error) if error.kind() == Kind::NotFound => {
            Err(Error::new(Kind::NotFound, "it was removed meanwhile"))
        }
        outcome => outcome.map(|_| ()),
    }
}
