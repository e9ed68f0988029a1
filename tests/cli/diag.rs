//! Tests showing the structure of intact and damaged stores.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Run, Sandbox, noise, store};

/// A store in `st` with a file of several chunks, and three more files.
fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/big", &noise(6_000_000));
    sandbox.write("d/a", b"hello");
    sandbox.write("d/sub/b", b"below");
    sandbox.write("d/sub/c", b"beside");
    sandbox.backup(&store(name), "d");
    sandbox
}

/// The objects of type `kind` in the output of a run.
fn of_kind(run: &Run, kind: &str) -> Vec<Value> {
    let objects = run.objects().into_iter();
    objects.filter(|object| object["type"] == kind).collect()
}

fn text(object: &Value, member: &str) -> String {
    let text = object[member].as_str();
    text.unwrap_or_else(|| panic!("{member} in {object}"))
        .to_owned()
}

fn number(object: &Value, member: &str) -> u64 {
    let number = object[member].as_u64();
    number.unwrap_or_else(|| panic!("{member} in {object}"))
}

/// The file of an object in the store `st`.
fn file_of(sandbox: &Sandbox, area: &str, id: &str) -> PathBuf {
    let flat = sandbox.path("st").join(area).join(id);
    match flat.exists() {
        true => flat,
        false => sandbox.path("st").join(area).join(&id[..2]).join(id),
    }
}

/// The largest pack, which contains the big file.
fn largest_pack(sandbox: &Sandbox) -> Value {
    let run = sandbox
        .run(&["at", "st", "diag", "packs", "-json"])
        .ended(0);
    let packs = of_kind(&run, "pack").into_iter();
    let largest = packs.max_by_key(|pack| number(pack, "size_bytes"));
    largest.expect("there is a pack")
}

#[test]
fn every_chunk_of_a_file_lies_where_its_pack_says() {
    let sandbox = with_snapshot("diag");
    let at = store("diag");
    let run = |words: &[&str]| {
        let words = [&["at", at.as_str(), "-json", "diag"], words].concat();
        sandbox.run(&words).ended(0).says_nothing()
    };
    let chunks = of_kind(&run(&["chunks", "-read", "latest:big"]), "chunk");
    assert!(chunks.len() > 3, "{chunks:?}");
    let mut offset = 0;
    for chunk in &chunks {
        assert_eq!(number(chunk, "offset"), offset, "{chunk}");
        offset += number(chunk, "length");
        let place = &chunk["places"][0];
        let blocks = run(&["pack", "-chunks", &text(place, "pack")[..16]]);
        let is_it = |block: &Value| block["offset"] == place["block_offset"];
        let block = of_kind(&blocks, "block").into_iter().find(is_it);
        let block = block.unwrap_or_else(|| blocks.fail(&format!("has {place}")));
        assert_eq!(block["sealed_bytes"], place["sealed_bytes"]);
        let is_it = |told: &Value| told["chunk"] == chunk["chunk"];
        let told = of_kind(&blocks, "chunk_in_block").into_iter().find(is_it);
        let told = told.unwrap_or_else(|| blocks.fail(&format!("has {chunk}")));
        let of = |object: &Value| (number(object, "start"), number(object, "length"));
        assert_eq!((of(&told), &told["block"]), (of(place), &block["block"]));
    }
    assert_eq!(offset, 6_000_000);
}

#[test]
fn a_chunk_is_found_by_the_beginning_of_its_id() {
    let sandbox = with_snapshot("diag_chunk");
    let at = store("diag_chunk");
    let run = sandbox.run(&["at", &at, "diag", "chunks", "-json", "latest:a"]);
    let id = text(&run.ended(0).object("chunk"), "chunk");
    for prefix in [&id, &id[..32], &id[..12]] {
        let copy = sandbox
            .run(&["at", &at, "diag", "chunk", "-json", prefix])
            .ended(0)
            .object("copy");
        assert_eq!(
            (text(&copy, "chunk"), number(&copy, "length")),
            (id.clone(), 5)
        );
        assert_eq!(copy["kind"], "data");
    }
    let shown = sandbox.run(&["at", &at, "diag", "chunk", &id]).ended(0);
    shown.prints("state:        good\n");
    let other = "0".repeat(64);
    for (prefix, code) in [(other.as_str(), 66), ("nothing", 64)] {
        sandbox
            .run(&["at", &at, "diag", "chunk", prefix])
            .ended(code);
    }
}

#[test]
fn a_directory_and_a_snapshot_tell_where_they_lie() {
    let sandbox = with_snapshot("diag_tree");
    let at = store("diag_tree");
    let tree = sandbox
        .run(&["at", &at, "diag", "tree", "-json", "latest"])
        .ended(0)
        .object("chunk");
    assert_eq!(number(&tree, "count"), 3);
    assert_eq!(
        (&tree["first"]["path"], &tree["last"]["path"]),
        (&"a".into(), &"sub".into())
    );
    let objects = sandbox
        .run(&["at", &at, "diag", "snapshots", "-json"])
        .ended(0);
    let object = objects.object("snapshot_object");
    let by_object = text(&object, "object");
    for name in ["latest", &text(&object, "snapshot")[..8], &by_object[..8]] {
        let one = sandbox
            .run(&["at", &at, "diag", "snapshot", "-json", name])
            .ended(0)
            .object("snapshot_object");
        assert_eq!(one, object);
    }
    let confused = sandbox.run(&["at", &at, "diag", "tree", "latest:a"]);
    confused.ended(1).says("use diag chunks for files");
    let confused = sandbox.run(&["at", &at, "diag", "chunks", "latest:sub"]);
    confused.ended(1).says("use diag tree for directories");
}

#[test]
fn a_flipped_bit_is_told_with_its_block_and_hides_no_other() {
    let sandbox = with_snapshot("diag_flipped_bit");
    let pack = largest_pack(&sandbox);
    let blocks = number(&pack, "blocks");
    assert!(blocks > 1, "{pack}");
    sandbox.damage_one_bit("st/packs");
    let id = text(&pack, "pack");
    let run = sandbox
        .run(&["at", "st", "diag", "-json", "pack", &id[..10]])
        .ended(65);
    let told = of_kind(&run, "block");
    let damaged = told.iter().filter(|block| block["is_damaged"] == true);
    assert_eq!((told.len() as u64, damaged.count()), (blocks, 1));
    let shown = sandbox.run(&["at", "st", "diag", "pack", &id]).ended(65);
    shown.prints("damaged").says(&format!("packs/{id}: block "));

    // The locations are known without reading the packs. Damage is detected only by reading.
    let words = ["at", "st", "diag", "chunks", "latest:big"];
    sandbox.run(&words).ended(0).says_nothing();
    let run = sandbox
        .run(&["at", "st", "diag", "chunks", "-json", "-read", "latest:big"])
        .ended(65);
    let chunks = of_kind(&run, "chunk");
    let (bad, good): (Vec<&Value>, Vec<&Value>) =
        chunks.iter().partition(|chunk| chunk["is_damaged"] == true);
    assert!(!bad.is_empty() && !good.is_empty(), "{chunks:?}");
    let words = ["at", "st", "diag", "chunk", &text(bad[0], "chunk")];
    let run = sandbox.run(&words).ended(65);
    run.prints("state:        damaged")
        .says("does not authenticate");
}

#[test]
fn a_missing_pack_is_named_by_whoever_needs_it() {
    let sandbox = with_snapshot("diag_missing");
    let id = text(&largest_pack(&sandbox), "pack");
    fs::remove_file(file_of(&sandbox, "packs", &id)).expect("a pack can be removed");
    let gap = sandbox
        .run(&["at", "st", "diag", "index", "-json"])
        .ended(65)
        .object("gap");
    assert_eq!(
        (text(&gap, "gap"), text(&gap, "object")),
        ("pack_missing".into(), id.clone())
    );
    let run = sandbox
        .run(&["at", "st", "diag", "chunks", "latest:big"])
        .ended(65);
    let run = run.says(&format!("pack {}: missing", &id[..8]));
    assert!(
        run.stdout().lines().count() > 3,
        "all are listed: {}",
        run.stdout()
    );
    sandbox
        .run(&["at", "st", "diag", "packs"])
        .ended(0)
        .says_nothing();
    sandbox.run(&["at", "st", "diag", "pack", &id]).ended(66);
}

#[test]
fn one_damaged_object_hides_no_other() {
    let sandbox = with_snapshot("diag_objects");
    sandbox.write("d/new", b"new");
    sandbox.backup("st", "d");
    let run = |words: &[&str]| sandbox.run(&[&["at", "st", "-json", "diag"], words].concat());
    let areas = [
        ("packs", "pack", "pack"),
        ("index", "index", "object"),
        ("snapshots", "snapshot_object", "object"),
    ];
    for (area, kind, member) in areas {
        let whole = of_kind(&run(&[area]).ended(0), kind);
        assert!(whole.len() > 1, "{area}: {whole:?}");
        let id = text(&whole[0], member);
        let path = file_of(&sandbox, area, &id);
        let bytes = fs::read(&path).expect("an object can be read");
        fs::remove_file(&path).expect("an object can be removed");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("an object can be written");
        let damaged = run(&[area]).ended(65);
        assert_eq!(of_kind(&damaged, kind), whole[1..], "{area}");
        assert_eq!(damaged.object("error")["path"], format!("{area}/{id}"));
        fs::write(&path, &bytes).expect("an object can be written");
        assert_eq!(of_kind(&run(&[area]).ended(0), kind).len(), whole.len());
    }
}

#[test]
fn the_cache_is_compared_with_the_index() {
    let sandbox = with_snapshot("diag_cache");
    let at = store("diag_cache");
    let cached = |words: &[&str]| {
        let run = sandbox.run(&[&["at", at.as_str(), "-json", "diag", "index"], words].concat());
        text(&run.ended(0).object("index"), "cached")
    };
    assert_eq!(cached(&[]), "yes");
    assert_eq!(cached(&["-cachedir", "elsewhere"]), "no");
    assert_eq!(
        cached(&["-cachedir", "elsewhere"]),
        "no",
        "looking fills no cache"
    );
    sandbox
        .run(&["at", &at, "cat", "latest:a", "-cachedir", "elsewhere"])
        .ended(0);
    assert_eq!(cached(&["-cachedir", "elsewhere"]), "yes");
}

#[test]
fn packs_that_no_index_object_tells_of_are_listed() {
    let sandbox = with_snapshot("diag_uncovered");
    let objects = sandbox
        .run(&["at", "st", "diag", "index", "-json"])
        .ended(0);
    let id = text(&objects.object("index"), "object");
    let packs = sandbox
        .run(&["at", "st", "diag", "packs", "-json"])
        .ended(0);
    fs::remove_file(file_of(&sandbox, "index", &id)).expect("an object can be removed");
    let run = sandbox
        .run(&["at", "st", "diag", "index", "-json"])
        .ended(0);
    let gaps = of_kind(&run, "gap");
    let of = |kind: &str| gaps.iter().filter(|gap| gap["gap"] == kind).count();
    assert_eq!(of("pack_in_no_index"), of_kind(&packs, "pack").len());
    assert_eq!(of("index_object_gone"), 1, "the cache knows it still");
    // Everything in them is found anyway.
    let run = sandbox.run(&["at", "st", "diag", "chunks", "-read", "latest:big"]);
    run.ended(0);
}

#[test]
fn an_id_must_be_one_and_of_one() {
    let sandbox = with_snapshot("diag_prefix");
    let at = store("diag_prefix");
    for index in 0..20 {
        sandbox.write("d/a", format!("{index}").as_bytes());
        sandbox.backup(&at, "d");
    }
    let run = sandbox.run(&["at", &at, "diag", "packs", "-json"]).ended(0);
    let ids: Vec<String> = of_kind(&run, "pack")
        .iter()
        .map(|pack| text(pack, "pack"))
        .collect();
    // There are 16 possible first digits, so among more than 16 names two begin with the same
    // digit.
    assert!(ids.len() > 16, "{ids:?}");
    let twins = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]);
    let twins = twins.expect("they are sorted, and more than there are digits");
    let run = sandbox
        .run(&["at", &at, "diag", "pack", &twins[0][..1]])
        .ended(64);
    run.says(&twins[0]).says(&twins[1]);
    sandbox.run(&["at", &at, "diag", "pack", "x"]).ended(64);
    sandbox
        .run(&["at", &at, "diag"])
        .ended(64)
        .says("needs one of: packs, pack");
}
