//! Tests forged index objects with wrong information about packs: the footers of packs take
//! precedence.
//!
//! A backup that finds a chunk in such an index does not store it. A check compares index objects
//! with footers, and a repair replaces those that differ.

use std::sync::Arc;

use plakar::format::pack_table::{PackKind, PackTable};
use plakar::kloset::blob::BlobReader;
use plakar::kloset::index_object;
use plakar::kloset::tree::chunk_ids;
use plakar::ops::repair::Mode;
use plakar::ops::select;
use plakar::store::{Area, Store};
use plakar::util::Id;

use crate::forge::Forge;
use crate::harness::*;
use crate::repair::repair;
use crate::scene::{Scene, scene};

/// Replaces the index data about the intact packs by the result of `lie`.
fn with_lying_index(lie: impl Fn(&mut Vec<PackTable>)) {
    for keep_honest in [false, true] {
        let scene = scene();
        let mut tables = scene.forge.tables();
        lie(&mut tables);
        if !keep_honest {
            let honest = objects(&*scene.store, Area::Index);
            honest
                .iter()
                .for_each(|id| scene.store.delete(Area::Index, *id).unwrap());
        }
        index_object::publish(&scene.forge.kloset, &tables).unwrap();
        scene.assert_honest_fine("in spite of a lying index");
        let (summary, watcher) = check(&scene.store);
        assert_eq!(summary.damaged_snapshots, 0, "{:?}", watcher.heard());
        assert!(summary.damaged_objects > 0, "a check finds nothing");
        check_targets(&scene);
        repair(&scene.store, Mode::Apply);
        let (summary, watcher) = check(&scene.store);
        assert!(!summary.is_damaged(), "repaired: {:?}", watcher.heard());
        scene.survives_maintenance("in spite of a lying index");
    }
}

/// Checks only the intact snapshot.
fn check_targets(scene: &Scene) {
    use plakar::ops::check::{Target, run};
    let (kloset, watcher) = open(&scene.store);
    let stored = snapshot(&kloset, scene.honest).unwrap();
    let path = stored.snapshot.roots[0].clone();
    let summary = run(&kloset, Some(&[Target { stored, path }]), &check_options()).unwrap();
    assert_eq!(summary.damaged_snapshots, 0, "{:?}", watcher.heard());
}

#[test]
fn an_index_that_lies_about_lengths_misleads_nobody() {
    with_lying_index(|tables| {
        for chunk in tables
            .iter_mut()
            .flat_map(|table| &mut table.blocks)
            .flat_map(|block| &mut block.chunks)
        {
            chunk.length += 1;
        }
    });
}

#[test]
fn an_index_that_lies_about_places_misleads_nobody() {
    with_lying_index(|tables| {
        for block in tables.iter_mut().flat_map(|table| &mut table.blocks) {
            block.sealed_bytes -= 1;
        }
    });
    with_lying_index(|tables| {
        tables
            .iter_mut()
            .flat_map(|table| &mut table.blocks)
            .for_each(|block| block.chunks.reverse());
    });
}

#[test]
fn an_index_that_lies_about_packs_misleads_nobody() {
    with_lying_index(|tables| {
        let first = tables[0].pack;
        tables[0].pack = tables[1].pack;
        tables[1].pack = first;
    });
    with_lying_index(|tables| tables.iter_mut().for_each(|table| table.pack = Id([4; 32])));
}

#[test]
fn an_index_that_hides_chunks_hides_nothing() {
    with_lying_index(|tables| tables.iter_mut().for_each(|table| table.blocks.clear()));
    with_lying_index(|tables| {
        tables
            .iter_mut()
            .flat_map(|table| &mut table.blocks)
            .for_each(|block| {
                block.chunks.pop();
            });
    });
}

#[test]
fn a_large_file_is_never_pieced_together_wrongly() {
    let (store, tree) = (shared(&new_store()), scratch());
    std::fs::write(tree.path().join("large"), noise(6, 20 << 20)).unwrap();
    let options = plakar::ops::backup::Options {
        workers: 1,
        ..options(tree.path())
    };
    let source = plakar::connector::LocalSource::new().unwrap();
    let id = backup_from(&store, &source, &options).unwrap().snapshot;
    let forge = Forge::new(&store);
    let mut tables = forge.tables();
    // The first chunk is longer and the last one shorter: the sum is correct, but all offsets in
    // between are wrong.
    let data = |table: &&mut PackTable| table.kind == PackKind::Data;
    let mut chunks: Vec<_> = tables
        .iter_mut()
        .filter(data)
        .flat_map(|table| &mut table.blocks)
        .flat_map(|block| &mut block.chunks)
        .collect();
    let names = chunk_order(&store, id);
    for chunk in &mut chunks {
        let wrong = [(names[0], 1000), (names[names.len() - 1], -1000)];
        if let Some((_, by)) = wrong.iter().find(|(name, _)| *name == chunk.id) {
            chunk.length = chunk.length.checked_add_signed(*by).unwrap();
        }
    }
    objects(&*store, Area::Index)
        .iter()
        .for_each(|index| store.delete(Area::Index, *index).unwrap());
    index_object::publish(&forge.kloset, &tables).unwrap();
    let (kloset, watcher) = open(&store);
    let restored = restore(&kloset, &snapshot(&kloset, id).unwrap().snapshot);
    assert_eq!(restored.errors(), 1, "{:?}", watcher.heard());
    assert!(
        watcher.says(&["large", "lies about the lengths"]),
        "{:?}",
        watcher.heard()
    );
    assert!(restored.listing.is_empty());
}

/// The chunks of the only file in the snapshot `id`, in order.
fn chunk_order(store: &Arc<dyn Store>, id: Id) -> Vec<Id> {
    let (kloset, _) = open(store);
    let stored = snapshot(&kloset, id).unwrap().snapshot;
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    let file = select::entry(&blobs, &stored, &[&stored.roots[0][..], b"/large"].concat()).unwrap();
    chunk_ids(&blobs, &file.content).unwrap()
}
