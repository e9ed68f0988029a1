//! Tests a stop at every change to the store, with every type of fault: older snapshots are
//! preserved, and a retry succeeds.

use std::fs;
use std::sync::Arc;

use plakar::connector::LocalSource;
use plakar::error::{Kind, Result};
use plakar::format::slot::{Cost, SlotInfo};
use plakar::kloset::{Locked, Protection, create, keyring};
use plakar::store::fault::{Fault, FaultStore, Lasting};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::harness::*;

/// More changes than any test makes. A loop that reaches this number would never end.
const MANY_CHANGES: u64 = 100;

/// Runs `work` on copies of `store` that fail after 0, 1, 2, ... changes, until it succeeds. Calls
/// `after` on the result of each run.
fn at_every_change(
    store: &MemoryStore,
    fault: Fault,
    work: impl Fn(&Arc<dyn Store>) -> Result<()>,
    after: impl Fn(u64, &Arc<dyn Store>, Result<()>),
) {
    for changes in 0..MANY_CHANGES {
        let copy = shared(&store.fork());
        let faulty: Arc<dyn Store> =
            Arc::new(FaultStore::with(&copy, changes, fault, Lasting::ForEver));
        let outcome = work(&faulty);
        let succeeded = outcome.is_ok();
        after(changes, &copy, outcome);
        if succeeded {
            assert!(changes > 0, "nothing was changed at all");
            return;
        }
    }
    panic!("not done after {MANY_CHANGES} changes");
}

fn kind_of(fault: Fault) -> Kind {
    match fault {
        Fault::Full => Kind::NoSpace,
        _ => Kind::Unavailable,
    }
}

#[test]
fn a_backup_stopped_anywhere_leaves_older_snapshots_and_can_be_repeated() {
    for fault in [Fault::Unavailable, Fault::Late, Fault::Full] {
        let (store, tree) = (new_store(), small_tree());
        let old = (
            backup(&shared(&store), tree.path()).unwrap().snapshot,
            listing(tree.path()),
        );
        fs::write(tree.path().join("new"), noise(7, 5000)).unwrap();
        fs::write(tree.path().join("sub/b.bin"), noise(8, 400)).unwrap();
        let new = listing(tree.path());
        let work = |store: &Arc<dyn Store>| backup(store, tree.path()).map(drop);
        at_every_change(&store, fault, work, |changes, store, outcome| {
            let when = format!("{fault:?} after {changes} changes");
            assert_restores(store, old.0, &old.1, &when);
            if let Err(error) = &outcome {
                assert_eq!(error.kind(), kind_of(fault), "{when}: {error}");
            }
            let snapshots = objects(&**store, Area::Snapshots).len();
            // If the publication of a snapshot succeeded but its response was lost, the snapshot
            // exists and is complete.
            assert!(
                snapshots == 1 || outcome.is_ok() || fault == Fault::Late,
                "{when}: published"
            );
            let (summary, watcher) = check(store);
            assert!(!summary.is_damaged(), "{when}: {:?}", watcher.heard());
            let again = backup(store, tree.path()).unwrap();
            assert_restores(store, again.snapshot, &new, &when);
        });
    }
}

#[test]
fn what_an_interrupted_backup_published_is_not_stored_again() {
    let (store, tree) = (new_store(), small_tree());
    // Everything except the snapshot: two packs, and the index object that covers them.
    let faulty: Arc<dyn Store> = Arc::new(FaultStore::new(&shared(&store), 3));
    assert_eq!(
        backup(&faulty, tree.path()).unwrap_err().kind(),
        Kind::Unavailable
    );
    assert_eq!(objects(&store, Area::Index).len(), 1);
    let packs = objects(&store, Area::Packs);
    let again = backup(&shared(&store), tree.path()).unwrap();
    assert_eq!(again.new_bytes, 0);
    assert_eq!(objects(&store, Area::Packs), packs);
}

#[test]
fn a_single_lost_connection_ends_a_backup_cleanly() {
    let (store, tree) = (new_store(), small_tree());
    for changes in 0..MANY_CHANGES {
        let copy = shared(&store.fork());
        let faulty: Arc<dyn Store> = Arc::new(FaultStore::with(
            &copy,
            changes,
            Fault::Unavailable,
            Lasting::Once,
        ));
        let outcome = backup(&faulty, tree.path());
        assert_eq!(
            objects(&*copy, Area::Snapshots).len(),
            usize::from(outcome.is_ok())
        );
        if outcome.is_ok() {
            return;
        }
    }
    panic!("never done");
}

#[test]
fn a_failing_disk_while_reading_never_publishes_half() {
    use plakar::store::fault::ReadFault;
    let (store, tree) = (new_store(), small_tree());
    let old = (
        backup(&shared(&store), tree.path()).unwrap().snapshot,
        listing(tree.path()),
    );
    fs::write(tree.path().join("new"), noise(7, 5000)).unwrap();
    for reads in 1..1000 {
        let copy = shared(&store.fork());
        let faulty: Arc<dyn Store> = Arc::new(FaultStore::with_reads(
            &copy,
            reads,
            ReadFault::Unavailable,
            Lasting::ForEver,
        ));
        let outcome = try_backup(&faulty, tree.path());
        assert_restores(
            &copy,
            old.0,
            &old.1,
            &format!("no answer after {reads} reads"),
        );
        match outcome {
            Ok(id) => return assert_restores(&copy, id, &listing(tree.path()), "at last"),
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error}"),
        }
    }
    panic!("never done");
}

fn try_backup(store: &Arc<dyn Store>, path: &std::path::Path) -> Result<Id> {
    let locked = Locked::new(store.clone())?;
    let key = locked.plaintext_key()?.unwrap();
    let kloset = locked.open(key, None, Arc::new(Watcher::default()))?;
    let summary = plakar::ops::backup::run(&kloset, &LocalSource::new()?, &options(path))?;
    Ok(summary.snapshot)
}

#[test]
fn the_removal_of_a_snapshot_is_all_or_nothing() {
    let (store, tree) = (new_store(), small_tree());
    let kept = backup(&shared(&store), tree.path()).unwrap().snapshot;
    fs::write(tree.path().join("more"), "more").unwrap();
    let removed = backup(&shared(&store), tree.path()).unwrap().snapshot;
    fs::remove_file(tree.path().join("more")).unwrap();
    let expected = listing(tree.path());
    let object = snapshot(&open(&shared(&store)).0, removed).unwrap().object;
    for fault in [Fault::Unavailable, Fault::Late] {
        let work = |store: &Arc<dyn Store>| store.delete(Area::Snapshots, object);
        at_every_change(&store, fault, work, |changes, store, _| {
            assert_restores(
                store,
                kept,
                &expected,
                &format!("{fault:?} after {changes}"),
            );
            store.delete(Area::Snapshots, object).unwrap();
            assert!(snapshot(&open(store).0, removed).is_none());
        });
    }
}

fn cheap() -> SlotInfo {
    SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    }
}

/// Whether `passphrase` opens `store`.
fn opens(store: &Arc<dyn Store>, passphrase: &[u8]) -> bool {
    let locked = Locked::new(store.clone()).unwrap();
    let Ok(Some(key)) = locked.unlock(passphrase, &Watcher::default()) else {
        return false;
    };
    locked.open(key, None, Arc::new(Watcher::default())).is_ok()
}

#[test]
fn a_creation_stopped_anywhere_can_be_repeated() {
    for fault in [Fault::Unavailable, Fault::Late, Fault::Full] {
        let work = |store: &Arc<dyn Store>| {
            create(&**store, &Protection::Passphrase(b"open", cheap()), 1).map(drop)
        };
        at_every_change(
            &MemoryStore::new(),
            fault,
            work,
            |changes, store, outcome| {
                let when = format!("{fault:?} after {changes} changes: {outcome:?}");
                let again = work(store);
                // If the publication succeeded but its response was lost, the store exists already.
                let is_store = outcome.is_ok() || (fault == Fault::Late && changes == 2);
                assert_eq!(
                    again.err().map(|error| error.kind()),
                    is_store.then_some(Kind::Exists),
                    "{when}"
                );
                assert!(opens(store, b"open"), "{when}");
                assert!(!opens(store, b"wrong"), "{when}");
            },
        );
    }
}

/// Changes the passphrase from `old` to `new` as the program does: the new slot is written first.
fn change_passphrase(store: &Arc<dyn Store>) -> Result<()> {
    let locked = Locked::new(store.clone())?;
    let watcher = Arc::new(Watcher::default());
    let key = locked.unlock(b"old", &*watcher)?.unwrap();
    let kloset = locked.open(key, None, watcher)?;
    let (old, _) = keyring::slot_of(&kloset, b"old", &Interrupt::default())?.unwrap();
    keyring::add(&kloset, b"new", &cheap())?;
    keyring::remove(&kloset, old)
}

#[test]
fn a_change_of_passphrase_stopped_anywhere_locks_nobody_out() {
    let store = MemoryStore::new();
    create(&store, &Protection::Passphrase(b"old", cheap()), 1).unwrap();
    for fault in [Fault::Unavailable, Fault::Late, Fault::Full] {
        at_every_change(
            &store,
            fault,
            change_passphrase,
            |changes, store, outcome| {
                let (old, new) = (opens(store, b"old"), opens(store, b"new"));
                assert!(old || new, "{fault:?} after {changes}: locked out");
                if outcome.is_ok() {
                    assert_eq!((old, new), (false, true));
                } else if old {
                    change_passphrase(store).unwrap();
                    assert!(
                        opens(store, b"new") && !opens(store, b"old"),
                        "{fault:?} after {changes}"
                    );
                }
            },
        );
    }
}

#[test]
fn the_last_passphrase_cannot_be_removed_and_a_damaged_slot_does_not_count() {
    let store = MemoryStore::new();
    create(&store, &Protection::Passphrase(b"one", cheap()), 1).unwrap();
    let store_dyn = shared(&store);
    let locked = Locked::new(store_dyn.clone()).unwrap();
    let key = locked.unlock(b"one", &Watcher::default()).unwrap().unwrap();
    let kloset = locked
        .open(key, None, Arc::new(Watcher::default()))
        .unwrap();
    let first = objects(&store, Area::Keys)[0];
    let second = keyring::add(&kloset, b"two", &cheap()).unwrap();
    for at in (0..store.get(Area::Keys, second).unwrap().len()).step_by(9) {
        let damaged = store.fork();
        damaged
            .damage(Area::Keys, second, |bytes| bytes[at] ^= 1 << (at % 8))
            .unwrap();
        let damaged = shared(&damaged);
        assert!(
            opens(&damaged, b"one") && !opens(&damaged, b"two"),
            "byte {at}"
        );
    }
    store
        .damage(Area::Keys, second, |bytes| bytes[60] ^= 1)
        .unwrap();
    let error = keyring::remove(&kloset, first).unwrap_err();
    assert!(error.to_string().contains("only passphrase"), "{error}");
    assert!(opens(&store_dyn, b"one"));
}
