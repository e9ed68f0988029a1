//! Tests that stores of every released format remain readable. They are in tests/fixtures.
//!
//! The store of format 1 was created by version 0.1.0, with the cheapest possible key derivation
//! and two snapshots of a small tree. A version control system does not record empty directories,
//! so some directories of the store are missing, as after a copy by some tools.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Sandbox;

/// The passphrase of the store.
const PASSPHRASE: &str = "a fixture of format 1";
/// The first snapshot. The second one has an additional line in `dir/f39`.
const FIRST: &str = "4d44c4a2";
/// The second snapshot.
const SECOND: &str = "ce59bd93";

/// A sandbox with a copy of the store of format 1 at `st`.
fn with_old_store(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).with("PLAKAR_PASSPHRASE", PASSPHRASE);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    let status = Command::new("cp")
        .arg("-r")
        .arg(fixture)
        .arg(sandbox.path("st"))
        .status()
        .expect("there is cp");
    assert!(status.success(), "the fixture is copied");
    sandbox
}

#[test]
fn a_store_of_format_1_checks_clean_and_lists() {
    let sandbox = with_old_store("format_1_check");
    sandbox
        .run(&["at", "st", "check"])
        .ended(0)
        .says_nothing()
        .prints("intact: 2 snapshots");
    sandbox
        .run(&["at", "st", "ls"])
        .ended(0)
        .prints("2026-11-22T01:00:00Z   ce59bd93")
        .prints("2026-11-22T00:00:00Z   4d44c4a2");
    let info = sandbox.run(&["at", "st", "info", "-json", FIRST]).ended(0);
    let info = info.object("snapshot");
    assert_eq!(info["name"], "first", "{info}");
    assert_eq!(
        info["tags"],
        serde_json::json!(["fixture", "old"]),
        "{info}"
    );
}

#[test]
fn a_store_of_format_1_restores_byte_for_byte() {
    let sandbox = with_old_store("format_1_restore");
    for (snapshot, last) in [(FIRST, ""), (SECOND, "more\n")] {
        // Another test covers owners, because only root can change them.
        let words = [
            "at",
            "st",
            "restore",
            "-skip-permissions",
            "-to",
            snapshot,
            snapshot,
        ];
        sandbox.run(&words).ended(0);
        let root = sandbox.path(snapshot);
        let read =
            |path: &str| fs::read(root.join(path)).unwrap_or_else(|why| panic!("{path}: {why}"));
        let numbers: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(read("hello.txt"), b"hello, world\n");
        assert_eq!(read("empty"), b"");
        assert_eq!(read("numbers.txt"), numbers.as_bytes());
        for number in 0..40 {
            let last = if number == 39 { last } else { "" };
            let expected = format!("file {number}\n").repeat(number * 7) + last;
            assert_eq!(read(&format!("dir/f{number:02}")), expected.as_bytes());
        }
        let odd = PathBuf::from(std::ffi::OsStr::from_bytes(b"dir/\xff\n name/file"));
        assert_eq!(
            fs::read(root.join(odd)).expect("it has an odd name"),
            b"odd\0bytes"
        );
        check_sparse(&read("sparse"));
    }
}

/// The expected contents: 300,000 zero bytes, except for three letters.
fn check_sparse(bytes: &[u8]) {
    let mut expected = vec![0; 300_000];
    expected[200_000..200_003].copy_from_slice(b"end");
    assert!(bytes == expected, "the file with holes");
}

#[test]
fn a_store_of_format_1_restores_metadata() {
    let sandbox = with_old_store("format_1_metadata");
    // An ordinary user cannot change the owner of f02. This is a warning and not a failure.
    sandbox
        .run(&["at", "st", "restore", "-to", "out", FIRST])
        .ended(0);
    let look = |path: &str| {
        let metadata = fs::symlink_metadata(sandbox.path("out").join(path));
        metadata.unwrap_or_else(|why| panic!("{path}: {why}"))
    };
    assert_eq!(look("hello.txt").mode() & 0o7777, 0o640);
    assert_eq!(look("hello.txt").ino(), look("dir/again.txt").ino());
    assert!(look("dir/pipe").file_type().is_fifo());
    assert!(look("dir/empty-dir").is_dir());
    let target = fs::read_link(sandbox.path("out/dir/link")).expect("it is a link");
    assert_eq!(target, Path::new("../hello.txt"));
    assert_eq!(look("dir/link").mtime(), 981_173_106);
    assert_eq!(
        (look("dir/f03").mtime(), look("dir/f03").mtime_nsec()),
        (-14_182_940, 123_456_789)
    );
    assert_eq!(
        (look("dir/f04").mtime(), look("dir/f04").mtime_nsec()),
        (5_680_281_600, 500_000_000)
    );
    assert_eq!(look("dir").mtime(), 1_577_836_800);
    assert!(
        look("sparse").blocks() * 512 < 300_000,
        "its holes are holes"
    );
}

#[test]
fn a_store_of_format_1_takes_new_snapshots() {
    let sandbox = with_old_store("format_1_backup");
    sandbox.write("new.txt", b"from a later version");
    sandbox.backup("st", "new.txt");
    sandbox
        .run(&["at", "st", "check"])
        .ended(0)
        .prints("intact: 3 snapshots");
}
