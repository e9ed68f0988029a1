//! Tests archives of damaged data, on full disks, and with readers that close the pipe.

use super::*;

#[test]
fn damage_moves_nothing_that_follows() {
    let sandbox = Sandbox::with_store("archive_damaged");
    sandbox.write("d/before", b"intact");
    sandbox.write("d/large", &noise(9_000_000));
    sandbox.backup("st", "d/large");
    sandbox.damage_one_bit("st/packs");
    sandbox.write("d/z-after", b"intact too");
    sandbox.backup("st", "d");
    for output in ["out.tar", "out.tar.gz", "out.zip"] {
        let words = ["-json", "-rebase", "-output", output, "latest"];
        let run = archived(&sandbox, "archive_damaged", &words).ended(65);
        assert_eq!(run.object("summary")["errors"], 1);
        let told = run.object("error").to_string();
        assert!(
            told.contains("/d/large") && told.contains("zeros stand for them"),
            "{told}"
        );
    }
    let back = |words: &[&str]| tool(&sandbox, words);
    sandbox.mkdir("tar");
    back(&["tar", "-xpf", "out.tar", "-C", "tar"]);
    let has_unzip = has_program("unzip");
    if has_unzip {
        back(&["unzip", "-qq", "out.zip", "-d", "zip"]);
    }
    for out in ["tar", "zip"].into_iter().take(1 + usize::from(has_unzip)) {
        let read = |name: &str| sandbox.read(&format!("{out}/{name}"));
        assert_eq!(
            (read("before"), read("z-after")),
            (b"intact".to_vec(), b"intact too".to_vec())
        );
        let (original, damaged) = (sandbox.read("d/large"), read("large"));
        assert_eq!(original.len(), damaged.len());
        let same = original
            .iter()
            .zip(&damaged)
            .take_while(|(one, other)| one == other)
            .count();
        assert!((1 << 20..8 << 20).contains(&same), "{same}");
        assert!(damaged[same..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_was_never_read_is_left_out_and_told() {
    if !has_root() {
        return;
    }
    let sandbox = Sandbox::with_store("archive_unread");
    let at = store("archive_unread");
    sandbox.write("d/a", b"a");
    let words = ["at", &at, "backup", "d", "/proc/self/mem"];
    sandbox.run(&words).ended(3);
    let run = archived(
        &sandbox,
        "archive_unread",
        &["-output", "out.tar", "latest"],
    )
    .ended(3);
    run.says("could not be backed up at the time")
        .prints(", 1 error in");
    let listed = members(&sandbox, "out.tar");
    assert!(
        listed.iter().any(|name| name.ends_with("/d/a")),
        "{listed:?}"
    );
    assert!(
        !listed.iter().any(|name| name.ends_with("mem")),
        "{listed:?}"
    );
}

#[test]
fn nothing_is_replaced_and_mistakes_are_told() {
    let sandbox = Sandbox::with_store("archive_usage");
    sandbox.write("d/a", b"a");
    sandbox.write("taken.tar", b"mine");
    let at = store("archive_usage");
    sandbox.backup(&at, "d");
    let run = |words: &[&str]| archived(&sandbox, "archive_usage", words);
    let taken = run(&["-output", "taken.tar", "latest"]).ended(1);
    taken.says("archive: -output taken.tar: there is something of this name already");
    assert_eq!(sandbox.read("taken.tar"), b"mine");
    run(&["-output", "d", "latest"])
        .ended(1)
        .says("-output d: this is a directory: name a file in it");
    for output in ["new/", ""] {
        run(&["-output", output, "latest"])
            .ended(64)
            .says("this names no file");
    }
    run(&["-output", "x.tar.xz", "latest"])
        .ended(64)
        .says("-output: unknown extension .xz: end the name in .tar.gz, .tar, .zip or .tgz, or give -format");
    run(&["-output", "x.rar", "latest"])
        .ended(64)
        .prints_nothing()
        .says("-output: unknown extension .rar: ");
    run(&["-output", "x.rar", "-format", "zip", "latest"]).ended(0);
    run(&["-output", "x.tgz", "latest"]).ended(0);
    assert!(sandbox.read("x.tgz").starts_with(b"\x1f\x8b"));
    assert!(sandbox.read("x.rar").starts_with(b"PK"));
    run(&["-output", "X.ZIP", "latest"]).ended(0);
    assert!(sandbox.read("X.ZIP").starts_with(b"PK"));
    run(&["-format", "tgz", "latest"])
        .ended(64)
        .says("known are tarball, tar, zip");
    run(&["-output", "no/where.tar", "latest"])
        .ended(66)
        .says("no/where.tar");
    run(&[]).ended(64).says("needs a SNAPSHOT");
    run(&["latest", "latest"])
        .ended(64)
        .says("unexpected argument");
    run(&["-json", "-output", "-", "latest"])
        .ended(64)
        .says("-json wants standard output too");
    run(&["-stdio", "-output", "-", "latest"])
        .ended(64)
        .says("-stdio wants");
    run(&["-output", "x.tar", "0123"]).ended(66);
    run(&["-output", "x.tar", "latest:b"])
        .ended(66)
        .says("no such file");
    let typed = ["at", &at, "archive", "-output", "-", "latest"];
    sandbox
        .run_on_terminal(&typed)
        .ended(64)
        .prints("standard output is a terminal");
    assert!(left_over(&sandbox).is_empty(), "{:?}", left_over(&sandbox));
    let usual = run(&["-json", "latest"]).ended(0).object("summary");
    let output = usual["output"].as_str().expect("it is text");
    assert!(
        output.starts_with("plakar-20") && output.ends_with("Z.tar.gz"),
        "{usual}"
    );
    let size_bytes = sandbox.read(output).len();
    assert_eq!(
        (&usual["files"], &usual["archive_bytes"]),
        (&1.into(), &size_bytes.into())
    );
}

/// All archives in the sandbox, complete or not.
fn left_over(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(".")).expect("it can be listed");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names
        .filter(|name| {
            name.starts_with(".plakar-") || name.starts_with("plakar-") || name == "x.tar"
        })
        .collect()
}

#[test]
fn an_interrupt_leaves_nothing() {
    let sandbox = Sandbox::with_store("archive_interrupt");
    let at = store("archive_interrupt");
    sandbox.mkdir("d");
    // Fast to back up, but gigabytes to compress.
    let file = File::create(sandbox.path("d/holes")).expect("a file can be made");
    file.set_len(100 << 30).expect("a length can be set");
    sandbox.backup(&at, "d");
    for signal in [Signal::INT, Signal::TERM] {
        let words = ["at", &at, "archive", "-output", "x.zip", "latest"];
        let mut running = sandbox.start(&words);
        let begun = |_: &_| !left_over(&sandbox).is_empty() && weight_of_parts(&sandbox) > 0;
        assert!(running.until(begun), "it is at work");
        running.signal(signal);
        running
            .end()
            .ended(130)
            .prints_nothing()
            .says("interrupted\n");
        assert!(left_over(&sandbox).is_empty() && !sandbox.path("x.zip").exists());
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    let sandbox = Sandbox::with_store("archive_full");
    sandbox.write("d/large", &noise(9_000_000));
    sandbox.write("d/other", b"never come to");
    sandbox.backup(&store("archive_full"), "d");
    let Some(_disk) = Mounted::tmpfs(&sandbox, "disk", 4 << 20) else {
        return;
    };
    for format in ["tar", "tarball", "zip"] {
        let words = ["-format", format, "-output", "disk/out", "latest"];
        let run = archived(&sandbox, "archive_full", &words)
            .ended(1)
            .prints_nothing();
        let run = run.says("write disk/out: no space left on device");
        assert_eq!(run.stderr().lines().count(), 1);
        let mut left = fs::read_dir(sandbox.path("disk")).expect("it can be listed");
        assert!(left.next().is_none());
    }
}

/// The number of bytes in partially written files.
fn weight_of_parts(sandbox: &Sandbox) -> u64 {
    let parts = left_over(sandbox)
        .into_iter()
        .map(|name| sandbox.path(&name));
    parts
        .filter_map(|path| fs::metadata(path).ok())
        .map(|part| part.len())
        .sum()
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let sandbox = Sandbox::with_store("archive_head");
    let at = store("archive_head");
    sandbox.write("d/large", &noise(9_000_000));
    sandbox.backup(&at, "d");
    let binary = crate::harness::binary();
    let line = format!("'{binary}' at {at} archive -output - latest | /usr/bin/head -c 2");
    let run = sandbox.run_shell(&line).ended(0).says_nothing();
    assert!(run.stdout().starts_with('\x1f'));
}
