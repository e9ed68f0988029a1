//! Tests input that a reader must reject according to kloset(5), and that it does not affect other
//! data.

use plakar::error::{Error, Result};
use plakar::format::cbor::Writer;
use plakar::format::entry::{Content, Entry, Totals};
use plakar::format::seal::Part;
use plakar::kloset::blob::BlobReader;
use plakar::kloset::progress::Counters;
use plakar::kloset::tree::{Reach, TreeWalk};
use plakar::ops::archive;
use plakar::ops::compare::{self, Comparison, Node, Rule};
use plakar::ops::locate::{Brief, Case, Listener, Patterns, Search};
use plakar::store::Area;
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::forge::*;
use crate::harness::*;
use crate::scene::{Scene, scene};
use crate::sync::{BOTH, beside, try_sync};

/// Ends a chain of write calls.
fn done(_: &mut Writer<'_>) {}

/// The pairs of an empty file with the name `name`, and `more`, which writes `count` pairs.
fn raw(name: &str, count: usize, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer
        .map(2 + count)
        .u64(0)
        .bytes(name.as_bytes())
        .u64(1)
        .u64(0);
    more(&mut writer);
    bytes
}

/// One damaged entry of each type, by name.
fn damaged_entries(content: Id) -> Vec<(&'static str, Vec<u8>)> {
    let list = move |writer: &mut Writer<'_>, key| {
        writer.u64(key).array(2).u64(1).ids(&[content]);
    };
    let mut link = Vec::new();
    Writer::new(&mut link)
        .map(2)
        .u64(0)
        .bytes(b"link")
        .u64(1)
        .u64(2);
    let mut zero = Vec::new();
    let mut writer = Writer::new(&mut zero);
    writer
        .map(3)
        .u64(0)
        .bytes(b"zero")
        .u64(1)
        .u64(2)
        .u64(14)
        .bytes(b"a\0b");
    let mut late = Vec::new();
    Writer::new(&mut late)
        .map(3)
        .u64(8)
        .text("no time")
        .u64(0)
        .bytes(b"late")
        .u64(1)
        .u64(0);
    let mut all = vec![
        (
            "attributes",
            raw("attributes", 1, |w| {
                done(w.u64(16).array(1).bytes(b"user.a"))
            }),
        ),
        (
            "both",
            raw("both", 2, |w| list(w.u64(19).ids(&[content]), 20)),
        ),
        (
            "depth",
            raw("depth", 1, |w| done(w.u64(20).array(2).u64(9).bytes(b""))),
        ),
        (
            "few",
            raw("few", 1, |w| done(w.u64(22).array(2).u64(0).u64(0))),
        ),
        (
            "holes",
            raw("holes", 1, |w| done(w.u64(18).array(2).u64(0).u64(1))),
        ),
        ("ids", raw("ids", 1, |w| done(w.u64(19).bytes(&[7; 33])))),
        ("late", late),
        ("link", link),
        ("mode", raw("mode", 1, |w| done(w.u64(2).u64(0o10_000)))),
        (
            "trees",
            raw("trees", 2, |w| list(w.u64(21).ids(&[content]), 25)),
        ),
        (
            "twice",
            raw("twice", 2, |w| done(w.u64(7).u64(0).u64(7).u64(0))),
        ),
        ("zero", zero),
    ];
    all.sort();
    all
}

#[test]
fn a_damaged_entry_is_reported_by_name_and_harms_no_other() {
    let scene = scene();
    let content = scene.forge.content(&[b"good"]);
    for (name, damaged) in damaged_entries(content.ids[0]) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        file("a", 4, content.clone()).encode(&mut before);
        file("zz", 4, content.clone()).encode(&mut after);
        let tree = scene.forge.content(&[&[before, damaged, after].concat()]);
        let forged = scene.forge.publish(tree);
        let found = scene.assert_refused(&forged, &format!("entry {name}: "));
        for good in ["a", "zz"] {
            assert_eq!(found[good.as_bytes()].1, b"good", "beside {name}");
        }
        assert_eq!(found.len(), 2, "{name}: {:?}", found.keys());
        let (_, watcher) = check(&scene.store);
        assert!(
            watcher.says(&[&format!("entry {name}: ")]),
            "{:?}",
            watcher.heard()
        );
        assert_eq!(walk(&scene, &forged.root), (2, 1), "{name}");
    }
}

/// The number of entries and errors in a walk.
fn walk(scene: &Scene, root: &Entry) -> (u64, u64) {
    let blobs = BlobReader::new(&scene.forge.kloset, 1 << 20).unwrap();
    let mut walk = TreeWalk::new(&blobs, b"/", root, Reach::All);
    let (mut entries, mut errors) = (0, 0);
    loop {
        match walk.try_next() {
            Ok(Some(_)) => entries += 1,
            Ok(None) => return (entries, errors),
            Err(_) => errors += 1,
        }
        assert!(entries + errors < 100_000, "it is endless");
    }
}

#[test]
fn what_a_later_version_adds_to_an_entry_is_skipped() {
    let scene = scene();
    let extended = raw("later", 3, |writer| {
        writer.u64(99).array(1).text("twice");
        writer.u64(99).map(1).u64(1).i64(-1);
        writer.u64(28).bytes(b"new");
    });
    let forged = scene.forge.publish(scene.forge.content(&[&extended]));
    let (found, told) = scene.restored(&forged);
    assert!(found.contains_key(&b"later"[..]), "{told}");
    assert!(!check(&scene.store).0.is_damaged());
}

/// The body of a snapshot with these pairs after id and root.
fn snapshot_body(root: &[u8], count: usize, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer
        .map(2 + count)
        .u64(0)
        .bytes(&[5; 32])
        .u64(4)
        .bytes(root);
    more(&mut writer);
    body
}

#[test]
fn a_damaged_snapshot_is_damaged_to_every_command() {
    let mut root = Vec::new();
    directory("root", Content::default()).encode(&mut root);
    let longer = [root.as_slice(), &[0]].concat();
    let bodies = [
        snapshot_body(&longer, 0, |_| {}),
        snapshot_body(&root, 1, |w| done(w.u64(16).array(1).bytes(b"/a"))),
        snapshot_body(&root, 2, |w| done(w.u64(9).text("one").u64(9).text("two"))),
    ];
    for body in bodies {
        let scene = scene();
        scene.forge.body(Area::Snapshots, Part::Snapshot, &body);
        let (kloset, watcher) = open(&scene.store);
        let (listed, damaged) = plakar::kloset::snapshot::list(&kloset, &*watcher).unwrap();
        assert_eq!((listed.len(), damaged), (1, 1), "{:?}", watcher.heard());
        assert_eq!(check(&scene.store).0.damaged_snapshots, 1);
        scene.assert_honest_fine("beside a damaged snapshot");
    }
}

#[test]
fn a_block_is_one_zstd_frame_and_nothing_else() {
    let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let skippable = [
        &0x184d_2a50_u32.to_le_bytes()[..],
        &1_u32.to_le_bytes(),
        b"x",
    ]
    .concat();
    let half = [b'a'; 50];
    let payloads = [
        [frame(&half), frame(&half)].concat(),
        [frame(&[b'a'; 100]), skippable.clone()].concat(),
        [skippable, frame(&[b'a'; 100])].concat(),
        [frame(&[b'a'; 100]), vec![0]].concat(),
    ];
    for payload in payloads {
        let scene = scene();
        let id = scene.forge.kloset.chunk_id(&[b'a'; 100]);
        let block = scene.forge.block(1, 100, &payload);
        scene.forge.pack(
            std::slice::from_ref(&block),
            &[block_table(&block, id, 100)],
        );
        let content = Content {
            ids: vec![id],
            depth: 0,
        };
        let forged = scene
            .forge
            .publish(scene.forge.tree(&[file("f", 100, content)]));
        assert!(scene.assert_refused(&forged, "zstd frame").is_empty());
    }
}

/// Directories of two names each that share their trees: 2^30 of them at the bottom. The totals of
/// those below level `honest` are correct.
fn bomb(scene: &Scene, honest: usize, leaf: &[u8; 4]) -> Content {
    let content = scene.forge.content(&[leaf]);
    let mut tree = scene.forge.tree(&[file("leaf", 4, content)]);
    for level in 0..30 {
        let inner = |name| match level < honest {
            true => directory(name, tree.clone()),
            false => Entry {
                below: Totals::default(),
                ..directory(name, tree.clone())
            },
        };
        tree = scene.forge.tree(&[inner("a"), inner("b")]);
    }
    tree
}

/// Counts the results of a search.
#[derive(Default)]
struct Count {
    found: u64,
    damaged: u64,
}

impl Listener for Count {
    fn found(&mut self, _: &[u8], _: &Brief) -> Result<()> {
        self.found += 1;
        assert!(self.found < 100_000, "it is endless");
        Ok(())
    }

    fn damaged(&mut self, _: &[u8], _: &Error) {
        self.damaged += 1;
    }
}

/// Searches twice, so that remembered results are used too. Damage is reported the first time.
fn assert_search_ends(scene: &Scene, root: &Entry) {
    let blobs = BlobReader::new(&scene.forge.kloset, 1 << 20).unwrap();
    let patterns = Patterns::new(&["leaf".to_owned()], Case::Sensitive).unwrap();
    let mut search = Search::new(&blobs, &patterns, Interrupt::default());
    let mut count = Count::default();
    for _ in 0..2 {
        search.run(b"/", root, &mut count).unwrap();
    }
    assert!(count.damaged > 0);
}

fn assert_comparison_ends(scene: &Scene, root: &Entry, other: &Entry) {
    let blobs = BlobReader::new(&scene.forge.kloset, 1 << 20).unwrap();
    let counters = Counters::default();
    let options = compare::Options {
        reach: Reach::All,
        rule: Rule::Quick,
        interrupt: Interrupt::default(),
        counters: &counters,
    };
    let node = |root: &Entry| Node::stored(&blobs, root.clone());
    let mut comparison = Comparison::new(node(root), node(other), &options).unwrap();
    let (mut found, mut errors) = (0, 0);
    while let Some(difference) = comparison.try_next().unwrap() {
        found += 1;
        errors += u64::from(difference.outcome.is_err());
        assert!(found < 100_000, "it is endless");
    }
    assert!(errors > 0);
}

fn assert_archive_ends(scene: &Scene, forged: &plakar::kloset::snapshot::Snapshot) {
    let options = archive::Options {
        format: archive::Format::Tar,
        names: archive::Names::FromRoot,
        interrupt: Interrupt::default(),
    };
    let mut sink = |_: &[u8]| Ok(());
    let (kloset, _) = open(&scene.store);
    let summary = archive::run(&kloset, forged, b"/", &options, &mut sink).unwrap();
    assert!(summary.errors > 0 && summary.files < 100_000);
}

#[test]
fn totals_stop_a_tree_of_a_billion_directories() {
    for honest in [0, 8] {
        let scene = scene();
        let forged = scene.forge.publish(bomb(&scene, honest, b"good"));
        let found = scene.assert_refused(&forged, "exceeds the totals");
        assert!(found.len() < 10_000, "{}", found.len());
        assert!(walk(&scene, &forged.root).1 > 0);
        assert_search_ends(&scene, &forged.root);
        let other = directory("root", bomb(&scene, honest, b"evil"));
        assert_comparison_ends(&scene, &forged.root, &other);
        assert_archive_ends(&scene, &forged);
        for kin in BOTH {
            let to = shared(&beside(&scene.store, kin));
            let synced = try_sync(&scene.store, &to).unwrap();
            assert_eq!(synced.summary.copied, 1, "only the honest one arrives");
        }
    }
}

#[test]
fn a_directory_that_shares_a_tree_and_claims_less_is_not_found_in_memory() {
    let scene = scene();
    let content = scene.forge.content(&[b"good"]);
    let mut tree = scene.forge.tree(&[file("leaf", 4, content)]);
    // The first entry is correct and is remembered. An entry that differs only in its totals is
    // not.
    for _ in 0..30 {
        let right = directory("a", tree.clone());
        let wrong = Entry {
            below: Totals::default(),
            ..directory("b", tree.clone())
        };
        tree = scene.forge.tree(&[right, wrong]);
    }
    let forged = scene.forge.publish(tree);
    assert_search_ends(&scene, &forged.root);
    let (summary, watcher) = check(&scene.store);
    let wrong = watcher
        .heard()
        .iter()
        .filter(|heard| heard.contains("totals"))
        .count();
    assert!(
        summary.is_damaged() && (30..1000).contains(&wrong),
        "{wrong}"
    );
    let found = scene.assert_refused(&forged, "totals");
    assert!(found.len() < 10_000, "{}", found.len());
}

#[test]
fn totals_that_say_too_much_are_damage() {
    let scene = scene();
    let content = scene.forge.content(&[b"good"]);
    let tree = scene.forge.tree(&[file("f", 4, content)]);
    let mut inner = directory("d", tree);
    inner.below.bytes += 1;
    let forged = scene.forge.publish(scene.forge.tree(&[inner]));
    let found = scene.assert_refused(&forged, "less is below");
    assert_eq!(found[&b"d/f"[..]].1, b"good");
}
