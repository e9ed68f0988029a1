//! Tests stores that are damaged, contain planted objects, or are remote: maintenance completes
//! where possible, and otherwise reports the reason.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};

use plakar::kloset::{index_object, pack};
use plakar::ops::collect::confirm_clock;
use plakar::ops::repair::{self, Mode};
use plakar::store::{Distance, Manner};

use super::*;

/// The packs that are condemned and mentioned by index objects, but do not exist.
fn told_of_but_gone(store: &Arc<dyn Store>) -> BTreeSet<Id> {
    let (kloset, _) = open(store);
    let there = objects(&**store, Area::Packs);
    let tables = objects(&**store, Area::Index).into_iter();
    let tables = tables.filter_map(|object| index_object::read(&kloset, object).ok());
    let packs = tables.flatten().map(|table| table.pack);
    packs.filter(|pack| !there.contains(pack)).collect()
}

/// Runs maintenance once a week until nothing is condemned, which takes a few weeks.
fn maintain_until_done(memory: &MemoryStore) {
    let store = shared(memory);
    for _ in 0..5 {
        maintain(&store).unwrap();
        memory.age(8 * DAY);
    }
    assert!(objects(&*store, Area::Condemned).is_empty());
    assert!(told_of_but_gone(&store).is_empty());
}

/// A store whose only snapshot needs condemned packs and no others, as if maintenance had made an
/// error. Also returns the snapshot.
fn condemned_alive() -> (MemoryStore, Id, Listing) {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    write_noise(&tree, "large", 70, 90_000);
    let kept = backup(&store, tree.path()).unwrap().snapshot;
    memory.age(8 * DAY);
    let other = memory.fork();
    remove(&shared(&other), kept);
    assert_eq!(maintain(&shared(&other)).unwrap().condemned_packs, 2);
    for id in objects(&other, Area::Condemned) {
        let bytes = other.get(Area::Condemned, id).unwrap();
        store.put(Area::Condemned, id, &bytes).unwrap();
    }
    (memory, kept, listing(tree.path()))
}

#[test]
fn what_was_copied_out_of_condemned_packs_is_not_condemned_by_the_same_run() {
    for grace in [GRACE, Duration::ZERO] {
        let (memory, kept, expected) = condemned_alive();
        let store = shared(&memory);
        memory.age(8 * DAY);
        let summary = maintain_as(&store, &with_grace(grace)).unwrap();
        let done = (summary.freed_packs, summary.condemned_packs);
        assert_eq!(done, (2, 0), "{summary:?}");
        assert_restores(&store, kept, &expected, "copied");
        assert_intact(&store, "copied");
        memory.age(8 * DAY);
        let again = maintain_as(&store, &with_grace(grace)).unwrap();
        let done = (
            again.freed_packs,
            again.condemned_packs,
            again.repacked_bytes,
        );
        assert_eq!(done, (0, 0, 0), "it moves the same again: {again:?}");
    }
}

#[test]
fn a_chunk_that_is_lost_does_not_keep_the_rest_from_being_cleared_up() {
    let (memory, _tree, kept, _) = half_dead();
    let store = shared(&memory);
    let (kloset, _) = open(&store);
    let size = |pack: &Id| store.stat(Area::Packs, *pack).unwrap().size_bytes;
    let data = objects(&*store, Area::Packs).into_iter();
    let data = data.filter(|pack| {
        let table = pack::read_table(&*store, kloset.sealer(), *pack).unwrap();
        table.kind == plakar::format::pack_table::PackKind::Data
    });
    // The data that only the remaining snapshot needs.
    let lost = data.min_by_key(size).unwrap();
    store.delete(Area::Packs, lost).unwrap();
    assert!(maintain(&store).unwrap().lost_chunks > 0);
    memory.age(8 * DAY);
    assert!(maintain(&store).unwrap().freed_packs > 0);
    memory.age(8 * DAY);
    maintain_until_done(&memory);
    let (kloset, _) = open(&store);
    assert!(snapshot(&kloset, kept).is_some());
}

#[test]
fn an_index_object_that_nobody_can_read_does_not_keep_condemnations_for_ever() {
    for is_planted in [true, false] {
        let (memory, _tree, kept, expected) = half_dead();
        let store = shared(&memory);
        match is_planted {
            true => {
                let garbage = noise(78, 500);
                store.put(Area::Index, Id::of(&garbage), &garbage).unwrap();
            }
            false => {
                let first = objects(&*store, Area::Index)[0];
                memory
                    .damage(Area::Index, first, |bytes| bytes[30] ^= 1)
                    .unwrap();
            }
        }
        maintain_until_done(&memory);
        assert_restores(&store, kept, &expected, "planted");
    }
}

#[test]
fn an_index_that_hides_a_tree_does_not_stop_it() {
    let (memory, _tree, kept, expected) = half_dead();
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
    assert!(maintain(&store).unwrap().condemned_packs > 0);
    memory.age(8 * DAY);
    assert!(maintain(&store).unwrap().freed_packs > 0);
    assert_restores(&store, kept, &expected, "hidden");
}

#[test]
fn every_snapshot_that_stops_it_is_named_with_the_way_out() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    let mut ids = Vec::new();
    for round in 0..3 {
        write_noise(&tree, "changing", 80 + round, 500);
        ids.push(backup(&store, tree.path()).unwrap().snapshot);
    }
    let (kloset, _) = open(&store);
    let object = snapshot(&kloset, ids[0]).unwrap().object;
    memory
        .damage(Area::Snapshots, object, |bytes| bytes[20] ^= 1)
        .unwrap();
    let is_tree = |pack: &Id| {
        let table = pack::read_table(&*store, kloset.sealer(), *pack).unwrap();
        table.kind == plakar::format::pack_table::PackKind::Tree
    };
    for pack in objects(&*store, Area::Packs).into_iter().filter(is_tree) {
        memory
            .damage(Area::Packs, pack, |bytes| bytes[40] ^= 1)
            .unwrap();
    }
    let before = all_objects(&*store);
    let (kloset, watcher) = open(&store);
    let error = collect::run(&kloset, &with_grace(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains("nothing is deleted"), "{error}");
    let told = format!("{error} {:?}", watcher.heard());
    for way in [
        format!("rm -apply {object} gives it up"),
        format!("rm -apply {} gives up the rest", ids[1].short()),
        format!("rm -apply {} gives up the rest", ids[2].short()),
    ] {
        assert!(told.contains(&way), "{told}");
    }
    assert_eq!(all_objects(&*store), before, "nothing is left behind");
    // When the damaged snapshots are removed one by one, they no longer stop maintenance.
    snapshot::remove_object(&kloset, object).unwrap();
    remove(&store, ids[1]);
    remove(&store, ids[2]);
    maintain_as(&store, &with_grace(Duration::ZERO)).unwrap();
    let again = backup(&store, tree.path()).unwrap().snapshot;
    assert_restores(&store, again, &listing(tree.path()), "again");
}

#[test]
fn a_condemnation_that_is_damaged_is_removed_by_a_repair() {
    let (memory, tree, kept, expected) = half_dead();
    let store = shared(&memory);
    maintain(&store).unwrap();
    let condemned = objects(&*store, Area::Condemned);
    memory
        .damage(Area::Condemned, condemned[0], |bytes| bytes[20] ^= 1)
        .unwrap();
    for error in [
        backup(&store, tree.path()).unwrap_err(),
        maintain(&store).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("repair -apply"), "{error}");
    }
    for (mode, left) in [(Mode::DryRun, true), (Mode::Apply, false)] {
        let options = repair::Options {
            mode,
            check: check_options(),
            program: String::new(),
        };
        let summary = repair::run(&open(&store).0, &options, &mut |_| Ok(())).unwrap();
        assert_eq!(summary.damaged_condemnations, 1);
        let still = objects(&*store, Area::Condemned).contains(&condemned[0]);
        assert_eq!(still, left);
    }
    backup(&store, tree.path()).unwrap();
    maintain_until_done(&memory);
    assert_restores(&store, kept, &expected, "repaired");
}

#[test]
fn a_store_that_lets_nobody_delete_is_left_as_it_is() {
    let (memory, _tree, _, _) = half_dead();
    let store = shared(&memory);
    let before = all_objects(&*store);
    for grace in [GRACE, Duration::ZERO] {
        let error = maintain_as(&no_delete(&store), &with_grace(grace)).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(
            error
                .to_string()
                .starts_with("this store does not permit deletion"),
            "{error}"
        );
        assert_eq!(all_objects(&*store), before);
    }
}

/// The number of concurrent deletions of packs, recorded once there were two.
#[derive(Default)]
struct AtOnce {
    now: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl AtOnce {
    /// Counts a deletion, and waits some time for a second one.
    fn enter(&self) {
        let mut now = self.now.lock().unwrap();
        now.0 += 1;
        now.1 = now.1.max(now.0);
        self.changed.notify_all();
        let wait = Duration::from_secs(20);
        let alone = |now: &mut (usize, usize)| now.1 < 2;
        drop(self.changed.wait_timeout_while(now, wait, alone).unwrap());
    }

    fn leave(&self) {
        self.now.lock().unwrap().0 -= 1;
    }
}

#[test]
fn packs_of_a_store_behind_a_network_are_deleted_several_at_once() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    for round in 0..6 {
        write_noise(&tree, "changing", 90 + round, 5000);
        let id = backup(&store, tree.path()).unwrap().snapshot;
        if round < 5 {
            remove(&store, id);
        }
    }
    let kept = open(&store).0;
    let kept = plakar::ops::select::all(&kept).unwrap()[0].snapshot.id;
    memory.age(8 * DAY);
    maintain(&store).unwrap();
    memory.age(8 * DAY);
    let at_once = Arc::new(AtOnce::default());
    let (entered, left) = (at_once.clone(), at_once.clone());
    let far = Hooked::new(&store)
        .before(move |asked| {
            if matches!(asked, Asked::Delete(Area::Packs, _)) {
                entered.enter();
            }
            Ok(())
        })
        .after(move |asked| {
            if matches!(asked, Asked::Delete(Area::Packs, _)) {
                left.leave();
            }
        })
        .used(Manner {
            distance: Distance::Remote,
            connections: 4,
        });
    let summary = maintain(&far.shared()).unwrap();
    assert!(summary.freed_packs >= 5, "{summary:?}");
    let most = at_once.now.lock().unwrap().1;
    assert!((2..=4).contains(&most), "{most} at once");
    assert_restores(&store, kept, &listing(tree.path()), "several at once");
    assert_intact(&store, "several at once");
}

#[test]
fn a_machine_whose_clock_is_off_removes_nothing_by_age() {
    const HOUR_NS: i64 = 3600 * 1_000_000_000;
    let memory = new_store();
    let now_ns = plakar::util::clock::now_ns();
    for (hours, is_fine) in [
        (0, true),
        (23, true),
        (-23, true),
        (25, false),
        (-9000, false),
    ] {
        let store = Hooked::new(&shared(&memory)).shifted(hours * HOUR_NS);
        let outcome = confirm_clock(&open(&store.shared()).0, now_ns);
        assert_eq!(outcome.is_ok(), is_fine, "{hours} hours");
    }
    assert!(objects(&memory, Area::Condemned).is_empty());
    let full = FaultStore::with(&shared(&memory), 1, Fault::Full, Lasting::ForEver);
    let full: Arc<dyn Store> = Arc::new(full);
    confirm_clock(&open(&full).0, now_ns + 9000 * HOUR_NS).unwrap();
}

#[test]
fn a_damaged_pack_goes_once_a_backup_stored_anew_what_was_in_it() {
    let (memory, tree, cache) = (new_store(), small_tree(), scratch());
    let store = shared(&memory);
    write_noise(&tree, "large", 44, 90_000);
    let here = || open_with_cache(&store, Some(cache.path())).0;
    let check = || plakar::ops::check::run(&here(), None, &check_options()).unwrap();
    let backup = || {
        let source = plakar::connector::LocalSource::new().unwrap();
        plakar::ops::backup::run(&here(), &source, &options(tree.path())).unwrap()
    };
    let first = backup().snapshot;
    let (kloset, _) = open(&store);
    let is_data = |pack: &Id| {
        let table = pack::read_table(&*store, kloset.sealer(), *pack).unwrap();
        table.kind == plakar::format::pack_table::PackKind::Data
    };
    // Directories above the tree may have changed since, and are not stored again in that case.
    let mut damaged = objects(&*store, Area::Packs);
    damaged.retain(is_data);
    for pack in &damaged {
        memory
            .damage(Area::Packs, *pack, |bytes| bytes[40] ^= 1)
            .unwrap();
    }
    assert!(check().is_damaged());
    let second = backup().snapshot;
    assert!(check().is_damaged(), "they are still there");
    memory.age(8 * DAY);
    collect::run(&here(), &with_grace(GRACE)).unwrap();
    memory.age(8 * DAY);
    let summary = collect::run(&here(), &with_grace(GRACE)).unwrap();
    assert!(summary.freed_packs > 0, "{summary:?}");
    assert!(!check().is_damaged());
    let there = objects(&*store, Area::Packs);
    assert!(damaged.iter().all(|pack| !there.contains(pack)));
    for id in [first, second] {
        assert_restores(&store, id, &listing(tree.path()), "healed");
    }
}
