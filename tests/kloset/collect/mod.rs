//! Tests collection: unreferenced data is deleted and referenced data is kept, whatever happens
//! concurrently.

mod adverse;
mod faulty;
mod indexes;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use plakar::error::{Error, Kind, Result};
use plakar::kloset::{Locked, snapshot};
use plakar::ops::collect::{self, Options, Summary};
use plakar::store::fault::{Fault, FaultStore, Lasting, ReadFault};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;
use tempfile::TempDir;

use crate::harness::*;
use crate::hooked::{Asked, Hooked, no_delete};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The grace period in these tests.
const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

fn with_grace(grace: Duration) -> Options {
    Options {
        grace,
        is_dry: false,
        is_exclusive: false,
        max_repack_bytes: None,
        interrupt: Interrupt::default(),
    }
}

fn maintain_as(store: &Arc<dyn Store>, options: &Options) -> Result<Summary> {
    collect::run(&open(store).0, options)
}

fn maintain(store: &Arc<dyn Store>) -> Result<Summary> {
    maintain_as(store, &with_grace(GRACE))
}

fn remove(store: &Arc<dyn Store>, id: Id) {
    let (kloset, _) = open(store);
    snapshot::remove(&kloset, &snapshot(&kloset, id).unwrap()).unwrap();
}

fn packs(store: &dyn Store) -> usize {
    objects(store, Area::Packs).len()
}

/// Writes incompressible files, so that pack sizes are predictable.
fn write_noise(tree: &TempDir, name: &str, seed: u64, bytes: usize) {
    fs::write(tree.path().join(name), noise(seed, bytes)).unwrap();
}

/// Asserts that a check finds no damage and reports nothing.
#[track_caller]
fn assert_intact(store: &Arc<dyn Store>, when: &str) {
    let (summary, watcher) = check(store);
    let heard = watcher.heard();
    assert!(
        !summary.is_damaged() && heard.is_empty(),
        "{when}: {heard:?}"
    );
}

/// Asserts that a check finds no damage. It may report packs without an index object, as after a
/// crash.
#[track_caller]
fn assert_undamaged(store: &Arc<dyn Store>, when: &str) {
    let (summary, watcher) = check(store);
    let heard = watcher.heard();
    let is_expected = |message: &String| message.contains("in no index object");
    let is_fine = !summary.is_damaged() && heard.iter().all(is_expected);
    assert!(is_fine, "{when}: {heard:?}");
}

/// A store with one snapshot and one removed snapshot, whose packs are old enough to be collected.
/// Also returns the expected contents.
fn half_dead() -> (MemoryStore, TempDir, Id, Listing) {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    write_noise(&tree, "dead", 50, 300_000);
    let doomed = backup(&store, tree.path()).unwrap().snapshot;
    fs::remove_file(tree.path().join("dead")).unwrap();
    write_noise(&tree, "alive", 51, 2000);
    let kept = backup(&store, tree.path()).unwrap().snapshot;
    remove(&store, doomed);
    memory.age(8 * DAY);
    let expected = listing(tree.path());
    (memory, tree, kept, expected)
}

#[test]
fn what_was_removed_goes_after_the_grace_and_the_rest_restores() {
    let (memory, _tree, kept, expected) = half_dead();
    let store = shared(&memory);
    let before = packs(&*store);
    let first = maintain(&store).unwrap();
    assert_eq!(first.freed_packs, 0, "{first:?}");
    assert!(
        first.condemned_packs > 0 && first.repacked_bytes > 0,
        "{first:?}"
    );
    assert!(first.waiting_bytes > 300_000 && first.waiting_until_ns.is_some());
    assert!(packs(&*store) >= before);
    assert_restores(&store, kept, &expected, "condemned");
    memory.age(6 * DAY);
    let second = maintain(&store).unwrap();
    assert_eq!(
        (second.freed_packs, second.condemned_packs),
        (0, 0),
        "{second:?}"
    );
    memory.age(2 * DAY);
    let third = maintain(&store).unwrap();
    assert_eq!(third.freed_packs, first.condemned_packs, "{third:?}");
    assert!(
        third.freed_bytes > 300_000 && third.waiting_bytes == 0,
        "{third:?}"
    );
    assert_eq!(objects(&*store, Area::Condemned).len(), 1, "which says so");
    memory.age(8 * DAY);
    assert_restores(&store, kept, &expected, "deleted");
    assert_intact(&store, "deleted");
    let fourth = maintain(&store).unwrap();
    let done = (fourth.freed_packs, fourth.condemned_packs);
    assert_eq!((done, fourth.merged_indexes), ((0, 0), 0));
    assert!(objects(&*store, Area::Condemned).is_empty());
}

#[test]
fn without_a_grace_one_run_is_enough() {
    let (memory, _tree, kept, expected) = half_dead();
    let store = shared(&memory);
    let summary = maintain_as(&store, &with_grace(Duration::ZERO)).unwrap();
    assert!(summary.freed_bytes > 300_000, "{summary:?}");
    assert!(objects(&*store, Area::Condemned).is_empty());
    assert_eq!(summary.waiting_bytes, 0);
    assert_restores(&store, kept, &expected, "at once");
    assert_intact(&store, "at once");
    let again = maintain_as(&store, &with_grace(Duration::ZERO)).unwrap();
    assert_eq!(
        (again.freed_packs, again.condemned_packs),
        (0, 0),
        "{again:?}"
    );
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let (memory, _tree, _, _) = half_dead();
    let store = shared(&memory);
    let before = all_objects(&*store);
    let dry = Options {
        is_dry: true,
        ..with_grace(GRACE)
    };
    let told = maintain_as(&store, &dry).unwrap();
    assert_eq!(all_objects(&*store), before);
    let done = maintain(&store).unwrap();
    assert_eq!(told.condemned_packs, done.condemned_packs);
    memory.age(8 * DAY);
    let before = all_objects(&*store);
    let told = maintain_as(&store, &dry).unwrap();
    assert_eq!(all_objects(&*store), before);
    assert_eq!(told.freed_bytes, maintain(&store).unwrap().freed_bytes);
}

#[test]
fn what_is_young_is_left_to_whoever_is_making_it() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    // Packs without a snapshot, like those of a backup in progress.
    let faulty: Arc<dyn Store> = Arc::new(FaultStore::new(&store, 3));
    backup(&faulty, tree.path()).unwrap_err();
    let summary = maintain(&store).unwrap();
    assert_eq!(summary.condemned_packs, 0);
    assert!(summary.young_bytes > 0, "{summary:?}");
    memory.age(8 * DAY);
    let summary = maintain(&store).unwrap();
    assert_eq!((summary.condemned_packs, summary.young_bytes), (2, 0));
}

/// Stops at every change to the store, with every type of fault, and asserts that nothing is lost
/// and that a retry succeeds.
fn stopped_anywhere(memory: &MemoryStore, options: &Options, kept: Id, expected: &Listing) {
    for fault in [Fault::Unavailable, Fault::Late, Fault::Full, Fault::Denied] {
        for changes in 0.. {
            assert!(changes < 200, "it does not end");
            let copy = memory.fork();
            let store = shared(&copy);
            let faulty: Arc<dyn Store> =
                Arc::new(FaultStore::with(&store, changes, fault, Lasting::ForEver));
            let outcome = maintain_as(&faulty, options);
            let when = format!("{fault:?} after {changes} changes: {outcome:?}");
            assert_restores(&store, kept, expected, &when);
            assert_undamaged(&store, &when);
            copy.age(8 * DAY);
            maintain(&store).unwrap();
            copy.age(8 * DAY);
            maintain(&store).unwrap();
            assert_restores(&store, kept, expected, &when);
            assert_intact(&store, &when);
            let left: u64 = {
                let mut bytes = 0;
                store
                    .list(Area::Packs, &mut |pack| {
                        bytes += pack.size_bytes;
                        Ok(())
                    })
                    .unwrap();
                bytes
            };
            assert!(left < 100_000, "{when}: {left} bytes left");
            if outcome.is_ok() && fault != Fault::Full {
                break;
            }
            if outcome.is_ok() && changes > 40 {
                break;
            }
        }
    }
}

#[test]
fn maintenance_stopped_anywhere_loses_nothing_and_can_be_repeated() {
    let (memory, _tree, kept, expected) = half_dead();
    stopped_anywhere(&memory, &with_grace(GRACE), kept, &expected);
    maintain(&shared(&memory)).unwrap();
    memory.age(8 * DAY);
    stopped_anywhere(&memory, &with_grace(GRACE), kept, &expected);
}

#[test]
fn without_a_grace_too() {
    let (memory, _tree, kept, expected) = half_dead();
    stopped_anywhere(&memory, &with_grace(Duration::ZERO), kept, &expected);
}

#[test]
fn an_answer_that_does_not_come_changes_nothing_that_is_needed() {
    let (memory, _tree, kept, expected) = half_dead();
    maintain(&shared(&memory)).unwrap();
    memory.age(8 * DAY);
    for fault in [ReadFault::Unavailable, ReadFault::Short] {
        for reads in 0.. {
            assert!(reads < 300, "it does not end");
            let store = shared(&memory.fork());
            let faulty = FaultStore::with_reads(&store, reads, fault, Lasting::Once);
            let faulty: Arc<dyn Store> = Arc::new(faulty);
            // The first reads are those of CONFIG, which this test does not cover.
            let Ok(locked) = Locked::new(faulty.clone()) else {
                continue;
            };
            let Ok(Some(key)) = locked.plaintext_key() else {
                continue;
            };
            let Ok(kloset) = locked.open(key, None, Arc::new(Watcher::default())) else {
                continue;
            };
            let outcome = collect::run(&kloset, &with_grace(GRACE));
            let when = format!("{fault:?} after {reads} reads: {outcome:?}");
            assert_restores(&store, kept, &expected, &when);
            assert_undamaged(&store, &when);
            if reads > 60 {
                break;
            }
        }
    }
}

#[test]
fn a_store_that_lets_nobody_delete_says_so() {
    let (memory, _tree, kept, expected) = half_dead();
    let store = shared(&memory);
    let refused = |error: &Error| {
        assert_eq!(error.kind(), Kind::Denied, "{error}");
    };
    let hooked = no_delete(&store);
    refused(&maintain(&hooked).unwrap_err());
    refused(&maintain_as(&hooked, &with_grace(Duration::ZERO)).unwrap_err());
    assert_restores(&store, kept, &expected, "append-only");
}

#[test]
fn nothing_is_deleted_while_a_tree_cannot_be_read() {
    let (memory, _tree, _, _) = half_dead();
    let store = shared(&memory);
    maintain(&store).unwrap();
    memory.age(8 * DAY);
    for area in [Area::Packs, Area::Snapshots] {
        for id in objects(&*store, area) {
            let copy = memory.fork();
            copy.damage(area, id, |bytes| bytes[40] ^= 1).unwrap();
            let store = shared(&copy);
            let before = all_objects(&*store);
            if let Err(error) = maintain(&store) {
                assert!(error.to_string().contains("nothing is deleted"), "{error}");
                assert_eq!(objects(&*store, Area::Packs), {
                    let packs = before.iter().filter(|(area, _)| *area == Area::Packs);
                    packs.map(|(_, id)| *id).collect::<Vec<_>>()
                });
            }
        }
    }
}

#[test]
fn a_planted_snapshot_object_stops_nothing() {
    let (memory, _tree, kept, expected) = half_dead();
    let store = shared(&memory);
    let garbage = noise(77, 500);
    store
        .put(Area::Snapshots, Id::of(&garbage), &garbage)
        .unwrap();
    assert!(maintain(&store).unwrap().condemned_packs > 0);
    memory.age(8 * DAY);
    assert!(maintain(&store).unwrap().freed_packs > 0);
    assert_restores(&store, kept, &expected, "planted");
}

#[test]
fn packs_condemned_while_a_backup_ran_are_copied_and_not_missed() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    write_noise(&tree, "large", 60, 200_000);
    let first = backup(&store, tree.path()).unwrap().snapshot;
    remove(&store, first);
    memory.age(8 * DAY);
    // All packs are dead, and are condemned immediately after the next backup has read the
    // condemnations.
    let beside = store.clone();
    let once = std::sync::Once::new();
    let busy = Hooked::new(&store).after(move |asked| {
        if asked == Asked::List(Area::Packs) {
            once.call_once(|| {
                assert!(maintain(&beside).unwrap().condemned_packs > 0);
            });
        }
    });
    let busy = busy.shared();
    let second = backup(&busy, tree.path()).unwrap();
    assert_eq!(second.new_bytes, 0, "it relied on what was condemned");
    let expected = listing(tree.path());
    assert_restores(&store, second.snapshot, &expected, "copied");
    memory.age(8 * DAY);
    let summary = maintain(&store).unwrap();
    assert!(summary.freed_bytes > 200_000, "{summary:?}");
    assert_restores(&store, second.snapshot, &expected, "the old ones deleted");
    assert_intact(&store, "the old ones deleted");
}

#[test]
fn small_packs_and_index_objects_are_merged() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    let mut kept = Vec::new();
    for round in 0..30 {
        write_noise(&tree, "changing", 100 + round, 4000);
        let id = backup(&store, tree.path()).unwrap().snapshot;
        kept.push((id, listing(tree.path())));
    }
    let before = (packs(&*store), objects(&*store, Area::Index).len());
    maintain_as(&store, &with_grace(Duration::ZERO)).unwrap();
    let after = (packs(&*store), objects(&*store, Area::Index).len());
    assert!(before.0 >= 60 && before.1 >= 30, "{before:?}");
    assert_eq!(after, (2, 1), "packs of two kinds, and one index object");
    for (id, expected) in &kept {
        assert_restores(&store, *id, expected, "merged");
    }
    assert_intact(&store, "merged");
}

#[test]
fn no_more_is_copied_than_allowed() {
    let (memory, _tree, kept, expected) = half_dead();
    let store = shared(&memory);
    let none = Options {
        max_repack_bytes: Some(0),
        ..with_grace(Duration::ZERO)
    };
    let summary = maintain_as(&store, &none).unwrap();
    assert_eq!(summary.repacked_bytes, 0, "{summary:?}");
    assert_restores(&store, kept, &expected, "nothing copied");
}

#[test]
fn a_clock_that_is_a_year_off_makes_no_difference() {
    const YEAR_NS: i64 = 365 * 86_400 * 1_000_000_000;
    for by_ns in [-YEAR_NS, YEAR_NS] {
        let (memory, _tree, kept, expected) = half_dead();
        // The clock of the store is wrong and those of the machines are correct, or the reverse.
        let store = Hooked::new(&shared(&memory)).shifted(by_ns).shared();
        assert!(maintain(&store).unwrap().condemned_packs > 0);
        memory.age(6 * DAY);
        assert_eq!(maintain(&store).unwrap().freed_packs, 0, "{by_ns}");
        memory.age(2 * DAY);
        assert!(maintain(&store).unwrap().freed_packs > 0, "{by_ns}");
        assert_restores(&store, kept, &expected, "a year off");
        assert_intact(&store, "a year off");
    }
}

#[test]
fn a_clock_that_jumps_while_a_backup_runs_makes_it_fail_and_nothing_else() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    write_noise(&tree, "large", 60, 200_000);
    let first = backup(&store, tree.path()).unwrap().snapshot;
    remove(&store, first);
    memory.age(8 * DAY);
    // The packs are condemned immediately after the backup has read the condemnations, and deleted
    // before it publishes.
    let (beside, clock) = (store.clone(), memory.clone());
    let once = std::sync::Once::new();
    let busy = Hooked::new(&store).after(move |asked| {
        if asked == Asked::List(Area::Packs) {
            once.call_once(|| {
                maintain(&beside).unwrap();
                clock.age(400 * DAY);
                assert!(maintain(&beside).unwrap().freed_packs > 0);
            });
        }
    });
    let busy = busy.shared();
    let error = backup(&busy, tree.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("run it again"), "{error}");
    assert!(objects(&*store, Area::Snapshots).is_empty());
    let again = backup(&store, tree.path()).unwrap();
    assert_restores(&store, again.snapshot, &listing(tree.path()), "again");
}
