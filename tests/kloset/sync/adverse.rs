//! Tests syncs that stop at every call, that read damaged data, or that run concurrently with
//! maintenance.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use plakar::error::Kind;
use plakar::format::cbor::Writer;
use plakar::format::object;
use plakar::format::pack_table::PackKind;
use plakar::format::seal::Part;
use plakar::kloset::pack::read_table;
use plakar::ops::collect;
use plakar::ops::sync::{self, Outcome};
use plakar::store::fault::{Call, Fault, FaultStore, Lasting, ReadFault};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use super::{
    BOTH, Kin, beside, chunks, is_each_once, stored, sync_all, sync_these, try_sync, two_snapshots,
};
use crate::harness::*;

/// More calls than any test makes.
const MANY: u64 = 2000;

/// A store next to `from` that already has a snapshot.
fn with_a_past(from: &Arc<dyn Store>, kin: Kin) -> (MemoryStore, Id, Listing) {
    let (memory, tree) = (beside(from, kin), small_tree());
    fs::write(tree.path().join("past"), noise(50, 2000)).unwrap();
    let id = backup(&shared(&memory), tree.path()).unwrap().snapshot;
    (memory, id, listing(tree.path()))
}

/// Asserts that the data in `to` after a failed sync is intact, and that another sync copies the
/// rest without duplicates.
fn assert_converges(
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    snapshots: &[(Id, Listing)],
    when: &str,
) {
    for id in objects(&**to, Area::Snapshots) {
        let (kloset, _) = open(to);
        let arrived = plakar::kloset::snapshot::read(&kloset, id).unwrap();
        let known = snapshots.iter().find(|(known, _)| *known == arrived.id);
        if let Some((id, expected)) = known {
            assert_restores(to, *id, expected, when);
        }
    }
    sync_all(from, to);
    for (id, expected) in snapshots {
        assert_restores(to, *id, expected, &format!("{when}, and again"));
    }
    let (summary, watcher) = check(to);
    assert!(!summary.is_damaged(), "{when}: {:?}", watcher.heard());
    assert!(is_each_once(&chunks(to)), "{when}: something moved twice");
}

#[test]
fn stopped_at_every_change_over_there_it_can_be_repeated() {
    let (from, snapshots) = two_snapshots();
    for kin in BOTH {
        for fault in [Fault::Unavailable, Fault::Late, Fault::Full] {
            let (memory, past, expected) = with_a_past(&from, kin);
            let stops = (0..MANY).find(|changes| {
                let to = shared(&memory.fork());
                let faulty = FaultStore::with(&to, *changes, fault, Lasting::ForEver);
                let outcome = try_sync(&from, &(Arc::new(faulty) as Arc<dyn Store>));
                let when = format!("{kin:?}, {fault:?} after {changes}");
                assert_restores(&to, past, &expected, &when);
                assert_converges(&from, &to, &snapshots, &when);
                outcome.is_ok()
            });
            assert!(
                stops.unwrap() >= 6,
                "{kin:?}: three objects a snapshot, at least"
            );
        }
    }
}

#[test]
fn stopped_at_every_read_of_either_it_can_be_repeated() {
    let (from, snapshots) = two_snapshots();
    for kin in BOTH {
        let (memory, past, expected) = with_a_past(&from, kin);
        for lasting in [Lasting::ForEver, Lasting::Once] {
            for of_source in [true, false] {
                let ended = (0..MANY).find(|reads| {
                    let to = shared(&memory.fork());
                    let faulty = |store: &Arc<dyn Store>| -> Arc<dyn Store> {
                        let fault = ReadFault::Unavailable;
                        Arc::new(FaultStore::with_reads(store, *reads, fault, lasting))
                    };
                    let outcome = match of_source {
                        true => try_sync(&faulty(&from), &to),
                        false => try_sync(&from, &faulty(&to)),
                    };
                    let when = format!("{kin:?}, source {of_source}, after {reads} reads");
                    if let Err(error) = &outcome {
                        assert_eq!(error.kind(), Kind::Unavailable, "{when}: {error}");
                    }
                    assert_restores(&to, past, &expected, &when);
                    assert_converges(&from, &to, &snapshots, &when);
                    outcome.is_ok_and(|synced| synced.summary.failed == 0)
                });
                assert!(ended.unwrap() > 5, "{kin:?}");
            }
        }
    }
}

#[test]
fn what_an_interrupted_sync_moved_does_not_move_again() {
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        let whole = Arc::new(FaultStore::counting(&shared(&beside(&from, kin))));
        sync_all(&from, &(whole.clone() as Arc<dyn Store>));
        let packs = whole.calls(Call::Commit);
        for changes in 0..whole.changes() {
            let to = shared(&beside(&from, kin));
            let first = Arc::new(FaultStore::new(&to, changes));
            assert!(try_sync(&from, &(first as Arc<dyn Store>)).is_err());
            let moved = objects(&*to, Area::Packs).len() as u64;
            let second = Arc::new(FaultStore::counting(&to));
            sync_all(&from, &(second.clone() as Arc<dyn Store>));
            let when = format!("{kin:?} after {changes}");
            assert!(is_each_once(&chunks(&to)), "{when}");
            if kin == Kin::Sibling {
                assert_eq!(moved + second.calls(Call::Commit), packs, "{when}");
            }
            assert_restores(&to, snapshots[1].0, &snapshots[1].1, &when);
        }
    }
}

/// The packs that only the second snapshot needs.
fn later_packs(from: &Arc<dyn Store>, snapshots: &[(Id, Listing)]) -> Vec<Id> {
    let (here, _) = open(from);
    let to = shared(&beside(from, Kin::Sibling));
    let (there, watcher) = open(&to);
    let first = stored(from, snapshots[0].0);
    sync_these(&here, &there, &[first], watcher).unwrap();
    let needed = objects(&*to, Area::Packs);
    let all = objects(&**from, Area::Packs).into_iter();
    all.filter(|pack| !needed.contains(pack)).collect()
}

#[test]
fn a_snapshot_of_which_something_is_damaged_fails_and_the_others_arrive() {
    let (original, snapshots) = two_snapshots();
    let later = later_packs(&original, &snapshots);
    assert_eq!(later.len(), 2, "contents and trees");
    for kin in BOTH {
        for pack in &later {
            for how in ["damaged", "gone"] {
                let from = copy_of(&original);
                match how {
                    "damaged" => from
                        .damage(Area::Packs, *pack, |bytes| bytes[40] ^= 1)
                        .unwrap(),
                    _ => from.delete(Area::Packs, *pack).unwrap(),
                }
                let from = shared(&from);
                let to = shared(&beside(&from, kin));
                let synced = sync_all(&from, &to);
                let when = format!("{kin:?}, {how}: {:?}", synced.watcher.heard());
                assert_eq!(synced.outcomes[0].1, Outcome::Copied, "{when}");
                assert_eq!(synced.outcomes[1].1, Outcome::Failed, "{when}");
                assert_eq!(synced.summary.failed, 1);
                assert!(synced.watcher.says(&[&snapshots[1].0.short()]), "{when}");
                assert_restores(&to, snapshots[0].0, &snapshots[0].1, &when);
                assert!(!check(&to).0.is_damaged(), "{when}");
                // The damaged data is available again, so the rest is copied too.
                sync_all(&original, &to);
                assert_restores(&to, snapshots[1].0, &snapshots[1].1, &when);
            }
        }
    }
}

/// A store in memory with the same objects.
fn copy_of(store: &Arc<dyn Store>) -> MemoryStore {
    let copy = MemoryStore::new();
    copy.prepare().unwrap();
    for (area, id) in all_objects(&**store) {
        copy.put(area, id, &store.get(area, id).unwrap()).unwrap();
    }
    copy.put_config(&store.get_config().unwrap()).unwrap();
    copy
}

#[test]
fn what_is_good_of_a_damaged_pack_gets_across() {
    let (memory, tree) = (new_store(), small_tree());
    let from = shared(&memory);
    fs::write(tree.path().join("kept"), noise(20, 2_500_000)).unwrap();
    fs::write(tree.path().join("lost"), noise(21, 6_000_000)).unwrap();
    let mut one_worker = options(tree.path());
    one_worker.workers = 1;
    let source = plakar::connector::LocalSource::new().unwrap();
    let first = backup_from(&from, &source, &one_worker).unwrap().snapshot;
    fs::remove_file(tree.path().join("lost")).unwrap();
    let second = backup_from(&from, &source, &one_worker).unwrap().snapshot;
    // The last block of the large pack contains the end of the lost data.
    let (kloset, _) = open(&from);
    let tables = objects(&*from, Area::Packs)
        .into_iter()
        .map(|pack| read_table(kloset.store(), kloset.sealer(), pack).unwrap());
    let data = tables
        .filter(|table| table.kind == PackKind::Data)
        .max_by_key(|table| table.size_bytes)
        .unwrap();
    assert!(data.blocks.len() > 1);
    let lost = blocks_only_of(&data, &chunk_ids_of(&from, second));
    memory
        .damage(Area::Packs, data.pack, |bytes| {
            bytes[lost as usize + 40] ^= 1
        })
        .unwrap();
    for kin in BOTH {
        let to = shared(&beside(&from, kin));
        let synced = sync_all(&from, &to);
        assert_eq!(
            synced.outcomes,
            [(first, Outcome::Failed), (second, Outcome::Copied)],
            "{kin:?}: {:?}",
            synced.watcher.heard()
        );
        assert_restores(&to, second, &listing(tree.path()), &format!("{kin:?}"));
        assert!(!check(&to).0.is_damaged());
    }
}

/// All chunks of all files of the snapshot.
fn chunk_ids_of(store: &Arc<dyn Store>, id: Id) -> Vec<Id> {
    use plakar::kloset::blob::BlobReader;
    use plakar::kloset::tree::{Reach, TreeWalk, each_chunk};
    let (kloset, _) = open(store);
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let root = stored(store, id).snapshot.root;
    let mut walk = TreeWalk::new(&blobs, b"/", &root, Reach::All);
    let mut ids = Vec::new();
    while let Some(entry) = walk.try_next().unwrap() {
        each_chunk(&blobs, &entry.content, &mut |id| {
            ids.push(id);
            Ok(())
        })
        .unwrap();
    }
    ids
}

/// The offset of a block that contains none of `needed`.
fn blocks_only_of(table: &plakar::format::pack_table::PackTable, needed: &[Id]) -> u64 {
    let is_free = |block: &plakar::format::pack_table::BlockTable| {
        block.chunks.iter().all(|chunk| !needed.contains(&chunk.id))
    };
    let found = table.offsets().find(|(_, block)| is_free(block));
    found.expect("a block that only the first snapshot needs").0
}

#[test]
fn without_its_index_objects_a_store_is_copied_all_the_same() {
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        for index in objects(&*from, Area::Index) {
            from.delete(Area::Index, index).unwrap();
        }
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        for (id, expected) in &snapshots {
            assert_restores(&to, *id, expected, &format!("{kin:?}"));
        }
    }
}

/// Condemns all packs of `store`.
fn condemn(store: &Arc<dyn Store>) {
    let (kloset, _) = open(store);
    let mut body = Vec::new();
    Writer::new(&mut body)
        .map(1)
        .u64(0)
        .ids(&objects(&**store, Area::Packs));
    let bytes = object::encode(kloset.sealer(), Part::Condemned, &body).unwrap();
    store.put(Area::Condemned, Id::of(&bytes), &bytes).unwrap();
}

#[test]
fn what_is_condemned_over_there_does_not_count_as_there() {
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        let condemned = objects(&*to, Area::Packs);
        for snapshot in objects(&*to, Area::Snapshots) {
            to.delete(Area::Snapshots, snapshot).unwrap();
        }
        condemn(&to);
        // Packs of a sibling have the same names, so copying them again would not help.
        sync_all(&from, &to);
        for pack in condemned {
            to.delete(Area::Packs, pack).unwrap();
        }
        for (id, expected) in &snapshots {
            assert_restores(&to, *id, expected, &format!("{kin:?}"));
        }
    }
}

#[test]
fn what_was_lost_over_there_is_brought_again() {
    let ways = ["gone", "cut", "found damaged"];
    for (kin, how) in BOTH.into_iter().flat_map(|kin| ways.map(|how| (kin, how))) {
        let (from, snapshots) = two_snapshots();
        let (memory, cache) = (beside(&from, kin), scratch());
        let to = shared(&memory);
        let sync = || {
            let (here, _) = open(&from);
            let (there, watcher) = open_with_cache(&to, Some(cache.path()));
            let all = plakar::ops::select::all(&here).unwrap();
            sync_these(&here, &there, &all, watcher).unwrap()
        };
        sync();
        // One of the snapshots has lost everything else.
        let last = stored(&to, snapshots[1].0).object;
        to.delete(Area::Snapshots, last).unwrap();
        for pack in objects(&*to, Area::Packs) {
            let damage = |bytes: &mut Vec<u8>| match how {
                "cut" => bytes.truncate(bytes.len() - 1),
                _ => bytes[40] ^= 1,
            };
            match how {
                "gone" => to.delete(Area::Packs, pack).unwrap(),
                _ => memory.damage(Area::Packs, pack, damage).unwrap(),
            }
        }
        if how == "found damaged" {
            let (there, _) = open_with_cache(&to, Some(cache.path()));
            let found = plakar::ops::check::run(&there, None, &check_options());
            assert!(found.unwrap().is_damaged());
        }
        let synced = sync();
        let when = format!("{kin:?}, {how}: {:?}", synced.watcher.heard());
        assert_eq!(
            (synced.summary.present, synced.summary.copied),
            (1, 1),
            "{when}"
        );
        for (id, expected) in &snapshots {
            assert_restores(&to, *id, expected, &when);
        }
    }
}

#[test]
fn what_no_index_tells_of_any_more_is_brought_to_snapshots_that_are_named() {
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        let (kloset, _) = open(&to);
        for pack in objects(&*to, Area::Packs) {
            let table = read_table(&*to, kloset.sealer(), pack).unwrap();
            if table.kind == PackKind::Data {
                to.delete(Area::Packs, pack).unwrap();
            }
        }
        let at_once = collect::Options {
            grace: Duration::ZERO,
            is_dry: false,
            is_exclusive: false,
            max_repack_bytes: None,
            interrupt: Interrupt::default(),
        };
        assert!(collect::run(&open(&to).0, &at_once).unwrap().lost_chunks > 0);
        let (here, there) = (open(&from).0, open(&to).0);
        let named = plakar::ops::select::all(&here).unwrap();
        let options = sync::Options {
            present: sync::Present::Always,
            ..super::options()
        };
        let summary = sync::run(&here, &there, &named, &options, &mut |_, _| Ok(())).unwrap();
        assert_eq!((summary.present, summary.failed), (2, 0), "{kin:?}");
        for (id, expected) in &snapshots {
            assert_restores(&to, *id, expected, &format!("{kin:?}"));
        }
    }
}
