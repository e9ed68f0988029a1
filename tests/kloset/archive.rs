//! Tests archives of partly damaged snapshots: the members after the damage are intact.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use plakar::error::{Error, Kind, Result};
use plakar::format::entry::{Content, Entry};
use plakar::kloset::blob::BlobReader;
use plakar::kloset::content::push as stored;
use plakar::kloset::content::reader::Contents;
use plakar::kloset::snapshot::Snapshot;
use plakar::ops::archive::{Format, Names, Options, Summary, run};
use plakar::store::Store;
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

use crate::forge::{Forge, directory, file};
use crate::harness::*;

fn archive(
    store: &Arc<dyn Store>,
    snapshot: &Snapshot,
    format: Format,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> (Result<Summary>, Arc<Watcher>) {
    let (kloset, watcher) = open(store);
    let options = Options {
        format,
        names: Names::FromRoot,
        interrupt: Interrupt::default(),
    };
    (run(&kloset, snapshot, b"/", &options, sink), watcher)
}

/// The tar archive of a root that contains `entries`, the summary, and the watcher.
fn tar_of(store: &Arc<dyn Store>, entries: &[Entry]) -> (Vec<u8>, Summary, Arc<Watcher>) {
    let forge = Forge::new(store);
    let snapshot = forge.publish(forge.tree(entries));
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let (summary, watcher) = archive(store, &snapshot, Format::Tar, &mut sink);
    (bytes, summary.unwrap(), watcher)
}

/// The contents of the member `name`, extracted with tar.
fn member(archive: &[u8], name: &str) -> Vec<u8> {
    let directory = scratch();
    let path = directory.path().join("out.tar");
    fs::write(&path, archive).unwrap();
    let output = Command::new("tar")
        .args(["-xOf"])
        .arg(&path)
        .arg(name)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The recorded length of a file is the number of bytes that were read. Therefore contents of a
/// different length are damage, even if the file changed during the backup. All commands agree on
/// this.
#[test]
fn contents_of_another_length_are_damage_even_if_the_file_changed() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let changed = |name, size_bytes| Entry {
        changed: true,
        ..file(name, size_bytes, forge.content(&[b"twelve bytes"]))
    };
    let mut sparse = changed("c-sparse", 3 << 20);
    sparse.holes = std::iter::once(0..2 << 20).collect();
    let last = file("z-last", 5, forge.content(&[b"whole"]));
    let entries = [
        changed("a-shorter", 6),
        changed("b-longer", 700),
        sparse,
        last,
    ];
    let (bytes, summary, _) = tar_of(&store, &entries);
    assert_eq!(
        (summary.files, summary.errors, summary.is_damaged),
        (1, 3, true)
    );
    assert_eq!(member(&bytes, "a-shorter"), [0; 6]);
    let longer = member(&bytes, "b-longer");
    assert_eq!((longer.len(), &longer[..13]), (700, &b"twelve bytes\0"[..]));
    let sparse = member(&bytes, "c-sparse");
    assert_eq!(sparse.len(), 3 << 20);
    assert_eq!(&sparse[2 << 20..][..13], b"twelve bytes\0");
    assert_eq!(member(&bytes, "z-last"), b"whole");
    let target = scratch();
    let snapshot = forge.publish(forge.tree(&entries));
    let restored = restore_into(&open(&store).0, &snapshot, target.path()).unwrap();
    assert_eq!(
        (restored.files, restored.errors, restored.is_damaged),
        (1, 3, true)
    );
    let (kloset, watcher) = open(&store);
    let blobs = BlobReader::new(&kloset, 1 << 20).unwrap();
    for entry in &entries[..3] {
        let error = stored::read(&blobs, entry, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        let mut contents = Contents::new(&blobs, entry).unwrap();
        let read = contents.read(&mut vec![0; 4 << 20]);
        assert_eq!(read.unwrap_err().kind(), Kind::Corrupt);
    }
    assert!(watcher.heard().is_empty());
}

#[test]
fn what_is_lost_is_told_once_and_hides_nothing() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let lost = Content {
        ids: vec![Id([7; 32])],
        depth: 0,
    };
    let entries = [
        directory("a-lost", lost.clone()),
        file("b-lost", 10, lost),
        file("c-short", 10, forge.content(&[b"not ten"])),
        file("z-last", 5, forge.content(&[b"whole"])),
    ];
    let (bytes, summary, watcher) = tar_of(&store, &entries);
    assert_eq!((summary.files, summary.directories), (1, 1));
    assert!(
        summary.errors == 3 && summary.is_damaged,
        "{:?}",
        watcher.heard()
    );
    for path in ["/a-lost: ", "/b-lost: ", "/c-short: "] {
        assert!(watcher.says(&[path]), "{path} in {:?}", watcher.heard());
    }
    assert_eq!(member(&bytes, "b-lost"), [0; 10]);
    assert_eq!(member(&bytes, "c-short"), b"not ten\0\0\0");
    assert_eq!(member(&bytes, "z-last"), b"whole");
}

#[test]
fn names_of_one_inode_that_differ_are_files_of_their_own() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let name = |name, contents: &[u8]| {
        let mut entry = file(name, contents.len() as u64, forge.content(&[contents]));
        (entry.metadata.links, entry.metadata.inode) = (3, 9);
        entry
    };
    let entries = [
        name("a", b"first"),
        name("b", b"first"),
        name("c", b"second"),
    ];
    let (bytes, ..) = tar_of(&store, &entries);
    assert_eq!(member(&bytes, "c"), b"second");
    let is_link = |block: &[u8]| block.starts_with(b"b\0") && block[156] == b'1';
    assert!(bytes.chunks(512).any(is_link));
}

#[test]
fn a_sink_that_takes_no_more_ends_it_whatever_its_reason() {
    let store = shared(&new_store());
    let forge = Forge::new(&store);
    let contents = noise(1, 2 << 20);
    let entry = file("a", contents.len() as u64, forge.content(&[&contents]));
    let snapshot = forge.publish(forge.tree(&[entry]));
    for format in [Format::Tar, Format::Tarball, Format::Zip] {
        for kind in [Kind::Corrupt, Kind::NotFound, Kind::NoSpace] {
            let mut calls = 0;
            let mut sink = |_: &[u8]| {
                calls += 1;
                Err(Error::new(kind, "takes no more"))
            };
            let (outcome, watcher) = archive(&store, &snapshot, format, &mut sink);
            let error = outcome.unwrap_err().to_string();
            assert!(error.ends_with("takes no more"), "{error}");
            assert_eq!((calls, watcher.heard().len()), (1, 0), "{format:?}");
        }
    }
}
