use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::*;
use crate::connector::LocalSource;
use crate::kloset::progress::{Counters, Event, Observer};
use crate::kloset::snapshot::Stored;
use crate::kloset::{Locked, Protection, create};
use crate::ops::backup;
use crate::ops::select;
use crate::store::memory::MemoryStore;
use crate::store::{Area, Store};

#[derive(Default)]
struct Silent(Counters);

impl Observer for Silent {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _: &Event<'_>) {}
}

fn open(store: &MemoryStore) -> Kloset {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let locked = Locked::new(store).unwrap();
    let key = locked.plaintext_key().unwrap().unwrap();
    locked.open(key, None, Arc::new(Silent::default())).unwrap()
}

/// Creates a store with a snapshot of one file. Returns both.
fn with_snapshot() -> (MemoryStore, Stored) {
    let (store, tree) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    create(&store, &Protection::Plaintext, 1).unwrap();
    std::fs::write(tree.path().join("file"), "what is needed").unwrap();
    let place = tree.path().canonicalize().unwrap();
    let options = backup::Options {
        places: vec![place.as_os_str().as_bytes().to_vec()],
        workers: 1,
        readers: 1,
        ..backup::Options::default()
    };
    let kloset = open(&store);
    backup::run(&kloset, &LocalSource::new().unwrap(), &options).unwrap();
    let stored = select::all(&kloset).unwrap().remove(0);
    (store, stored)
}

fn names(store: &MemoryStore, area: Area) -> Vec<Id> {
    let mut names = Vec::new();
    let listed = store.list(area, &mut |object| {
        names.push(object.id);
        Ok(())
    });
    listed.unwrap();
    names
}

/// Publishes another snapshot of the same root. `happens` changes the store after the last check,
/// which is `ago` old.
fn publish_after(ago: Duration, happens: impl FnOnce(&MemoryStore)) -> (MemoryStore, Result<u64>) {
    let (store, stored) = with_snapshot();
    let kloset = open(&store);
    let mut condemned = Condemned::hide(&kloset).unwrap();
    kloset.trust_present_packs_only().unwrap();
    condemned.looked = Stopwatch::started(ago);
    happens(&store);
    let other = Snapshot {
        id: Id([7; 32]),
        ..stored.snapshot
    };
    let published = condemned.publish(&kloset, &other, &Interrupt::default());
    (store, published)
}

#[test]
fn packs_that_went_since_an_old_look_are_missed_whoever_told_of_them() {
    for replaces_index in [false, true] {
        let (store, published) = publish_after(2 * LOOK_AGE, |store| {
            // The packs were condemned and deleted, and the condemnation was removed. No object is
            // left that records this.
            store
                .delete(Area::Packs, names(store, Area::Packs)[0])
                .unwrap();
            if replaces_index {
                store
                    .delete(Area::Index, names(store, Area::Index)[0])
                    .unwrap();
            }
        });
        let error = published.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert_eq!(names(&store, Area::Snapshots).len(), 1);
    }
}

#[test]
fn an_old_look_at_a_store_where_nothing_went_is_no_obstacle() {
    let (store, published) = publish_after(2 * LOOK_AGE, |_| {});
    published.unwrap();
    assert_eq!(names(&store, Area::Snapshots).len(), 2);
}
