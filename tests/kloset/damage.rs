//! Tests every type of damage to every object: restored data is correct, or an error names the
//! damaged object.

use std::fs;
use std::sync::Arc;

use plakar::ops::check;
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use tempfile::TempDir;

use crate::harness::*;

/// Two snapshots of a tree to which files were added in between.
struct Scene {
    store: MemoryStore,
    snapshots: [(Id, Listing); 2],
    /// The objects that the second backup added. The first snapshot needs none of them.
    added: Vec<(Area, Id)>,
}

fn scene() -> Scene {
    let (store, tree) = (new_store(), small_tree());
    let first = backed_up(&store, &tree);
    let before = all_objects(&store);
    fs::write(tree.path().join("sub/later"), noise(2, 200)).unwrap();
    fs::write(tree.path().join("a.txt"), "the first file, changed").unwrap();
    let second = backed_up(&store, &tree);
    let added = all_objects(&store)
        .into_iter()
        .filter(|object| !before.contains(object))
        .collect();
    Scene {
        store,
        snapshots: [first, second],
        added,
    }
}

fn backed_up(store: &MemoryStore, tree: &TempDir) -> (Id, Listing) {
    let summary = backup(&shared(store), tree.path()).unwrap();
    (summary.snapshot, listing(tree.path()))
}

impl Scene {
    /// A copy of the store in which `how` was applied to one object.
    fn damaged(&self, (area, id): (Area, Id), how: impl FnOnce(&mut Vec<u8>)) -> Arc<dyn Store> {
        let store = self.store.fork();
        store.damage(area, id, how).unwrap();
        Arc::new(store)
    }

    /// Asserts that each snapshot of `store`, in which `object` is damaged, is restored correctly,
    /// or with an error that names the object.
    fn assert_right_or_told(&self, store: &Arc<dyn Store>, object: (Area, Id), what: &str) {
        for (number, (id, expected)) in self.snapshots.iter().enumerate() {
            let (kloset, watcher) = open(store);
            let needed = match object.0 {
                Area::Index => false,
                Area::Snapshots => number == usize::from(self.added.contains(&object)),
                _ => number == 1 || !self.added.contains(&object),
            };
            let Some(stored) = snapshot(&kloset, *id) else {
                assert!(
                    needed && object.0 == Area::Snapshots,
                    "{what}: snapshot {number} is gone"
                );
                continue;
            };
            let restored = restore(&kloset, &stored.snapshot);
            for (name, found) in &restored.listing {
                assert_eq!(
                    Some(found),
                    expected.get(name),
                    "{what}: {} is wrong",
                    name.escape_ascii()
                );
            }
            let complete = restored.listing == *expected;
            assert_eq!(
                complete,
                restored.errors() == 0,
                "{what}: {:?}",
                restored.outcome
            );
            assert!(
                complete || needed,
                "{what}: snapshot {number} does not need it: {:?}",
                watcher.heard()
            );
            if let Err(error) = &restored.outcome {
                assert!(
                    error.to_string().contains(&object.1.short()),
                    "{what}: {error} names no object"
                );
            } else if !complete {
                assert!(
                    watcher.says(&[&object.1.short()]),
                    "{what}: {:?} names no object",
                    watcher.heard()
                );
            }
        }
    }

    /// Asserts that a check finds the damage of `object`, and names the affected snapshots.
    fn assert_check_tells(&self, store: &Arc<dyn Store>, object: (Area, Id), what: &str) {
        let (summary, watcher) = check(store);
        assert!(summary.is_damaged(), "{what}: the check found nothing");
        assert!(
            watcher.says(&[&object.1.short()]),
            "{what}: {:?}",
            watcher.heard()
        );
        if object.0 == Area::Packs {
            let victim = self.snapshots[1].0.short();
            assert!(
                watcher.says(&[&victim, ":/"]),
                "{what}: no snapshot and path in {:?}",
                watcher.heard()
            );
            assert!(
                summary.damaged_snapshots > 0
                    && summary.damaged_files + summary.damaged_directories > 0,
                "{what}: {summary:?}"
            );
        }
    }

    /// Asserts that a check of the object names, which needs no key, finds exactly one damaged
    /// object.
    fn assert_names_tell(&self, store: &Arc<dyn Store>, what: &str) {
        let summary = check::names(&**store, &Watcher::default(), &check_options()).unwrap();
        assert_eq!(summary.damaged_objects, 1, "{what}");
    }

    fn assert_noticed(&self, store: &Arc<dyn Store>, object: (Area, Id), what: &str) {
        self.assert_right_or_told(store, object, what);
        self.assert_check_tells(store, object, what);
        self.assert_names_tell(store, what);
    }
}

#[test]
fn an_undamaged_store_restores_and_checks_clean() {
    let scene = scene();
    let store = shared(&scene.store);
    for (id, expected) in &scene.snapshots {
        assert_restores(&store, *id, expected, "undamaged");
    }
    let (summary, watcher) = check(&store);
    assert!(
        !summary.is_damaged() && watcher.heard().is_empty(),
        "{summary:?} {:?}",
        watcher.heard()
    );
    assert_eq!(
        check::names(&*store, &Watcher::default(), &check_options())
            .unwrap()
            .damaged_objects,
        0
    );
}

#[test]
fn a_flipped_bit_in_any_byte_is_noticed() {
    let scene = scene();
    for object in all_objects(&scene.store) {
        let length = scene.store.get(object.0, object.1).unwrap().len();
        for at in 0..length {
            let store = scene.damaged(object, |bytes| bytes[at] ^= 1 << (at % 8));
            let what = format!("{object:?}, byte {at} of {length}");
            scene.assert_names_tell(&store, &what);
            // The full test takes longer, so test all bytes of heads and tails, and some bytes in
            // between.
            if at < 32 || at + 80 > length || at % 9 == 0 {
                scene.assert_right_or_told(&store, object, &what);
                scene.assert_check_tells(&store, object, &what);
            }
        }
    }
}

#[test]
fn an_object_cut_at_any_length_is_noticed() {
    let scene = scene();
    for object in all_objects(&scene.store) {
        let length = scene.store.get(object.0, object.1).unwrap().len();
        for cut in (0..length).step_by(13).chain(length - 14..length) {
            let store = scene.damaged(object, |bytes| bytes.truncate(cut));
            scene.assert_noticed(
                &store,
                object,
                &format!("{object:?} cut at {cut} of {length}"),
            );
        }
    }
}

#[test]
fn garbage_and_the_bytes_of_other_objects_are_noticed() {
    let scene = scene();
    let all = all_objects(&scene.store);
    for object in &all {
        for length in [1, 11, 12, 13, 20, 64, 5000] {
            let store = scene.damaged(*object, |bytes| *bytes = noise(3, length));
            scene.assert_noticed(
                &store,
                *object,
                &format!("{object:?} is {length} bytes of noise"),
            );
        }
        for other in all.iter().filter(|other| *other != object) {
            let theirs = scene.store.get(other.0, other.1).unwrap();
            let store = scene.damaged(*object, |bytes| *bytes = theirs);
            scene.assert_noticed(
                &store,
                *object,
                &format!("{object:?} holds what belongs to {other:?}"),
            );
        }
    }
}

#[test]
fn a_deleted_object_costs_only_what_needs_it() {
    let scene = scene();
    for object in all_objects(&scene.store) {
        let store = shared(&scene.store.fork());
        store.delete(object.0, object.1).unwrap();
        let what = format!("{object:?} is gone");
        scene.assert_right_or_told(&store, object, &what);
        if object.0 == Area::Packs {
            scene.assert_check_tells(&store, object, &what);
        }
    }
}

#[test]
fn a_damaged_index_object_is_one_warning_and_costs_nothing() {
    let scene = scene();
    let index = objects(&scene.store, Area::Index);
    assert_eq!(index.len(), 2);
    for damaged in index {
        let store = scene.damaged((Area::Index, damaged), |bytes| bytes[40] ^= 1);
        for (id, expected) in &scene.snapshots {
            let (kloset, watcher) = open(&store);
            let restored = restore(&kloset, &snapshot(&kloset, *id).unwrap().snapshot);
            assert!(restored.is_all_of(expected), "{:?}", watcher.heard());
            assert_eq!(watcher.heard().len(), 1, "{:?}", watcher.heard());
            assert!(watcher.says(&["reading the footers of packs instead", &damaged.short()]));
        }
    }
}

#[test]
fn without_any_index_object_footers_tell() {
    let scene = scene();
    let cache = scratch();
    let full = shared(&scene.store);
    open_with_cache(&full, Some(cache.path()))
        .0
        .index()
        .unwrap();
    for id in objects(&scene.store, Area::Index) {
        scene.store.delete(Area::Index, id).unwrap();
    }
    for cache in [Some(cache.path()), None] {
        for (id, expected) in &scene.snapshots {
            let (kloset, watcher) = open_with_cache(&full, cache);
            let restored = restore(&kloset, &snapshot(&kloset, *id).unwrap().snapshot);
            assert!(
                restored.is_all_of(expected),
                "{:?} {:?}",
                restored.outcome,
                watcher.heard()
            );
            assert_eq!(watcher.warnings(), 1, "{:?}", watcher.heard());
        }
        let (kloset, watcher) = open_with_cache(&full, cache);
        let summary = check::run(&kloset, None, &check_options()).unwrap();
        assert!(!summary.is_damaged(), "{summary:?} {:?}", watcher.heard());
    }
}

#[test]
fn without_an_index_a_backup_stores_nothing_twice() {
    let tree = small_tree();
    let store = new_store();
    backed_up(&store, &tree);
    for id in objects(&store, Area::Index) {
        store.delete(Area::Index, id).unwrap();
    }
    let again = backup(&shared(&store), tree.path()).unwrap();
    assert_eq!(
        (again.new_bytes, again.files_unchanged),
        (0, 5),
        "{again:?}"
    );
    assert_restores(
        &shared(&store),
        again.snapshot,
        &listing(tree.path()),
        "index gone",
    );
}
