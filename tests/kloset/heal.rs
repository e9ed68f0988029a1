//! Tests lost packs whose data is still in the source.
//!
//! A backup does not replace a damaged pack that still exists: its chunks count as stored until a
//! check on the same machine detects the damage.

use std::fs;
use std::sync::Arc;

use plakar::format::pack_table::PackKind;
use plakar::store::{Area, Store};
use plakar::util::Id;

use crate::harness::*;

#[test]
fn a_new_backup_stores_again_what_deleted_packs_took_with_them() {
    let (store, tree) = (new_store(), small_tree());
    backup(&shared(&store), tree.path()).unwrap();
    let expected = listing(tree.path());
    let packs = objects(&store, Area::Packs);
    assert_eq!(packs.len(), 2);
    for lost in [&packs[..1], &packs[1..], &packs[..]] {
        let damaged = store.fork();
        lost.iter()
            .for_each(|pack| damaged.delete(Area::Packs, *pack).unwrap());
        let damaged = shared(&damaged);
        let healed = backup(&damaged, tree.path()).unwrap();
        assert_restores(&damaged, healed.snapshot, &expected, "healed");
        let (_, watcher) = check(&damaged);
        assert!(
            !watcher.says(&[&healed.snapshot.short()]),
            "{:?}",
            watcher.heard()
        );
    }
}

#[test]
fn the_chunks_of_files_that_are_still_there_heal_old_snapshots_too() {
    let (store, tree) = (new_store(), small_tree());
    let first = backup(&shared(&store), tree.path()).unwrap();
    let store = shared(&store);
    store.delete(Area::Packs, data_pack(&store)).unwrap();
    assert!(check(&store).0.is_damaged());
    let second = backup(&store, tree.path()).unwrap();
    assert_restores(
        &store,
        first.snapshot,
        &listing(tree.path()),
        "healed along",
    );
    assert_restores(&store, second.snapshot, &listing(tree.path()), "healed");
    let (_, watcher) = check(&store);
    assert!(!watcher.says(&[":/"]), "{:?}", watcher.heard());
}

/// The only pack of file contents in `store`.
fn data_pack(store: &Arc<dyn Store>) -> Id {
    let (kloset, _) = open(store);
    let packs = kloset
        .index()
        .unwrap()
        .packs_in_use()
        .filter(|pack| pack.kind == PackKind::Data);
    let packs: Vec<Id> = packs.map(|pack| pack.id).collect();
    assert_eq!(packs.len(), 1);
    packs[0]
}

#[test]
fn what_only_the_old_snapshot_had_stays_lost_and_is_named() {
    let (store, tree) = (new_store(), small_tree());
    let first = backup(&shared(&store), tree.path()).unwrap();
    fs::write(tree.path().join("sub/b.bin"), noise(9, 300)).unwrap();
    fs::remove_file(tree.path().join("a.txt")).unwrap();
    let store = shared(&store);
    for pack in objects(&*store, Area::Packs) {
        store.delete(Area::Packs, pack).unwrap();
    }
    let healed = backup(&store, tree.path()).unwrap();
    assert_restores(&store, healed.snapshot, &listing(tree.path()), "healed");
    let (summary, watcher) = check(&store);
    assert_eq!(summary.damaged_snapshots, 1, "{:?}", watcher.heard());
    assert!(watcher.says(&[&first.snapshot.short()]));
    assert!(
        !watcher.says(&[&healed.snapshot.short()]),
        "{:?}",
        watcher.heard()
    );
}

#[test]
fn healing_works_with_a_cache_that_remembers_the_lost_pack() {
    let (store, tree, cache) = (new_store(), small_tree(), scratch());
    let store = shared(&store);
    let source = plakar::connector::LocalSource::new().unwrap();
    let run = || {
        let (kloset, _) = open_with_cache(&store, Some(cache.path()));
        plakar::ops::backup::run(&kloset, &source, &options(tree.path())).unwrap()
    };
    run();
    for pack in objects(&*store, Area::Packs) {
        store.delete(Area::Packs, pack).unwrap();
    }
    let healed = run();
    let (kloset, watcher) = open_with_cache(&store, Some(cache.path()));
    let restored = restore(
        &kloset,
        &snapshot(&kloset, healed.snapshot).unwrap().snapshot,
    );
    assert!(
        restored.is_all_of(&listing(tree.path())),
        "{:?}",
        watcher.heard()
    );
    assert_restores(
        &store,
        healed.snapshot,
        &listing(tree.path()),
        "without the cache",
    );
}

#[test]
fn what_a_check_found_damaged_is_stored_again_by_the_next_backup() {
    let (memory, tree, cache) = (new_store(), small_tree(), scratch());
    let store = shared(&memory);
    let source = plakar::connector::LocalSource::new().unwrap();
    let run = || {
        let (kloset, watcher) = open_with_cache(&store, Some(cache.path()));
        let run = plakar::ops::backup::run(&kloset, &source, &options(tree.path()));
        (run.unwrap().snapshot, watcher)
    };
    let check = || {
        let (kloset, watcher) = open_with_cache(&store, Some(cache.path()));
        let run = plakar::ops::check::run(&kloset, None, &check_options());
        (run.unwrap(), watcher)
    };
    let noted = || {
        let (kloset, _) = open_with_cache(&store, Some(cache.path()));
        let path = cache.path().join(&kloset.config().store_id);
        let text = fs::read_to_string(path.join("bad-packs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<String>>()
    };
    run();
    let packs = objects(&*store, Area::Packs);
    for pack in &packs {
        let flip = |bytes: &mut Vec<u8>| bytes[40] ^= 1;
        memory.damage(Area::Packs, *pack, flip).unwrap();
    }
    assert!(check().0.is_damaged());
    let mut names: Vec<String> = packs.iter().map(Id::to_string).collect();
    names.sort();
    assert_eq!(noted(), names);
    let (healed, watcher) = run();
    assert_eq!(
        watcher
            .heard()
            .iter()
            .filter(|line| line.contains("the last check found 2 packs"))
            .count(),
        1,
        "{:?}",
        watcher.heard()
    );
    assert_restores(&store, healed, &listing(tree.path()), "healed");
    let (_, watcher) = check();
    assert!(!watcher.says(&[&healed.short()]), "{:?}", watcher.heard());
    assert_eq!(noted(), names, "they are damaged still");
    let flip = |bytes: &mut Vec<u8>| bytes[40] ^= 1;
    memory.damage(Area::Packs, packs[0], flip).unwrap();
    store.delete(Area::Packs, packs[1]).unwrap();
    check();
    assert!(noted().is_empty(), "one is good again, the other gone");
}
