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
//!
//! A later object counts only if it says the same as the first in all but what people say. Somebody
//! who can only add to the store, and has the key, could else put something else in the place of a snapshot.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Detail, Labels, Snapshot, decode_object, publish_object, read, read_as};
use crate::error::{During, Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::progress::{Event, Observer};
use crate::store::{Area, Object};
use crate::util::Id;

/// A snapshot, and the objects it lies in.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The name of the object whose revision counts.
    pub object: Id,
    /// Further objects of the same snapshot.
    pub older: Vec<Id>,
    /// The one of them all that the store took in first. It stays as long as the snapshot does.
    pub first: Id,
    /// When that was published, by the store's clock, in nanoseconds since 1970.
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
                first: object.id,
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
    // The one that the store took in first comes first: nobody else can say when that was.
    objects.sort_by_key(|stored| (stored.snapshot.id, stored.published_ns, stored.object));
    let mut snapshots: Vec<Stored> = Vec::with_capacity(objects.len());
    for stored in objects {
        match snapshots.last_mut() {
            Some(last) if last.snapshot.id == stored.snapshot.id => last.add(stored),
            _ => snapshots.push(stored),
        }
    }
    snapshots.sort_by_key(|stored| (stored.snapshot.time_ns, stored.snapshot.id));
    snapshots
}

impl Stored {
    /// Takes in a further object of this snapshot, which came to the store later.
    fn add(&mut self, other: Stored) {
        let rank = |stored: &Stored| (stored.snapshot.revision, stored.object);
        match other.is_same_but_for_labels(self) && rank(&other) > rank(self) {
            true => {
                self.older.push(self.object);
                self.object = other.object;
                self.snapshot = other.snapshot;
            }
            false => self.older.push(other.object),
        }
    }

    /// Whether one is the other with what people say of it changed, or copied at another time.
    fn is_same_but_for_labels(&self, other: &Stored) -> bool {
        self.snapshot.without_labels() == other.snapshot.without_labels()
    }
}

/// Why the object that is called `object` cannot be read, asked of the store itself; nothing if it
/// can, or is not there.
pub fn damage(kloset: &Kloset, object: Id) -> Result<Option<Error>> {
    let bytes = kloset.store().get(Area::Snapshots, object);
    match bytes.and_then(|bytes| decode_object(kloset, object, bytes, Detail::Brief)) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) if error.is_of_one_object() => Ok(Some(error)),
        outcome => outcome.map(|_| None),
    }
}

/// Takes one object away, whatever it is.
pub fn remove_object(kloset: &Kloset, object: Id) -> Result<()> {
    let removed = kloset.store().delete(Area::Snapshots, object);
    removed.during(|| format!("remove snapshot object {object}"))
}

/// Makes `labels` what is said of the snapshot; durable on return.
pub fn amend(kloset: &Kloset, stored: &Stored, labels: Labels) -> Result<()> {
    let revision = stored.snapshot.revision.saturating_add(1);
    revise(kloset, stored, labels, revision)
}

/// The same, as the `revision` that somebody else made of it, which is a higher one.
pub fn revise(kloset: &Kloset, stored: &Stored, labels: Labels, revision: u64) -> Result<()> {
    let whole = read(kloset, stored.object)?;
    let revised = Snapshot {
        labels,
        revision,
        ..whole
    };
    let (object, _) = publish_object(kloset, &revised)?;
    let objects = || stored.older.iter().chain([&stored.object]);
    if !objects().any(|known| *known == object) {
        keep_unless_removed(kloset, stored, object)?;
    }
    for superseded in objects().filter(|known| ![stored.first, object].contains(known)) {
        match kloset.store().delete(Area::Snapshots, *superseded) {
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

/// Takes the revision `object`, which was just published, back if the snapshot was removed meanwhile: it
/// would bring that back, and maybe after what it needs was deleted.
///
/// # Errors
/// [`Kind::NotFound`] if it was.
fn keep_unless_removed(kloset: &Kloset, stored: &Stored, object: Id) -> Result<()> {
    match kloset.store().stat(Area::Snapshots, stored.first) {
        Err(error) if error.kind() == Kind::NotFound => {
            remove_object(kloset, object)?;
            let id = stored.snapshot.id.short();
            Err(Error::new(Kind::NotFound, "it was removed meanwhile")
                .during(format!("snapshot {id}")))
        }
        outcome => outcome.map(|_| ()),
    }
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

/// Removes the snapshot `id`, which was just published.
pub fn take_back(kloset: &Kloset, id: Id) -> Result<()> {
    let (snapshots, _) = list(kloset, kloset.observer())?;
    let mut copies = snapshots.iter().filter(|stored| stored.snapshot.id == id);
    copies
        .try_for_each(|copy| remove(kloset, copy))
        .during(|| format!("take snapshot {} back", id.short()))
}
