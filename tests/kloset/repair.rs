//! Tests damaged stores: intact data can be restored, and lost data is reported.

use std::fs;
use std::sync::Arc;

use plakar::error::Result;
use plakar::format::pack_table::PackKind;
use plakar::kloset::pack::read_table;
use plakar::ops::repair::{self, Mode, Repair, Summary, TAG};
use plakar::ops::select;
use plakar::store::fault::{Fault, FaultStore, Lasting};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;

use crate::harness::*;
use crate::hooked::no_delete;
use crate::sync::{is_each_once, try_open};

pub(crate) struct Repaired {
    summary: Summary,
    /// The original snapshots, and their repaired versions.
    snapshots: Vec<(Id, Option<Id>)>,
    watcher: Arc<Watcher>,
}

fn try_repair(store: &Arc<dyn Store>, mode: Mode) -> Result<Repaired> {
    let (kloset, watcher) = try_open(store)?;
    let options = repair::Options {
        mode,
        check: check_options(),
        program: "a test".to_owned(),
    };
    let mut snapshots = Vec::new();
    let mut told = |repair: &Repair<'_>| {
        snapshots.push((repair.original.id, repair.repaired));
        Ok(())
    };
    let summary = repair::run(&kloset, &options, &mut told)?;
    Ok(Repaired {
        summary,
        snapshots,
        watcher,
    })
}

pub(crate) fn repair(store: &Arc<dyn Store>, mode: Mode) -> Repaired {
    try_repair(store, mode).unwrap()
}

/// Two snapshots; the second one has an additional file, in a separate pack. Also returns the
/// contents of both, and that pack.
fn with_a_later_file() -> (MemoryStore, [(Id, Listing); 2], Id) {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    let first = backup(&store, tree.path()).unwrap().snapshot;
    let old = listing(tree.path());
    let known = objects(&*store, Area::Packs);
    fs::write(tree.path().join("sub/late"), noise(9, 2000)).unwrap();
    let second = backup(&store, tree.path()).unwrap().snapshot;
    let (kloset, _) = open(&store);
    let is_data = |pack: &Id| {
        let table = read_table(kloset.store(), kloset.sealer(), *pack).unwrap();
        table.kind == PackKind::Data && !known.contains(pack)
    };
    let later = objects(&*store, Area::Packs)
        .into_iter()
        .find(is_data)
        .unwrap();
    let new = listing(tree.path());
    (memory, [(first, old), (second, new)], later)
}

#[test]
fn a_good_store_is_left_alone() {
    let (memory, _, _) = with_a_later_file();
    let store = shared(&memory);
    let before = all_objects(&*store);
    for mode in [Mode::DryRun, Mode::Apply] {
        let repaired = repair(&store, mode);
        assert!(!repaired.summary.is_index_bad() && repaired.snapshots.is_empty());
        assert!(!repaired.summary.check.is_damaged());
        assert_eq!(all_objects(&*store), before);
    }
}

#[test]
fn a_lost_index_is_made_anew() {
    let (memory, snapshots, _) = with_a_later_file();
    let indexes = objects(&memory, Area::Index);
    assert_eq!(indexes.len(), 2);
    for how in ["gone", "one gone", "damaged"] {
        let memory = memory.fork();
        for index in indexes.iter().skip(usize::from(how == "one gone")) {
            match how {
                "damaged" => memory
                    .damage(Area::Index, *index, |bytes| bytes[30] ^= 1)
                    .unwrap(),
                _ => memory.delete(Area::Index, *index).unwrap(),
            }
        }
        let store = shared(&memory);
        let before = all_objects(&*store);
        let told = repair(&store, Mode::DryRun).summary;
        assert!(told.unindexed_packs > 0, "{how}");
        assert_eq!(all_objects(&*store), before, "{how}");
        let done = repair(&store, Mode::Apply).summary;
        assert_eq!(done.unindexed_packs, told.unindexed_packs);
        assert!(!done.check.is_damaged(), "{how}");
        let (summary, watcher) = check(&store);
        assert!(
            !summary.is_damaged() && watcher.warnings() == 0,
            "{:?}",
            watcher.heard()
        );
        assert!(!repair(&store, Mode::DryRun).summary.is_index_bad());
        assert!(is_each_once(&crate::sync::chunks(&store)));
        for (id, expected) in &snapshots {
            assert_restores(&store, *id, expected, how);
        }
    }
}

#[test]
fn an_index_object_that_is_made_anew_may_have_the_name_of_the_damaged_one() {
    let (memory, tree) = (new_store(), small_tree());
    backup(&shared(&memory), tree.path()).unwrap();
    let index = objects(&memory, Area::Index)[0];
    memory
        .damage(Area::Index, index, |bytes| bytes[30] ^= 1)
        .unwrap();
    // The order of its two packs is random.
    for _ in 0..10 {
        let store = shared(&memory.fork());
        repair(&store, Mode::Apply);
        assert!(!repair(&store, Mode::DryRun).summary.is_index_bad());
    }
}

#[test]
fn a_snapshot_without_what_was_lost_is_made_and_the_original_stays() {
    for how in ["damaged", "gone"] {
        let (memory, [(first, old), (second, _)], later) = with_a_later_file();
        let flip = |bytes: &mut Vec<u8>| bytes[40] ^= 1;
        match how {
            "damaged" => memory.damage(Area::Packs, later, flip).unwrap(),
            _ => memory.delete(Area::Packs, later).unwrap(),
        }
        let store = shared(&memory);
        let before = all_objects(&*store);
        let told = repair(&store, Mode::DryRun);
        assert_eq!(told.snapshots, [(second, None)], "{how}");
        assert!(told.watcher.says(&[&second.short(), "sub/late"]), "{how}");
        assert_eq!(all_objects(&*store), before);
        let done = repair(&store, Mode::Apply);
        let [(original, Some(repaired))] = done.snapshots[..] else {
            panic!("{how}: {:?}", done.snapshots);
        };
        assert_eq!(original, second);
        assert_restores(&store, repaired, &old, how);
        assert_restores(&store, first, &old, how);
        let (kloset, _) = open(&store);
        let snapshots = select::all(&kloset).unwrap();
        let by_id = |id: Id| {
            snapshots
                .iter()
                .find(|stored| stored.snapshot.id == id)
                .unwrap()
        };
        let (whole, part) = (by_id(second), by_id(repaired));
        assert_eq!(whole.snapshot.time_ns, part.snapshot.time_ns);
        let tag = format!("{TAG}{}", &second.to_string()[..16]);
        assert_eq!(part.snapshot.labels.tags, [tag]);
        assert_eq!(part.snapshot.error_count, 1);
        let read = plakar::kloset::snapshot::read(&kloset, part.object).unwrap();
        assert!(read.errors[0].path.ends_with(b"sub/late"));
        assert_eq!(
            part.snapshot.root.below.files + 1,
            whole.snapshot.root.below.files
        );
        // The damage of the original is known, so it is not repaired again.
        let again = repair(&store, Mode::Apply);
        assert_eq!(again.snapshots, [(second, None)]);
        assert_eq!(again.summary.repaired_before, 1);
        let (summary, watcher) = check(&store);
        assert_eq!(summary.lossy, [second], "{:?}", watcher.heard());
        assert_eq!(summary.damaged_objects > 0, how == "damaged");
    }
}

#[test]
fn a_lost_part_of_a_directory_costs_what_was_in_it() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    // Enough files for more than one chunk of entries.
    for number in 0..2000 {
        fs::write(tree.path().join(format!("{number:04}")), "the same").unwrap();
    }
    let id = backup(&store, tree.path()).unwrap().snapshot;
    let expected = listing(tree.path());
    let (kloset, _) = open(&store);
    let tables = objects(&*store, Area::Packs)
        .into_iter()
        .map(|pack| read_table(kloset.store(), kloset.sealer(), pack).unwrap());
    let trees = tables
        .filter(|table| table.kind == PackKind::Tree)
        .collect::<Vec<_>>();
    assert_eq!(trees.len(), 1);
    // A damaged block would affect all trees. Therefore the pack gets one chunk that is not valid.
    let stored = snapshot(&kloset, id).unwrap();
    let blobs = plakar::kloset::blob::BlobReader::new(&kloset, 1 << 20).unwrap();
    let place = select::entry(&blobs, &stored.snapshot, &stored.snapshot.base()).unwrap();
    assert!(place.tree.ids.len() > 3, "{:?}", place.tree);
    let forged = crate::forge::Forge::new(&store);
    let lost = forged.chunk(b"no tree");
    let mut ids = place.tree.ids.clone();
    ids[1] = lost;
    let bad = plakar::format::entry::Entry {
        tree: plakar::format::entry::Content { ids, depth: 0 },
        ..place
    };
    let root = plakar::format::entry::Entry {
        tree: forged.tree(&[plakar::format::entry::Entry {
            name: b"d".to_vec(),
            ..bad
        }]),
        ..stored.snapshot.root.clone()
    };
    let poor = plakar::kloset::snapshot::Snapshot {
        id: Id([7; 32]),
        root,
        roots: vec![b"/d".to_vec()],
        ..stored.snapshot.clone()
    };
    plakar::kloset::snapshot::publish(&forged.kloset, &poor).unwrap();
    let done = repair(&store, Mode::Apply);
    let [(original, Some(repaired))] = done.snapshots[..] else {
        panic!("{:?}", done.snapshots);
    };
    assert_eq!(original, poor.id);
    let (kloset, _) = open(&store);
    let repaired = snapshot(&kloset, repaired).unwrap().snapshot;
    let restored = restore(&kloset, &repaired);
    assert_eq!(restored.errors(), 0);
    let (all, left) = (expected.len(), restored.listing.len());
    assert!(left < all && left > all / 2, "{left} of {all}");
    for (name, found) in &restored.listing {
        assert_eq!(expected.get(name), Some(found));
    }
    assert_restores(&store, id, &expected, "the good one");
}

#[test]
fn stopped_at_every_change_it_can_be_repeated() {
    let (memory, [(first, old), (second, _)], later) = with_a_later_file();
    memory.delete(Area::Packs, later).unwrap();
    let index = objects(&memory, Area::Index)[0];
    memory
        .damage(Area::Index, index, |bytes| bytes[30] ^= 1)
        .unwrap();
    for fault in [Fault::Unavailable, Fault::Late, Fault::Full] {
        let done = (0..100).any(|changes| {
            let store = shared(&memory.fork());
            let faulty = FaultStore::with(&store, changes, fault, Lasting::ForEver);
            let outcome = try_repair(&(Arc::new(faulty) as Arc<dyn Store>), Mode::Apply);
            let when = format!("{fault:?} after {changes}");
            assert_restores(&store, first, &old, &when);
            repair(&store, Mode::Apply);
            let (kloset, _) = open(&store);
            let all = select::all(&kloset).unwrap();
            let tagged = |stored: &&plakar::kloset::snapshot::Stored| {
                stored
                    .snapshot
                    .labels
                    .tags
                    .iter()
                    .any(|tag| tag.starts_with(TAG))
            };
            let repaired: Vec<Id> = all
                .iter()
                .filter(tagged)
                .map(|one| one.snapshot.id)
                .collect();
            assert_eq!(repaired.len(), 1, "{when}");
            assert_restores(&store, repaired[0], &old, &when);
            assert!(
                !repair(&store, Mode::DryRun).summary.is_index_bad(),
                "{when}"
            );
            assert_eq!(check(&store).0.lossy, [second], "{when}");
            outcome.is_ok()
        });
        assert!(done, "{fault:?}");
    }
}

#[test]
fn where_nothing_can_be_removed_the_rest_is_done() {
    let (memory, snapshots, _) = with_a_later_file();
    for index in objects(&memory, Area::Index) {
        memory
            .damage(Area::Index, index, |bytes| bytes[30] ^= 1)
            .unwrap();
    }
    let store = shared(&memory);
    let lasting = no_delete(&store);
    let done = repair(&lasting, Mode::Apply);
    assert!(done.watcher.says(&["remove index"]));
    let told = repair(&store, Mode::DryRun).summary;
    assert_eq!((told.unindexed_packs, told.damaged_indexes), (0, 2));
    for (id, expected) in &snapshots {
        assert_restores(&store, *id, expected, "append-only");
    }
}
