//! Tests freeing unreferenced data from the command line.

use std::fs;

use crate::harness::{Sandbox, noise};
use crate::mounted::Mounted;
use crate::process::weight;

const MIB: u64 = 1 << 20;
/// The number of times that a run is killed.
const KILLS: u64 = 12;

/// A store with a snapshot of a small file. A snapshot of a large file was removed.
fn with_garbage(name: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/large", &noise(20 << 20));
    sandbox.write("d/small", &noise(1 << 20));
    let doomed = sandbox.backup("st", "d");
    fs::remove_file(sandbox.path("d/large")).expect("it is there");
    let kept = sandbox.backup("st", "d");
    sandbox.run(&["at", "st", "rm", "-apply", &doomed]).ended(0);
    (sandbox, kept)
}

/// Asserts that the snapshot can be restored, and that nothing is damaged.
fn nothing_is_lost(sandbox: &Sandbox, kept: &str) {
    sandbox
        .run(&["at", "st", "check"])
        .ended(0)
        .prints("check: intact: ");
    let _ = fs::remove_dir_all(sandbox.path("out"));
    sandbox
        .run(&["at", "st", "restore", "-to", "out", kept])
        .ended(0);
    assert!(sandbox.read("out/small") == noise(1 << 20));
}

#[test]
fn a_removal_is_freed_after_the_grace() {
    let (sandbox, kept) = with_garbage("maintenance");
    let st = sandbox.path("st");
    let before = weight(&st);
    let young = sandbox.run(&["at", "st", "maintenance"]).ended(0);
    young
        .prints("0 B freed")
        .prints(" too young")
        .says_nothing();
    age(&sandbox);
    let dry = sandbox
        .run(&["at", "st", "maintenance", "-dry-run"])
        .ended(0);
    dry.prints("would be freed").prints(" wait");
    let run = sandbox.run(&["at", "st", "maintenance"]).ended(0);
    run.prints("0 B freed")
        .prints(" wait until 20")
        .says_nothing();
    assert!(weight(&st) >= before);
    age(&sandbox);
    let run = sandbox.run(&["at", "st", "maintenance", "-json"]).ended(0);
    let summary = run.object("summary");
    assert!(
        summary["freed_bytes"].as_u64() > Some(19 << 20),
        "{summary}"
    );
    assert_eq!(summary["waiting_bytes"], 0, "{summary}");
    assert!(weight(&st) < 3 << 20);
    nothing_is_lost(&sandbox, &kept);
}

#[test]
fn a_run_that_repacks_leaves_an_index_without_gaps() {
    let sandbox = Sandbox::with_store("maintenance_index");
    sandbox.write("d/small", &noise(12 << 20));
    let doomed = sandbox.backup("st", "d");
    sandbox.write("d/small", &noise(12 << 20)[..1 << 20]);
    let kept = sandbox.backup("st", "d");
    sandbox.run(&["at", "st", "rm", "-apply", &doomed]).ended(0);
    age(&sandbox);
    let run = sandbox.run(&["at", "st", "maintenance"]).ended(0);
    let printed = run.prints(" repacked").stdout();
    assert!(!printed.contains("index objects replaced"), "{printed}");
    sandbox.run(&["at", "st", "check"]).ended(0).says_nothing();
    // An earlier version could leave packs without an index object.
    for object in fs::read_dir(sandbox.path("st/index")).expect("it can be listed") {
        fs::remove_file(object.expect("it can be read").path()).expect("it is ours");
    }
    let check = sandbox.run(&["at", "st", "check"]).ended(0);
    check.says("in no index object; the next maintenance");
    let run = sandbox.run(&["at", "st", "maintenance"]).ended(0);
    run.prints("packs indexed: ");
    sandbox.run(&["at", "st", "check"]).ended(0).says_nothing();
    age(&sandbox);
    sandbox.run(&["at", "st", "maintenance"]).ended(0);
    sandbox.run(&["at", "st", "check"]).ended(0).says_nothing();
    assert!(weight(&sandbox.path("st")) < 3 << 20);
    sandbox
        .run(&["at", "st", "restore", "-to", "out", &kept])
        .ended(0);
    assert!(sandbox.read("out/small") == noise(12 << 20)[..1 << 20]);
}

/// Subtracts eight days from the times of everything in the store.
fn age(sandbox: &Sandbox) {
    sandbox.make_older("st", 8);
}

#[test]
fn a_short_grace_says_what_it_means_and_frees_at_once() {
    let (sandbox, kept) = with_garbage("maintenance_now");
    let words = ["at", "st", "maintenance", "-grace", "0s"];
    let run = sandbox.run(&words).ended(0).prints(" freed");
    run.says("no other program may write to the store at the same time");
    assert!(weight(&sandbox.path("st")) < 3 << 20);
    nothing_is_lost(&sandbox, &kept);
    for (flag, value) in [("-grace", "soon"), ("-max-repack", "much")] {
        let words = ["at", "st", "maintenance", flag, value];
        sandbox.run(&words).ended(64).says(value);
    }
}

#[test]
fn a_killed_maintenance_costs_nothing() {
    let (sandbox, kept) = with_garbage("kill_maintenance");
    let st = sandbox.path("st");
    for round in 0..KILLS {
        sandbox.write("d/large", &noise(6 << 20));
        let doomed = sandbox.backup("st", "d");
        fs::remove_file(sandbox.path("d/large")).expect("it is there");
        sandbox.run(&["at", "st", "rm", "-apply", &doomed]).ended(0);
        let objects = |area: &str| fs::read_dir(st.join(area)).map_or(0, Iterator::count);
        let (before, indexes) = (weight(&st.join("packs")), objects("index"));
        let mut running = sandbox.start(&["at", "st", "maintenance", "-grace", "0s"]);
        // Observable moments: started, condemned, copied, deleting, index objects replaced,
        // finished.
        running.until(|running| match round % 5 {
            0 => running.read_bytes() > 0,
            1 => objects("condemned") > 0,
            2 => weight(&st.join("packs")) > before || objects("condemned") > 0,
            3 => weight(&st.join("packs")) < before,
            _ => objects("index") != indexes,
        });
        running.kill();
        nothing_is_lost(&sandbox, &kept);
    }
    sandbox
        .run(&["at", "st", "maintenance", "-grace", "0s"])
        .ended(0);
    assert!(weight(&st) < 3 << 20);
    nothing_is_lost(&sandbox, &kept);
    sandbox.discard();
}

#[test]
fn a_disk_without_a_free_byte_gets_room_by_it() {
    let sandbox = Sandbox::new("maintenance_full");
    let Some(disk) = Mounted::tmpfs(&sandbox, "disk", 16 * MIB) else {
        return;
    };
    sandbox.run(&["at", "disk/st", "create"]).ended(0);
    sandbox.write("d/a", &noise(8 << 20));
    let doomed = sandbox.backup("disk/st", "d");
    sandbox.write("d/a", b"small");
    let kept = sandbox.backup("disk/st", "d");
    disk.fill();
    let words = ["at", "disk/st", "rm", "-apply", &doomed];
    sandbox.run(&words).ended(0);
    let words = ["at", "disk/st", "maintenance", "-grace", "0s"];
    let run = sandbox.run(&words).ended(0);
    assert!(weight(&sandbox.path("disk/st")) < MIB, "{}", run.stdout());
    let words = ["at", "disk/st", "check"];
    sandbox.run(&words).ended(0);
    let words = ["at", "disk/st", "cat", &format!("{kept}:a")];
    sandbox.run(&words).ended(0).prints_just("small");
}
