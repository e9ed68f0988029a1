//! Tests for findings of a review of backup: lost names, attributes, places and memory.

use std::fs::{self, File};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use plakar::connector::FileKind;
use plakar::error::Kind;
use plakar::format::entry::{Content, Entry};
use plakar::format::pack_table::PackKind;
use plakar::kloset::Kloset;
use plakar::kloset::blob::{BlobReader, Packer};
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::tree::ListWriter;
use plakar::kloset::write_session::write_session;
use plakar::ops::backup::{self, Switch};
use plakar::ops::select;
use plakar::store::fault::{Fault, FaultStore, Lasting};
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::artificial::{Artificial, Node, directory, file};
use crate::harness::*;
use crate::wrapped::{Moment, Wrapped};

/// The options for a backup of everything in a source, or of some `places`.
fn everything(places: &[&str]) -> backup::Options {
    backup::Options {
        places: places
            .iter()
            .map(|place| place.as_bytes().to_vec())
            .collect(),
        ..options(&std::env::temp_dir())
    }
}

/// The result of a backup of an artificial source.
struct Run {
    summary: backup::Summary,
    opened: usize,
    heard: Arc<Watcher>,
}

/// Backs up all of `root`.
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

/// A file with two names. The second one equals the first, except for the changes by `differ`.
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

/// A directory, a file and a FIFO, each with attributes of `bytes` bytes.
fn with_xattrs(bytes: usize) -> Node {
    let xattrs = vec![(b"user.test".to_vec(), noise(1, bytes))];
    let mut fifo = file(3, b"");
    fifo.metadata.kind = FileKind::Fifo;
    let mut nodes = [file(2, b"contents"), fifo, directory(4, &[])];
    for node in &mut nodes {
        node.details.xattrs.clone_from(&xattrs);
    }
    let [file, fifo, dir] = nodes;
    directory(1, &[("file", file), ("fifo", fifo), ("dir", dir)])
}

/// The number of the three entries that have their attributes, and the number known to lack some.
fn xattrs_kept(store: &Arc<dyn Store>, id: Id) -> (usize, usize) {
    let paths = [&b"/file"[..], b"/fifo", b"/dir"];
    let entries = paths.map(|path| entry(store, id, path).unwrap());
    let count = |wanted: fn(&Entry) -> bool| entries.iter().filter(|entry| wanted(entry)).count();
    (
        count(|entry| !entry.details.xattrs.is_empty()),
        count(|entry| entry.details_missing),
    )
}

#[test]
fn attributes_left_out_once_are_back_in_the_next_snapshot() {
    let (store, root) = (shared(&new_store()), with_xattrs(10));
    let all = everything(&["/"]);
    let none = || backup::Options {
        skip_xattrs: Switch::On,
        ..everything(&["/"])
    };
    let kept = |run: Run| (xattrs_kept(&store, run.summary.snapshot), run.opened);
    assert_eq!(kept(run(&store, &root, &none())), ((0, 3), 1));
    assert_eq!(kept(run(&store, &root, &none())), ((0, 3), 0));
    assert_eq!(kept(run(&store, &root, &all)), ((3, 0), 1));
    assert_eq!(kept(run(&store, &root, &all)), ((3, 0), 0));
    // Attributes of unchanged items are omitted too, once they are not requested.
    assert_eq!(kept(run(&store, &root, &none())), ((0, 3), 0));
}

#[test]
fn attributes_that_are_too_many_are_told_of_every_time() {
    let (store, mut root) = (shared(&new_store()), with_xattrs(2 << 20));
    for _ in 0..2 {
        let run = run(&store, &root, &everything(&["/"]));
        assert_eq!(run.summary.errors, 3, "{:?}", run.heard.heard());
        assert_eq!(xattrs_kept(&store, run.summary.snapshot), (0, 3));
    }
    root = with_xattrs(10);
    let run = run(&store, &root, &everything(&["/"]));
    assert_eq!(run.summary.errors, 0, "{:?}", run.heard.heard());
    assert_eq!(xattrs_kept(&store, run.summary.snapshot), (3, 0));
}

#[test]
fn attributes_of_a_directory_that_could_not_be_read_are_asked_for_again() {
    let (store, mut root) = (shared(&new_store()), with_xattrs(10));
    root.children.get_mut(&b"dir"[..]).unwrap().details_fail = true;
    let failing = run(&store, &root, &everything(&["/"]));
    assert_eq!(failing.summary.errors, 1);
    assert_eq!(xattrs_kept(&store, failing.summary.snapshot), (2, 1));
    root.children.get_mut(&b"dir"[..]).unwrap().details_fail = false;
    let run = run(&store, &root, &everything(&["/"]));
    assert_eq!((run.summary.errors, run.opened), (0, 0));
    assert_eq!(xattrs_kept(&store, run.summary.snapshot), (3, 0));
}

/// A file that was last changed at `time_ns`.
fn changed_at(time_ns: i64) -> Node {
    let mut node = file(2, b"contents");
    (node.metadata.mtime_ns, node.metadata.ctime_ns) = (time_ns, time_ns);
    directory(1, &[("file", node)])
}

fn now_ns() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn a_file_changed_within_the_grain_of_its_times_is_read_again_the_next_time() {
    let store = shared(&new_store());
    let second_ns = now_ns() / 1_000_000_000 * 1_000_000_000;
    let just_now = changed_at(second_ns + 2_000_000_000);
    let first = run(&store, &just_now, &everything(&["/"]));
    assert!(
        entry(&store, first.summary.snapshot, b"/file")
            .unwrap()
            .recent
    );
    let second = run(&store, &just_now, &everything(&["/"]));
    assert_eq!((first.opened, second.opened), (1, 1));
    let long_ago = changed_at(second_ns - 60_000_000_000);
    for (round, expected) in [("changed", 1), ("unchanged", 0)] {
        let run = run(&store, &long_ago, &everything(&["/"]));
        assert_eq!(run.opened, expected, "{round}");
    }
}

#[test]
fn a_file_is_not_read_before_its_last_change_is_a_tick_ago() {
    let (store, tree) = (shared(&new_store()), small_tree());
    let path = tree.path().join("target");
    fs::write(&path, "just now").unwrap();
    let late = Arc::new(AtomicBool::new(false));
    let (seen, target) = (late.clone(), path.clone());
    let source = Wrapped::new(move |name, moment| {
        if (name, moment) == (b"target", Moment::Open) {
            fs::write(&target, "as it is opened").unwrap();
        }
        if name == b"target" && matches!(moment, Moment::Read(_)) {
            let age = target.metadata().unwrap().modified().unwrap().elapsed();
            seen.store(age.unwrap().as_millis() >= 20, Ordering::SeqCst);
        }
    });
    backup_from(&store, &source, &options(tree.path())).unwrap();
    // The file was opened with times that differ from those of the walk: the second reading is
    // recorded.
    assert!(late.load(Ordering::SeqCst));
}

/// `/a` with two files and a directory in it.
fn three_places() -> Node {
    let dir = directory(6, &[("below", file(7, b"below"))]);
    let a = directory(
        2,
        &[("b", file(3, b"one")), ("c", file(4, b"two")), ("d", dir)],
    );
    directory(1, &[("a", a), ("z", directory(5, &[]))])
}

#[test]
fn a_place_that_is_not_there_is_a_failure_and_the_others_are_backed_up() {
    let all: &[&str] = &["/a/b", "/a/c", "/a/d", "/nowhere/at/all"];
    fn a(root: &mut Node) -> &mut Node {
        root.children.get_mut(&b"a"[..]).unwrap()
    }
    let mut removed = three_places();
    a(&mut removed).children.remove(&b"c"[..]);
    let mut vanished = three_places();
    a(&mut vanished)
        .children
        .get_mut(&b"c"[..])
        .unwrap()
        .vanishes = true;
    let mut dir_vanished = three_places();
    a(&mut dir_vanished)
        .children
        .get_mut(&b"d"[..])
        .unwrap()
        .vanishes = true;
    for (root, lost) in [
        (removed, &b"/a/c"[..]),
        (vanished, b"/a/c"),
        (dir_vanished, b"/a/d/below"),
    ] {
        let store = shared(&new_store());
        let run = run(&store, &root, &everything(all));
        assert_eq!(run.summary.errors, 2, "{:?}", run.heard.heard());
        assert!(run.heard.says(&["/nowhere: ", "no such file"]));
        for path in [&b"/a/b"[..], b"/a/c", b"/a/d/below"] {
            let whole = entry(&store, run.summary.snapshot, path)
                .is_some_and(|entry| !entry.content.ids.is_empty());
            assert_eq!(whole, path != lost, "{}", path.escape_ascii());
        }
        assert!(entry(&store, run.summary.snapshot, b"/z").is_none());
    }
}

#[test]
fn a_backup_of_no_place_at_all_is_an_error() {
    let mut root = three_places();
    root.children.get_mut(&b"z"[..]).unwrap().vanishes = true;
    for places in [&["/a/x", "/a/y"][..], &["/a/x/y"], &["/q"], &["/z", "/a/x"]] {
        let store = shared(&new_store());
        let source = Artificial::new(root.clone());
        let error = backup_from(&store, &source, &everything(places)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{places:?}: {error}");
        assert!(objects(&*store, Area::Snapshots).is_empty());
    }
}

/// The content that results from splitting a list of chunks as a whole, as specified in kloset(5).
fn cut_as_a_whole(mut ids: Vec<Id>, packer: &mut Packer<'_>, kloset: &Kloset) -> Content {
    let mut depth = 0;
    while ids.len() > 64 {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let mut rest = bytes.as_slice();
        ids.clear();
        while !rest.is_empty() {
            let cut = kloset.tree_chunker().cut(rest).next_multiple_of(32);
            ids.push(packer.put(&rest[..cut]).unwrap().0);
            rest = &rest[cut..];
        }
        depth += 1;
    }
    Content { ids, depth }
}

#[test]
fn a_list_written_id_by_id_is_the_same_as_one_cut_as_a_whole() {
    let (kloset, _) = open(&shared(&new_store()));
    let trouble = Trouble::new(Interrupt::default());
    let deepest = write_session(&kloset, 1, 1, &trouble, |session| {
        let mut packer = session.packer(PackKind::Tree).unwrap();
        let mut deepest = 0;
        for count in [0, 1, 64, 65, 66, 500, 2047, 2048, 2049, 5000, 100_000] {
            // Lists of equal ids are split at the maximum length.
            for ids in [noise(9, 32 * count), vec![0; 32 * count]] {
                let ids: Vec<Id> = ids.as_chunks().0.iter().map(|id| Id(*id)).collect();
                let mut list = ListWriter::default();
                for id in &ids {
                    list.push(*id, &mut packer, &kloset).unwrap();
                }
                let content = list.finish(&mut packer, &kloset).unwrap();
                deepest = deepest.max(content.depth);
                assert!(
                    content == cut_as_a_whole(ids, &mut packer, &kloset),
                    "{count} ids"
                );
            }
        }
        deepest
    })
    .unwrap();
    trouble.outcome().unwrap();
    assert!(deepest >= 2, "no list of lists was tried");
}

#[test]
fn a_file_of_many_chunks_is_restored() {
    let (store, tree) = (shared(&new_store()), small_tree());
    fs::write(tree.path().join("large"), noise(11, 40 << 20)).unwrap();
    let summary = backup(&store, tree.path()).unwrap();
    let place = tree.path().canonicalize().unwrap();
    let path = place.join("large").into_os_string().into_encoded_bytes();
    let found = entry(&store, summary.snapshot, &path).unwrap();
    assert_eq!(found.content.depth, 1);
    assert_restores(
        &store,
        summary.snapshot,
        &listing(tree.path()),
        "many chunks",
    );
}

#[test]
fn what_a_failed_backup_stored_is_in_an_index_object() {
    let (store, tree) = (new_store(), small_tree());
    // The first pack is stored, the second one is not.
    let inner = shared(&store);
    let faulty = FaultStore::with(&inner, 1, Fault::Unavailable, Lasting::Once);
    let faulty: Arc<dyn Store> = Arc::new(faulty);
    let error = backup(&faulty, tree.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let packs = objects(&store, Area::Packs);
    assert_eq!((packs.len(), objects(&store, Area::Index).len()), (1, 1));
    let again = backup(&inner, tree.path()).unwrap();
    assert_restores(&inner, again.snapshot, &listing(tree.path()), "again");
}
