//! Tests copying snapshots.

use crate::harness::{Sandbox, store};

#[test]
fn a_copy_lives_on_its_own() {
    let sandbox = Sandbox::with_store("dup");
    let at = store("dup");
    sandbox.write("d/a", b"hello");
    let run = sandbox.run(&["at", &at, "backup", "-quiet", "-tag", "daily", "-json", "d"]);
    let original = run.object("summary")["snapshot"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let copy = sandbox
        .run(&["at", &at, "dup", &original[..10]])
        .ended(0)
        .says_nothing()
        .stdout();
    let copy = copy.trim_end();
    assert!(copy.len() == 64 && copy != original, "{copy}");
    sandbox
        .run(&["at", &at, "tag", "add", "kept", copy])
        .ended(0);
    sandbox
        .run(&["at", &at, "diff", &original, copy])
        .ended(0)
        .silent();
    let listed = sandbox
        .run(&["at", &at, "ls", "-uuid", "-tags"])
        .ended(0)
        .stdout();
    let line = |id: &str| {
        listed
            .lines()
            .find(|line| line.contains(id))
            .unwrap_or_default()
    };
    assert!(line(&original).ends_with("tags=daily"), "{listed}");
    assert!(line(copy).ends_with("tags=daily,kept"), "{listed}");
    assert_eq!(line(&original)[..20], line(copy)[..20], "the same time");
    sandbox
        .run(&["at", &at, "rm", "-apply", "-quiet", &original])
        .ended(0);
    sandbox
        .run(&["at", &at, "cat", &format!("{copy}:a")])
        .ended(0)
        .prints_just("hello");
    sandbox.run(&["at", &at, "check", "-quiet"]).ended(0);
}

#[test]
fn only_whole_snapshots_that_are_there_are_copied() {
    let sandbox = Sandbox::with_store("dup_usage");
    let at = store("dup_usage");
    sandbox.run(&["at", &at, "dup", "latest"]).ended(66);
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(&at, "d");
    sandbox
        .run(&["at", &at, "dup"])
        .ended(64)
        .says("needs a SNAPSHOT");
    sandbox
        .run(&["at", &at, "dup", "latest:a"])
        .ended(64)
        .says("only whole snapshots");
    sandbox
        .run(&["at", &at, "dup", "latest", "0123456789"])
        .ended(66)
        .prints_nothing();
    let object = sandbox
        .run(&["at", &at, "-json", "dup", "latest"])
        .ended(0)
        .object("dup");
    assert_eq!(object["original"], id.as_str());
    let listed = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert_eq!(listed.lines().count(), 2, "{listed}");
}
