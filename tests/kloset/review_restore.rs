//! Tests restores that fail in part: which files are kept, reported and restored.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use plakar::connector::{FileKind, LocalDestination, LocalSource, Metadata, Permissions};
use plakar::format::entry::{Content, Entry};
use plakar::format::pack_table::PackKind;
use plakar::kloset::blob::BlobReader;
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::snapshot::Snapshot;
use plakar::kloset::tree::{TreeReader, TreeWriter};
use plakar::kloset::write_session::write_session;
use plakar::kloset::{Kloset, Locked};
use plakar::ops::restore;
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::interrupt::Interrupt;
use tempfile::TempDir;

use crate::harness::*;

/// The size of contents that occupy one block alone.
const CONTENT_BYTES: usize = 100_000;

/// A file with the hard links `names`.
fn tree_of_links(names: &[&str]) -> TempDir {
    let tree = scratch();
    let first = tree.path().join(names[0]);
    fs::write(&first, noise(1, CONTENT_BYTES)).unwrap();
    for name in &names[1..] {
        fs::hard_link(&first, tree.path().join(name)).unwrap();
    }
    tree
}

/// Backs up `tree` such that file contents and trees of the snapshot are in different packs, and
/// damages the pack of the contents.
fn with_contents_damaged(tree: &Path) -> (Arc<dyn Store>, plakar::util::Id) {
    let store = MemoryStore::new();
    let (store, shared) = (store.clone(), create_in(store));
    backup(&shared, tree).unwrap();
    let packs = objects(&store, Area::Packs);
    fs::write(tree.join("zz-later"), "more").unwrap();
    let summary = backup(&shared, tree).unwrap();
    for pack in packs {
        store
            .damage(Area::Packs, pack, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            })
            .unwrap();
    }
    (shared, summary.snapshot)
}

fn create_in(store: MemoryStore) -> Arc<dyn Store> {
    plakar::kloset::create(&store, &plakar::kloset::Protection::Plaintext, 1).unwrap();
    Arc::new(store)
}

/// Restores the snapshot of `tree` to `target`.
fn restore_tree(tree: &Path, target: &Path) -> (restore::Summary, Arc<Watcher>) {
    let store = shared(&new_store());
    let id = backup(&store, tree).unwrap().snapshot;
    let (kloset, watcher) = open(&store);
    let stored = snapshot(&kloset, id).unwrap();
    let summary = restore_into(&kloset, &stored.snapshot, target).unwrap();
    (summary, watcher)
}

#[test]
fn a_further_name_is_left_alone_when_the_first_failed() {
    let tree = tree_of_links(&["a", "b"]);
    let (store, id) = with_contents_damaged(tree.path());
    let (kloset, watcher) = open(&store);
    let target = scratch();
    fs::write(target.path().join("a"), "an old a").unwrap();
    fs::write(target.path().join("b"), "an old b").unwrap();
    let stored = snapshot(&kloset, id).unwrap();
    let summary = restore_into(&kloset, &stored.snapshot, target.path()).unwrap();
    assert_eq!(summary.errors, 2, "{:?}", watcher.heard());
    assert!(watcher.says(&["/b: ", "its other name, ", "/a, could not be restored"]));
    assert_eq!(fs::read(target.path().join("a")).unwrap(), b"an old a");
    assert_eq!(fs::read(target.path().join("b")).unwrap(), b"an old b");
}

#[test]
fn a_further_name_takes_over_when_something_is_in_the_way_of_the_first() {
    let tree = tree_of_links(&["a", "b", "c"]);
    let target = scratch();
    fs::create_dir(target.path().join("a")).unwrap();
    let (summary, watcher) = restore_tree(tree.path(), target.path());
    assert_eq!((summary.errors, summary.files), (1, 2));
    assert!(watcher.says(&["/a: "]));
    let found = fs::metadata(target.path().join("b")).unwrap();
    let other = fs::metadata(target.path().join("c")).unwrap();
    assert_eq!((found.ino(), found.nlink()), (other.ino(), 2));
    let content = fs::read(target.path().join("c")).unwrap();
    assert_eq!(content, noise(1, CONTENT_BYTES));
}

#[test]
fn every_name_of_a_file_counts() {
    let tree = tree_of_links(&["a", "b", "c"]);
    let target = scratch();
    let (summary, _) = restore_tree(tree.path(), target.path());
    assert_eq!(
        (summary.files, summary.identical, summary.errors),
        (3, 0, 0)
    );
    assert_eq!(summary.bytes, CONTENT_BYTES as u64, "written once");
    assert_eq!(fs::metadata(target.path().join("a")).unwrap().nlink(), 3);
    let (again, _) = restore_tree(tree.path(), target.path());
    // Root replaces a file with additional hard links, because they may belong to another user.
    let expected = match rustix::process::geteuid().is_root() {
        true => (3, 0, 0),
        false => (0, 3, 0),
    };
    assert_eq!((again.files, again.identical, again.errors), expected);
}

/// Removes a directory of the target when a file in it is restored.
struct Thief {
    watcher: Watcher,
    directory: std::path::PathBuf,
}

impl Observer for Thief {
    fn counters(&self) -> &Counters {
        self.watcher.counters()
    }

    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Path { path, .. } if path.ends_with(b"/c.txt")) {
            fs::remove_dir_all(&self.directory).unwrap();
        }
        self.watcher.event(event);
    }
}

#[test]
fn a_directory_that_goes_away_is_told_and_not_made_again() {
    let (store, tree, target) = (shared(&new_store()), small_tree(), scratch());
    let id = backup(&store, tree.path()).unwrap().snapshot;
    let thief = Arc::new(Thief {
        watcher: Watcher::default(),
        directory: target.path().join("sub/deep"),
    });
    let locked = Locked::new(store).unwrap();
    let key = locked.plaintext_key().unwrap().unwrap();
    let kloset = locked.open(key, None, thief.clone()).unwrap();
    let stored = snapshot(&kloset, id).unwrap();
    let summary = restore_into(&kloset, &stored.snapshot, target.path()).unwrap();
    assert_eq!(summary.errors, 1);
    assert!(thief.watcher.says(&["/sub/deep: "]));
    assert!(!target.path().join("sub/deep").exists());
}

#[test]
fn a_directory_that_cannot_be_entered_is_told_once() {
    let (tree, target) = (small_tree(), scratch());
    fs::write(target.path().join("sub"), "in the way").unwrap();
    let (summary, watcher) = restore_tree(tree.path(), target.path());
    assert_eq!(summary.errors, 1, "{:?}", watcher.heard());
    assert_eq!(fs::read(target.path().join("sub")).unwrap(), b"in the way");
}

/// A tree written by a malicious program: its entries may be anything, in any order.
fn store_tree(kloset: &Kloset, entries: &[Entry]) -> Content {
    let trouble = Trouble::new(Interrupt::default());
    let content = write_session(kloset, 1, 1, &trouble, |session| {
        let mut packer = session.packer(PackKind::Tree).unwrap();
        let mut tree = TreeWriter::default();
        for entry in entries {
            tree.push(entry, &mut packer, kloset).unwrap();
        }
        let content = tree.finish(&mut packer, kloset).unwrap();
        packer.flush().unwrap();
        content
    });
    trouble.outcome().unwrap();
    content.unwrap()
}

fn entry(name: &str, kind: FileKind, size_bytes: u64) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        metadata: Metadata {
            kind,
            size_bytes,
            ..Metadata::default()
        },
        ..Entry::default()
    }
}

#[test]
fn no_name_is_handed_out_twice_after_one_that_is_out_of_order() {
    let (kloset, _) = open(&shared(&new_store()));
    let entries = ["b", "a", "b", "c"].map(|name| entry(name, FileKind::File, 0));
    let tree = store_tree(&kloset, &entries);
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let mut directory = entry("d", FileKind::Directory, 0);
    (directory.tree, directory.below.files) = (tree, 4);
    let mut reader = TreeReader::new(&blobs, &directory);
    assert_eq!(reader.try_next().unwrap().unwrap().name, b"b");
    for name in ["a", "b"] {
        let error = reader.try_next().unwrap_err().to_string();
        assert_eq!(error, format!("entry {name}: out of order"));
    }
    assert_eq!(reader.try_next().unwrap().unwrap().name, b"c");
    assert_eq!(reader.try_next().unwrap(), None);
}

#[test]
fn a_large_file_that_failed_is_not_written_to_its_end() {
    const SIZE_BYTES: usize = 24 << 20;
    let (store, tree, target) = (new_store(), scratch(), scratch());
    fs::write(tree.path().join("large"), noise(3, SIZE_BYTES)).unwrap();
    let source = LocalSource::new().unwrap();
    let backup_options = plakar::ops::backup::Options {
        workers: 1,
        ..options(tree.path())
    };
    let id = backup_from(&shared(&store), &source, &backup_options)
        .unwrap()
        .snapshot;
    for pack in objects(&store, Area::Packs) {
        let damage = |bytes: &mut Vec<u8>| {
            // The damage is in the first block, because trees are smaller than that.
            if bytes.len() > 1 << 20 {
                bytes[1000] ^= 1;
            }
        };
        store.damage(Area::Packs, pack, damage).unwrap();
    }
    let (kloset, watcher) = open(&shared(&store));
    let stored = snapshot(&kloset, id).unwrap().snapshot;
    let restore_options = restore::Options {
        permissions: Permissions::Skip,
        existing: restore::Existing::Replace,
        mode: restore::Mode::Write,
        workers: 1,
        interrupt: Interrupt::default(),
    };
    let destination = LocalDestination::new(target.path());
    let place = stored.roots[0].clone();
    let summary = restore::run(&kloset, &stored, &place, &destination, &restore_options).unwrap();
    assert_eq!(summary.errors, 1, "{:?}", watcher.heard());
    assert!(
        watcher.says(&["/large: ", "authenticate"]),
        "{:?}",
        watcher.heard()
    );
    assert_eq!(summary.bytes, 0, "its first block is damaged");
    assert!(listing(target.path()).is_empty(), "no part is left");
}

#[test]
fn sizes_that_are_lies_are_believed_by_nobody() {
    let (kloset, watcher) = open(&shared(&new_store()));
    let mut entries = vec![entry("a", FileKind::File, 5)];
    entries.extend(["b", "c"].map(|name| entry(name, FileKind::Fifo, u64::MAX)));
    let mut root = entry("", FileKind::Directory, 0);
    root.tree = store_tree(&kloset, &entries);
    for entry in &entries {
        root.below.add(entry.totals());
    }
    let snapshot = Snapshot {
        root,
        roots: vec![b"/".to_vec()],
        ..Snapshot::default()
    };
    let target = scratch();
    fs::write(target.path().join("a"), "stale").unwrap();
    let summary = restore_into(&kloset, &snapshot, target.path()).unwrap();
    assert_eq!(
        (summary.files, summary.identical, summary.errors),
        (2, 0, 1)
    );
    assert!(watcher.says(&["/a: ", "0 bytes instead of 5"]));
    assert_eq!(fs::read(target.path().join("a")).unwrap(), b"stale");
}
