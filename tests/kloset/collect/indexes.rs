//! Tests index objects during maintenance: every pack in the store is covered by one, whatever
//! other writers publish concurrently, and wherever an earlier run stopped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use plakar::kloset::{index_object, pack};

use super::*;

/// The number of index objects that mention each pack in the store.
fn coverage(store: &Arc<dyn Store>) -> BTreeMap<Id, usize> {
    let (kloset, _) = open(store);
    let packs = objects(&**store, Area::Packs);
    let mut coverage: BTreeMap<Id, usize> = packs.into_iter().map(|pack| (pack, 0)).collect();
    for object in objects(&**store, Area::Index) {
        for table in index_object::read(&kloset, object).unwrap() {
            if let Some(count) = coverage.get_mut(&table.pack) {
                *count += 1;
            }
        }
    }
    coverage
}

/// Asserts that exactly one index object covers each pack, and that a check reports nothing.
#[track_caller]
fn assert_indexed_once(store: &Arc<dyn Store>, when: &str) {
    let coverage = coverage(store);
    assert!(
        coverage.values().all(|count| *count == 1),
        "{when}: {coverage:?}"
    );
    assert_intact(store, when);
}

/// A store in which maintenance copies one part, frees one part, and replaces index objects: its
/// only snapshot needs a small part of the first pack.
fn mostly_dead() -> (MemoryStore, Id, Listing) {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    let data = noise(40, 1 << 20);
    fs::write(tree.path().join("data"), &data).unwrap();
    let doomed = backup(&store, tree.path()).unwrap().snapshot;
    fs::write(tree.path().join("data"), &data[..300_000]).unwrap();
    let kept = backup(&store, tree.path()).unwrap().snapshot;
    remove(&store, doomed);
    memory.age(30 * DAY);
    (memory, kept, listing(tree.path()))
}

#[test]
fn a_run_that_repacks_keeps_its_own_index_object() {
    let (memory, kept, expected) = mostly_dead();
    let store = shared(&memory);
    let first = maintain(&store).unwrap();
    let done = (
        first.repacked_bytes > 0,
        first.merged_indexes,
        first.indexed_packs,
    );
    assert_eq!(done, (true, 0, 0), "{first:?}");
    assert_indexed_once(&store, "repacked");
    memory.age(8 * DAY);
    let second = maintain(&store).unwrap();
    assert!(
        second.freed_packs > 0 && second.merged_indexes > 0,
        "{second:?}"
    );
    assert_indexed_once(&store, "freed");
    memory.age(8 * DAY);
    let third = maintain(&store).unwrap();
    let done = (third.freed_packs, third.merged_indexes, third.indexed_packs);
    assert_eq!(done, (0, 0, 0), "{third:?}");
    assert_indexed_once(&store, "done");
    assert_restores(&store, kept, &expected, "done");
}

#[test]
fn without_a_grace_too() {
    let (memory, kept, expected) = mostly_dead();
    let store = shared(&memory);
    maintain_as(&store, &with_grace(Duration::ZERO)).unwrap();
    assert_indexed_once(&store, "at once");
    assert_restores(&store, kept, &expected, "at once");
}

#[test]
fn packs_that_no_index_object_covers_are_indexed_by_the_next_run() {
    let (memory, kept, expected) = mostly_dead();
    let store = shared(&memory);
    for object in objects(&*store, Area::Index) {
        store.delete(Area::Index, object).unwrap();
    }
    let dry = Options {
        is_dry: true,
        ..with_grace(GRACE)
    };
    let planned = maintain_as(&store, &dry).unwrap().indexed_packs;
    assert!(objects(&*store, Area::Index).is_empty());
    let first = maintain(&store).unwrap();
    // A real run has condemned some of them by then.
    assert!(
        0 < first.indexed_packs && first.indexed_packs <= planned,
        "{first:?}"
    );
    assert_intact(&store, "indexed");
    let second = maintain(&store).unwrap();
    assert_eq!(second.indexed_packs, 0, "{second:?}");
    assert_restores(&store, kept, &expected, "indexed");
}

/// Stores packs and an index object, but no snapshot, like a backup in progress.
fn begin_backup(store: &Arc<dyn Store>, seed: u64) {
    let tree = scratch();
    write_noise(&tree, "new", seed, 3000);
    let stopped = Hooked::new(store).before(|asked| match asked {
        Asked::Put(Area::Snapshots, _) => Err(Error::new(Kind::Unavailable, "stopped")),
        _ => Ok(()),
    });
    backup(&stopped.shared(), tree.path()).unwrap_err();
}

/// Runs maintenance on forks of `memory`. In each run, another backup stores packs and an index
/// object after the `n`-th call to the store, for every `n`.
fn beside_a_backup(memory: &MemoryStore, kept: Id, expected: &Listing) {
    for calls in 0_usize.. {
        let fork = memory.fork();
        let store = shared(&fork);
        let (beside, count) = (store.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = count.clone();
        let hooked = Hooked::new(&store).after(move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == calls {
                begin_backup(&beside, 700);
            }
        });
        let outcome = maintain(&hooked.shared());
        let when = format!("a backup after {calls} calls: {outcome:?}");
        outcome.as_ref().unwrap();
        let uncovered = coverage(&store)
            .values()
            .filter(|count| **count == 0)
            .count();
        assert_eq!(uncovered, 0, "{when}");
        assert_restores(&store, kept, expected, &when);
        if count.load(Ordering::SeqCst) <= calls {
            assert!(calls > 10, "{when}");
            return;
        }
    }
}

#[test]
fn index_objects_of_a_backup_that_runs_meanwhile_are_kept() {
    let (memory, kept, expected) = mostly_dead();
    beside_a_backup(&memory, kept, &expected);
    maintain(&shared(&memory)).unwrap();
    memory.age(8 * DAY);
    beside_a_backup(&memory, kept, &expected);
}

#[test]
fn the_same_while_maintenance_reads_all_footers() {
    let (memory, kept, expected) = mostly_dead();
    maintain(&shared(&memory)).unwrap();
    memory.age(8 * DAY);
    let store = shared(&memory);
    let (kloset, _) = open(&store);
    let packs = objects(&*store, Area::Packs).into_iter();
    let mut tables: Vec<_> = packs
        .map(|pack| pack::read_table(&*store, kloset.sealer(), pack).unwrap())
        .collect();
    tables.iter_mut().for_each(|table| table.blocks.clear());
    for object in objects(&*store, Area::Index) {
        store.delete(Area::Index, object).unwrap();
    }
    index_object::publish(&kloset, &tables).unwrap();
    beside_a_backup(&memory, kept, &expected);
}
