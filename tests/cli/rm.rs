//! Tests removing snapshots.

use crate::common::prerequisite::skip;
use crate::harness::{Sandbox, store};

#[test]
fn nothing_is_removed_without_apply() {
    let sandbox = Sandbox::with_store("rm");
    let at = store("rm");
    sandbox.write("d/a", b"hello");
    let (first, second) = (sandbox.backup(&at, "d"), sandbox.backup(&at, "d"));
    let dry = sandbox
        .run(&["at", &at, "rm", &first[..10], "latest"])
        .ended(0);
    dry.prints("would remove ")
        .prints("2 snapshots would be removed; -apply does it");
    assert_eq!(
        sandbox
            .run(&["at", &at, "ls"])
            .ended(0)
            .stdout()
            .lines()
            .count(),
        2
    );
    let run = sandbox
        .run(&["at", &at, "rm", "-apply", &first, &first[..10]])
        .ended(0);
    run.prints("1 snapshot removed; maintenance now, and again a week later, frees");
    let left = sandbox.run(&["at", &at, "ls", "-uuid"]).ended(0).stdout();
    assert!(left.contains(&second) && !left.contains(&first), "{left}");
    sandbox
        .run(&["at", &at, "cat", "latest:a"])
        .ended(0)
        .prints_just("hello");
}

#[test]
fn an_empty_or_unknown_selection_removes_nothing() {
    let sandbox = Sandbox::with_store("rm_nothing");
    let at = store("rm_nothing");
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(&at, "d");
    sandbox
        .run(&["at", &at, "rm", "-apply"])
        .ended(64)
        .says("needs a SNAPSHOT");
    sandbox
        .run(&["at", &at, "rm", "-apply", &id, "0123456789"])
        .ended(66);
    let part = sandbox
        .run(&["at", &at, "rm", "-apply", &format!("{id}:a")])
        .ended(64);
    part.says("only whole snapshots");
    sandbox
        .run(&["at", &at, "ls", "-uuid"])
        .ended(0)
        .prints(&id);
}

#[test]
fn a_damaged_snapshot_object_stops_maintenance_until_it_is_removed_by_its_name() {
    let sandbox = Sandbox::with_store("rm_damaged");
    let at = store("rm_damaged");
    if at != "st" {
        return skip("the store is not a directory of the sandbox");
    }
    sandbox.write("d/a", b"hello");
    sandbox.backup(&at, "d");
    let healthy = names(&sandbox);
    let kept = sandbox.backup(&at, "d");
    let mut doomed = names(&sandbox);
    doomed.retain(|name| !healthy.contains(name));
    // Damage the older object, so that the newest one is kept.
    let (damaged, healthy) = (&healthy[0], &doomed[0]);
    damage(&sandbox, damaged);
    let maintenance = ["at", &at, "maintenance", "-grace", "0s"];
    let run = sandbox.run(&maintenance).ended(65);
    run.says("nothing is deleted unless all is known that is needed")
        .says(&format!("rm -apply {damaged} gives it up"));
    // Neither a part of the id nor the id of a readable object selects anything.
    for word in [&damaged[..63], healthy] {
        sandbox.run(&["at", &at, "rm", "-apply", word]).ended(66);
    }
    let dry = sandbox.run(&["at", &at, "rm", damaged]).ended(0);
    dry.says("its former contents are unknown")
        .prints(&format!("would remove damaged snapshot object {damaged}"));
    let words = ["at", &at, "rm", "-json", "-apply", damaged, damaged];
    let run = sandbox.run(&words).ended(0);
    let (removal, summary) = (run.object("removal"), run.object("summary"));
    assert_eq!(removal["object"], damaged.as_str(), "{removal}");
    assert_eq!(summary["snapshots"], 1, "{summary}");
    sandbox.run(&maintenance).ended(0);
    sandbox.run(&["at", &at, "check"]).ended(0).says_nothing();
    let listed = sandbox.run(&["at", &at, "ls", "-uuid"]).ended(0);
    listed.prints(&kept);
}

/// The snapshot objects of the store `st`.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let listed = std::fs::read_dir(sandbox.path("st/snapshots")).expect("it can be listed");
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().expect("it is text");
    listed.flatten().map(name).collect()
}

/// Flips a bit of a snapshot object.
fn damage(sandbox: &Sandbox, name: &str) {
    let path = sandbox.path(&format!("st/snapshots/{name}"));
    let mut bytes = std::fs::read(&path).expect("it can be read");
    bytes[20] ^= 1;
    std::fs::remove_file(&path).expect("it can be removed");
    std::fs::write(&path, bytes).expect("it can be written");
}
