//! Tests the results of comparisons, and the amount of data read.

use std::sync::Arc;

use plakar::connector::{FileKind, Metadata, Source};
use plakar::error::{Kind, Result};
use plakar::format::entry::{Content, Entry};
use plakar::kloset::Kloset;
use plakar::kloset::blob::BlobReader;
use plakar::kloset::progress::Counters;
use plakar::kloset::snapshot::Snapshot;
use plakar::kloset::tree::Reach;
use plakar::ops::backup;
use plakar::ops::compare::{
    Became, Change, Comparison, Difference, Node, Options, Owner, Rule, Which,
};
use plakar::ops::select;
use plakar::store::Store;
use plakar::store::fault::{Call, FaultStore};
use plakar::util::interrupt::Interrupt;

use crate::artificial::{self, Artificial, Node as Made};
use crate::forge::{self, Forge};
use crate::harness::*;

/// Backs up all of `root`.
fn back_up(store: &Arc<dyn Store>, root: &Made) -> Snapshot {
    let options = backup::Options {
        places: vec![b"/".to_vec()],
        workers: 1,
        readers: 1,
        ..backup::Options::default()
    };
    let summary = backup_from(store, &Artificial::new(root.clone()), &options).unwrap();
    snapshot(&open(store).0, summary.snapshot).unwrap().snapshot
}

/// A short description of one result.
fn word(outcome: &Result<Difference<'_>>) -> String {
    match outcome {
        Ok(Difference::Only(Which::A, _)) => "only in a".to_owned(),
        Ok(Difference::Only(Which::B, _)) => "only in b".to_owned(),
        Ok(Difference::Kind(a, b)) => format!("{a:?} -> {b:?}"),
        Ok(Difference::Contents(_)) => "contents".to_owned(),
        Ok(Difference::Below) => "below".to_owned(),
        Ok(Difference::Metadata(changes)) => format!("{changes:?}"),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

/// All results, as `path: description`.
fn found(a: Node<'_>, b: Node<'_>, reach: Reach, rule: Rule) -> Vec<String> {
    let counters = Counters::default();
    let options = Options {
        reach,
        rule,
        interrupt: Interrupt::default(),
        counters: &counters,
    };
    let mut comparison = Comparison::new(a, b, &options).unwrap();
    let mut words = Vec::new();
    while let Some(found) = comparison.try_next().unwrap() {
        let path = found.path.escape_ascii();
        words.push(format!("{path}: {}", word(&found.outcome)));
    }
    words
}

/// Compares two snapshots completely.
fn compared(kloset: &Kloset, a: &Entry, b: &Entry, reach: Reach) -> Vec<String> {
    let blobs = BlobReader::new(kloset, 0).unwrap();
    let (a, b) = (
        Node::stored(&blobs, a.clone()),
        Node::stored(&blobs, b.clone()),
    );
    found(a, b, reach, Rule::Quick)
}

/// Compares a snapshot with a source.
fn compared_live(kloset: &Kloset, a: &Snapshot, source: &dyn Source, rule: Rule) -> Vec<String> {
    let blobs = BlobReader::new(kloset, 1 << 20).unwrap();
    let a = Node::stored(&blobs, a.root.clone());
    let b = Node::live(source, b"/").unwrap();
    found(a, b, Reach::All, rule)
}

/// A directory of a hundred directories of fifty files.
fn wide() -> Made {
    let file = |n: u64| artificial::file(n, format!("contents {n}").as_bytes());
    let mut root = artificial::directory(1, &[]);
    for d in 0..100 {
        let mut dir = artificial::directory(2 + d, &[]);
        for f in 0..50 {
            let name = format!("file{f:02}").into_bytes();
            dir.children.insert(name, file(1000 + d * 50 + f));
        }
        root.children.insert(format!("dir{d:02}").into_bytes(), dir);
    }
    root
}

/// Changes the contents of the file at `path`.
fn change(root: &mut Made, path: &[&str], contents: &[u8]) {
    let mut node = root;
    for name in path {
        node = node.children.get_mut(name.as_bytes()).unwrap();
    }
    let inode = node.metadata.inode;
    *node = artificial::file(inode, contents);
    node.metadata.ctime_ns += 1;
}

#[test]
fn only_trees_that_differ_are_read() {
    let store = shared(&new_store());
    let mut root = wide();
    let before = back_up(&store, &root);
    change(&mut root, &["dir07", "file33"], b"other");
    change(&mut root, &["dir70", "file00"], b"another");
    let after = back_up(&store, &root);

    let counting = Arc::new(FaultStore::counting(&store));
    let seen: Arc<dyn Store> = counting.clone();
    let (kloset, _) = open(&seen);
    let words = compared(&kloset, &before.root, &after.root, Reach::All);
    assert_eq!(
        words,
        ["/dir07/file33: contents", "/dir70/file00: contents"]
    );
    // On each side, at most two chunks of the root and one chunk of each of two directories are
    // read, and nothing of the files, whose chunk ids are sufficient. Reading everything would take
    // about 200 reads.
    let reads = counting.calls(Call::ReadAt);
    assert!((6..=8).contains(&reads), "{reads} chunks were read");

    let same = counting.calls(Call::ReadAt);
    assert!(compared(&kloset, &before.root, &before.root, Reach::All).is_empty());
    assert_eq!(
        counting.calls(Call::ReadAt),
        same,
        "equal trees cost nothing"
    );
}

#[test]
fn of_a_long_directory_only_the_chunks_that_differ_are_read() {
    let store = shared(&new_store());
    let mut root = artificial::directory(1, &[]);
    for n in 0..100_000u64 {
        let name = format!("file{n:06}").into_bytes();
        root.children.insert(name, artificial::file(n + 2, b""));
    }
    let before = back_up(&store, &root);
    root.children.remove(&b"file050000"[..]);
    root.children
        .insert(b"new".to_vec(), artificial::file(200_000, b""));
    let after = back_up(&store, &root);
    let counting = Arc::new(FaultStore::counting(&store));
    let seen: Arc<dyn Store> = counting.clone();
    let (kloset, _) = open(&seen);
    let words = compared(&kloset, &before.root, &after.root, Reach::All);
    assert_eq!(words, ["/file050000: only in a", "/new: only in b"]);
    let reads = counting.calls(Call::ReadAt);
    assert!(reads < 20, "{reads} chunks were read of hundreds");
}

#[test]
fn without_recursion_a_directory_in_which_something_differs_is_named() {
    let store = shared(&new_store());
    let mut root = wide();
    let before = back_up(&store, &root);
    change(&mut root, &["dir07", "file33"], b"other");
    // The only difference is a time that the comparison ignores.
    let quiet = root.children.get_mut(&b"dir08"[..]).unwrap();
    quiet
        .children
        .get_mut(&b"file00"[..])
        .unwrap()
        .metadata
        .ctime_ns += 1;
    let after = back_up(&store, &root);
    let (kloset, _) = open(&store);
    let words = compared(&kloset, &before.root, &after.root, Reach::Children);
    assert_eq!(words, ["/dir07: below"]);
    let blobs = BlobReader::new(&kloset, 0).unwrap();
    let live = Artificial::new(root);
    let (a, b) = (
        Node::stored(&blobs, before.root.clone()),
        Node::live(&live, b"/").unwrap(),
    );
    let words = found(a, b, Reach::Children, Rule::Quick);
    assert_eq!(words, ["/dir07: below"], "live files too");
}

#[test]
fn every_change_is_told_once() {
    let store = shared(&new_store());
    let node = |kind| {
        let mut node = artificial::file(9, b"");
        node.metadata.kind = kind;
        node
    };
    let mut dev = node(FileKind::CharDevice);
    dev.metadata.rdev = 0x501;
    let mut link = node(FileKind::Symlink);
    link.details.target = b"here".to_vec();
    let mut marked = artificial::file(5, b"marked");
    marked.details.xattrs = vec![(b"user.a".to_vec(), b"1".to_vec())];
    let root = artificial::directory(
        1,
        &[
            ("dev", dev),
            (
                "dir",
                artificial::directory(2, &[("x", artificial::file(3, b"x"))]),
            ),
            ("file", artificial::file(4, b"one")),
            ("gone", artificial::file(10, b"")),
            ("link", link),
            ("marked", marked),
            ("other", artificial::file(6, b"")),
        ],
    );
    let mut changed = root.clone();
    for (name, node) in &mut changed.children {
        node.metadata.ctime_ns += 1;
        match name.as_slice() {
            b"dev" => node.metadata.rdev = 0x502,
            b"dir" => *node = artificial::file(2, b"no more"),
            b"file" => {
                node.contents = b"two".to_vec();
                node.metadata.mtime_ns += 1;
                node.metadata.mode = 0o600;
            }
            b"link" => node.details.target = b"there".to_vec(),
            b"marked" => {
                node.details.xattrs[0].1 = b"2".to_vec();
                node.details.flags = 0x10;
            }
            b"other" => {
                node.metadata.uid = 7;
                node.metadata.mtime_ns = 5;
            }
            _ => {}
        }
    }
    changed.children.remove(&b"gone"[..]);
    let user = |id| Owner { id, name: None };
    let metadata = |path: &str, changes: &[Change]| format!("/{path}: {changes:?}");
    let expected = [
        metadata("dev", &[Change::Device(0x501, 0x502)]),
        "/dir: Directory -> File".to_owned(),
        metadata("file", &[Change::Mode(0o644, 0o600)]),
        "/file: contents".to_owned(),
        "/gone: only in a".to_owned(),
        metadata(
            "link",
            &[Change::Target(b"here".to_vec(), b"there".to_vec())],
        ),
        metadata(
            "marked",
            &[
                Change::Flags(0, 0x10),
                Change::Xattr(b"user.a".to_vec(), Became::Changed),
            ],
        ),
        metadata(
            "other",
            &[
                Change::User(user(0), user(7)),
                Change::Mtime(root.metadata.mtime_ns, 5),
            ],
        ),
    ];
    let (before, after) = (back_up(&store, &root), back_up(&store, &changed));
    let (kloset, _) = open(&store);
    assert_eq!(
        compared(&kloset, &before.root, &after.root, Reach::All),
        expected
    );
    let live = Artificial::new(changed);
    assert_eq!(
        compared_live(&kloset, &before, &live, Rule::Quick),
        expected,
        "live"
    );
}

#[test]
fn live_files_are_read_only_where_size_and_time_do_not_settle_it() {
    let store = shared(&new_store());
    let root = artificial::directory(1, &[("a", artificial::file(2, b"one"))]);
    let before = back_up(&store, &root);
    let (kloset, _) = open(&store);
    let run = |change: &dyn Fn(&mut Made), rule| {
        let mut root = root.clone();
        change(root.children.get_mut(&b"a"[..]).unwrap());
        let live = Artificial::new(root);
        let words = compared_live(&kloset, &before, &live, rule);
        (words, live.opened())
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(run(&|_| {}, Rule::Quick), (none.clone(), 0));
    assert_eq!(run(&|_| {}, Rule::Contents), (none, 1));
    let longer = |node: &mut Made| *node = artificial::file(2, b"longer");
    assert_eq!(run(&longer, Rule::Quick).0, ["/a: contents"]);
    let touched = |node: &mut Made| node.metadata.mtime_ns += 1;
    let (words, _) = run(&touched, Rule::Quick);
    assert!(words.len() == 1 && words[0].contains("Mtime"), "{words:?}");
    let hidden = |node: &mut Made| node.contents = b"two".to_vec();
    assert!(run(&hidden, Rule::Quick).0.is_empty());
    assert_eq!(run(&hidden, Rule::Contents).0, ["/a: contents"]);
    let both = |node: &mut Made| {
        touched(node);
        hidden(node);
    };
    assert_eq!(run(&both, Rule::Quick).0, ["/a: contents"]);
}

#[test]
fn what_cannot_be_looked_at_is_told_and_hides_nothing() {
    let store = shared(&new_store());
    let root = artificial::directory(
        1,
        &[
            ("a", artificial::file(2, b"one")),
            ("b", artificial::file(3, b"two")),
            ("c", artificial::file(4, b"three")),
            ("d", artificial::directory(5, &[])),
        ],
    );
    let before = back_up(&store, &root);
    let (kloset, _) = open(&store);
    let mut live = root.clone();
    for node in live.children.values_mut() {
        node.metadata.ctime_ns += 1;
        node.metadata.mtime_ns += 1;
    }
    let mut at = |name: &str, how: &dyn Fn(&mut Made)| {
        how(live.children.get_mut(name.as_bytes()).unwrap());
    };
    at("a", &|node| node.details_fail = true);
    at("b", &|node| node.vanishes = true);
    at("c", &|node| node.contents = b"drei!".to_vec());
    at("d", &|node| node.vanishes = true);
    let words = compared_live(&kloset, &before, &Artificial::new(live), Rule::Quick);
    let has = |path: &str, what: &str| {
        words
            .iter()
            .any(|word| word.starts_with(path) && word.contains(what))
    };
    assert!(has("/a: Failed", "no attributes today"), "{words:?}");
    assert!(has("/b: NotFound", "no such file"), "{words:?}");
    assert!(has("/c: contents", ""), "{words:?}");
    assert!(has("/d: NotFound", "no such file"), "{words:?}");
}

#[test]
fn of_names_in_a_lost_part_of_a_tree_nothing_is_said() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let chunk = |names: &[(&str, u64)]| {
        let mut bytes = Vec::new();
        for (name, size) in names {
            forge::entry(name, FileKind::Socket, *size).encode(&mut bytes);
        }
        bytes
    };
    let whole = forge.content(&[
        &chunk(&[("a", 0), ("b", 0)]),
        &chunk(&[("c", 0), ("d", 0)]),
        &chunk(&[("e", 0), ("f", 0)]),
    ]);
    let mut holed = forge.content(&[&chunk(&[("c", 0), ("f", 0)]), &chunk(&[("g", 0)])]);
    holed.ids.insert(1, plakar::util::Id([7; 32]));
    let (a, b) = (
        forge::directory("x", whole),
        forge::directory("x", holed.clone()),
    );
    let words = compared(&forge.kloset, &a, &b, Reach::All);
    // Entries before c, and between c and f, certainly exist. g follows the gap, which can only
    // have contained entries between f and g.
    assert_eq!(
        words[..4],
        [
            "/a: only in a",
            "/b: only in a",
            "/d: only in a",
            "/e: only in a"
        ]
    );
    assert!(
        words[4].starts_with(": Corrupt: tree 07070707"),
        "{words:?}"
    );
    assert_eq!(words[5..], ["/g: only in b"]);
    let (lost, whole) = (vec![plakar::util::Id([8; 32])], a.tree.clone());
    let lost = forge::directory(
        "x",
        Content {
            ids: lost,
            depth: 0,
        },
    );
    let words = compared(
        &forge.kloset,
        &forge::directory("x", whole),
        &lost,
        Reach::All,
    );
    assert!(
        words.len() == 1 && words[0].contains("Corrupt"),
        "{words:?}"
    );
}

#[test]
fn a_name_is_found_beyond_a_lost_part_of_its_tree() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let chunk = |name: &str| {
        let mut bytes = Vec::new();
        forge::entry(name, FileKind::Socket, 0).encode(&mut bytes);
        bytes
    };
    let mut tree = forge.content(&[&chunk("c"), &chunk("g")]);
    tree.ids.insert(1, plakar::util::Id([7; 32]));
    let snapshot = Snapshot {
        root: forge::directory("", tree),
        ..Snapshot::default()
    };
    let blobs = BlobReader::new(&forge.kloset, 1 << 20).unwrap();
    let kind = |path: &[u8]| select::entry(&blobs, &snapshot, path).map_err(|error| error.kind());
    assert_eq!(kind(b"/c").unwrap().name, b"c");
    assert_eq!(kind(b"/g").unwrap().name, b"g");
    // The entry may be in the lost part. Names before that part certainly do not exist.
    assert_eq!(kind(b"/d").unwrap_err(), Kind::Corrupt);
    assert_eq!(kind(b"/a").unwrap_err(), Kind::NotFound);
}

#[test]
fn the_same_bytes_are_the_same_however_they_are_stored() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let zeros = vec![0; 1000];
    let in_one = forge::file(
        "f",
        1010,
        forge.content(&[&[&b"hello"[..], &zeros, b"world"].concat()]),
    );
    let in_two = forge::file(
        "f",
        1010,
        forge.content(&[b"hel", &[b"lo", &zeros[..]].concat(), b"world"]),
    );
    let hole = || std::iter::once(5..1005).collect();
    let with_hole = Entry {
        holes: hole(),
        ..forge::file("f", 1010, forge.content(&[b"hellow", b"orld"]))
    };
    let other = Entry {
        holes: hole(),
        ..forge::file("f", 1010, forge.content(&[b"hellow", b"orlt"]))
    };
    for (one, two, expected) in [
        (&in_one, &in_two, 0),
        (&in_one, &with_hole, 0),
        (&with_hole, &in_two, 0),
        (&with_hole, &other, 1),
        (&in_one, &other, 1),
    ] {
        let words = compared(&forge.kloset, one, two, Reach::All);
        assert_eq!(words.len(), expected, "{words:?}");
    }
}

#[test]
fn what_was_not_read_when_it_was_backed_up_cannot_be_compared() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let mut missing = forge::file("f", 3, Content::default());
    missing.set_problem("permission denied");
    let there = forge::file("f", 3, forge.content(&[b"abc"]));
    let words = compared(&forge.kloset, &missing, &there, Reach::All);
    assert_eq!(
        words,
        [": Failed: its contents were not backed up: permission denied"]
    );
    let metadata = Metadata {
        size_bytes: 4,
        ..there.metadata.clone()
    };
    let longer = Entry { metadata, ..there };
    let words = compared(&forge.kloset, &missing, &longer, Reach::All);
    assert_eq!(words, [": contents"], "sizes tell");
}
