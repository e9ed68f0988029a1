//! Tests restoring over existing files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::harness::{Sandbox, noise, store};

/// A sandbox whose store contains a snapshot of `d`, to be restored to `out`.
fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/same", b"the same");
    sandbox.write("d/large", &noise(3 << 20));
    sandbox.write("d/changed", b"as it was");
    sandbox.write("d/sub/below", b"below");
    sandbox.link("same", "d/link");
    sandbox.backup(&store(name), "d");
    sandbox
}

fn restore(sandbox: &Sandbox, name: &str) -> crate::harness::Run {
    sandbox.run(&["at", &store(name), "restore", "-to", "out"])
}

#[test]
fn what_is_the_same_is_left_alone_and_what_is_not_is_replaced() {
    let sandbox = with_snapshot("over_same");
    restore(&sandbox, "over_same").ended(0).says_nothing();
    let look = |path: &str| {
        let metadata = fs::symlink_metadata(sandbox.path(path)).expect("it is there");
        (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
    };
    let alike = ["out/same", "out/large", "out/sub/below", "out/sub"];
    let before = alike.map(look);
    let changed = look("out/changed").0;
    sandbox.write("out/changed", b"otherwise");
    sandbox.write("out/extra", b"nobody asked about this one");
    let run = restore(&sandbox, "over_same").ended(0).says_nothing();
    run.prints("3 files there already");
    assert_eq!(alike.map(look), before, "they were touched");
    assert_ne!(look("out/changed").0, changed, "it was written into");
    assert_eq!(sandbox.read("out/changed"), b"as it was");
    assert_eq!(sandbox.read("out/extra"), b"nobody asked about this one");
}

#[test]
fn only_what_differs_of_the_metadata_is_put_right() {
    let sandbox = with_snapshot("over_metadata");
    restore(&sandbox, "over_metadata").ended(0);
    let wrong = fs::Permissions::from_mode(0o601);
    fs::set_permissions(sandbox.path("out/same"), wrong).expect("a mode can be set");
    let touched = fs::File::open(sandbox.path("out/large")).expect("it is there");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    touched.set_modified(long_ago).expect("a time can be set");
    restore(&sandbox, "over_metadata").ended(0).says_nothing();
    for name in ["same", "large"] {
        let look = |tree: &str| {
            let metadata = fs::metadata(sandbox.path(tree).join(name)).expect("it is there");
            (metadata.mode(), metadata.mtime(), metadata.mtime_nsec())
        };
        assert_eq!(look("out"), look("d"), "{name}");
    }
}

#[test]
fn links_in_the_target_lead_nowhere() {
    let sandbox = with_snapshot("over_links");
    sandbox.write("outside/below", b"not yours");
    sandbox.write("outside/file", b"not yours either");
    sandbox.mkdir("out");
    sandbox.link("../outside", "out/sub");
    sandbox.link("../outside/file", "out/changed");
    sandbox.link("../outside/new", "out/large");
    let run = restore(&sandbox, "over_links").ended(3);
    run.says("sub: ").says("not a directory").prints("1 error");
    assert_eq!(sandbox.read("outside/below"), b"not yours");
    assert_eq!(sandbox.read("outside/file"), b"not yours either");
    assert!(!sandbox.path("outside/new").exists(), "it was made");
    for name in ["changed", "large"] {
        let there = fs::symlink_metadata(sandbox.path("out").join(name));
        assert!(there.expect("it is there").is_file(), "{name}");
    }
    assert_eq!(sandbox.read("out/changed"), b"as it was");
}

#[test]
fn the_target_itself_may_be_a_link_and_keeps_its_mode() {
    let sandbox = with_snapshot("over_mode");
    sandbox.mkdir("real");
    let own = fs::Permissions::from_mode(0o1751);
    fs::set_permissions(sandbox.path("real"), own).expect("a mode can be set");
    sandbox.link("real", "out");
    restore(&sandbox, "over_mode").ended(0).says_nothing();
    let real = fs::symlink_metadata(sandbox.path("real")).expect("it is there");
    assert_eq!(real.mode() & 0o7777, 0o1751);
    assert_eq!(sandbox.read("real/same"), b"the same");
}

#[test]
fn other_kinds_are_replaced_but_directories_are_not() {
    let sandbox = with_snapshot("over_kinds");
    sandbox.mkdir("out/same/full");
    sandbox.write("out/link", b"a file where a link belongs");
    sandbox.write("out/sub", b"a file where a directory belongs");
    sandbox.link("nowhere", "out/changed");
    let run = restore(&sandbox, "over_kinds").ended(3);
    run.says("same: ")
        .says("a directory has this name")
        .says("sub: ")
        .prints("2 errors");
    let link = fs::read_link(sandbox.path("out/link")).expect("it is a link");
    assert_eq!(link.as_os_str(), "same");
    assert_eq!(sandbox.read("out/changed"), b"as it was");
    assert!(sandbox.path("out/same/full").is_dir());
}

#[test]
fn names_of_one_file_are_names_of_one_file_again() {
    let sandbox = Sandbox::with_store("over_hard_links");
    let at = store("over_hard_links");
    sandbox.write("d/one", b"one");
    sandbox.mkdir("d/sub");
    let join = |old: &str, new: &str| {
        fs::hard_link(sandbox.path(old), sandbox.path(new)).expect("a link can be made");
    };
    join("d/one", "d/sub/two");
    join("d/one", "d/three");
    sandbox.backup(&at, "d");
    sandbox.write("out/sub/two", b"something else");
    sandbox.write("out/four", b"one");
    join("out/four", "out/three");
    for _ in 0..2 {
        sandbox
            .run(&["at", &at, "restore", "-to", "out"])
            .ended(0)
            .says_nothing();
        let inode = |path: &str| fs::metadata(sandbox.path(path)).expect("it is there").ino();
        assert_eq!(inode("out/one"), inode("out/sub/two"));
        assert_eq!(inode("out/one"), inode("out/three"));
        assert_ne!(inode("out/one"), inode("out/four"), "it was nobody's");
    }
    // Restore only a part.
    sandbox
        .run(&["at", &at, "restore", "-to", "part", "latest:sub"])
        .ended(0);
    assert_eq!(sandbox.read("part/two"), b"one");
}
