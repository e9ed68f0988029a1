//! Tests every kind of damage to a cache directory.

#[path = "../../../tests/common/prerequisite.rs"]
mod prerequisite;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Index;
use super::testing::{id, pack, places};
use crate::error::Kind;
use crate::format::pack_table::PackTable;

fn tables(names: std::ops::Range<u64>) -> Vec<PackTable> {
    names
        .map(|name| pack(name, &[3 * name, 3 * name + 1, 3 * name + 2]))
        .collect()
}

/// A saved cache of 30 packs with 90 chunks, in two segments.
fn saved(directory: &Path) -> Vec<PackTable> {
    for half in 0..2 {
        let index = Index::open(Some(directory));
        index
            .add_object(id(!half), &tables(15 * half..15 * (half + 1)))
            .unwrap();
        index.save().unwrap();
    }
    tables(0..30)
}

fn files(directory: &Path, start: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let wanted = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(start)
    };
    paths.filter(wanted).collect()
}

/// Asserts that all answers of the index are correct, or that it reports damage.
fn never_lies(directory: &Path, tables: &[PackTable], what: &str) -> bool {
    let index = Index::open(Some(directory));
    let empty = index.covered().is_empty();
    for (chunk, place) in tables.iter().flat_map(places) {
        match index.lookup(&chunk) {
            Ok(Some(found)) => assert_eq!(found.place, place, "{what}: a wrong place"),
            Ok(None) => assert!(empty, "{what}: {chunk:?} is lost without an error"),
            Err(cause) => {
                assert_eq!(cause.kind(), Kind::Corrupt, "{what}: {cause}");
                assert!(index.damaged());
                return true;
            }
        }
    }
    for stranger in 1000..1020 {
        assert!(
            !matches!(index.lookup(&id(stranger)), Ok(Some(_))),
            "{what}: an invention"
        );
    }
    empty
}

#[test]
fn any_flipped_byte_is_harmless_or_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let tables = saved(directory.path());
    assert!(!never_lies(directory.path(), &tables, "sound"));
    let mut noticed = 0;
    for path in [
        files(directory.path(), "manifest"),
        files(directory.path(), "segment"),
    ]
    .concat()
    {
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).unwrap();
            let what = format!("byte {at} of {}", path.display());
            let damaged = never_lies(directory.path(), &tables, &what);
            assert!(damaged, "{what} goes unnoticed");
            noticed += 1;
        }
        fs::write(&path, sound).unwrap();
    }
    assert!(noticed > 2 * 4096);
}

#[test]
fn a_file_cut_anywhere_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let tables = saved(directory.path());
    for path in [
        files(directory.path(), "manifest"),
        files(directory.path(), "segment"),
    ]
    .concat()
    {
        let sound = fs::read(&path).unwrap();
        for length in (0..sound.len()).step_by(11) {
            fs::write(&path, &sound[..length]).unwrap();
            let what = format!("{} cut at {length}", path.display());
            assert!(never_lies(directory.path(), &tables, &what), "{what}");
        }
        fs::remove_file(&path).unwrap();
        assert!(never_lies(directory.path(), &tables, "a file is missing"));
        fs::write(&path, sound).unwrap();
    }
    assert!(!never_lies(directory.path(), &tables, "mended"));
}

#[test]
fn a_cache_damaged_while_open_is_cleared_and_built_again() {
    let directory = tempfile::tempdir().unwrap();
    let tables = saved(directory.path());
    let index = Index::open(Some(directory.path()));
    for path in files(directory.path(), "segment") {
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    assert!((0..90).any(|n| index.lookup(&id(n)).is_err()));
    assert!(index.damaged());
    assert_eq!(index.save().unwrap_err().kind(), Kind::Corrupt);
    index.clear();
    assert!(!index.damaged() && index.covered().is_empty());
    assert!(!index.contains(&id(1)).unwrap());
    index.add_object(id(1), &tables).unwrap();
    index.save().unwrap();
    assert!(!never_lies(directory.path(), &tables, "built again"));
}

#[test]
fn of_two_processes_the_last_wins_and_neither_lies() {
    let directory = tempfile::tempdir().unwrap();
    let all = saved(directory.path());
    let (one, two) = (
        Index::open(Some(directory.path())),
        Index::open(Some(directory.path())),
    );
    let (more, other) = (tables(30..40), tables(40..50));
    one.add_object(id(!30), &more).unwrap();
    two.add_object(id(!40), &other).unwrap();
    one.save().unwrap();
    two.save().unwrap();
    let found = |index: &Index, tables: &[PackTable]| {
        let expected = tables.iter().flat_map(places);
        expected
            .map(|(id, place)| (index.lookup(&id).unwrap(), place))
            .all(|(found, place)| found.is_some_and(|found| found.place == place))
    };
    assert!(found(&one, &all) && found(&one, &more) && found(&two, &other));
    let next = Index::open(Some(directory.path()));
    assert!(found(&next, &all) && found(&next, &other) && !next.covers(id(!30)));
    // The first process can still save: no file that it uses was deleted.
    one.add_object(id(!50), &tables(50..55)).unwrap();
    one.save().unwrap();
    assert!(found(&Index::open(Some(directory.path())), &more));
}

#[test]
fn a_process_killed_before_its_manifest_leaves_nothing_but_a_file_to_sweep() {
    let directory = tempfile::tempdir().unwrap();
    let all = saved(directory.path());
    let before = files(directory.path(), "segment").len();
    let left = directory.path().join("segment-0123456789abcdef");
    fs::write(&left, b"half a segm").unwrap();
    fs::write(directory.path().join("draft-0123456789abcdef"), b"PLKIDX01").unwrap();
    assert!(!never_lies(directory.path(), &all, "left-overs"));
    let index = Index::open(Some(directory.path()));
    index.add_object(id(5), &tables(60..61)).unwrap();
    index.save().unwrap();
    assert!(!left.exists() && files(directory.path(), "draft").is_empty());
    assert_eq!(files(directory.path(), "segment").len(), before + 1);
}

#[test]
fn packs_stored_but_never_published_are_not_believed_later() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::open_with(Some(directory.path()), 10);
    tables(0..20)
        .iter()
        .for_each(|table| index.insert(table).unwrap());
    index.save().unwrap();
    assert!(index.contains(&id(5)).unwrap(), "this process may");
    let next = Index::open(Some(directory.path()));
    assert!(!next.contains(&id(5)).unwrap());
    next.add_object(id(!1), &tables(0..20)).unwrap();
    assert_eq!(next.places(&id(5)).unwrap().len(), 1);
}

#[test]
fn a_directory_that_cannot_be_written_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let index = Index::open_with(Some(&file.join("cache")), 10);
    index.add_object(id(1), &tables(0..20)).unwrap();
    assert!((0..60).all(|n| index.contains(&id(n)).unwrap()));
    let cause = index.save().unwrap_err();
    assert!(
        cause.to_string().starts_with("save the index cache: "),
        "{cause}"
    );
    assert!(
        Index::open(None).save().is_ok(),
        "without a directory there is nothing to save"
    );
}

#[test]
fn a_full_disk_moves_the_cache_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    if !prerequisite::has_mounted(path, "size=64k") {
        return;
    }
    let index = Index::open_with(Some(path), 500);
    index.add_object(id(1), &tables(0..10)).unwrap();
    index.save().unwrap();
    let chunks = |name: u64| (name * 100..(name + 1) * 100).collect::<Vec<u64>>();
    let many: Vec<PackTable> = (100..150).map(|name| pack(name, &chunks(name))).collect();
    let outcome = index.add_object(id(2), &many);
    let found = (10_000..15_000).all(|n| index.contains(&id(n)).unwrap());
    let saved = index.save();
    let next = Index::open(Some(path));
    let (before, covered) = (next.contains(&id(5)), next.covered());
    drop((index, next));
    let unmounted = std::process::Command::new("umount").arg(path).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(outcome.is_ok() && found);
    assert_eq!(saved.unwrap_err().kind(), Kind::NoSpace);
    assert!(
        before.unwrap() && covered == HashSet::from([id(1)]),
        "what was saved stands"
    );
}
