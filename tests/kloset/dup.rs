//! Tests copies of snapshots.

use plakar::error::Kind;
use plakar::kloset::snapshot::{self, Labels};
use plakar::ops::dup;
use plakar::ops::{check, select};
use plakar::store::Area;

use crate::harness::*;

#[test]
fn a_copy_outlives_the_original() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let expected = listing(tree.path());
    let id = backup(&store, tree.path()).unwrap().snapshot;
    let (kloset, _) = open(&store);
    let labels = Labels {
        tags: vec!["kept".to_owned()],
        ..Labels::default()
    };
    snapshot::amend(&kloset, &snapshot(&kloset, id).unwrap(), labels.clone()).unwrap();
    let original = snapshot(&kloset, id).unwrap();
    let packs = objects(&*store, Area::Packs);
    let copy = dup::run(&kloset, &original).unwrap();
    assert_eq!(
        packs,
        objects(&*store, Area::Packs),
        "nothing else is stored"
    );
    let stored = snapshot(&kloset, copy).unwrap().snapshot;
    assert_ne!(copy, id);
    assert_eq!(
        (stored.time_ns, &stored.labels, stored.revision),
        (original.snapshot.time_ns, &labels, 0)
    );
    snapshot::remove(&kloset, &original).unwrap();
    assert_restores(&store, copy, &expected, "the copy alone");
    let (summary, _) = check(&store);
    assert!(!check::Summary::is_damaged(&summary), "{summary:?}");
}

#[test]
fn there_is_no_copy_of_what_is_removed_meanwhile() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let id = backup(&store, tree.path()).unwrap().snapshot;
    let (kloset, _) = open(&store);
    let labels = Labels::default();
    snapshot::amend(&kloset, &snapshot(&kloset, id).unwrap(), labels).unwrap();
    let original = snapshot(&kloset, id).unwrap();
    // A removal is half finished when the copy is made: the last object can still be read.
    store.delete(Area::Snapshots, original.older[0]).unwrap();
    let error = dup::run(&kloset, &original).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("removed meanwhile"), "{error}");
    let left = select::all(&kloset).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].snapshot.id, id, "only what there was");
}
