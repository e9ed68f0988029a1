//! Tests printing the contents of stored files.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{Run, Sandbox, noise, store};

#[test]
fn files_are_printed_byte_for_byte_one_after_the_other() {
    let sandbox = Sandbox::with_store("cat");
    let at = store("cat");
    sandbox.write("d/large", &noise(5 << 20));
    sandbox.write("d/small", b"\x1b[2J\0");
    sandbox.write("d/empty", b"");
    sandbox.backup(&at, "d");
    let printed = File::create(sandbox.path("out")).expect("a file can be made");
    let words = [
        "at",
        &at,
        "-json",
        "cat",
        "latest:small",
        "latest:empty",
        "latest:large",
        "latest:small",
    ];
    Run::of(sandbox.command(&words).stdout(printed))
        .ended(0)
        .says_nothing();
    let expected = [b"\x1b[2J\0".as_slice(), &noise(5 << 20), b"\x1b[2J\0"].concat();
    assert!(sandbox.read("out") == expected);
}

#[test]
fn holes_are_zeros() {
    let sandbox = Sandbox::with_store("cat_holes");
    let at = store("cat_holes");
    sandbox.mkdir("d");
    let file = File::create(sandbox.path("d/sparse")).expect("a file can be made");
    file.set_len(3 << 20).expect("a file can be long");
    file.write_all_at(b"middle", 1 << 20)
        .expect("a file can be written");
    sandbox.backup(&at, "d");
    let printed = File::create(sandbox.path("out")).expect("a file can be made");
    Run::of(
        sandbox
            .command(&["at", &at, "cat", "latest:sparse"])
            .stdout(printed),
    )
    .ended(0);
    assert!(sandbox.read("out") == sandbox.read("d/sparse"));
}

#[test]
fn a_damaged_file_gives_no_wrong_bytes() {
    let sandbox = Sandbox::with_store("cat_damaged");
    sandbox.write("d/a", &noise(100_000));
    sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    let run = sandbox.run(&["at", "st", "cat", "latest:a"]).ended(65);
    run.prints_nothing().says("does not authenticate");
}

#[test]
fn what_is_no_file_is_told_and_the_others_are_printed() {
    let sandbox = Sandbox::with_store("cat_not");
    let at = store("cat_not");
    sandbox.write("d/a", b"hello");
    sandbox.link("a", "d/l");
    sandbox.backup(&at, "d");
    sandbox
        .run(&["at", &at, "cat", "latest"])
        .ended(1)
        .says("is a directory: name a file in it, or use plakar ls, ");
    sandbox
        .run(&["at", &at, "cat", "latest:l"])
        .ended(1)
        .says("is a symbolic link to a");
    sandbox
        .run(&["at", &at, "cat", "latest:b"])
        .ended(66)
        .says("no such file");
    let several = sandbox
        .run(&["at", &at, "cat", "latest:b", "latest:a"])
        .ended(3);
    several.prints_just("hello").says("no such file");
    sandbox
        .run(&["at", &at, "cat"])
        .ended(64)
        .says("needs a SNAPSHOT:PATH");
}

/// `bytes` compressed with gzip.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

/// `bytes` compressed with zstd.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("memory can be written to")
}

#[test]
fn what_is_compressed_is_decompressed_each_by_itself() {
    let sandbox = Sandbox::with_store("cat_decompress");
    let at = store("cat_decompress");
    let large = noise(3 << 20);
    sandbox.write("d/gz", &gzip(b"from gzip\n"));
    sandbox.write("d/large.gz", &gzip(&large));
    sandbox.write("d/plain", b"plain\n");
    sandbox.write("d/short", b"\x1f");
    sandbox.write("d/two.gz", &[gzip(b"one, "), gzip(b"two\n")].concat());
    sandbox.write("d/two.zst", &[zstd(b"three, "), zstd(b"four\n")].concat());
    sandbox.write("d/zst", &zstd(b"from zstd\n"));
    sandbox.write("d/empty", b"");
    sandbox.backup(&at, "d");
    let names = ["gz", "plain", "two.gz", "empty", "two.zst", "zst"];
    let names = names.map(|name| format!("latest:{name}"));
    let mut words = vec!["at", &at, "cat", "-decompress"];
    words.extend(names.iter().map(String::as_str));
    sandbox
        .run(&words)
        .ended(0)
        .prints_just("from gzip\nplain\none, two\nthree, four\nfrom zstd\n")
        .says_nothing();
    let print = |name: &str| {
        let printed = File::create(sandbox.path("out")).expect("a file can be made");
        let word = format!("latest:{name}");
        let words = ["at", &at, "cat", "-decompress", &word];
        Run::of(sandbox.command(&words).stdout(printed)).ended(0);
        sandbox.read("out")
    };
    assert!(print("large.gz") == large);
    assert_eq!(print("short"), b"\x1f");
    let stored = ["at", &at, "cat", "latest:plain"];
    sandbox.run(&stored).ended(0).prints_just("plain\n");
}

#[test]
fn a_broken_stream_is_an_error_that_names_the_file_and_not_the_store() {
    let sandbox = Sandbox::with_store("cat_broken");
    let at = store("cat_broken");
    let text = b"a line that repeats itself\n".repeat(10_000);
    for (name, whole) in [("gz", gzip(&text)), ("zst", zstd(&text))] {
        sandbox.write(&format!("d/{name}.cut"), &whole[..whole.len() / 2]);
        let mut flipped = whole.clone();
        // Both formats end with a checksum of the contents. In gzip the length follows it.
        let at = whole.len() - if name == "gz" { 8 } else { 1 };
        flipped[at] ^= 1;
        sandbox.write(&format!("d/{name}.flip"), &flipped);
        sandbox.write(&format!("d/{name}.junk"), &[&whole[..], b"junk"].concat());
    }
    sandbox.write("d/z-plain", b"plain");
    sandbox.backup(&at, "d");
    for name in ["gz.cut", "gz.flip", "gz.junk", "zst.cut", "zst.junk"] {
        let word = format!("latest:{name}");
        let run = sandbox
            .run(&["at", &at, "cat", "-decompress", &word])
            .ended(1);
        run.says(&format!("/d/{name}: cannot decompress its "));
    }
    let words = [
        "at",
        &at,
        "cat",
        "-decompress",
        "latest:gz.cut",
        "latest:z-plain",
    ];
    let run = sandbox.run(&words).ended(3);
    assert!(run.stdout().ends_with("plain"), "the next one is printed");
    sandbox.damage_one_bit("st/packs");
    let run = sandbox.run(&["at", &at, "cat", "-decompress", "latest:z-plain"]);
    run.ended(65).prints_nothing().says("does not authenticate");
}

/// A few hundred kilobytes that decompress to 300 MiB.
#[test]
fn a_bomb_takes_no_memory() {
    let sandbox = Sandbox::with_store("cat_bomb");
    let at = store("cat_bomb");
    let bytes = 300 << 20;
    let zeros = vec![0; bytes];
    sandbox.write("d/a.gz", &gzip(&zeros));
    sandbox.write("d/a.zst", &zstd(&zeros));
    drop(zeros);
    sandbox.backup(&at, "d");
    for name in ["latest:a.gz", "latest:a.zst"] {
        let words = ["at", &at, "cat", "-decompress", name];
        let mut child = sandbox
            .command(&words)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be run");
        let mut out = child.stdout.take().expect("it is a pipe");
        // The program blocks until the last megabyte is read.
        let most = (&mut out).take(bytes as u64 - (1 << 20));
        let count = std::io::copy(&mut { most }, &mut std::io::sink()).expect("a pipe can be read");
        assert_eq!(count, bytes as u64 - (1 << 20), "{name}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.expect("it is running");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        // The key derivation uses 64 MiB of it.
        assert!(
            kib.is_some_and(|kib| kib < 160 << 10),
            "{name}: {kib:?} KiB"
        );
        std::io::copy(&mut out, &mut std::io::sink()).expect("a pipe can be read");
        assert!(child.wait().expect("it ends").success());
    }
    sandbox.discard();
}

#[test]
fn a_file_that_was_backed_up_by_itself_is_called_by_its_name() {
    let sandbox = Sandbox::with_store("cat_single");
    let at = store("cat_single");
    sandbox.write("d/a", b"hello");
    sandbox.write("d/b", b"not backed up");
    sandbox.backup(&at, "d/a");
    let cat = |path: &str| sandbox.run(&["at", &at, "cat", &format!("latest:{path}")]);
    cat("a").ended(0).prints_just("hello");
    cat("./a").ended(0).prints_just("hello");
    cat("").ended(0).prints_just("hello");
    cat("b").ended(66);
}
