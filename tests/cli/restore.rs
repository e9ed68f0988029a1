//! Tests restoring files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Sandbox, binary, noise, store};

fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/a.txt", b"hello");
    sandbox.write("d/sub/b", b"below");
    sandbox.link("a.txt", "d/l");
    sandbox.backup(&store(name), "d");
    sandbox
}

#[test]
fn what_was_inside_lands_in_the_target() {
    let sandbox = with_snapshot("restore");
    let run = sandbox
        .run(&["at", &store("restore"), "restore", "-to", "out"])
        .ended(0);
    run.prints("restore: to out: 3 files, ");
    assert_eq!(sandbox.read("out/a.txt"), b"hello");
    assert_eq!(sandbox.read("out/sub/b"), b"below");
    let target = fs::read_link(sandbox.path("out/l")).expect("a link is a link");
    assert_eq!(target.as_os_str(), "a.txt");
}

#[test]
fn the_prefix_up_to_a_path_is_stripped() {
    let sandbox = with_snapshot("restore_path");
    let at = store("restore_path");
    let words = [
        "at",
        &at,
        "restore",
        "-to",
        "out",
        "latest:sub",
        "latest:a.txt",
    ];
    sandbox.run(&words).ended(0);
    assert_eq!(sandbox.read("out/b"), b"below");
    assert_eq!(sandbox.read("out/a.txt"), b"hello");
    assert!(!sandbox.path("out/sub").exists());
}

#[test]
fn the_usual_target_is_a_new_directory_named_after_the_time() {
    let sandbox = with_snapshot("restore_usual");
    let run = sandbox
        .run(&["at", &store("restore_usual"), "restore", "-json"])
        .ended(0);
    let summary = run.object("summary");
    let target = summary["target"].as_str().unwrap_or_default();
    assert!(
        target.starts_with("plakar-20") && target.ends_with('Z') && !target.contains(':'),
        "{target}"
    );
    assert_eq!(sandbox.read(&format!("{target}/a.txt")), b"hello");
}

#[test]
fn restoring_again_finds_everything_there() {
    let sandbox = with_snapshot("restore_again");
    let at = store("restore_again");
    sandbox.run(&["at", &at, "restore", "-to", "out"]).ended(0);
    sandbox.write("out/a.txt", b"HELLO, changed since");
    let run = sandbox.run(&["at", &at, "restore", "-to", "out"]).ended(0);
    run.prints("there already");
    assert_eq!(sandbox.read("out/a.txt"), b"hello");
}

#[test]
fn what_is_not_there_is_told() {
    let sandbox = with_snapshot("restore_nothing");
    let at = store("restore_nothing");
    let words = ["at", &at, "restore", "-to", "out", "latest:nowhere"];
    sandbox.run(&words).ended(66).says("no such file");
    let words = ["at", &at, "restore", "-to", "new", "0123456789"];
    sandbox
        .run(&words)
        .ended(66)
        .says("no snapshot begins with");
    assert!(!sandbox.path("new").exists(), "nothing is made for nothing");
}

#[test]
fn a_file_that_lost_bytes_is_told_and_the_others_are_restored() {
    let sandbox = Sandbox::with_store("restore_damaged");
    sandbox.write("d/large", &noise(100_000));
    sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    sandbox.write("d/small", b"fine");
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    let run = sandbox
        .run(&["at", "st", "restore", "-to", "out"])
        .ended(65);
    run.says("large: ").prints("1 error");
    assert_eq!(sandbox.read("out/small"), b"fine");
    assert!(!sandbox.path("out/large").exists(), "no wrong bytes");
}

/// More directories than file descriptors: pending directories must not be kept open.
#[test]
fn many_small_directories_need_few_descriptors() {
    const DIRECTORIES: usize = 1000;
    let sandbox = Sandbox::with_store("restore_descriptors");
    for number in 0..DIRECTORIES {
        sandbox.write(&format!("d/{number}/f"), b"small");
    }
    let at = store("restore_descriptors");
    let limited = |words: &str| {
        let plakar = binary();
        sandbox.run_shell(&format!("ulimit -n 256; exec '{plakar}' at '{at}' {words}"))
    };
    limited("backup d").ended(0).says_nothing();
    limited("restore -to out")
        .ended(0)
        .prints("1000 files, ")
        .says_nothing();
    for number in [0, DIRECTORIES - 1] {
        assert_eq!(sandbox.read(&format!("out/{number}/f")), b"small");
    }
}

#[test]
fn without_permissions_directories_get_what_the_umask_gives() {
    let sandbox = Sandbox::with_store("restore_umask");
    sandbox.write("d/sub/deep/f", b"far down");
    let private = fs::Permissions::from_mode(0o711);
    fs::set_permissions(sandbox.path("d/sub"), private).expect("a mode can be set");
    let at = store("restore_umask");
    sandbox.backup(&at, "d");
    let plakar = binary();
    for (mask, wanted) in [("022", 0o755), ("007", 0o770)] {
        let out = format!("out{mask}");
        let line =
            format!("umask {mask}; '{plakar}' at '{at}' restore -skip-permissions -to {out}");
        sandbox.run_shell(&line).ended(0).says_nothing();
        for path in ["", "/sub", "/sub/deep"] {
            let path = sandbox.path(&format!("{out}{path}"));
            let found = fs::metadata(&path).expect("it is restored");
            let mode = found.permissions().mode() & 0o7777;
            assert_eq!(mode, wanted, "{} with umask {mask}", path.display());
        }
        assert_eq!(sandbox.read(&format!("{out}/sub/deep/f")), b"far down");
        let of = |path: &str| {
            let found = fs::metadata(sandbox.path(path)).expect("it is there");
            found.modified().expect("it has a time")
        };
        assert_eq!(
            of(&format!("{out}/sub/deep")),
            of("d/sub/deep"),
            "its time is kept"
        );
    }
}
