//! Compares the index with a simple map through spills, merges and reopening.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::testing::{Random, id, pack, places};
use super::{Index, Known, PackInfo, Place};
use crate::format::pack_table::PackTable;
use crate::util::Id;

/// The expected contents of the index: the saved and unsaved objects, and their packs.
#[derive(Default)]
struct Model {
    objects: HashMap<Id, Vec<PackTable>>,
    own: Vec<PackTable>,
}

impl Model {
    fn places(&self) -> HashMap<Id, HashSet<Place>> {
        let mut all: HashMap<Id, HashSet<Place>> = HashMap::new();
        for table in self.objects.values().flatten().chain(&self.own) {
            for (chunk, place) in places(table) {
                all.entry(chunk).or_default().insert(place);
            }
        }
        all
    }

    fn agrees_with(&self, index: &Index, chunks: u64) {
        let model = self.places();
        let mut ordinals = HashSet::new();
        for chunk in (0..chunks).map(id) {
            let places = index.places(&chunk).unwrap();
            let found = index.lookup(&chunk).unwrap();
            let set: HashSet<Place> = places.iter().copied().collect();
            assert_eq!(set.len(), places.len(), "a place is named twice");
            assert_eq!(
                set,
                model.get(&chunk).cloned().unwrap_or_default(),
                "chunk {chunk:?}"
            );
            assert_eq!(found.is_some(), !set.is_empty());
            if let Some(found) = found {
                assert!(set.contains(&found.place));
                assert!(found.ordinal < index.records() && ordinals.insert(found.ordinal));
            }
        }
    }
}

/// Up to twelve packs with up to sixty chunks each, some of which exist already.
fn random_packs(random: &mut Random, chunks: u64) -> Vec<PackTable> {
    let count = 1 + random.below(12);
    let chunk = |random: &mut Random| random.below(chunks);
    let one = |random: &mut Random| {
        let length = random.below(60);
        let mut picked: Vec<u64> = (0..length).map(|_| chunk(random)).collect();
        picked.dedup();
        pack(random.next(), &picked)
    };
    (0..count).map(|_| one(random)).collect()
}

fn reopen(directory: &Path) -> Index {
    Index::open_with(Some(directory), 300)
}

#[test]
fn it_knows_what_a_map_knows() {
    const CHUNKS: u64 = 3000;
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let (mut index, mut model, mut saved) = (reopen(directory.path()), Model::default(), 0);
        let mut random = Random(seed);
        for step in 0..150 {
            let object = id(random.next());
            match random.below(10) {
                0..=3 => {
                    let tables = random_packs(&mut random, CHUNKS);
                    index.add_object(object, &tables).unwrap();
                    model.objects.insert(object, tables);
                }
                4 | 5 => {
                    let tables = random_packs(&mut random, CHUNKS);
                    tables.iter().for_each(|table| index.insert(table).unwrap());
                    model.own.extend(tables);
                }
                6 => {
                    let packs: Vec<Id> = model.own.iter().map(|table| table.pack).collect();
                    index.cover(object, &packs);
                    model.objects.insert(object, std::mem::take(&mut model.own));
                }
                7 if step % 3 == 0 => {
                    let doomed = model.objects.keys().min().copied();
                    model.objects.retain(|object, _| Some(*object) != doomed);
                    index.retain_objects(&model.objects.keys().copied().collect());
                }
                8 => index.save().unwrap(),
                _ => {
                    index.save().unwrap();
                    saved += 1;
                    drop(std::mem::replace(&mut index, reopen(directory.path())));
                    // Packs that are not covered may never have been published.
                    model.own.clear();
                }
            }
            assert_eq!(index.covered(), model.objects.keys().copied().collect());
            if step % 15 == 0 {
                model.agrees_with(&index, CHUNKS);
            }
        }
        assert!(saved > 0);
        model.agrees_with(&index, CHUNKS);
    }
}

#[test]
fn misses_mostly_cost_no_read_and_hits_one() {
    let index = Index::open_with(None, 5000);
    for name in 0..400 {
        let chunks: Vec<u64> = (name * 100..(name + 1) * 100).collect();
        index.insert(&pack(name, &chunks)).unwrap();
    }
    let before = index.page_reads();
    (0..10_000).for_each(|n| assert!(!index.contains(&id(1 << 40 | n)).unwrap()));
    let misses = index.page_reads() - before;
    assert!(misses < 1000, "{misses} reads for 10000 misses");
    (0..10_000).for_each(|n| assert!(index.contains(&id(n)).unwrap()));
    let hits = index.page_reads() - before - misses;
    assert!(hits < 11_500, "{hits} reads for 10000 hits");
}

#[test]
fn many_copies_of_one_chunk_are_all_found() {
    let index = Index::open_with(None, 100);
    let tables: Vec<PackTable> = (0..500).map(|name| pack(name, &[name + 10, 7])).collect();
    index.add_object(id(1), &tables).unwrap();
    assert_eq!(index.places(&id(7)).unwrap().len(), 500);
    index.presume_absent();
    assert_eq!(index.mark_present(&tables[499].pack, 1 << 24), Known::Yes);
    assert_eq!(index.mark_present(&tables[498].pack, 9), Known::Yes);
    assert_eq!(index.mark_present(&id(1), 9), Known::No);
    assert_eq!(
        index.lookup(&id(7)).unwrap().unwrap().place.pack,
        tables[499].pack
    );
}

#[test]
fn hidden_packs_are_hidden_from_this_process_only() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (pack(1, &[1, 2]), pack(2, &[2, 3]));
    let index = reopen(directory.path());
    index.exclude_packs(&HashSet::from([first.pack]));
    index
        .add_object(id(9), &[first.clone(), second.clone()])
        .unwrap();
    assert!(!index.contains(&id(1)).unwrap(), "excluded before it came");
    assert!(index.contains(&id(2)).unwrap(), "the other copy counts");
    index.presume_absent();
    index.mark_present(&first.pack, first.size_bytes);
    assert_eq!(index.packs_in_use().count(), 0);
    index.save().unwrap();
    let packs: Vec<PackInfo> = reopen(directory.path()).packs_in_use().collect();
    assert_eq!(packs.len(), 2);
    assert_eq!((packs[0].id, packs[0].kind), (first.pack, first.kind));
}

#[test]
fn the_dead_leave_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let index = reopen(directory.path());
    for object in 0..20 {
        let of = |n: u64| pack(object * 10 + n, &[n, object, object * 1000 + n]);
        index
            .add_object(id(object), &(0..10).map(of).collect::<Vec<_>>())
            .unwrap();
    }
    index.save().unwrap();
    let full = index.records();
    index.retain_objects(&HashSet::from([id(3), id(4)]));
    index.save().unwrap();
    assert!(
        index.records() <= full / 9,
        "{} of {full} records",
        index.records()
    );
    let again = reopen(directory.path());
    assert_eq!(again.packs_in_use().count(), 20);
    // Numbers of dead packs are reused. Old records must not become visible.
    again.add_object(id(77), &[pack(5000, &[1])]).unwrap();
    assert_eq!(again.places(&id(1)).unwrap().len(), 3);
    assert!(!again.contains(&id(5001)).unwrap());
}

#[test]
fn nothing_is_stored_twice_when_an_object_covers_what_was_inserted() {
    let index = Index::open_with(None, 1000);
    let tables: Vec<PackTable> = (0..10)
        .map(|name| pack(name, &[name, name + 100]))
        .collect();
    tables.iter().for_each(|table| index.insert(table).unwrap());
    index.add_object(id(1), &tables).unwrap();
    index.add_object(id(2), &tables).unwrap();
    assert_eq!(index.records(), 20);
    index.cover(id(3), &[id(12345)]);
    assert!(!index.covers(id(3)), "of that pack nothing is known");
}

#[test]
fn impossible_tables_are_refused_whole() {
    let index = Index::open_with(None, 1000);
    let mut wrong = pack(1, &[1]);
    wrong.blocks[0].sealed_bytes = u32::MAX;
    assert!(index.add_object(id(1), &[pack(2, &[2]), wrong]).is_err());
    assert!(!index.contains(&id(2)).unwrap() && !index.damaged());
}

#[test]
fn threads_find_what_others_insert_while_it_is_spilled_and_merged() {
    let index = Index::open_with(None, 200);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let index = &index;
            scope.spawn(move || {
                for n in 0..300 {
                    let name = thread * 1000 + n;
                    index.insert(&pack(name, &[name, 1 << 20 | name])).unwrap();
                    let earlier = thread * 1000 + n / 2;
                    assert!(index.contains(&id(name)).unwrap());
                    assert!(index.contains(&id(1 << 20 | earlier)).unwrap());
                    assert!(!index.contains(&id(1 << 30 | n)).unwrap());
                }
            });
        }
    });
    assert_eq!(index.records(), 2400);
}

#[test]
fn memory_stays_below_two_bytes_a_chunk() {
    const CHUNKS: u64 = 2_000_000;
    let directory = tempfile::tempdir().unwrap();
    let index = Index::open(Some(directory.path()));
    for object in 0..CHUNKS / (64 * 64) + 1 {
        let chunks = |name: u64| (name * 64..(name + 1) * 64).collect::<Vec<u64>>();
        let packs = object * 64..(object + 1) * 64;
        let tables: Vec<PackTable> = packs.map(|name| pack(name, &chunks(name))).collect();
        index.add_object(id(!object), &tables).unwrap();
    }
    index.save().unwrap();
    for index in [&index, &Index::open(Some(directory.path()))] {
        let (memory, records) = (index.memory_bytes() as u64, index.records());
        assert!(records >= CHUNKS);
        assert!(memory <= 2 * records, "{memory} bytes for {records} chunks");
        assert!(
            (0..CHUNKS)
                .step_by(997)
                .all(|n| index.contains(&id(n)).unwrap())
        );
    }
}
