//! Tests showing the properties of stores and snapshots.

use crate::harness::{Sandbox, noise, store};

#[test]
fn a_store_tells_its_facts_without_a_passphrase() {
    let sandbox = Sandbox::with_store("info");
    let at = store("info");
    sandbox.write("d/a", b"hello");
    sandbox.backup(&at, "d");
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    let run = sandbox.run(&["at", &at, "info"]).ended(0);
    let run = run.says("without a passphrase, what the snapshots hold is not known");
    run.prints("encryption:   XChaCha20-Poly1305\n")
        .prints("snapshots:    1\n")
        .prints("argon2id m=32768 KiB t=6 p=1");
    let facts = sandbox
        .run(&["at", &at, "info", "-json"])
        .ended(0)
        .object("store");
    assert_eq!(
        (&facts["is_encrypted"], &facts["snapshots"]),
        (&true.into(), &1.into())
    );
    assert_eq!(facts["areas"].as_array().map(Vec::len), Some(5));
    sandbox
        .run(&["at", "nothing", "info"])
        .ended(66)
        .says("there is no store here");
}

#[test]
fn a_snapshot_tells_all_that_was_recorded() {
    let sandbox = Sandbox::with_store("info_snapshot");
    let at = store("info_snapshot");
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(&at, "d");
    let run = sandbox
        .run(&["at", &at, "info", &id[..8]])
        .ended(0)
        .says_nothing();
    run.prints(&format!("snapshot:     {id}\n"))
        .prints("files:        1\n")
        .prints("errors:       0");
    let facts = sandbox
        .run(&["at", &at, "info", "-json", "latest"])
        .ended(0)
        .object("snapshot");
    assert_eq!(
        (&facts["snapshot"], &facts["bytes"]),
        (&id.into(), &5.into())
    );
    sandbox
        .run(&["at", &at, "info", "-errors"])
        .ended(0)
        .silent();
}

/// The total size of all files under `path`.
fn total(path: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("a directory can be listed");
    let lengths = entries.map(|entry| {
        let path = entry.expect("a directory can be listed").path();
        let metadata = path.symlink_metadata().expect("it is there");
        match metadata.is_dir() {
            true => total(&path),
            false => metadata.len(),
        }
    });
    lengths.sum()
}

#[test]
fn sizes_and_their_ratio_are_those_on_the_disk() {
    let sandbox = Sandbox::with_store("info_sizes");
    sandbox.write("d/noise", &noise(300_000));
    sandbox.write("d/same", &[7; 500_000]);
    for _ in 0..3 {
        sandbox.backup("st", "d");
    }
    let facts = sandbox
        .run(&["at", "st", "info", "-json"])
        .ended(0)
        .says_nothing()
        .object("store");
    let (stored, logical) = (total(&sandbox.path("st")), 3 * total(&sandbox.path("d")));
    assert_eq!(
        (&facts["bytes"], &facts["logical_bytes"]),
        (&stored.into(), &logical.into())
    );
    let ratio = facts["ratio"].as_f64().expect("there is a ratio");
    assert!(
        (ratio - logical as f64 / stored as f64).abs() < 0.01,
        "{facts}"
    );
    assert_eq!(
        (&facts["snapshots"], &facts["files"]),
        (&3.into(), &6.into())
    );
    assert!(facts["oldest"].as_str() <= facts["newest"].as_str() && facts["oldest"].is_string());
    // du reports this and the size of the directories.
    let du = std::process::Command::new("du")
        .args(["--apparent-size", "-b", "-s", "st/packs"])
        .current_dir(sandbox.path("."))
        .output();
    let packs = &facts["areas"][1]["bytes"]
        .as_u64()
        .expect("packs are the second area");
    if let Ok(output) = du {
        let text = String::from_utf8_lossy(&output.stdout);
        let told: u64 = text
            .split('\t')
            .next()
            .and_then(|size| size.parse().ok())
            .expect("du tells");
        assert!(
            (*packs..packs + (2 << 20)).contains(&told),
            "{packs} against {told}"
        );
    }
    let shown = sandbox.run(&["at", "st", "info"]).ended(0);
    shown.prints(":1, files to what is stored\n");
}

#[test]
fn a_wrong_passphrase_takes_nothing_from_the_facts() {
    let sandbox = Sandbox::with_store("info_denied").with("PLAKAR_PASSPHRASE", "wrong");
    let run = sandbox.run(&["at", &store("info_denied"), "info"]).ended(0);
    run.prints("snapshots:    0\n").says("wrong passphrase");
}

#[test]
fn an_entry_tells_all_that_was_recorded() {
    let sandbox = Sandbox::with_store("info_entry");
    let at = store("info_entry");
    sandbox.write("d/a", b"hello");
    sandbox.link("a", "d/to\x1b");
    let sparse = std::fs::File::create(sandbox.path("d/sparse")).expect("a file can be made");
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 1 << 20).expect("it can be written");
    let id = sandbox.backup(&at, "d");
    let entry = |path: &str| {
        let word = format!("{id}:{path}");
        let run = sandbox.run(&["at", &at, "info", "-json", &word]);
        run.ended(0).says_nothing().object("entry")
    };
    let file = entry("a");
    let metadata = sandbox.path("d/a").metadata().expect("it is there");
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    assert_eq!(
        (&file["inode"], &file["chunks"]),
        (&inode.into(), &1.into())
    );
    assert_eq!(
        (&file["snapshot"], &file["content_bytes"]),
        (&id.clone().into(), &5.into())
    );
    let sparse = entry("sparse");
    assert_eq!(sparse["size_bytes"], (1 << 20) + 3);
    let holes = sparse["holes"].as_array().expect("holes are a list");
    let hole_bytes: u64 = holes.iter().filter_map(|hole| hole[1].as_u64()).sum();
    let content = sparse["content_bytes"]
        .as_u64()
        .expect("a file has content");
    assert_eq!(hole_bytes + content, (1 << 20) + 3, "{sparse}");
    assert_eq!(entry("")["below"]["files"], 3);
    let word = format!("{id}:to\x1b");
    let shown = sandbox.run(&["at", &at, "info", &word]).ended(0);
    shown.prints("target:       a\n").prints("/d/to\\u{1b}\n");
    let word = format!("{id}:nowhere");
    sandbox
        .run(&["at", &at, "info", &word])
        .ended(66)
        .says("no such file");
    let word = format!("{id}:a");
    let run = sandbox.run(&["at", &at, "info", "-errors", &word]);
    run.ended(64).says("-errors is about whole snapshots");
}

#[test]
fn what_could_not_be_backed_up_is_listed() {
    let sandbox = Sandbox::with_store("info_errors");
    let at = store("info_errors");
    // Not even root can read the first page of memory, because it is not mapped.
    let run = sandbox.run(&["at", &at, "backup", "-quiet", "/proc/self/mem"]);
    run.ended(3);
    let facts = sandbox
        .run(&["at", &at, "info", "-json", "latest"])
        .ended(0);
    assert_eq!(facts.object("snapshot")["errors"], 1);
    let listed = sandbox.run(&["at", &at, "info", "-errors"]).ended(0);
    let said = |printed: &str, before: &str| {
        // The text comes from the C library.
        let words = ["input/output error", "I/O error"].map(|why| format!("{before}{why}\n"));
        words.iter().any(|words| printed.contains(words))
    };
    let printed = listed.stdout();
    assert!(said(&printed, "/mem: read: "), "{printed}");
    let objects = sandbox.run(&["at", &at, "info", "-errors", "-json"]);
    let error = objects.ended(0).object("recorded_error");
    let path = error["path"].as_str().expect("an error has a path");
    let word = format!("latest:{path}");
    let entry = sandbox.run(&["at", &at, "info", &word]).ended(0);
    let printed = entry.stdout();
    assert!(said(&printed, "problem:      read: "), "{printed}");
}
