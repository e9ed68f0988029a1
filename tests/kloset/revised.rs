//! Tests snapshots with changed labels: the last change applies, and nothing is lost at an
//! intermediate step.

use std::sync::Arc;

use plakar::error::Kind;
use plakar::kloset::Kloset;
use plakar::kloset::snapshot::{Labels, amend, remove};
use plakar::ops::select;
use plakar::store::fault::{Fault, FaultStore, Lasting};
use plakar::store::{Area, Store};
use plakar::util::Id;

use super::harness::{
    assert_restores, backup, check, listing, new_store, objects, open, shared, small_tree, snapshot,
};
use super::hooked::{Asked, Hooked};

fn tagged(tag: &str) -> Labels {
    Labels {
        tags: vec![tag.to_owned()],
        ..Labels::default()
    }
}

fn tags(kloset: &Kloset, id: Id) -> Vec<String> {
    snapshot(kloset, id).unwrap().snapshot.labels.tags
}

/// Changes the tag of `id` as a separate process would, in the store `faulty`.
fn retag(faulty: Arc<dyn Store>, id: Id, tag: &str) -> plakar::error::Result<()> {
    let (kloset, _) = open(&faulty);
    let stored = snapshot(&kloset, id).unwrap();
    amend(&kloset, &stored, tagged(tag))
}

#[test]
fn the_last_word_counts_and_the_first_object_stays() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let id = backup(&store, tree.path()).unwrap().snapshot;
    let first = objects(&*store, Area::Snapshots);
    for tag in ["a", "b", "c"] {
        retag(store.clone(), id, tag).unwrap();
        let (kloset, _) = open(&store);
        assert_eq!(tags(&kloset, id), [tag]);
        assert_eq!(select::all(&kloset).unwrap().len(), 1);
        let now = objects(&*store, Area::Snapshots);
        assert!(now.len() == 2 && now.contains(&first[0]), "{tag}");
    }
    assert_restores(&store, id, &listing(tree.path()), "after three changes");
    assert_eq!(check(&store).0.snapshots, 1);
}

#[test]
fn a_change_that_breaks_off_leaves_the_old_word_or_the_new_one() {
    for fault in [Fault::Unavailable, Fault::Late, Fault::Full] {
        for changes in 0..=2 {
            let (store, tree) = (shared(&new_store()), small_tree());
            let id = backup(&store, tree.path()).unwrap().snapshot;
            retag(store.clone(), id, "old").unwrap();
            let faulty = FaultStore::with(&store, changes, fault, Lasting::ForEver);
            let outcome = retag(Arc::new(faulty), id, "new");
            let (kloset, _) = open(&store);
            let is_new = tags(&kloset, id) == ["new"];
            assert!(is_new || tags(&kloset, id) == ["old"]);
            assert!(is_new || outcome.is_err(), "{fault:?} {changes}");
            retag(store.clone(), id, "last").unwrap();
            assert_eq!(tags(&open(&store).0, id), ["last"]);
            assert_restores(&store, id, &listing(tree.path()), "after a broken change");
        }
    }
}

#[test]
fn a_store_that_lets_nobody_delete_keeps_every_revision_and_shows_the_last() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let id = backup(&store, tree.path()).unwrap().snapshot;
    for tag in ["a", "b", "c"] {
        let faulty = FaultStore::with(&store, 1, Fault::Denied, Lasting::ForEver);
        retag(Arc::new(faulty), id, tag).unwrap();
        assert_eq!(tags(&open(&store).0, id), [tag]);
    }
    assert_eq!(objects(&*store, Area::Snapshots).len(), 4);
    let (kloset, _) = open(&store);
    remove(&kloset, &snapshot(&kloset, id).unwrap()).unwrap();
    assert_eq!(objects(&*store, Area::Snapshots), []);
}

#[test]
fn a_removal_that_breaks_off_does_not_bring_an_older_word_back() {
    for changes in 0..2 {
        let (store, tree) = (shared(&new_store()), small_tree());
        let id = backup(&store, tree.path()).unwrap().snapshot;
        retag(store.clone(), id, "new").unwrap();
        let faulty: Arc<dyn Store> = Arc::new(FaultStore::new(&store, changes));
        let (kloset, _) = open(&faulty);
        let stored = snapshot(&kloset, id).unwrap();
        assert!(remove(&kloset, &stored).is_err(), "{changes}");
        assert_eq!(tags(&open(&store).0, id), ["new"]);
    }
}

#[test]
fn a_change_of_a_snapshot_that_is_removed_meanwhile_does_not_bring_it_back() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let id = backup(&store, tree.path()).unwrap().snapshot;
    let (kloset, _) = open(&store);
    let stored = snapshot(&kloset, id).unwrap();
    let (beside, removed) = (store.clone(), stored.clone());
    let hooked = Hooked::new(&store).before(move |asked| {
        if matches!(asked, Asked::Put(Area::Snapshots, _)) {
            remove(&open(&beside).0, &removed)?;
        }
        Ok(())
    });
    let error = amend(&open(&hooked.shared()).0, &stored, tagged("late")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert_eq!(objects(&*store, Area::Snapshots), []);
}

#[test]
fn nothing_else_is_put_in_the_place_of_a_snapshot_by_a_higher_revision() {
    let (memory, tree) = (new_store(), small_tree());
    let store = shared(&memory);
    let id = backup(&store, tree.path()).unwrap().snapshot;
    memory.age(std::time::Duration::from_secs(60));
    let (kloset, _) = open(&store);
    let honest = snapshot(&kloset, id).unwrap().snapshot;
    for revision in [0, 1, u64::MAX] {
        let mut forged = honest.clone();
        forged.revision = revision;
        forged.time_ns += 1;
        forged.root.tree = plakar::format::entry::Content::default();
        plakar::kloset::snapshot::publish(&kloset, &forged).unwrap();
        assert_restores(&store, id, &listing(tree.path()), "forged");
    }
    retag(store.clone(), id, "mine").unwrap();
    let (kloset, _) = open(&store);
    assert_eq!(tags(&kloset, id), ["mine"]);
    assert_restores(&store, id, &listing(tree.path()), "labelled");
    remove(&kloset, &snapshot(&kloset, id).unwrap()).unwrap();
    assert_eq!(objects(&*store, Area::Snapshots), []);
}
