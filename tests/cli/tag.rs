//! Tests tags of existing snapshots.

use crate::harness::{Run, Sandbox, store};

/// The values of `member` for the snapshots that `ls` lists, newest first.
fn listed(sandbox: &Sandbox, at: &str, member: &str) -> Vec<String> {
    let run = sandbox.run(&["at", at, "ls", "-json"]).ended(0);
    let objects = run.objects();
    objects
        .iter()
        .map(|object| object[member].to_string())
        .collect()
}

fn tag(sandbox: &Sandbox, at: &str, words: &[&str]) -> Run {
    sandbox.run(&[&["at", at, "tag"], words].concat())
}

#[test]
fn tags_come_and_go_and_the_snapshot_stays_what_it_was() {
    let sandbox = Sandbox::with_store("tag");
    let at = store("tag");
    sandbox.write("d/a", b"hello");
    sandbox
        .run(&["at", &at, "backup", "-tag", "old", "-name", "n", "d"])
        .ended(0);
    let id = sandbox.backup(&at, "d");
    let (times, ids) = (
        listed(&sandbox, &at, "time"),
        listed(&sandbox, &at, "snapshot"),
    );
    let short = &id[..8];
    tag(&sandbox, &at, &["add", "b,a", "latest"])
        .ended(0)
        .prints_just(&format!("{short} tags=a,b\n"));
    tag(&sandbox, &at, &["add", "a", &id])
        .ended(0)
        .prints_just(&format!("{short} tags=a,b (as before)\n"));
    for _ in 0..3 {
        tag(&sandbox, &at, &["add", "c", short]).ended(0);
        tag(&sandbox, &at, &["rm", "c,b", short])
            .ended(0)
            .prints_just(&format!("{short} tags=a\n"));
        tag(&sandbox, &at, &["add", "b", short]).ended(0);
    }
    assert_eq!(
        listed(&sandbox, &at, "tags"),
        [r#"["a","b"]"#, r#"["old"]"#]
    );
    assert_eq!(listed(&sandbox, &at, "time"), times);
    assert_eq!(listed(&sandbox, &at, "snapshot"), ids);
    tag(&sandbox, &at, &["list"])
        .ended(0)
        .prints_just("     1 a\n     1 b\n     1 old\n");
    sandbox
        .run(&["at", &at, "check"])
        .ended(0)
        .prints("2 snapshots");
    sandbox
        .run(&["at", &at, "cat", "latest:a"])
        .ended(0)
        .prints_just("hello");
}

#[test]
fn removing_a_snapshot_whose_tags_changed_leaves_nothing_of_it() {
    let sandbox = Sandbox::with_store("tag_rm");
    let at = store("tag_rm");
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(&at, "d");
    tag(&sandbox, &at, &["add", "x", &id]).ended(0);
    tag(&sandbox, &at, &["add", "y", &id]).ended(0);
    sandbox.run(&["at", &at, "rm", "-apply", &id]).ended(0);
    sandbox.run(&["at", &at, "ls"]).ended(0).prints_nothing();
}

#[test]
fn a_query_says_which_snapshots_are_meant() {
    let sandbox = Sandbox::with_store("tag_query");
    let at = store("tag_query");
    sandbox.write("d/a", b"hello");
    for time in ["2024-01-01", "2024-02-01", "2024-03-01"] {
        let words = ["at", &at, "backup", "-force-timestamp", time, "d"];
        sandbox.run(&words).ended(0);
    }
    tag(&sandbox, &at, &["add", "x", "-since", "2024-02-01"]).ended(0);
    assert_eq!(
        listed(&sandbox, &at, "tags"),
        [r#"["x"]"#, r#"["x"]"#, "[]"]
    );
    tag(&sandbox, &at, &["rm", "-tag", "x", "x", "latest"]).ended(0);
    assert_eq!(listed(&sandbox, &at, "tags"), ["[]", r#"["x"]"#, "[]"]);
    tag(&sandbox, &at, &["add", "y", "-name", "none"]).ended(66);
}

#[test]
fn what_is_no_tag_or_no_snapshot_is_refused() {
    let sandbox = Sandbox::with_store("tag_wrong");
    let at = store("tag_wrong");
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(&at, "d");
    tag(&sandbox, &at, &[]).ended(64).says("list, add, rm");
    tag(&sandbox, &at, &["add"]).ended(64).says("needs a TAG");
    tag(&sandbox, &at, &["add", "x"])
        .ended(64)
        .says("needs a SNAPSHOT");
    tag(&sandbox, &at, &["add", "!x", &id])
        .ended(64)
        .says("without");
    tag(&sandbox, &at, &["add", ",", &id])
        .ended(64)
        .says("needs a TAG");
    tag(&sandbox, &at, &["add", "x", "0123456789"]).ended(66);
    tag(&sandbox, &at, &["add", "x", &format!("{id}:a")])
        .ended(64)
        .says("whole snapshots");
    sandbox
        .run(&["at", &at, "backup", "-tag", "!x", "d"])
        .ended(64)
        .says("without");
    assert_eq!(listed(&sandbox, &at, "tags"), ["[]"]);
}
