//! Tests that a second backup reads only changed files, and that the result does not depend on the
//! number of threads.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use plakar::connector::LocalSource;
use plakar::error::Kind;
use plakar::format::entry::Content;
use plakar::ops::backup::{self, Compare};
use plakar::store::{Area, Store};
use tempfile::TempDir;

use crate::harness::*;
use crate::hooked::{Asked, Hooked};
use crate::wrapped::Wrapped;

/// Ten directories of ten files.
fn wide_tree() -> TempDir {
    let dir = scratch();
    for n in 0..100u64 {
        let sub = dir.path().join(format!("dir{}", n / 10));
        fs::create_dir_all(&sub).unwrap();
        fs::write(
            sub.join(format!("file{n}")),
            noise(n, 3000 + n as usize * 50),
        )
        .unwrap();
    }
    dir
}

/// Backs up, and returns the number of opened files.
fn counted(store: &Arc<dyn Store>, options: &backup::Options) -> (backup::Summary, usize) {
    let source = Wrapped::counting();
    let summary = backup_from(store, &source, options).unwrap();
    (summary, source.opened())
}

#[test]
fn an_unchanged_tree_costs_a_snapshot_and_reads_nothing() {
    let (store, tree) = (shared(&new_store()), wide_tree());
    let all = backup::Options {
        places: vec![b"/".to_vec()],
        ..options(tree.path())
    };
    let run = || {
        let source = Wrapped::counting().rooted(tree.path());
        let summary = backup_from(&store, &source, &all).unwrap();
        (summary, source.opened())
    };
    assert_eq!(run().1, 100);
    let packs = objects(&*store, Area::Packs);
    let (again, opened) = run();
    assert_eq!(
        (opened, again.files_unchanged, again.new_bytes),
        (0, 100, 0)
    );
    assert_eq!(objects(&*store, Area::Packs), packs);
    assert!(again.stored_bytes < 600, "{again:?}");
    assert_restores(&store, again.snapshot, &listing(tree.path()), "unchanged");
}

#[test]
fn one_changed_file_costs_its_chunk_and_the_trees_above_it() {
    let (store, tree) = (shared(&new_store()), wide_tree());
    backup(&store, tree.path()).unwrap();
    let packs = objects(&*store, Area::Packs).len();
    fs::write(tree.path().join("dir3/file33"), noise(1000, 777)).unwrap();
    let (again, opened) = counted(&store, &options(tree.path()));
    assert_eq!(
        (
            opened,
            again.files_changed,
            again.files_unchanged,
            again.new_bytes
        ),
        (1, 1, 99, 777)
    );
    assert_eq!(objects(&*store, Area::Packs).len(), packs + 2);
    assert!(again.stored_bytes < 777 + 8000, "{again:?}");
    assert_restores(&store, again.snapshot, &listing(tree.path()), "one changed");
}

/// Changes the contents of a file and restores its size and modification time, so that only the
/// inode change time differs.
fn change_behind_the_back(path: &Path) {
    let before = path.metadata().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
}

#[test]
fn a_change_that_only_ctime_tells_of_is_seen_unless_told_to_ignore_it() {
    let (store, tree) = (shared(&new_store()), wide_tree());
    let path = tree.path().join("dir0/file1");
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(9))
        .unwrap();
    backup(&store, tree.path()).unwrap();
    change_behind_the_back(&path);
    let ignoring = backup::Options {
        compare: Some(Compare {
            ctime: false,
            inode: true,
        }),
        ..options(tree.path())
    };
    assert_eq!(counted(&store, &ignoring).1, 0);
    let every_file = backup::Options {
        compare: None,
        ..options(tree.path())
    };
    assert_eq!(counted(&store, &every_file).1, 100);
    let other = shared(&new_store());
    backup(&other, tree.path()).unwrap();
    change_behind_the_back(&path);
    let (again, opened) = counted(&other, &options(tree.path()));
    assert_eq!(opened, 1);
    assert_restores(&other, again.snapshot, &listing(tree.path()), "ctime");
}

#[test]
fn a_change_of_mode_alone_stores_no_contents() {
    let (store, tree) = (shared(&new_store()), wide_tree());
    backup(&store, tree.path()).unwrap();
    let path = tree.path().join("dir0/file1");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    let again = backup(&store, tree.path()).unwrap();
    assert_eq!((again.files_changed, again.new_bytes), (1, 0));
}

#[test]
fn an_interrupted_backup_leaves_what_it_stored_to_the_next() {
    let (store, tree) = (shared(&new_store()), scratch());
    for n in 0..28 {
        fs::write(tree.path().join(format!("file{n:02}")), noise(n, 1 << 20)).unwrap();
    }
    // With one worker, reading the last files means that the first ones are finished.
    let options = backup::Options {
        workers: 1,
        ..options(tree.path())
    };
    let source = Wrapped::interrupting(27, options.interrupt.clone());
    let error = backup_from(&store, &source, &options).unwrap_err();
    assert_eq!(
        (error.kind(), source.opened()),
        (Kind::Interrupted, 27),
        "{error}"
    );
    assert!(objects(&*store, Area::Snapshots).is_empty());
    assert!(!check(&store).0.is_damaged());
    let again = backup(&store, tree.path()).unwrap();
    assert_eq!(again.totals.files, 28);
    assert!(
        again.new_bytes <= again.totals.bytes / 2,
        "little was reused: {again:?}"
    );
    assert_restores(
        &store,
        again.snapshot,
        &listing(tree.path()),
        "after an interrupt",
    );
}

/// The tree of the place that was backed up. The directories above it can be changed by other
/// tests.
fn tree_of(store: &Arc<dyn Store>, summary: &backup::Summary) -> Content {
    let (kloset, _) = open(store);
    let stored = snapshot(&kloset, summary.snapshot).unwrap().snapshot;
    let blobs = plakar::kloset::blob::BlobReader::new(&kloset, 1 << 20).unwrap();
    plakar::ops::select::entry(&blobs, &stored, &stored.roots[0])
        .unwrap()
        .tree
}

#[test]
fn any_number_of_threads_makes_the_same_trees() {
    let (store, tree) = (new_store(), wide_tree());
    fs::write(tree.path().join("large"), noise(5000, 9 << 20)).unwrap();
    let with = |readers, workers| {
        let store = shared(&store.fork());
        let options = backup::Options {
            readers,
            workers,
            ..options(tree.path())
        };
        let summary = backup_from(&store, &LocalSource::new().unwrap(), &options).unwrap();
        assert_restores(
            &store,
            summary.snapshot,
            &listing(tree.path()),
            "many threads",
        );
        tree_of(&store, &summary)
    };
    let alone = with(1, 1);
    for _ in 0..3 {
        assert_eq!(with(3, 4), alone);
    }
}

#[test]
fn hard_links_across_directories_come_back_as_one_file() {
    use std::os::unix::fs::MetadataExt;
    let (store, tree) = (shared(&new_store()), small_tree());
    fs::hard_link(
        tree.path().join("sub/deep/c.txt"),
        tree.path().join("another"),
    )
    .unwrap();
    fs::hard_link(tree.path().join("another"), tree.path().join("sub/third")).unwrap();
    for round in ["first", "unchanged"] {
        let (summary, opened) = counted(&store, &options(tree.path()));
        // Names that are processed concurrently may each be read, before the first of them is
        // finished.
        let expected = if round == "first" { 4..=6 } else { 0..=0 };
        assert!(expected.contains(&opened), "{round}: {opened} opened");
        let (kloset, watcher) = open(&store);
        let target = scratch();
        let stored = snapshot(&kloset, summary.snapshot).unwrap();
        restore_into(&kloset, &stored.snapshot, target.path()).unwrap();
        assert_eq!(
            listing(target.path()),
            listing(tree.path()),
            "{:?}",
            watcher.heard()
        );
        let inode = |name: &str| fs::metadata(target.path().join(name)).unwrap().ino();
        assert_eq!(inode("another"), inode("sub/deep/c.txt"), "{round}");
        assert_eq!(inode("another"), inode("sub/third"), "{round}");
    }
}

#[test]
fn two_backups_at_once_into_one_store_both_restore() {
    let store = shared(&new_store());
    let (one, other) = (wide_tree(), wide_tree());
    fs::write(other.path().join("dir1/own"), noise(77, 4000)).unwrap();
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| backup(&store, one.path()).unwrap());
        let second = scope.spawn(|| backup(&store, other.path()).unwrap());
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_restores(&store, first.snapshot, &listing(one.path()), "the one");
    assert_restores(&store, second.snapshot, &listing(other.path()), "the other");
    let (summary, watcher) = check(&store);
    assert!(
        !summary.is_damaged() && summary.snapshots == 2,
        "{:?}",
        watcher.heard()
    );
}

#[test]
fn a_snapshot_published_while_a_check_runs_is_no_damage() {
    let (inner, tree) = (shared(&new_store()), wide_tree());
    backup(&inner, tree.path()).unwrap();
    let (other, target) = (inner.clone(), tree.path().to_owned());
    let count = AtomicU64::new(9000);
    let publish = move |asked| {
        if asked != Asked::List(Area::Packs) {
            return;
        }
        let seed = count.fetch_add(1, Ordering::SeqCst);
        fs::write(target.join("more"), noise(seed, 500)).unwrap();
        backup(&other, &target).unwrap();
    };
    let busy = Hooked::new(&inner).after(publish).shared();
    let (summary, watcher) = check(&busy);
    assert!(!summary.is_damaged(), "{:?}", watcher.heard());
    assert!(objects(&*busy, Area::Snapshots).len() > 1);
}
