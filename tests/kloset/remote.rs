//! Tests a remote store: the number of requests of an operation, and the correct use of the cached
//! copies that save requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plakar::connector::LocalSource;
use plakar::format::slot::{Cost, SlotInfo};
use plakar::kloset::blob::BlobReader;
use plakar::kloset::tree::{Reach, TreeWalk};
use plakar::kloset::{Kloset, Locked, Protection, create, snapshot};
use plakar::ops::{backup, check, select};
use plakar::store::fault::{Call, FaultStore};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use tempfile::TempDir;

use crate::harness::{
    Watcher, check_options, listing, new_store, noise, objects, open_with_cache, options, restore,
    scratch, shared, small_tree,
};

const CONNECTIONS: usize = 4;
const PASSPHRASE: &[u8] = b"vermilion otter 51 balances ledgers";

/// `store` as a remote store that counts calls.
fn far(store: &MemoryStore) -> Arc<FaultStore> {
    Arc::new(FaultStore::counting(&shared(store)).remote(CONNECTIONS))
}

/// Opens a kloset of `far` as a separate process would.
fn open_far(far: &Arc<FaultStore>, cache: &Path) -> (Kloset, Arc<Watcher>) {
    let store: Arc<dyn Store> = far.clone();
    open_with_cache(&store, Some(cache))
}

fn back_up(far: &Arc<FaultStore>, cache: &Path, path: &Path) -> backup::Summary {
    let (kloset, watcher) = open_far(far, cache);
    let done = backup::run(&kloset, &LocalSource::new().unwrap(), &options(path)).unwrap();
    assert_eq!(watcher.warnings(), 0, "{:?}", watcher.heard());
    done
}

/// The number of entries in a tree walk of the newest snapshot.
fn entries(kloset: &Kloset) -> usize {
    let all = select::all(kloset).unwrap();
    let blobs = BlobReader::new(kloset, 1 << 20).unwrap();
    let root = &all.last().unwrap().snapshot.root;
    let mut walk = TreeWalk::new(&blobs, b"/", root, Reach::All);
    let next = || walk.try_next().unwrap();
    std::iter::from_fn(next).count()
}

/// The cached copies in `cache` whose names begin with `prefix`.
fn copies(cache: &Path, prefix: &str) -> Vec<PathBuf> {
    let store = fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    let Ok(files) = fs::read_dir(store.join("copies")) else {
        return Vec::new();
    };
    let paths = files.map(|file| file.unwrap().path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(prefix)
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_one).collect();
    paths.sort();
    paths
}

/// A modification of a file, as by a faulty disk.
type Harm<'a> = &'a dyn Fn(&Path) -> Vec<u8>;

/// Directories with enough files for several blocks of trees.
fn wide_tree() -> TempDir {
    let dir = scratch();
    for directory in 0..20 {
        let path = dir.path().join(format!("directory {directory}"));
        fs::create_dir(&path).unwrap();
        for file in 0..50 {
            fs::write(
                path.join(format!("file {file}")),
                noise(directory * 50 + file, 40),
            )
            .unwrap();
        }
    }
    dir
}

#[test]
fn a_backup_of_what_did_not_change_costs_nine_requests() {
    let store = MemoryStore::new();
    let info = SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    };
    create(&store, &Protection::Passphrase(PASSPHRASE, info), 1).unwrap();
    let (tree, cache) = (wide_tree(), scratch());
    let run = || {
        let far = far(&store);
        let watcher = Arc::new(Watcher::default());
        let locked = Locked::new(far.clone()).unwrap();
        let key = locked.unlock(PASSPHRASE, &*watcher).unwrap().unwrap();
        let cache = Some(cache.path().to_owned());
        let kloset = locked.open(key, cache, watcher.clone()).unwrap();
        let source = LocalSource::new().unwrap();
        backup::run(&kloset, &source, &options(tree.path())).unwrap();
        assert_eq!(watcher.warnings(), 0, "{:?}", watcher.heard());
        far
    };
    run();
    for _ in 0..2 {
        // Directories next to the source change continuously.
        let _beside = scratch();
        let far = run();
        let calls = |call| far.calls(call);
        // CONFIG; a key slot; the lists of keys, condemnations, index objects, packs, snapshots,
        // and condemnations again; the new snapshot.
        assert_eq!((calls(Call::GetConfig), calls(Call::Get)), (1, 1));
        assert_eq!((calls(Call::List), calls(Call::Put)), (6, 1));
        assert_eq!(far.requests(), 9);
    }
}

#[test]
fn looking_costs_a_request_for_what_may_have_changed_and_none_for_what_cannot() {
    let (store, tree, cache) = (new_store(), wide_tree(), scratch());
    back_up(&far(&store), cache.path(), tree.path());
    let far = far(&store);
    let (kloset, _) = open_far(&far, cache.path());
    snapshot::list(&kloset, kloset.observer()).unwrap();
    assert_eq!(far.requests(), 2, "CONFIG and the list of snapshots");
    assert!(entries(&kloset) > 1000);
    assert_eq!(
        far.requests(),
        4,
        "and once more, and that of index objects"
    );
}

#[test]
fn a_cold_cache_is_filled_by_what_is_read() {
    let (store, tree) = (new_store(), wide_tree());
    back_up(&far(&store), scratch().path(), tree.path());
    let cache = scratch();
    for expected in [3, 0] {
        let far = far(&store);
        let (kloset, _) = open_far(&far, cache.path());
        assert!(entries(&kloset) > 1000);
        let reads = far.calls(Call::Get) + far.calls(Call::ReadAt);
        assert!(reads >= expected && reads <= 4 * expected, "{reads} reads");
    }
}

#[test]
fn a_damaged_copy_is_replaced_and_never_believed() {
    let (store, tree, cache) = (new_store(), wide_tree(), scratch());
    back_up(&far(&store), cache.path(), tree.path());
    fs::write(tree.path().join("one more"), "so that there are two packs").unwrap();
    back_up(&far(&store), cache.path(), tree.path());
    let (kloset, _) = open_far(&far(&store), cache.path());
    let expected = entries(&kloset);
    let all = [copies(cache.path(), "block"), copies(cache.path(), "snap")];
    assert!(all[0].len() >= 2 && all[1].len() == 2, "{all:?}");
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let cut = |path: &Path| fs::read(path).unwrap()[1..].to_vec();
    let empty = |_: &Path| Vec::new();
    // A valid block, but a different one.
    let other = |path: &Path| {
        let is_other = |other: &&PathBuf| *other != path;
        fs::read(all[0].iter().find(is_other).unwrap()).unwrap()
    };
    let harms: [Harm<'_>; 4] = [&flip, &cut, &empty, &other];
    for (number, harm) in harms.iter().enumerate() {
        for path in all.iter().flatten() {
            let (good, bad) = (fs::read(path).unwrap(), harm(path));
            fs::write(path, &bad).unwrap();
            let (kloset, watcher) = open_far(&far(&store), cache.path());
            assert_eq!(entries(&kloset), expected, "harm {number} to {path:?}");
            assert_eq!(watcher.heard(), Vec::<String>::new());
            if fs::read(path).unwrap() == bad {
                // Not read, because the newest snapshot does not contain this tree.
                fs::write(path, good).unwrap();
            } else {
                assert!(fs::read(path).unwrap() == good, "harm {number} to {path:?}");
            }
        }
    }
}

#[test]
fn what_was_deleted_from_the_store_is_not_seen_through_its_copy() {
    let (store, tree, cache) = (new_store(), small_tree(), scratch());
    let first = back_up(&far(&store), cache.path(), tree.path());
    let snapshots = objects(&store, Area::Snapshots);
    fs::write(tree.path().join("new"), "new").unwrap();
    back_up(&far(&store), cache.path(), tree.path());
    store.delete(Area::Snapshots, snapshots[0]).unwrap();
    let (kloset, _) = open_far(&far(&store), cache.path());
    let all = select::all(&kloset).unwrap();
    assert!(all.len() == 1 && all[0].snapshot.id != first.snapshot);
    // If all packs are lost, everything is stored again, whatever the cache contains.
    for pack in objects(&store, Area::Packs) {
        store.delete(Area::Packs, pack).unwrap();
    }
    let (kloset, _) = open_far(&far(&store), cache.path());
    backup::run(&kloset, &LocalSource::new().unwrap(), &options(tree.path())).unwrap();
    let (kloset, _) = open_far(&far(&store), scratch().path());
    let newest = select::all(&kloset).unwrap().pop().unwrap().snapshot;
    assert!(restore(&kloset, &newest).is_all_of(&listing(tree.path())));
}

#[test]
fn a_check_sees_the_store_and_not_its_copies() {
    let (store, tree, cache) = (new_store(), wide_tree(), scratch());
    back_up(&far(&store), cache.path(), tree.path());
    let (kloset, _) = open_far(&far(&store), cache.path());
    let all = select::all(&kloset).unwrap();
    let target = check::Target {
        stored: all[0].clone(),
        path: b"/".to_vec(),
    };
    for pack in objects(&store, Area::Packs) {
        let whole = store.fork();
        let flip = |bytes: &mut Vec<u8>| bytes[20] ^= 1;
        whole.damage(Area::Packs, pack, flip).unwrap();
        for targets in [None, Some(&[target.clone()][..])] {
            let (kloset, _) = open_far(&far(&whole), cache.path());
            let found = check::run(&kloset, targets, &check_options()).unwrap();
            assert!(
                found.damaged_objects > 0 && found.damaged_files + found.damaged_directories > 0,
                "{found:?}"
            );
        }
    }
    let snapshots = objects(&store, Area::Snapshots);
    let flip = |bytes: &mut Vec<u8>| bytes[20] ^= 1;
    store.damage(Area::Snapshots, snapshots[0], flip).unwrap();
    for targets in [None, Some(&[target][..])] {
        let (kloset, _) = open_far(&far(&store), cache.path());
        let found = check::run(&kloset, targets, &check_options()).unwrap();
        assert_eq!(found.damaged_objects, 1, "{found:?}");
    }
}

#[test]
fn a_store_on_this_machine_is_not_copied_and_a_cache_that_cannot_be_written_is_no_matter() {
    let (store, tree, cache) = (new_store(), small_tree(), scratch());
    let (kloset, _) = open_with_cache(&shared(&store), Some(cache.path()));
    let source = LocalSource::new().unwrap();
    backup::run(&kloset, &source, &options(tree.path())).unwrap();
    assert!(copies(cache.path(), "").is_empty());
    let directory = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap();
    fs::write(directory.path().join("copies"), "in the way").unwrap();
    for _ in 0..2 {
        back_up(&far(&store), cache.path(), tree.path());
    }
    let (kloset, _) = open_far(&far(&store), cache.path());
    assert_eq!(select::all(&kloset).unwrap().len(), 3);
}

#[test]
fn many_packs_go_over_many_connections_and_come_back() {
    let (store, tree, cache) = (new_store(), scratch(), scratch());
    for file in 0..6 {
        let path = tree.path().join(format!("large {file}"));
        fs::write(path, noise(file, 20 << 20)).unwrap();
    }
    back_up(&far(&store), cache.path(), tree.path());
    let far = far(&store);
    let (kloset, _) = open_far(&far, cache.path());
    let newest = select::all(&kloset).unwrap().pop().unwrap().snapshot;
    assert!(restore(&kloset, &newest).is_all_of(&listing(tree.path())));
    let found = check::run(&kloset, None, &check_options()).unwrap();
    assert!(!found.is_damaged(), "{found:?}");
    assert_eq!(objects(&store, Area::Index).len(), 1);
}
