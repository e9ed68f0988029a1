//! Tests malicious objects created with the key: nothing is written outside of the target, nothing
//! hangs or panics, and other snapshots can be restored.

#![allow(clippy::single_range_in_vec_init)] // holes are lists of ranges, of one too

use std::fs;
use std::process::Command;

use plakar::connector::FileKind;
use plakar::format::entry::{Content, Entry, Totals};
use plakar::format::seal::Part;
use plakar::kloset::index_object;
use plakar::kloset::snapshot::Snapshot;
use plakar::store::Area;
use plakar::util::Id;

use crate::forge::*;
use crate::harness::*;
use crate::scene::{Scene, scene};

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../a",
        "..",
        ".",
        "",
        "/a",
        "sub/a",
        "a\0b",
        &"n".repeat(5000),
    ] {
        let scene = scene();
        let content = scene.forge.content(&[b"poison"]);
        let forged = scene
            .forge
            .publish(scene.forge.tree(&[file(name, 6, content)]));
        let found = scene.assert_refused(&forged, "impossible name");
        assert!(found.is_empty(), "{name:?} made {found:?}");
    }
}

#[test]
fn a_directory_behind_a_link_of_the_same_name_is_refused() {
    let scene = scene();
    let inner = scene
        .forge
        .tree(&[file("a", 6, scene.forge.content(&[b"poison"]))]);
    let forged = scene.forge.publish(
        scene
            .forge
            .tree(&[link("x", ".."), directory("x", inner.clone())]),
    );
    scene.assert_refused(&forged, "out of order");
    // The names are in two chunks of one tree.
    let (one, other) = (
        scene.forge.tree(&[link("x", "..")]),
        scene.forge.tree(&[directory("x", inner)]),
    );
    let forged = scene.forge.publish(Content {
        ids: [one.ids, other.ids].concat(),
        depth: 0,
    });
    scene.assert_refused(&forged, "out of order");
}

#[test]
fn entries_out_of_order_do_not_hide_those_before() {
    let scene = scene();
    let file = |name| file(name, 4, scene.forge.content(&[b"good"]));
    let forged =
        scene.forge.publish(
            scene
                .forge
                .tree(&[file("b"), file("a"), file("c"), file("c")]),
        );
    let found = scene.assert_refused(&forged, "out of order");
    assert_eq!(found[&b"b"[..]].1, b"good");
}

#[test]
fn a_file_whose_size_lies_is_not_restored() {
    let scene = scene();
    let content = scene.forge.content(&[b"twelve bytes"]);
    for size in [0, 11, 13, 1 << 20, 20 << 20, 1 << 45, u64::MAX] {
        let forged = scene
            .forge
            .publish(scene.forge.tree(&[file("f", size, content.clone())]));
        let found = scene.assert_refused(&forged, "its content has");
        assert!(found.is_empty(), "{size}: {:?}", found.keys());
    }
}

#[test]
fn holes_that_lie_are_refused() {
    let scene = scene();
    let content = scene.forge.content(&[b"twelve bytes"]);
    let all = [
        vec![0..u64::MAX],
        vec![5..6, 5..7],
        vec![3..5, 1..2],
        vec![0..13],
        vec![12..14],
    ];
    for holes in all {
        let lying = Entry {
            holes: holes.clone(),
            ..file("f", 12, content.clone())
        };
        let forged = scene.forge.publish(scene.forge.tree(&[lying]));
        assert!(scene.assert_refused(&forged, "").is_empty(), "{holes:?}");
    }
}

#[test]
fn totals_and_sizes_beyond_all_bounds_do_no_harm() {
    let scene = scene();
    let beyond = Totals {
        files: u64::MAX,
        directories: u64::MAX,
        bytes: u64::MAX,
    };
    let huge = |name| entry(name, FileKind::Fifo, u64::MAX);
    let inner = Entry {
        below: beyond,
        ..directory("d", scene.forge.tree(&[huge("p"), huge("q")]))
    };
    let tree = scene.forge.tree(&[huge("a"), huge("b"), inner]);
    let forged = scene.forge.publish_root(Entry {
        below: beyond,
        ..directory("root", tree)
    });
    let (found, told) = scene.restored(&forged);
    assert_eq!(found.len(), 5, "{told}");
    check(&scene.store);
    backup(&scene.store, scene.tree.path()).unwrap();
}

#[test]
fn lists_that_stand_for_more_than_any_disk_holds_end() {
    let scene = scene();
    let chunk = scene.forge.chunk(b"twelve bytes");
    let empty = scene.forge.chunk(b"");
    for (last, depth) in [(chunk, 1), (chunk, 8), (empty, 8), (empty, 1)] {
        let bomb = scene.forge.list_bomb(last, 1000, depth);
        for size in [12, 17 << 20] {
            let forged = scene
                .forge
                .publish(scene.forge.tree(&[file("f", size, bomb.clone())]));
            assert!(scene.assert_refused(&forged, "").is_empty());
        }
    }
    let bomb = scene.forge.list_bomb(chunk, 1000, 8);
    let forged = scene.forge.publish(bomb);
    scene.assert_refused(&forged, "");
}

#[test]
fn a_list_bomb_over_files_already_there_ends() {
    let scene = scene();
    let bomb = scene.forge.list_bomb(scene.forge.chunk(b""), 1000, 8);
    let forged = scene.forge.publish(scene.forge.tree(&[file("f", 3, bomb)]));
    let target = scratch();
    fs::write(target.path().join("f"), "abc").unwrap();
    let (kloset, _) = open(&scene.store);
    assert_eq!(
        restore_into(&kloset, &forged, target.path())
            .unwrap()
            .errors,
        1
    );
    assert_eq!(fs::read(target.path().join("f")).unwrap(), b"abc");
}

#[test]
fn lists_too_deep_or_broken_are_refused() {
    let scene = scene();
    let broken = scene.forge.chunk(&[7; 33]);
    for content in [
        Content {
            ids: vec![broken],
            depth: 9,
        },
        Content {
            ids: vec![broken],
            depth: 1,
        },
    ] {
        let forged = scene
            .forge
            .publish(scene.forge.tree(&[file("f", 12, content)]));
        scene.assert_refused(&forged, "");
    }
}

#[test]
fn directories_deeper_than_any_stack_are_survived() {
    let scene = scene();
    let mut tree = scene
        .forge
        .tree(&[file("f", 4, scene.forge.content(&[b"good"]))]);
    let mut below = totals(&tree.ids);
    let mut chunks = Vec::new();
    for _ in 0..30_000 {
        let mut bytes = Vec::new();
        let outer = Entry {
            below,
            ..directory("d", tree.clone())
        };
        outer.encode(&mut bytes);
        below = outer.totals();
        tree = Content {
            ids: vec![scene.forge.kloset.chunk_id(&bytes)],
            depth: 0,
        };
        chunks.push(bytes);
    }
    scene.forge.chunks(&chunks);
    scene.forge.publish(tree);
    let (summary, watcher) = check(&scene.store);
    assert!(
        summary.is_damaged() && watcher.says(&["directories deep"]),
        "{summary:?}"
    );
    scene.assert_honest_fine("beside a deep one");
}

/// A snapshot of one file whose only chunk is in a manually constructed block.
fn with_block(scene: &Scene, sealed: Vec<u8>, length: u32) -> Snapshot {
    let id = Id([length as u8; 32]);
    scene.forge.pack(
        std::slice::from_ref(&sealed),
        &[block_table(&sealed, id, length)],
    );
    let content = Content {
        ids: vec![id],
        depth: 0,
    };
    scene
        .forge
        .publish(scene.forge.tree(&[file("f", length.into(), content)]))
}

#[test]
fn blocks_that_lie_about_what_they_hold_are_refused() {
    let scene = scene();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let blocks = [
        scene.forge.block(1, 100, &bomb),
        scene.forge.block(1, 8 << 20, &bomb),
        scene.forge.block(1, u32::MAX, &bomb),
        scene.forge.block(0, 100, b"too short"),
        scene.forge.block(0, 5, b"too long"),
        scene.forge.block(9, 5, b"which"),
        b"not sealed".to_vec(),
    ];
    for (number, block) in blocks.into_iter().enumerate() {
        let forged = with_block(&scene, block, 200 + number as u32);
        assert!(
            scene.assert_refused(&forged, "read pack").is_empty(),
            "block {number}"
        );
    }
}

#[test]
fn footers_that_lie_do_not_take_others_with_them() {
    let scene = scene();
    let sealed = scene.forge.block(0, 4, b"good");
    let table = |sealed_bytes, length| {
        let mut table = block_table(&sealed, Id([1; 32]), length);
        table.sealed_bytes = sealed_bytes;
        table
    };
    let length = sealed.len() as u32;
    let all = [
        vec![table(length, 4), table(length, 4)],
        vec![table(length / 2, 4)],
        vec![table(length, 9 << 20)],
        vec![table(u32::MAX, 4)],
        vec![table(length, 5)],
        vec![],
    ];
    for claimed in all {
        scene.forge.pack(std::slice::from_ref(&sealed), &claimed);
    }
    scene
        .forge
        .pack_with_footer(std::slice::from_ref(&sealed), b"");
    scene.forge.pack_with_footer(
        &[sealed],
        &[
            0x82, 0x01, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
    );
    scene.assert_honest_fine("with an index");
    for id in objects(&*scene.store, Area::Index) {
        scene.store.delete(Area::Index, id).unwrap();
    }
    scene.assert_honest_fine("by footers");
    assert!(check(&scene.store).0.is_damaged());
    backup(&scene.store, scene.tree.path()).unwrap();
}

#[test]
fn counts_beyond_all_memory_are_refused() {
    let scene = scene();
    for key in [0, 3, 14, 16] {
        for count in [1 << 20, 1 << 40, usize::MAX] {
            let body = endless_array(key, count);
            scene.forge.body(Area::Snapshots, Part::Snapshot, &body);
            scene.forge.body(Area::Index, Part::Index, &body);
        }
    }
    for body in [
        &b""[..],
        &[0xbf],
        &[0xa1, 0x04, 0x41, 0x9f],
        &[0x9f; 100_000],
        &[0xbb, 255, 255, 255, 255, 255, 255, 255, 255],
    ] {
        scene.forge.body(Area::Snapshots, Part::Snapshot, body);
        scene.forge.body(Area::Index, Part::Index, body);
    }
    scene.assert_honest_fine("beside absurd counts");
    let (summary, watcher) = check(&scene.store);
    assert!(summary.damaged_snapshots >= 10, "{summary:?}");
    assert!(
        !watcher
            .heard()
            .iter()
            .any(|heard| heard.starts_with(&scene.honest.short()))
    );
    backup(&scene.store, scene.tree.path()).unwrap();
}

#[test]
fn a_chunk_of_countless_entries_is_refused() {
    let scene = scene();
    let smallest = [0xa2, 0x00, 0x41, b'a', 0x01, 0x00];
    let swollen = scene.forge.content(&[&smallest.repeat(1_300_000)]);
    scene.assert_refused(&scene.forge.publish(swollen), "too many entries");
}

#[test]
fn poison_does_not_take_all_memory() {
    for test in [
        "a_chunk_of_countless_entries_is_refused",
        "blocks_that_lie_about_what_they_hold_are_refused",
        "counts_beyond_all_memory_are_refused",
        "footers_that_lie_do_not_take_others_with_them",
        "lists_that_stand_for_more_than_any_disk_holds_end",
    ] {
        // The limit applies to address space, most of which is used for stacks and sparsely used
        // buffers.
        let output = Command::new("prlimit")
            .arg(format!("--as={}", 640 << 20))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("poison::{test}")])
            .env("MALLOC_ARENA_MAX", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{test}: {said}{stderr}"
        );
    }
}

#[test]
fn a_snapshot_whose_root_is_absurd_harms_nobody() {
    let scene = scene();
    let missing = Content {
        ids: vec![Id([9; 32])],
        depth: 0,
    };
    scene.assert_refused(&scene.forge.publish(missing), "is in no pack");
    let garbage = scene.forge.content(&[&noise(1, 500)]);
    scene.assert_refused(&scene.forge.publish(garbage), "CBOR");
    let no_directory = scene
        .forge
        .publish_root(file("root", 0, Content::default()));
    let (kloset, watcher) = open(&scene.store);
    assert!(snapshot(&kloset, no_directory.id).is_none());
    assert!(
        watcher.says(&["without id or root directory"]),
        "{:?}",
        watcher.heard()
    );
}

#[test]
fn no_pack_goes_for_a_claim_that_there_is_another_copy() {
    use plakar::kloset::pack::read_table;
    for indexed in [false, true] {
        let scene = scene();
        let honest = objects(&*scene.store, Area::Packs);
        let mut claims = Vec::new();
        for pack in &honest {
            let table = read_table(&*scene.store, scene.forge.kloset.sealer(), *pack).unwrap();
            let (mut sealed, mut claimed) = (Vec::new(), Vec::new());
            for chunk in table.blocks.iter().flat_map(|block| &block.chunks) {
                let nothing = vec![0; chunk.length as usize];
                let block = scene.forge.block(0, chunk.length, &nothing);
                claimed.push(block_table(&block, chunk.id, chunk.length));
                sealed.push(block);
            }
            claims.push(scene.forge.pack(&sealed, &claimed));
        }
        let mut forged: Vec<_> = claims.iter().map(|pack| (Area::Packs, *pack)).collect();
        if indexed {
            // The index contains the claims of the forged packs, and states that the intact packs
            // are empty.
            let of =
                |pack: &Id| read_table(&*scene.store, scene.forge.kloset.sealer(), *pack).unwrap();
            let mut tables: Vec<_> = claims.iter().chain(&honest).map(of).collect();
            let lies = tables.iter_mut().skip(claims.len());
            lies.for_each(|table| table.blocks.clear());
            let told = index_object::publish(&scene.forge.kloset, &tables).unwrap();
            forged.push((Area::Index, told.0));
            for _ in 0..4 {
                // The order in which index objects are read does not matter: the footer of a pack
                // takes precedence.
                let _ = scene.maintain();
            }
        } else {
            scene.survives_maintenance("claims");
        }
        for (area, id) in forged {
            scene.store.delete(area, id).unwrap();
        }
        scene.assert_honest_fine("without what was forged");
    }
}

#[test]
fn a_tree_that_another_snapshot_takes_for_contents_is_followed_all_the_same() {
    // Snapshots are followed in any order.
    for _ in 0..8 {
        let scene = scene();
        let (kloset, _) = open(&scene.store);
        let honest = snapshot(&kloset, scene.honest).unwrap().snapshot;
        let blobs = plakar::kloset::blob::BlobReader::new(&kloset, 1 << 20).unwrap();
        let (mut trees, mut waiting) = (Vec::new(), vec![honest.root]);
        while let Some(directory) = waiting.pop() {
            trees.extend(directory.tree.ids.iter().copied());
            let reader = plakar::kloset::tree::TreeReader::new(&blobs, &directory);
            waiting.extend(reader.entries().map(|entry| entry.unwrap()));
        }
        let contents = Content {
            ids: trees,
            depth: 0,
        };
        let tree = scene.forge.tree(&[file("taken", 1, contents)]);
        scene.forge.publish(tree);
        scene.survives_maintenance("taken for contents");
    }
}
