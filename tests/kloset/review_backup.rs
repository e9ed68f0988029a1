//! What a review of backing up found: names, attributes, places and memory that were lost.

use std::fs::{self, File};
use std::sync::Arc;

use plakar::kloset::backup;
use plakar::kloset::blob::BlobReader;
use plakar::kloset::select;
use plakar::kloset::tree::Entry;
use plakar::store::Store;
use plakar::util::Id;

use crate::artificial::{Artificial, Node, directory, file};
use crate::harness::*;
use crate::wrapped::{Moment, Wrapped};

/// A backup of everything in a source, or of `places` of it.
fn everything(places: &[&str]) -> backup::Options {
    backup::Options {
        places: places
            .iter()
            .map(|place| place.as_bytes().to_vec())
            .collect(),
        ..options(&std::env::temp_dir())
    }
}

/// What a backup of an artificial source came to.
struct Run {
    summary: backup::Summary,
    opened: usize,
    heard: Arc<Watcher>,
}

/// Backs all of `root` up.
fn run(store: &Arc<dyn Store>, root: &Node, options: &backup::Options) -> Run {
    let (source, (kloset, heard)) = (Artificial::new(root.clone()), open(store));
    let summary = backup::run(&kloset, &source, options).unwrap();
    Run {
        summary,
        opened: source.opened(),
        heard,
    }
}

/// The entry at `path` of a snapshot.
fn entry(store: &Arc<dyn Store>, id: Id, path: &[u8]) -> Option<Entry> {
    let (kloset, _) = open(store);
    let stored = snapshot(&kloset, id).unwrap().snapshot;
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    select::entry(&blobs, &stored, path).ok()
}

/// A file with two names, the second of which is like the first but for what `differ` does.
fn two_names(first: impl Fn(&mut Node), differ: impl Fn(&mut Node)) -> Node {
    let mut one = file(5, b"two names");
    one.metadata.links = 2;
    let mut other = one.clone();
    first(&mut one);
    differ(&mut other);
    directory(1, &[("a", one), ("b", other)])
}

#[test]
fn the_second_name_of_a_file_is_kept_when_the_first_one_vanishes() {
    let store = shared(&new_store());
    let root = two_names(|first| first.vanishes = true, |_| {});
    let run = run(&store, &root, &everything(&["/"]));
    let found = entry(&store, run.summary.snapshot, b"/b").unwrap();
    assert!(
        found.is_whole() && found.content.ids.len() == 1,
        "{found:?}"
    );
    assert!(entry(&store, run.summary.snapshot, b"/a").is_none());
    assert_eq!(run.summary.errors, 0, "{:?}", run.heard.heard());
}

#[test]
fn the_second_name_of_a_file_is_its_own_when_the_first_one_fails_or_changed() {
    let changes: [fn(&mut Node); 3] = [
        |node| node.metadata.mtime_ns += 1,
        |node| node.metadata.btime_ns = Some(7),
        |node| node.metadata.size_bytes += 1,
    ];
    for differ in changes {
        let store = shared(&new_store());
        let root = two_names(
            |_| {},
            |node| {
                differ(node);
                node.contents = vec![b'x'; node.metadata.size_bytes as usize];
            },
        );
        let run = run(&store, &root, &everything(&["/"]));
        let of = |path: &[u8]| entry(&store, run.summary.snapshot, path).unwrap().content;
        assert_ne!(of(b"/a"), of(b"/b"));
        assert_eq!((run.opened, run.summary.errors), (2, 0));
    }
    let store = shared(&new_store());
    let root = two_names(|first| first.details_fail = true, |_| {});
    let run = run(&store, &root, &everything(&["/"]));
    let found = entry(&store, run.summary.snapshot, b"/b").unwrap();
    assert!(found.is_whole(), "{found:?}");
    assert_eq!(run.summary.errors, 1, "{:?}", run.heard.heard());
}

#[test]
fn a_second_name_is_restored_when_the_first_one_is_removed_meanwhile() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let first = tree.path().join("first");
    fs::write(&first, "found under the second name").unwrap();
    fs::hard_link(&first, tree.path().join("second")).unwrap();
    let source = Wrapped::new(move |name, moment| {
        if (name, moment) == (b"first", Moment::Open) {
            fs::remove_file(&first).unwrap();
        }
    });
    let summary = backup_from(&store, &source, &options(tree.path())).unwrap();
    assert_restores(
        &store,
        summary.snapshot,
        &listing(tree.path()),
        "second name",
    );
}

#[test]
fn a_large_file_with_several_names_is_read_once() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let large = tree.path().join("large1");
    File::create(&large).unwrap().set_len(300 << 20).unwrap();
    fs::hard_link(&large, tree.path().join("large2")).unwrap();
    fs::hard_link(&large, tree.path().join("sub/large3")).unwrap();
    let source = Wrapped::counting();
    let summary = backup_from(&store, &source, &options(tree.path())).unwrap();
    assert_eq!((source.opened(), summary.errors), (5, 0));
    let (kloset, watcher) = open(&store);
    let stored = snapshot(&kloset, summary.snapshot).unwrap();
    let target = scratch();
    restore_into(&kloset, &stored.snapshot, target.path()).unwrap();
    use std::os::unix::fs::MetadataExt;
    let restored = target.path().join("sub/large3").metadata().unwrap();
    assert_eq!(
        (restored.size(), restored.nlink()),
        (300 << 20, 3),
        "{:?}",
        watcher.heard()
    );
}
