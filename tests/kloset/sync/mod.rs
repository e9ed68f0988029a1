//! Tests copying snapshots between stores: whatever is wrong with either store, copied data is
//! intact, existing data is preserved, and nothing is copied twice.

mod adverse;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use plakar::error::{Error, Kind, Result};
use plakar::format::slot::{Cost, SlotInfo};
use plakar::kloset::pack::read_table;
use plakar::kloset::progress::Observer;
use plakar::kloset::snapshot::{Labels, Stored, amend};
use plakar::kloset::{Kloset, Locked, Protection, create, create_sibling};
use plakar::ops::select;
use plakar::ops::sync::{self, Outcome, Present, Summary};
use plakar::store::fault::{Call, FaultStore};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::harness::*;

/// The key of the other store relative to the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    Sibling,
    Stranger,
}

pub(crate) const BOTH: [Kin; 2] = [Kin::Sibling, Kin::Stranger];

/// A new store with the given relation to `store`.
pub(crate) fn beside(store: &Arc<dyn Store>, kin: Kin) -> MemoryStore {
    match kin {
        Kin::Stranger => new_store(),
        Kin::Sibling => {
            let sibling = MemoryStore::new();
            create_sibling(&sibling, &Protection::Plaintext, &open(store).0).unwrap();
            sibling
        }
    }
}

pub(crate) fn try_open(store: &Arc<dyn Store>) -> Result<(Kloset, Arc<Watcher>)> {
    let watcher = Arc::new(Watcher::default());
    let locked = Locked::new(store.clone())?;
    let key = locked.plaintext_key()?.unwrap();
    Ok((locked.open(key, None, watcher.clone())?, watcher))
}

fn options() -> sync::Options {
    sync::Options {
        present: Present::IfHoley,
        workers: 2,
        interrupt: Interrupt::default(),
    }
}

pub(crate) struct Synced {
    pub(crate) summary: Summary,
    pub(crate) outcomes: Vec<(Id, Outcome)>,
    pub(super) watcher: Arc<Watcher>,
}

/// Copies all snapshots, as a separate process would.
pub(crate) fn try_sync(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> Result<Synced> {
    let (from, _) = try_open(from)?;
    let (to, watcher) = try_open(to)?;
    let all = select::all(&from)?;
    sync_these(&from, &to, &all, watcher)
}

fn sync_these(
    from: &Kloset,
    to: &Kloset,
    snapshots: &[Stored],
    watcher: Arc<Watcher>,
) -> Result<Synced> {
    let mut outcomes = Vec::new();
    let mut told = |stored: &Stored, outcome| {
        outcomes.push((stored.snapshot.id, outcome));
        Ok(())
    };
    let summary = sync::run(from, to, snapshots, &options(), &mut told)?;
    Ok(Synced {
        summary,
        outcomes,
        watcher,
    })
}

pub(super) fn sync_all(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> Synced {
    try_sync(from, to).unwrap()
}

/// A store with two snapshots of a slightly changed tree, the second one with a long file, and the
/// contents of both.
pub(super) fn two_snapshots() -> (Arc<dyn Store>, [(Id, Listing); 2]) {
    let (store, tree) = (shared(&new_store()), small_tree());
    let first = backup(&store, tree.path()).unwrap().snapshot;
    let old = listing(tree.path());
    fs::write(tree.path().join("sub/b.bin"), noise(2, 400)).unwrap();
    fs::create_dir(tree.path().join("more")).unwrap();
    fs::write(tree.path().join("more/file"), noise(3, 300_000)).unwrap();
    let second = backup(&store, tree.path()).unwrap().snapshot;
    (store, [(first, old), (second, listing(tree.path()))])
}

/// All chunk ids in all packs, so that duplicates are visible.
pub(crate) fn chunks(store: &Arc<dyn Store>) -> Vec<Id> {
    let (kloset, _) = open(store);
    let mut chunks = Vec::new();
    for pack in objects(&**store, Area::Packs) {
        let table = read_table(kloset.store(), kloset.sealer(), pack).unwrap();
        chunks.extend(
            table
                .blocks
                .iter()
                .flat_map(|block| block.chunks.iter().map(|c| c.id)),
        );
    }
    chunks.sort();
    chunks
}

pub(crate) fn is_each_once(chunks: &[Id]) -> bool {
    chunks.windows(2).all(|pair| pair[0] != pair[1])
}

pub(super) fn stored(store: &Arc<dyn Store>, id: Id) -> Stored {
    snapshot(&open(store).0, id).unwrap()
}

fn without_root(stored: Stored) -> plakar::kloset::snapshot::Snapshot {
    plakar::kloset::snapshot::Snapshot {
        root: Default::default(),
        synced_ns: None,
        ..stored.snapshot
    }
}

#[test]
fn snapshots_arrive_with_their_ids_and_all_that_is_said_of_them() {
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        let to = shared(&beside(&from, kin));
        let synced = sync_all(&from, &to);
        let copied = |(id, _): &(Id, Listing)| (*id, Outcome::Copied);
        assert_eq!(synced.outcomes, snapshots.each_ref().map(copied), "{kin:?}");
        for (id, expected) in &snapshots {
            assert_restores(&to, *id, expected, &format!("{kin:?}"));
            let (here, there) = (stored(&from, *id), stored(&to, *id));
            assert!(here.snapshot.synced_ns.is_none());
            let synced_ns = there.snapshot.synced_ns.unwrap();
            assert!((there.published_ns - synced_ns).abs() < 60_000_000_000);
            assert_eq!(here.snapshot.root.below, there.snapshot.root.below);
            assert_eq!(without_root(here), without_root(there));
        }
        let (summary, watcher) = check(&to);
        assert!(!summary.is_damaged(), "{kin:?}: {:?}", watcher.heard());
        assert_eq!(watcher.warnings(), 0, "{kin:?}: {:?}", watcher.heard());
        assert!(is_each_once(&chunks(&to)), "{kin:?}");
    }
}

#[test]
fn siblings_have_the_same_packs_and_strangers_have_nothing_in_common() {
    let (from, _) = two_snapshots();
    for kin in BOTH {
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        let (here, there) = (objects(&*from, Area::Packs), objects(&*to, Area::Packs));
        match kin {
            Kin::Sibling => assert_eq!(here, there),
            Kin::Stranger => assert!(there.iter().all(|pack| !here.contains(pack))),
        }
    }
}

#[test]
fn a_second_run_moves_nothing() {
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        let before = all_objects(&*to);
        let counting = Arc::new(FaultStore::counting(&to));
        let counted: Arc<dyn Store> = counting.clone();
        let again = sync_all(&from, &counted);
        assert_eq!(again.summary.present, snapshots.len() as u64);
        assert_eq!(again.summary.stored_bytes, 0);
        assert_eq!(counting.changes(), 0, "{kin:?}");
        assert_eq!(all_objects(&*to), before);
    }
}

#[test]
fn only_what_is_new_is_read_and_moved() {
    for kin in BOTH {
        let (from, tree) = (shared(&new_store()), small_tree());
        fs::write(tree.path().join("large"), noise(5, 3_000_000)).unwrap();
        backup(&from, tree.path()).unwrap();
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        fs::write(tree.path().join("sub/b.bin"), noise(6, 1000)).unwrap();
        let second = backup(&from, tree.path()).unwrap().snapshot;
        let counting = Arc::new(FaultStore::counting(&to));
        let counted: Arc<dyn Store> = counting.clone();
        let synced = sync_all(&from, &counted);
        assert_eq!((synced.summary.copied, synced.summary.present), (1, 1));
        // A pack of contents, a pack of trees, the index object and the snapshot.
        assert_eq!(counting.changes(), 4, "{kin:?}");
        let read = plakar::kloset::progress::read(&synced.watcher.counters().read_bytes);
        assert!(read <= 1000, "{kin:?}: {read} bytes of contents were read");
        assert_restores(&to, second, &listing(tree.path()), "the second");
    }
}

#[test]
fn long_files_and_files_with_holes_and_many_names_arrive() {
    let (from, tree) = (shared(&new_store()), small_tree());
    // More chunks than an entry itself can list.
    fs::write(tree.path().join("long"), noise(7, 24 << 20)).unwrap();
    fs::hard_link(tree.path().join("a.txt"), tree.path().join("sub/again")).unwrap();
    let holes = fs::File::create(tree.path().join("holes")).unwrap();
    holes.set_len(5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&holes, &noise(8, 70_000), 1 << 20).unwrap();
    let id = backup(&from, tree.path()).unwrap().snapshot;
    let expected = listing(tree.path());
    for kin in BOTH {
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        assert_restores(&to, id, &expected, &format!("{kin:?}"));
        assert!(!check(&to).0.is_damaged());
        // Copies again from the copy to a third store.
        let third = shared(&beside(&to, Kin::Stranger));
        sync_all(&to, &third);
        assert_restores(&third, id, &expected, "a copy of the copy");
        let backed = backup(&third, tree.path()).unwrap();
        assert_eq!(
            backed.files_changed + backed.files_new,
            0,
            "known as they were"
        );
    }
}

#[test]
fn both_ways_make_both_the_same() {
    for kin in BOTH {
        let (one, snapshots) = two_snapshots();
        let other = shared(&beside(&one, kin));
        let tree = small_tree();
        fs::write(tree.path().join("theirs"), "of the other").unwrap();
        let theirs = backup(&other, tree.path()).unwrap().snapshot;
        let (here, watcher) = open(&one);
        let (there, _) = open(&other);
        let all = select::all(&here).unwrap();
        let back = select::all(&there).unwrap();
        sync_these(&here, &there, &all, watcher.clone()).unwrap();
        sync_these(
            &there.afresh().unwrap(),
            &here.afresh().unwrap(),
            &back,
            watcher,
        )
        .unwrap();
        for store in [&one, &other] {
            assert_restores(store, theirs, &listing(tree.path()), &format!("{kin:?}"));
            for (id, expected) in &snapshots {
                assert_restores(store, *id, expected, &format!("{kin:?}"));
            }
            assert!(!check(store).0.is_damaged());
        }
    }
}

#[test]
fn newer_labels_arrive_and_older_ones_do_not_replace_them() {
    let tagged = |tag: &str| Labels {
        tags: vec![tag.to_owned()],
        ..Labels::default()
    };
    for kin in BOTH {
        let (from, snapshots) = two_snapshots();
        let to = shared(&beside(&from, kin));
        sync_all(&from, &to);
        let id = snapshots[1].0;
        let arrived = stored(&to, id).snapshot.synced_ns;
        amend(&open(&from).0, &stored(&from, id), tagged("new")).unwrap();
        let synced = sync_all(&from, &to);
        assert_eq!((synced.summary.revised, synced.summary.present), (1, 1));
        let there = stored(&to, id).snapshot;
        assert_eq!((there.labels, there.revision), (tagged("new"), 1));
        assert_eq!(there.synced_ns, arrived);
        assert_restores(&to, id, &snapshots[1].1, "with new labels");
        let back = sync_all(&to, &from);
        assert_eq!(back.summary.present, 2);
        for tag in ["newer", "newest"] {
            amend(&open(&to).0, &stored(&to, id), tagged(tag)).unwrap();
        }
        assert_eq!(sync_all(&from, &to).summary.present, 2);
        assert_eq!(stored(&to, id).snapshot.labels, tagged("newest"));
        sync_all(&to, &from);
        assert_eq!(stored(&from, id).snapshot.labels, tagged("newest"));
    }
}

#[test]
fn a_store_is_not_synced_with_itself() {
    let (store, _) = two_snapshots();
    let error = try_sync(&store, &store).err().unwrap();
    assert_eq!(error.kind(), Kind::Usage);
}

fn locked_with(passphrase: &[u8]) -> MemoryStore {
    let store = MemoryStore::new();
    let info = SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    };
    create(&store, &Protection::Passphrase(passphrase, info), 1).unwrap();
    store
}

fn unlock(store: &Arc<dyn Store>, passphrase: &[u8]) -> (Kloset, Arc<Watcher>) {
    let watcher = Arc::new(Watcher::default());
    let locked = Locked::new(store.clone()).unwrap();
    let key = locked.unlock(passphrase, &*watcher).unwrap().unwrap();
    (locked.open(key, None, watcher.clone()).unwrap(), watcher)
}

#[test]
fn from_a_store_that_hides_nothing_to_one_that_does_and_back() {
    let (open_store, snapshots) = two_snapshots();
    let secret = shared(&locked_with(b"owl"));
    let (here, _) = open(&open_store);
    let (there, watcher) = unlock(&secret, b"owl");
    let all = select::all(&here).unwrap();
    sync_these(&here, &there, &all, watcher).unwrap();
    for pack in objects(&*secret, Area::Packs) {
        let table = read_table(here.store(), here.sealer(), pack);
        assert!(table.is_err(), "nothing of it opens with the known key");
    }
    let back = shared(&new_store());
    let (there, _) = unlock(&secret, b"owl");
    let (home, watcher) = open(&back);
    let all = select::all(&there).unwrap();
    sync_these(&there, &home, &all, watcher).unwrap();
    for (id, expected) in &snapshots {
        assert_restores(&back, *id, expected, "there and back");
    }
}

#[test]
fn a_sibling_has_the_same_key_and_its_own_name_and_hides_as_much() {
    let secret = shared(&locked_with(b"owl"));
    let (kloset, _) = unlock(&secret, b"owl");
    let refused = create_sibling(&MemoryStore::new(), &Protection::Plaintext, &kloset);
    assert_eq!(refused.unwrap_err().kind(), Kind::Usage);
    let sibling = MemoryStore::new();
    let info = || SlotInfo {
        label: String::new(),
        created_ns: 0,
        cost: Cost::FLOOR,
    };
    let protection = Protection::Passphrase(b"another", info());
    let config = create_sibling(&sibling, &protection, &kloset).unwrap();
    assert_eq!(config.key_id, kloset.config().key_id);
    assert_ne!(config.store_id, kloset.config().store_id);
    let (opened, _) = unlock(&shared(&sibling), b"another");
    assert!(opened.is_sibling_of(&kloset));
    assert!(!opened.is_sibling_of(&open(&shared(&new_store())).0));
    let open_one = shared(&new_store());
    let protection = Protection::Passphrase(b"another", info());
    let refused = create_sibling(&MemoryStore::new(), &protection, &open(&open_one).0);
    assert_eq!(refused.unwrap_err().kind(), Kind::Usage);
}

#[test]
fn whoever_is_told_can_stop_it() {
    let (from, _) = two_snapshots();
    let to = shared(&new_store());
    let (here, there) = (open(&from).0, open(&to).0);
    let all = select::all(&here).unwrap();
    let mut told = |_: &Stored, _| Err(Error::new(Kind::Interrupted, "enough"));
    let stopped = sync::run(&here, &there, &all, &options(), &mut told);
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(objects(&*to, Area::Snapshots).len(), 1);
}

#[test]
fn over_several_connections_everything_arrives_once() {
    for kin in BOTH {
        let (from, tree) = (shared(&new_store()), small_tree());
        write_many(tree.path());
        let id = backup(&from, tree.path()).unwrap().snapshot;
        let memory = shared(&beside(&from, kin));
        let counting = Arc::new(FaultStore::counting(&memory).remote(4));
        let to: Arc<dyn Store> = counting.clone();
        let far: Arc<dyn Store> = Arc::new(FaultStore::counting(&from).remote(4));
        sync_all(&far, &to);
        assert_restores(&memory, id, &listing(tree.path()), &format!("{kin:?}"));
        assert!(is_each_once(&chunks(&memory)), "{kin:?}");
        assert_eq!(
            counting.calls(Call::Commit),
            objects(&*memory, Area::Packs).len() as u64
        );
    }
}

/// Creates files for several packs.
fn write_many(path: &Path) {
    for number in 0..20 {
        let bytes = noise(100 + number, 2_500_000);
        fs::write(path.join(format!("file{number}")), bytes).unwrap();
    }
}
