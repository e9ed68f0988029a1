//! Index objects made with the key that do not tell what is in packs: footers are believed instead.
//!
//! A backup that finds a chunk in such an index does not store it. Only a check, which
//! believes nothing but footers and blocks, tells of that.

use plakar::kloset::index_object;
use plakar::kloset::table::PackTable;
use plakar::store::{Area, Store};
use plakar::util::Id;

use crate::harness::*;
use crate::poison::{Scene, scene};

/// Replaces what the index tells of the honest packs by what `lie` makes of it.
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
        check_targets(&scene);
    }
}

/// Checks the honest snapshot alone.
fn check_targets(scene: &Scene) {
    use plakar::kloset::check::{Target, run};
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
