//! The snapshots of a store, and the objects each lies in.
//!
//! A snapshot is published once and its object is never changed. When people change what
//! they say of it, a second object with the same id and a higher revision is published, and
//! the highest revision is what counts. So nothing is lost by an interruption, and labels
//! can be changed in a store that lets nobody delete. The first object stays as long as the
//! snapshot does: the store's clock tells from it when the backup was made. Those between
//! the first and the last are taken away where that is allowed.
//!
//! Two machines that change one snapshot at the same time make two objects of one revision:
//! every reader picks the same one of them, and the other change is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Detail, Labels, Snapshot, publish, read, read_as};
use crate::error::{During, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::progress::{Event, Observer};
use crate::store::{Area, Object};
use crate::util::Id;

/// A snapshot, and the objects it lies in.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The name of the object whose revision counts.
    pub object: Id,
    /// Further objects of the same snapshot, the oldest revision first.
    pub older: Vec<Id>,
    /// When its first object was published, by the store's clock, in nanoseconds since 1970.
    pub published_ns: i64,
    /// What is in it.
    pub snapshot: Snapshot,
}

/// Threads that read snapshots, or as many as the store has connections, if these are more: the
/// objects are small, and each costs a wait for the store.
const READERS: usize = 4;
/// Fewer objects than this are read from this machine before a second thread has begun.
const FEW_OBJECTS: usize = 16;

/// Every snapshot that can be read, oldest first, without the list of its errors. An object that
/// cannot is told to `observer` and counted in the second value: it never hides the others.
pub fn list(kloset: &Kloset, observer: &dyn Observer) -> Result<(Vec<Stored>, u64)> {
    let mut objects = Vec::new();
    kloset.store().list(Area::Snapshots, &mut |object| {
        objects.push(object);
        Ok(())
    })?;
    let readers = match (kloset.connections(), objects.len()) {
        (1, ..FEW_OBJECTS) => 1,
        (connections, count) => connections.max(READERS).min(count),
    };
    let next = AtomicUsize::new(0);
    let reader = || read_some(kloset, observer, &objects, &next);
    let read = thread::scope(|scope| {
        let others: Vec<_> = (1..readers).map(|_| scope.spawn(reader)).collect();
        let mut read = vec![reader()];
        read.extend(
            others
                .into_iter()
                .map(|other| other.join().expect("a reader does not panic")),
        );
        read
    });
    let (mut snapshots, mut damaged) = (Vec::with_capacity(objects.len()), 0);
    for part in read {
        let (stored, lost) = part?;
        snapshots.extend(stored);
        damaged += lost;
    }
    Ok((one_each(snapshots), damaged))
}

/// Reads those of `objects` that no other reader has taken.
fn read_some(
    kloset: &Kloset,
    observer: &dyn Observer,
    objects: &[Object],
    next: &AtomicUsize,
) -> Result<(Vec<Stored>, u64)> {
    let (mut snapshots, mut damaged) = (Vec::new(), 0);
    while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
        match read_as(kloset, object.id, Detail::Brief) {
            Ok(snapshot) => snapshots.push(Stored {
                object: object.id,
                older: Vec::new(),
                published_ns: object.modified_ns,
                snapshot,
            }),
            // Removed since it was listed: nobody's loss.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if error.is_of_one_object() => {
                damaged += 1;
                observer.event(&Event::Warning(&error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((snapshots, damaged))
}

/// One for each snapshot of which `objects` tell, oldest first.
pub fn one_each(mut objects: Vec<Stored>) -> Vec<Stored> {
    objects.sort_by_key(|stored| (stored.snapshot.id, stored.snapshot.revision, stored.object));
    let mut snapshots: Vec<Stored> = Vec::with_capacity(objects.len());
    for stored in objects {
        match snapshots.last_mut() {
            Some(last) if last.snapshot.id == stored.snapshot.id => last.supersede(stored),
            _ => snapshots.push(stored),
        }
    }
    snapshots.sort_by_key(|stored| (stored.snapshot.time_ns, stored.snapshot.id));
    snapshots
}

impl Stored {
    /// Makes `newer` what counts of this snapshot.
    fn supersede(&mut self, newer: Stored) {
        self.older.push(self.object);
        self.object = newer.object;
        self.published_ns = self.published_ns.min(newer.published_ns);
        self.snapshot = newer.snapshot;
    }
}

/// Makes `labels` what is said of the snapshot; durable on return.
pub fn amend(kloset: &Kloset, stored: &Stored, labels: Labels) -> Result<()> {
    let revision = stored.snapshot.revision.saturating_add(1);
    revise(kloset, stored, labels, revision)
}

/// The same, as the `revision` that somebody else made of it, which is a higher one.
pub fn revise(kloset: &Kloset, stored: &Stored, labels: Labels, revision: u64) -> Result<()> {
    let whole = read(kloset, stored.object)?;
    publish(
        kloset,
        &Snapshot {
            labels,
            revision,
            ..whole
        },
    )?;
    let objects: Vec<Id> = stored
        .older
        .iter()
        .chain([&stored.object])
        .copied()
        .collect();
    for superseded in objects.into_iter().skip(1) {
        match kloset.store().delete(Area::Snapshots, superseded) {
            Ok(()) => {}
            // It takes a kilobyte, and no longer counts.
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => {
                let error =
                    error.during(format!("remove superseded object {}", superseded.short()));
                kloset.observer().event(&Event::Warning(&error));
            }
        }
    }
    Ok(())
}

/// Takes the objects of a snapshot away, and nothing else: what only it needed is garbage
/// until maintenance collects it. Removing one that is gone is a success. What counts goes last, so
/// that an interruption does not bring back what was said before.
pub fn remove(kloset: &Kloset, stored: &Stored) -> Result<()> {
    let remove = || -> Result<()> {
        for object in stored.older.iter().chain([&stored.object]) {
            kloset.store().delete(Area::Snapshots, *object)?;
        }
        Ok(())
    };
    remove().during(|| format!("remove snapshot {}", stored.snapshot.id.short()))
}
