//! Tests for findings of a review of keys, opening and checking.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plakar::connector::{FileKind, LocalSource, Metadata};
use plakar::error::Kind;
use plakar::format::entry::{Content, Entry};
use plakar::format::master::Key;
use plakar::format::pack_table::PackKind;
use plakar::format::slot::{self, Cost, SlotInfo};
use plakar::kloset::keyring::{self, Owner};
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::snapshot::{self, Snapshot};
use plakar::kloset::tree::TreeWriter;
use plakar::kloset::write_session::write_session;
use plakar::kloset::{Kloset, Locked, Protection, create};
use plakar::ops::{backup, check, select};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::harness::*;
use crate::hooked::{Asked, Hooked, closed};

fn cheap() -> SlotInfo {
    SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    }
}

/// A store with the passphrase `one`, unlocked.
fn unlocked() -> (MemoryStore, Kloset) {
    let store = MemoryStore::new();
    create(&store, &Protection::Passphrase(b"one", cheap()), 1).unwrap();
    let locked = Locked::new(shared(&store)).unwrap();
    let key = locked.unlock(b"one", &Watcher::default()).unwrap().unwrap();
    let kloset = locked
        .open(key, None, Arc::new(Watcher::default()))
        .unwrap();
    (store, kloset)
}

/// Adds a slot that `passphrase` opens, but that wraps a different key.
fn plant(store: &MemoryStore, passphrase: &[u8]) -> Id {
    let slot = slot::wrap(&Key::new([7; 32]), passphrase, &cheap()).unwrap();
    store.put(Area::Keys, Id::of(&slot), &slot).unwrap();
    Id::of(&slot)
}

#[test]
fn a_slot_of_another_key_does_not_count_as_a_passphrase() {
    let (store, kloset) = unlocked();
    let own = objects(&store, Area::Keys)[0];
    let planted = plant(&store, b"one");
    let (found, _) = keyring::slot_of(&kloset, b"one", &Interrupt::default())
        .unwrap()
        .unwrap();
    assert_eq!(found, own, "the planted slot opens with the passphrase too");
    let owners = keyring::owners(&kloset).unwrap();
    let of = |id| owners.iter().find(|(slot, ..)| *slot == id).unwrap().2;
    assert_eq!((of(own), of(planted)), (Owner::Store, Owner::Stranger));
    let error = keyring::remove(&kloset, own).unwrap_err();
    assert!(error.to_string().contains("only passphrase"), "{error}");
    keyring::remove(&kloset, planted).unwrap();
    assert_eq!(objects(&store, Area::Keys), [own]);
}

#[test]
fn a_creation_removes_the_slots_that_interrupted_ones_left() {
    let store = MemoryStore::new();
    store.prepare().unwrap();
    let left = plant(&store, b"first try");
    create(&store, &Protection::Passphrase(b"one", cheap()), 1).unwrap();
    let slots = objects(&store, Area::Keys);
    assert!(slots.len() == 1 && slots[0] != left, "{slots:?}");
    let plain = MemoryStore::new();
    plain.prepare().unwrap();
    plant(&plain, b"first try");
    create(&plain, &Protection::Plaintext, 1).unwrap();
    assert_eq!(objects(&plain, Area::Keys), []);
}

#[test]
fn one_object_that_cannot_be_read_stops_nothing_else() {
    let (store, tree) = (new_store(), small_tree());
    let first = backup(&shared(&store), tree.path()).unwrap();
    let expected = listing(tree.path());
    let snapshots = objects(&store, Area::Snapshots);
    backup(&shared(&store), tree.path()).unwrap();
    let spare: Vec<_> = all_objects(&store)
        .into_iter()
        .filter(|(area, id)| match area {
            Area::Snapshots => !snapshots.contains(id),
            _ => *area == Area::Index,
        })
        .collect();
    assert!(spare.len() >= 2);
    for object in spare {
        for kind in [Kind::Denied, Kind::Failed] {
            let when = format!("{object:?} {kind:?}");
            let store = store.fork();
            let closed = closed(&shared(&store), object, kind);
            assert_restores(&closed, first.snapshot, &expected, &when);
            let (summary, watcher) = check(&closed);
            assert_eq!(summary.damaged_objects, 1, "{when}: {:?}", watcher.heard());
            let third = backup(&closed, tree.path()).unwrap();
            assert_restores(&closed, third.snapshot, &expected, &when);
        }
    }
    for pack in objects(&store, Area::Packs) {
        let closed = closed(&shared(&store.fork()), (Area::Packs, pack), Kind::Denied);
        let (summary, watcher) = check(&closed);
        assert!(summary.damaged_snapshots > 0, "{:?}", watcher.heard());
        assert!(watcher.says(&["packs/", &pack.short()]));
    }
}

#[test]
fn errors_are_left_out_of_lists_and_counted_all_the_same() {
    let store = new_store();
    let (kloset, watcher) = open(&shared(&store));
    let root = Entry {
        metadata: Metadata {
            kind: FileKind::Directory,
            ..Metadata::default()
        },
        ..Entry::default()
    };
    let failure = snapshot::Failure {
        path: b"/a".to_vec(),
        cause: "permission denied".into(),
    };
    let stored = Snapshot {
        root,
        error_count: 3,
        errors: vec![failure; 3],
        ..Snapshot::default()
    };
    snapshot::publish(&kloset, &stored).unwrap();
    let (listed, damaged) = snapshot::list(&kloset, &*watcher).unwrap();
    assert_eq!((listed.len(), damaged), (1, 0));
    assert_eq!(listed[0].snapshot.error_count, 3);
    assert!(listed[0].snapshot.errors.is_empty());
    let read = snapshot::read(&kloset, listed[0].object).unwrap();
    assert_eq!(read.errors, stored.errors);
}

#[test]
fn a_planted_condemnation_stops_no_backup_and_a_damaged_one_does() {
    let (store, tree) = (new_store(), small_tree());
    let garbage = noise(5, 100);
    store
        .put(Area::Condemned, Id::of(&garbage), &garbage)
        .unwrap();
    let (kloset, watcher) = open(&shared(&store));
    let source = LocalSource::new().unwrap();
    backup::run(&kloset, &source, &options(tree.path())).unwrap();
    assert!(
        watcher.says(&["condemnation", "skipped"]),
        "{:?}",
        watcher.heard()
    );
    store
        .damage(Area::Condemned, Id::of(&garbage), |bytes| bytes[0] ^= 1)
        .unwrap();
    let error = backup(&shared(&store), tree.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[test]
fn a_backup_and_a_removal_beside_a_check_are_no_damage() {
    let (store, tree) = (new_store(), small_tree());
    backup(&shared(&store), tree.path()).unwrap();
    fs::write(tree.path().join("more"), noise(8, 500)).unwrap();
    let gone = backup(&shared(&store), tree.path()).unwrap();
    let object = snapshot(&open(&shared(&store)).0, gone.snapshot)
        .unwrap()
        .object;
    fs::write(tree.path().join("later"), noise(9, 500)).unwrap();
    for when in [Area::Packs, Area::Snapshots, Area::Index, Area::Condemned] {
        let inner = store.fork();
        let (beside, path) = (inner.clone(), tree.path().to_owned());
        let once = AtomicBool::new(true);
        let before = move |asked| {
            // The object is listed, but deleted before it is read.
            if asked == Asked::Read(Area::Snapshots, object) {
                beside.delete(Area::Snapshots, object)?;
            }
            if asked == Asked::List(when) && once.swap(false, Ordering::SeqCst) {
                backup(&shared(&beside), &path)?;
            }
            Ok(())
        };
        let hooked = Hooked::new(&shared(&inner)).before(before).shared();
        let (summary, watcher) = check(&hooked);
        assert!(
            !summary.is_damaged(),
            "{when:?}: {summary:?} {:?}",
            watcher.heard()
        );
    }
}

/// A snapshot of nested directories, `levels` deep, with a file at the bottom whose chunk is
/// missing.
fn deep(kloset: &Kloset, levels: usize) {
    let directory = |name: &[u8], tree| Entry {
        name: name.to_vec(),
        metadata: Metadata {
            kind: FileKind::Directory,
            ..Metadata::default()
        },
        tree,
        ..Entry::default()
    };
    let trouble = Trouble::new(Interrupt::default());
    let entry = write_session(kloset, 1, 1, &trouble, |session| {
        let mut packer = session.packer(PackKind::Tree).unwrap();
        let mut entry = Entry {
            name: b"f".to_vec(),
            content: Content {
                ids: vec![Id([9; 32])],
                depth: 0,
            },
            ..Entry::default()
        };
        for _ in 0..levels {
            let mut tree = TreeWriter::default();
            tree.push(&entry, &mut packer, kloset).unwrap();
            let below = entry.totals();
            entry = directory(b"d", tree.finish(&mut packer, kloset).unwrap());
            entry.below = below;
        }
        packer.flush().unwrap();
        entry
    })
    .unwrap();
    trouble.outcome().unwrap();
    let snapshot = Snapshot {
        root: Entry {
            below: entry.below,
            ..directory(b"", entry.tree)
        },
        ..Snapshot::default()
    };
    snapshot::publish(kloset, &snapshot).unwrap();
}

#[test]
fn a_tree_as_deep_as_allowed_is_followed_to_its_end_and_a_deeper_one_told_of() {
    for (levels, found) in [
        (16_384, "chunk 09090909 is damaged or missing"),
        (16_390, "more than 16384 directories deep"),
    ] {
        let store = new_store();
        let (kloset, watcher) = open(&shared(&store));
        deep(&kloset, levels);
        let targets: Vec<check::Target> = select::all(&kloset)
            .unwrap()
            .into_iter()
            .map(|stored| check::Target {
                stored,
                path: b"/".to_vec(),
            })
            .collect();
        for targets in [None, Some(targets.as_slice())] {
            let summary = check::run(&kloset, targets, &check_options()).unwrap();
            let damaged = summary.damaged_files + summary.damaged_directories;
            assert_eq!((damaged, summary.damaged_snapshots), (1, 1));
            assert!(watcher.says(&[found]));
        }
    }
}

#[test]
fn planted_slots_do_not_crowd_out_those_of_the_store() {
    let (store, _) = unlocked();
    store.age(Duration::from_secs(60));
    let mut slot = slot::wrap(&Key::new([7; 32]), b"other", &cheap()).unwrap();
    for planted in 0..100 {
        slot[36] = planted;
        store.put(Area::Keys, Id::of(&slot), &slot).unwrap();
    }
    let (locked, watcher) = (Locked::new(shared(&store)).unwrap(), Watcher::default());
    assert!(locked.unlock(b"one", &watcher).unwrap().is_some());
    assert!(
        watcher.says(&["101 key slots; only the oldest 64"]),
        "{:?}",
        watcher.heard()
    );
}
