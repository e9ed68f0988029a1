//! Tests finding files by name.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::harness::{Sandbox, binary, store};

#[test]
fn files_are_found_in_every_snapshot_the_newest_first() {
    let sandbox = Sandbox::with_store("locate");
    let at = store("locate");
    sandbox.write("d/etc/passwd", b"1");
    sandbox.write("d/etc/ssh/Config", b"1");
    let first = sandbox.backup(&at, "d");
    sandbox.write("d/home/passwd", b"2");
    let second = sandbox.backup(&at, "d");
    let d = sandbox.path("d").display().to_string();
    let line = |id: &str, path: &str| format!("{}:{d}/{path}\n", &id[..8]);
    let find = |words: &[&str]| sandbox.run(&[&["at", &at, "locate"], words].concat());
    let (old, new) = (line(&first, "etc/passwd"), line(&second, "etc/passwd"));
    let home = line(&second, "home/passwd");
    find(&["passwd"])
        .ended(0)
        .prints_just(&[&new[..], &home, &old].concat());
    find(&["etc/p*", "-latest"]).ended(0).prints_just(&new);
    find(&[&format!("{d}/*/passwd"), "-snapshot", &first])
        .ended(0)
        .prints_just(&old);
    let below = format!("{second}:home");
    find(&["-snapshot", &below, "*"])
        .ended(0)
        .prints_just(&[&line(&second, "home")[..], &home].concat());
    find(&["config"]).ended(1).silent();
    find(&["-i", "config", "-latest"])
        .ended(0)
        .prints_just(&line(&second, "etc/ssh/Config"));
}

#[test]
fn an_answer_is_no_failure_and_a_failure_no_answer() {
    let sandbox = Sandbox::with_store("locate_exit");
    let at = store("locate_exit");
    let find = |words: &[&str]| sandbox.run(&[&["at", &at, "locate"], words].concat());
    find(&["x"]).ended(66).says("no snapshots");
    sandbox.write("d/x", b"1");
    sandbox.backup(&at, "d");
    find(&["y"]).ended(1).silent();
    find(&[]).ended(64).says("needs a PATTERN");
    find(&[""]).ended(64).says("empty pattern");
    find(&["[x"]).ended(64).says("unclosed character class");
    find(&["x", "-snapshot", "012345"]).ended(66);
    find(&["x", "-tag", "none"]).ended(66);
    let full = format!("exec '{}' at '{at}' locate x > /dev/full", binary());
    sandbox.run_shell(&full).ended(3).says("standard output");
}

#[test]
fn names_of_any_bytes_are_found_and_printed_harmlessly() {
    let sandbox = Sandbox::with_store("locate_strange");
    let at = store("locate_strange");
    sandbox.write("d/ok", b"12345");
    let raw = std::ffi::OsStr::from_bytes(b"caf\xe9\x1b[2J");
    fs::write(sandbox.path("d").join(raw), "latin").expect("any name will do");
    sandbox.link("nowhere", "d/link");
    let id = sandbox.backup(&at, "d");
    let found = sandbox.run(&["at", &at, "locate", "caf?*"]).ended(0);
    found.prints("/d/caf\\xe9\\u{1b}[2J\n");
    let objects = sandbox
        .run(&["at", &at, "-json", "locate", "d/*"])
        .ended(0)
        .objects();
    assert_eq!(objects.len(), 3);
    let path = objects[0]["path_bytes"].as_str().expect("it is not UTF-8");
    assert!(path.ends_with("636166e91b5b324a"), "{path}");
    assert_eq!(
        (
            &objects[1]["kind"],
            &objects[2]["size_bytes"],
            &objects[2]["snapshot"]
        ),
        (&"symlink".into(), &5.into(), &id.as_str().into())
    );
    assert!(
        objects[2]["mtime"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
}

#[test]
fn a_damaged_snapshot_does_not_hide_the_others() {
    let sandbox = Sandbox::with_store("locate_damaged");
    let at = store("locate_damaged");
    sandbox.write("d/x", b"1");
    sandbox.backup(&at, "d");
    sandbox.write("d/y", b"2");
    sandbox.backup(&at, "d");
    sandbox.damage_one_bit("st/snapshots");
    let run = sandbox.run(&["at", &at, "locate", "x"]).ended(65);
    assert_eq!(run.stdout().lines().count(), 1);
    run.says("snapshot object");
}
