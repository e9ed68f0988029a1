//! Tests files that change while they are read: the entry is consistent, and can be restored.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plakar::format::entry::Entry;
use plakar::kloset::blob::BlobReader;
use plakar::ops::backup;
use plakar::ops::select;
use plakar::store::Store;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::*;
use crate::wrapped::{Moment, Wrapped};

/// The result of a backup of a tree during which the file `target` was modified.
struct Aftermath {
    store: Arc<dyn Store>,
    summary: backup::Summary,
    heard: Vec<String>,
    entry: Option<Entry>,
    restored: Restored,
}

/// Backs up a tree that contains `target`, calls `what` on that file at each of `moments`, and
/// restores the snapshot.
fn meanwhile(contents: &[u8], moments: &[Moment], what: fn(&Path, usize)) -> Aftermath {
    let tree = small_tree();
    let path = tree.path().join("target");
    fs::write(&path, contents).unwrap();
    meanwhile_at(tree.path(), &path, moments, what)
}

fn meanwhile_at(tree: &Path, path: &Path, moments: &[Moment], what: fn(&Path, usize)) -> Aftermath {
    let (moments, target): (Vec<Moment>, PathBuf) = (moments.to_vec(), path.to_owned());
    let source = Wrapped::new(move |name, moment| {
        if let (b"target", Some(nth)) = (name, moments.iter().position(|wanted| *wanted == moment))
        {
            what(&target, nth);
        }
    });
    let store = shared(&new_store());
    let (kloset, watcher) = open(&store);
    let summary = backup::run(&kloset, &source, &options(tree)).unwrap();
    let stored = snapshot(&kloset, summary.snapshot).unwrap().snapshot;
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let inside = [&stored.roots[0][..], b"/target"].concat();
    let entry = select::entry(&blobs, &stored, &inside).ok();
    let (fresh, _) = open(&store);
    let restored = restore(&fresh, &stored);
    Aftermath {
        store,
        summary,
        heard: watcher.heard(),
        entry,
        restored,
    }
}

impl Aftermath {
    /// Asserts that the entry matches the restored bytes of the file, that the rest of the tree is
    /// complete, and that a check finds no damage. Returns the bytes.
    fn consistent(&self) -> &[u8] {
        let entry = self.entry.as_ref().expect("an entry of the file");
        let (kind, bytes) = self
            .restored
            .listing
            .get(&b"target"[..])
            .expect("a restored file");
        assert_eq!(
            (*kind, bytes.len() as u64),
            ('f', entry.metadata.size_bytes),
            "{:?}",
            self.restored.outcome
        );
        assert!(
            entry
                .holes
                .iter()
                .all(|hole| hole.end <= entry.metadata.size_bytes),
            "{entry:?}"
        );
        self.others_are_fine();
        assert_eq!(self.restored.errors(), 0, "{:?}", self.restored.outcome);
        bytes
    }

    fn others_are_fine(&self) {
        assert_eq!(self.restored.listing[&b"sub/deep/c.txt"[..]].1, b"far down");
        assert_eq!(self.restored.listing[&b"a.txt"[..]].1, b"the first file");
        let (summary, watcher) = check(&self.store);
        assert!(!summary.is_damaged(), "{:?}", watcher.heard());
    }

    fn says(&self, word: &str) -> bool {
        self.heard.iter().any(|message| message.contains(word))
    }
}

fn append(path: &Path, nth: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend(noise(nth as u64 + 50, 1000));
    rewrite(path, &bytes);
}

/// Rewrites the file in place, with the same inode.
fn rewrite(path: &Path, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn cut(path: &Path, nth: usize) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(700 - 300 * nth as u64)
        .unwrap();
}

#[test]
fn a_file_that_grows_once_is_read_again_and_whole() {
    let after = meanwhile(&noise(1, 2000), &[Moment::Stat(0)], append);
    assert_eq!(
        after.consistent(),
        [noise(1, 2000), noise(50, 1000)].concat()
    );
    assert!(
        !after.entry.as_ref().unwrap().changed && after.heard.is_empty(),
        "{:?}",
        after.heard
    );
}

#[test]
fn a_file_that_keeps_growing_is_marked_as_changed() {
    let after = meanwhile(&noise(1, 2000), &[Moment::Stat(0), Moment::Stat(1)], append);
    assert_eq!(
        after.consistent(),
        [noise(1, 2000), noise(50, 1000)].concat()
    );
    assert!(after.entry.as_ref().unwrap().changed);
    assert!(after.says("changed while it was read"), "{:?}", after.heard);
    assert_eq!(after.summary.errors, 0);
}

#[test]
fn a_file_that_grows_while_it_is_read_keeps_all_that_was_read() {
    for reads in [
        vec![Moment::Read(0)],
        vec![Moment::Read(0), Moment::Read(1)],
    ] {
        let after = meanwhile(&noise(1, 2000), &reads, append);
        let whole = [noise(1, 2000), noise(50, 1000), noise(51, 1000)].concat();
        let found = after.consistent();
        assert!(
            whole.starts_with(found) && found.len() >= 3000,
            "{} bytes",
            found.len()
        );
    }
}

#[test]
fn a_file_that_shrinks_is_as_short_as_what_was_read() {
    let after = meanwhile(&noise(1, 2000), &[Moment::Read(0)], cut);
    assert_eq!(after.consistent(), &noise(1, 2000)[..700]);
    let after = meanwhile(&noise(1, 2000), &[Moment::Stat(0), Moment::Stat(1)], cut);
    assert_eq!(after.consistent(), &noise(1, 2000)[..700]);
    assert!(after.entry.as_ref().unwrap().changed);
}

#[test]
fn a_large_file_that_shrinks_between_two_reads_is_consistent() {
    let contents = noise(1, 12 << 20);
    let after = meanwhile(
        &contents,
        &[Moment::Read(1), Moment::Read(4)],
        |path, nth| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len((7 << 20) - nth as u64 * (6 << 20)).unwrap();
        },
    );
    let found = after.consistent();
    assert!(
        contents.starts_with(found) && !found.is_empty(),
        "{} bytes",
        found.len()
    );
}

#[test]
fn a_file_that_is_rewritten_with_the_same_size_is_read_again() {
    let after = meanwhile(&[b'a'; 3000], &[Moment::Stat(0)], |path, _| {
        rewrite(path, &[b'b'; 3000])
    });
    assert_eq!(after.consistent(), [b'b'; 3000]);
}

#[test]
fn a_file_that_vanishes_before_it_is_opened_is_left_out_with_a_warning() {
    let after = meanwhile(b"soon gone", &[Moment::Open], |path, _| {
        fs::remove_file(path).unwrap()
    });
    assert!(
        after.entry.is_none() && after.says("vanished"),
        "{:?}",
        after.heard
    );
    assert_eq!((after.summary.errors, after.restored.errors()), (0, 0));
    after.others_are_fine();
}

#[test]
fn a_file_that_is_unlinked_while_it_is_open_is_whole() {
    for moment in [Moment::Read(0), Moment::Stat(0)] {
        let after = meanwhile(b"still open", &[moment], |path, _| {
            fs::remove_file(path).unwrap()
        });
        assert_eq!(after.consistent(), b"still open", "{moment:?}");
    }
}

/// Replaces the file by another one during the backup.
fn replaced_by(replace: fn(&Path, usize)) {
    let after = meanwhile(b"once a file", &[Moment::Open], replace);
    let entry = after.entry.as_ref().expect("an entry");
    assert!(
        entry.problem.is_some() && entry.content.ids.is_empty(),
        "{entry:?}"
    );
    assert!(after.says("not a regular file"), "{:?}", after.heard);
    assert_eq!((after.summary.errors, after.restored.errors()), (1, 1));
    assert!(!after.restored.listing.contains_key(&b"target"[..]));
    after.others_are_fine();
}

#[test]
fn a_file_that_turns_into_something_else_is_a_failure_and_no_hang() {
    replaced_by(|path, _| {
        fs::remove_file(path).unwrap();
        symlink("a.txt", path).unwrap();
    });
    replaced_by(|path, _| {
        fs::remove_file(path).unwrap();
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    });
    replaced_by(|path, _| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    });
}

#[test]
fn a_file_replaced_by_another_while_it_is_read_is_the_one_that_was_opened() {
    let after = meanwhile(b"the first inode", &[Moment::Stat(0)], |path, _| {
        let other = path.with_extension("new");
        fs::write(&other, "another, longer inode").unwrap();
        fs::rename(other, path).unwrap();
    });
    assert_eq!(after.consistent(), b"the first inode");
}

/// Creates a file of one megabyte that consists of holes, with data at two places.
fn sparse(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(&noise(3, 4096), 128 << 10).unwrap();
    file.write_all_at(&noise(4, 4096), 512 << 10).unwrap();
}

/// Calls `what` on a sparse file at `moments`.
fn meanwhile_sparse(moments: &[Moment], what: fn(&Path, usize)) -> Aftermath {
    let tree = small_tree();
    let path = tree.path().join("target");
    sparse(&path);
    let metadata = path.metadata().unwrap();
    assert!(
        metadata.blocks() * 512 < metadata.size(),
        "this file system has no holes"
    );
    meanwhile_at(tree.path(), &path, moments, what)
}

fn sparse_bytes() -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    bytes[128 << 10..][..4096].copy_from_slice(&noise(3, 4096));
    bytes[512 << 10..][..4096].copy_from_slice(&noise(4, 4096));
    bytes
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let after = meanwhile_sparse(&[], |_, _| {});
    assert_eq!(after.consistent(), sparse_bytes());
    assert_eq!(after.entry.as_ref().unwrap().holes.len(), 3);
}

#[test]
fn a_sparse_file_that_loses_its_holes_between_attempts_agrees_with_itself() {
    let after = meanwhile_sparse(&[Moment::Stat(0)], |path, _| {
        rewrite(path, &[b'x'; 1 << 20])
    });
    assert_eq!(after.consistent(), vec![b'x'; 1 << 20]);
    assert!(after.entry.as_ref().unwrap().holes.is_empty());
}

#[test]
fn a_sparse_file_that_changes_at_any_moment_agrees_with_itself() {
    let changes: [fn(&Path, usize); 4] = [
        |path, _| rewrite(path, &[b'x'; 1 << 20]),
        |path, nth| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len((300 << 10) - nth as u64 * 4096)
                .unwrap()
        },
        |path, nth| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len((2 << 20) + nth as u64)
                .unwrap()
        },
        |path, _| sparse(path),
    ];
    let moments = [
        Moment::Open,
        Moment::Runs,
        Moment::Read(0),
        Moment::Read(1),
        Moment::Stat(0),
        Moment::Stat(1),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for first in 0..moments.len() {
            for last in first..moments.len() {
                let after = meanwhile_sparse(&moments[first..=last], change);
                let found = after.consistent();
                assert!(
                    !found.is_empty(),
                    "change {number} at {:?}",
                    &moments[first..=last]
                );
            }
        }
    }
}
