//! The snapshots of a store, and the objects that contain them.
//!
//! A snapshot is published once, and its object never changes. To change its labels, a second
//! object with the same id and a higher revision is published. The highest revision is the valid
//! one. Therefore an interruption loses nothing, and labels can be changed in a store that does not
//! permit deletion. The first object is kept as long as the snapshot exists, because its
//! modification time by the store's clock is the time when the backup was published. The objects
//! between the first and the last one are deleted if the store permits it.
//!
//! If two machines change the same snapshot concurrently, there are two objects with the same
//! revision. Every reader chooses the same one of them, and the other change is lost.
//!
//! A later object is valid only if it equals the first one in everything except labels. Otherwise,
//! a client that has the key but can only add objects to the store could replace a snapshot by
//! different data.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Detail, Labels, Snapshot, decode_object, publish_object, read, read_as};
use crate::error::{During, Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::progress::{Event, Observer};
use crate::store::{Area, Object};
use crate::util::Id;

/// A snapshot, and the objects that contain it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The name of the object with the valid revision.
    pub object: Id,
    /// The other objects of the same snapshot.
    pub older: Vec<Id>,
    /// The object that was stored first. It is kept as long as the snapshot exists.
    pub first: Id,
    /// When the first object was published, by the store's clock, in nanoseconds since 1970.
    pub published_ns: i64,
    /// The content of the valid object.
    pub snapshot: Snapshot,
}

/// Minimum number of threads that read snapshots. If the store supports more connections, that many
/// threads are used: the objects are small, so most of the time is spent waiting for the store.
const READERS: usize = 4;
/// With fewer objects than this, reading them from a local store takes less time than starting a
/// thread.
const FEW_OBJECTS: usize = 16;

/// Lists every readable snapshot, oldest first, without the list of its errors.
///
/// The second value is the number of unreadable objects. They are reported to `observer`, and never
/// hide the other snapshots.
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

/// Reads the `objects` that no other thread reads.
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
            // Deleted since it was listed, which is not an error.
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

/// Groups `objects` by snapshot, oldest snapshot first.
pub fn one_each(mut objects: Vec<Stored>) -> Vec<Stored> {
    // The object that was stored first comes first. Only its modification time shows when the
    // snapshot was published.
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
    /// Adds another object of this snapshot, which was stored later.
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

    /// Whether the two differ only in their labels, revision and time of copying.
    fn is_same_but_for_labels(&self, other: &Stored) -> bool {
        self.snapshot.without_labels() == other.snapshot.without_labels()
    }
}

/// Checks the snapshot object `object` in the store itself. Returns the error if it is damaged, or
/// `None` if it is intact or does not exist.
pub fn damage(kloset: &Kloset, object: Id) -> Result<Option<Error>> {
    let bytes = kloset.store().get(Area::Snapshots, object);
    match bytes.and_then(|bytes| decode_object(kloset, object, bytes, Detail::Brief)) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) if error.is_of_one_object() => Ok(Some(error)),
        outcome => outcome.map(|_| None),
    }
}

/// Deletes one object in the area of snapshots. It may be damaged.
pub fn remove_object(kloset: &Kloset, object: Id) -> Result<()> {
    let removed = kloset.store().delete(Area::Snapshots, object);
    removed.during(|| format!("remove snapshot object {object}"))
}

/// Replaces the labels of the snapshot. The change is durable on return.
///
/// # Errors
/// [`Kind::NotFound`] if the snapshot was removed meanwhile.
pub fn amend(kloset: &Kloset, stored: &Stored, labels: Labels) -> Result<()> {
    let revision = stored.snapshot.revision.saturating_add(1);
    revise(kloset, stored, labels, revision)
}

/// Replaces the labels of the snapshot and sets its revision, which must be higher than the current
/// one. Used to copy a change that was made elsewhere.
///
/// # Errors
/// As [`amend`].
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
            // The superseded object uses about a kilobyte and is ignored.
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

/// Deletes the revision `object`, which was just published, if the snapshot was removed meanwhile.
/// Otherwise the revision would restore the snapshot, possibly after data that it needs was
/// deleted.
///
/// # Errors
/// [`Kind::NotFound`] if the snapshot was removed.
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

/// Deletes the objects of a snapshot and nothing else. Data that only this snapshot needs is
/// garbage until maintenance collects it. Removing a snapshot that does not exist succeeds. The
/// valid object is deleted last, so that an interruption does not make older labels valid again.
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
