//! Tests the inspection of stores with long files, several index objects and condemned packs.

use plakar::connector::{FileKind, Metadata};
use plakar::error::Kind;
use plakar::format::entry::{Content, Entry};
use plakar::kloset::Kloset;
use plakar::kloset::blob::BlobReader;
use plakar::ops::inspect::chunks::{ChunkFacts, Holds, Look, of_file};
use plakar::ops::inspect::index::{Gap, each_index};
use plakar::ops::inspect::snapshots::holdings;
use plakar::ops::inspect::{Prefix, search};
use plakar::ops::select;
use plakar::store::Area;
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::forge::{self, Forge};
use crate::harness::{backup, new_store, noise, objects, open, scratch, shared, small_tree};

/// A file with the contents `content`.
fn file(content: Content, size_bytes: u64) -> Entry {
    let metadata = Metadata {
        kind: FileKind::File,
        size_bytes,
        ..Metadata::default()
    };
    Entry {
        content,
        ..Entry::new(b"file".to_vec(), metadata)
    }
}

fn chunks_of(kloset: &Kloset, entry: &Entry) -> Vec<ChunkFacts> {
    let blobs = BlobReader::new(kloset, 1 << 20).unwrap();
    let mut found = Vec::new();
    let mut each = |facts| {
        found.push(facts);
        Ok(())
    };
    let interrupt = Interrupt::default();
    of_file(kloset, &blobs, entry, Look::Bytes, &interrupt, &mut each).unwrap();
    found
}

#[test]
fn a_lost_list_of_chunks_hides_no_other() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let (first, second) = (forge.chunk(b"first"), forge.chunk(b"second"));
    let lists = [forge.chunk(&first.0), Id([9; 32]), forge.chunk(&second.0)];
    let content = Content {
        ids: lists.to_vec(),
        depth: 1,
    };
    let found = chunks_of(&forge.kloset, &file(content, 100));
    let ids: Vec<Id> = found.iter().map(|facts| facts.id).collect();
    assert_eq!(ids, [lists[0], first, lists[1], lists[2], second]);
    let damaged: Vec<bool> = found.iter().map(|facts| facts.damage.is_some()).collect();
    assert_eq!(damaged, [false, false, true, false, false]);
    assert_eq!(found[0].holds, Holds::List(1, 1));
    assert_eq!(found[1].holds, Holds::Bytes(Some(0)));
    // The part of the file that the lost list covered is unknown.
    assert_eq!(found[4].holds, Holds::Bytes(None));
}

#[test]
fn a_lost_part_of_a_directory_hides_no_name_in_another() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let part = |name: &str| forge.tree(&[forge::file(name, 0, Content::default())]).ids[0];
    let tree = Content {
        ids: vec![part("a"), Id([9; 32]), part("z")],
        depth: 0,
    };
    let snapshot = forge.publish(tree);
    let (kloset, _) = open(&store);
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let found = |path: &str| select::entry(&blobs, &snapshot, path.as_bytes());
    for name in ["a", "z"] {
        assert_eq!(found(&format!("/{name}")).unwrap().name, name.as_bytes());
    }
    // The entry may be in the lost part, so its absence is not certain.
    assert_eq!(found("/m").unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(found("/a/b").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_long_file_is_told_whole() {
    let store = shared(&new_store());
    let dir = scratch();
    let bytes = noise(7, 24 << 20);
    std::fs::write(dir.path().join("long"), &bytes).unwrap();
    backup(&store, dir.path()).unwrap();
    let (kloset, _) = open(&store);
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let stored = select::all(&kloset).unwrap().remove(0);
    let path = select::resolve(&kloset, &stored.snapshot, b"long").unwrap();
    let entry = select::entry(&blobs, &stored.snapshot, &path).unwrap();
    assert_eq!(entry.content.depth, 1, "long enough for lists");
    let found = chunks_of(&kloset, &entry);
    let mut next = 0;
    for facts in &found {
        assert!(facts.damage.is_none(), "{facts:?}");
        if let Holds::Bytes(offset) = facts.holds {
            let length = facts.places[0].length;
            let chunk = &bytes[next as usize..][..length as usize];
            assert_eq!((offset, kloset.chunk_id(chunk)), (Some(next), facts.id));
            next += u64::from(length);
        }
    }
    assert_eq!(next, bytes.len() as u64);
}

#[test]
fn a_chunk_is_found_in_packs_that_no_index_object_covers() {
    let memory = new_store();
    let store = shared(&memory);
    let tree = small_tree();
    backup(&store, tree.path()).unwrap();
    let (kloset, _) = open(&store);
    let id = kloset.chunk_id(b"the first file");
    for index in objects(&*store, Area::Index) {
        store.delete(Area::Index, index).unwrap();
    }
    for digits in [64, 32, 20] {
        let (kloset, _) = open(&store);
        let prefix = Prefix::parse(&id.to_string()[..digits]).unwrap();
        let (found, copies) = search::chunk(&kloset, &prefix, &Interrupt::default()).unwrap();
        assert_eq!((found, copies.len()), (id, 1), "{digits} digits");
        assert!(copies[0].codec.is_ok());
    }
}

#[test]
fn what_index_objects_leave_out_is_told_once() {
    let store = shared(&new_store());
    let tree = small_tree();
    backup(&store, tree.path()).unwrap();
    std::fs::write(tree.path().join("new"), "new").unwrap();
    backup(&store, tree.path()).unwrap();
    let packs = objects(&*store, Area::Packs);
    let (kloset, _) = open(&store);
    let gaps = || {
        let mut gaps = Vec::new();
        let mut gap = |gap| {
            gaps.push(gap);
            Ok(())
        };
        each_index(&kloset, &Interrupt::default(), &mut |_, _| Ok(()), &mut gap).unwrap();
        gaps
    };
    assert!(gaps().is_empty());
    store.delete(Area::Packs, packs[0]).unwrap();
    assert_eq!(gaps(), [Gap::Missing(packs[0])]);
    let lost = objects(&*store, Area::Index)[0];
    store.delete(Area::Index, lost).unwrap();
    let told = gaps();
    assert!(!told.is_empty() && told.len() < packs.len() + 1, "{told:?}");
    let uncovered = |gap: &Gap| matches!(gap, Gap::Uncovered(pack) if packs.contains(pack));
    assert!(told.iter().any(uncovered), "{told:?}");
}

#[test]
fn holdings_count_every_snapshot_and_none_that_is_damaged() {
    let memory = new_store();
    let store = shared(&memory);
    let tree = small_tree();
    backup(&store, tree.path()).unwrap();
    backup(&store, tree.path()).unwrap();
    let (kloset, _) = open(&store);
    let both = holdings(&kloset).unwrap();
    assert_eq!((both.snapshots, both.damaged), (2, 0));
    assert_eq!(both.totals.bytes, 2 * (14 + 300 + 8));
    assert!(both.oldest_ns < both.newest_ns);
    let garbage = b"garbage".as_slice();
    store
        .put(Area::Snapshots, Id::of(garbage), garbage)
        .unwrap();
    let (kloset, watcher) = open(&store);
    let more = holdings(&kloset).unwrap();
    assert_eq!(
        (more.snapshots, more.damaged, more.totals),
        (2, 1, both.totals)
    );
    assert_eq!(watcher.warnings(), 1);
}
