//! Removing snapshots.

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
    run.prints("1 snapshot removed; maintenance will free");
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
