//! Tests a server without deletion: each attempt to delete fails with a one-line error, nothing is
//! lost by it, and everything else works.

use std::fs;
use std::path::Path;

use crate::harness::Sandbox;
use crate::served::{Served, sandbox};

/// The names of all files in the store.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let (mut names, mut waiting) = (Vec::new(), vec![sandbox.path("st")]);
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).expect("it can be listed").flatten() {
            match entry.path() {
                path if path.is_dir() => waiting.push(path),
                path => names.push(path.display().to_string()),
            }
        }
    }
    names.sort();
    names
}

/// Asserts that the store contains the complete snapshot.
fn has(sandbox: &Sandbox, at: &str, id: &str, expected: &[u8]) {
    let out = format!("out-{}", &id[..8]);
    if Path::new(&sandbox.path(&out)).exists() {
        fs::remove_dir_all(sandbox.path(&out)).expect("it is ours");
    }
    let words = ["at", at, "restore", "-to", &out, id];
    sandbox.run(&words).ended(0).says_nothing();
    assert_eq!(sandbox.read(&format!("{out}/a")), expected);
}

#[test]
fn what_takes_away_is_refused_in_one_line_and_the_rest_works() {
    let served = Served::new("keeping", &[]);
    let (sandbox, url) = (&served.sandbox, served.url.as_str());
    sandbox.write("d/a", b"hello");
    let first = sandbox.backup(url, "d");
    sandbox.write("d/a", b"changed");
    let second = sandbox.backup(url, "d");
    let before = names(sandbox);
    for words in [
        &["rm", "-apply", &first][..],
        &["rm", "-apply", "-name", ""][..],
        &["prune", "-apply", "-days", "7", "-per-day", "1"],
        &["maintenance"],
        &["-quiet", "maintenance", "-grace", "0s"],
    ] {
        let run = sandbox.run(&[&["at", url], words].concat()).ended(77);
        let said = run.stderr();
        let of_it: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("delete"))
            .collect();
        assert_eq!(of_it.len(), 1, "{words:?} says {said}");
        assert_eq!(said.lines().last(), of_it.last().copied(), "{said}");
        assert_eq!(names(sandbox), before, "{words:?}");
    }
    sandbox.run(&["at", url, "ls"]).ended(0).prints(&first[..8]);
    sandbox.run(&["at", url, "check"]).ended(0).says_nothing();
    has(sandbox, url, &first, b"hello");
    has(sandbox, url, &second, b"changed");
    // Labels can be changed, and snapshots can be copied with the same key or a different one.
    let words = ["at", url, "tag", "add", "kept", &first];
    sandbox.run(&words).ended(0);
    sandbox.write("other/a", b"from elsewhere");
    for (store, flags) in [
        ("sibling", &["-plaintext", "-from", "st"][..]),
        ("stranger", &["-plaintext"]),
    ] {
        let words = [&["at", store, "create"], flags].concat();
        sandbox.run(&words).ended(0);
        let id = sandbox.backup(store, "other");
        sandbox
            .run(&["at", store, "sync", "to", url])
            .ended(0)
            .says_nothing();
        has(sandbox, url, &id, b"from elsewhere");
        sandbox
            .run(&["at", store, "sync", "from", url])
            .ended(0)
            .says_nothing();
        has(sandbox, store, &first, b"hello");
    }
    sandbox.run(&["at", url, "repair", "-apply"]).ended(0);
    sandbox.run(&["at", url, "check"]).ended(0).says_nothing();
}

#[test]
fn at_a_server_that_lets_who_may_delete_all_of_it_works() {
    let served = Served::of(sandbox("keeping_allowed"), &["-allow-delete"]);
    let (sandbox, url) = (&served.sandbox, served.url.as_str());
    sandbox.write("d/a", b"hello");
    let first = sandbox.backup(url, "d");
    sandbox.write("d/a", b"changed");
    let second = sandbox.backup(url, "d");
    let prune = ["at", url, "prune", "-apply", "-days", "7", "-per-day", "1"];
    sandbox.run(&prune).ended(0).prints("1 kept and 1 removed");
    let maintain = ["at", url, "maintenance", "-grace", "0s"];
    sandbox.run(&maintain).ended(0).prints(" freed");
    sandbox
        .run(&["at", url, "cat", &format!("{first}:a")])
        .ended(66);
    has(sandbox, url, &second, b"changed");
    sandbox.run(&["at", url, "check"]).ended(0).says_nothing();
}
