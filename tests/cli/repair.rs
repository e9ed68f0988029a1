//! Tests damaged stores and their repair.

use std::fs;

use crate::harness::{Sandbox, noise};
use crate::process::weight;

/// The number of kills, distributed over one run.
const KILLS: u64 = 6;

/// A sandbox whose store `st` contains two snapshots of `d`: the first with `a`, the second also
/// with `late`.
fn with_two_snapshots(name: &str) -> (Sandbox, String, String) {
    let sandbox = Sandbox::new(name);
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.write("d/a", b"hello");
    let first = sandbox.backup("st", "d");
    sandbox.write("d/late", &noise(300_000));
    let second = sandbox.backup("st", "d");
    (sandbox, first, second)
}

#[test]
fn a_backup_heals_what_a_check_found_damaged() {
    let (sandbox, _, second) = with_two_snapshots("repair_heal");
    sandbox.damage_one_bit("st/packs");
    sandbox
        .run(&["at", "st", "check"])
        .ended(65)
        .says(&format!("{}:", &second[..8]))
        .says("/d/late")
        .says("next: back up the same files again on this machine");
    let healing = sandbox.run(&["at", "st", "backup", "-json", "d"]).ended(0);
    let healing = healing.prints("the last check found 1 pack damaged");
    let stored = healing.object("summary")["new_bytes"].as_u64();
    assert_eq!(stored, Some(300_000), "what was lost, and nothing else");
    let checked = sandbox.run(&["at", "st", "check", "-json"]).ended(65);
    let summary = checked.object("summary");
    let counts = ["damaged_snapshots", "damaged_files"];
    assert_eq!(counts.map(|name| summary[name].as_u64()), [Some(0); 2]);
    assert!(
        summary["damaged_objects"].as_u64() > Some(0),
        "the old pack"
    );
    sandbox
        .run(&["at", "st", "check", "-quiet", &second])
        .ended(65)
        .says("packs/");
    for snapshot in [&second, "latest"] {
        let target = format!("out-{}", &snapshot[..6]);
        sandbox
            .run(&["at", "st", "restore", "-to", &target, snapshot])
            .ended(0)
            .says_nothing();
        assert!(sandbox.read(&format!("{target}/late")) == noise(300_000));
    }
    // Nothing else has to be healed: the data is stored once.
    let again = sandbox.run(&["at", "st", "backup", "-json", "d"]).ended(0);
    assert_eq!(again.object("summary")["new_bytes"], 0);
}

#[test]
fn what_is_left_of_a_snapshot_becomes_another() {
    let (sandbox, first, second) = with_two_snapshots("repair_snapshot");
    sandbox
        .run(&["at", "st", "repair"])
        .ended(0)
        .prints("nothing is wrong");
    sandbox.damage_one_bit("st/packs");
    let before = weight(&sandbox.path("st"));
    sandbox
        .run(&["at", "st", "repair"])
        .ended(65)
        .says(&format!("{}:", &second[..8]))
        .says("/d/late: ")
        .prints(&format!(" {} ", &second[..8]))
        .prints("-apply does what can be done");
    assert_eq!(weight(&sandbox.path("st")), before, "a dry run");
    let run = sandbox
        .run(&["at", "st", "repair", "-apply", "-json"])
        .ended(3);
    let repaired = run.object("repair");
    assert_eq!(repaired["snapshot"], second.as_str());
    let repaired = repaired["repaired"].as_str().unwrap_or_default().to_owned();
    sandbox
        .run(&[
            "at",
            "st",
            "ls",
            "-uuid",
            "-tag",
            &format!("repair-of-{}", &second[..16]),
        ])
        .ended(0)
        .prints(&repaired);
    sandbox
        .run(&["at", "st", "info", "-errors", &repaired])
        .ended(0)
        .prints("/d/late");
    sandbox
        .run(&["at", "st", "restore", "-to", "out", &repaired])
        .ended(0)
        .says_nothing();
    assert_eq!(sandbox.read("out/a"), b"hello");
    assert!(!sandbox.path("out/late").exists());
    sandbox
        .run(&["at", "st", "repair", "-apply"])
        .ended(3)
        .prints("; 0 snapshots repaired")
        .says(&format!("next: \"plakar rm -apply {}\"", &second[..8]));
    sandbox
        .run(&["at", "st", "ls", "-uuid"])
        .ended(0)
        .prints(&second);
    sandbox
        .run(&["at", "st", "rm", "-apply", "-quiet", &second])
        .ended(0);
    sandbox
        .run(&["at", "st", "check"])
        .ended(65)
        .says("next: nothing that was checked needs the damaged packs")
        .says("now, and again a week later,");
    sandbox.make_older("st", 8);
    sandbox.run(&["at", "st", "maintenance"]).ended(0);
    sandbox
        .run(&["at", "st", "check"])
        .ended(65)
        .says("\"plakar maintenance\" after 20")
        .says("(store clock)");
    sandbox
        .run(&["at", "st", "maintenance", "-grace", "0s"])
        .ended(0);
    sandbox.run(&["at", "st", "check"]).ended(0).says_nothing();
    sandbox.run(&["at", "st", "repair", &first]).ended(64);
}

#[test]
fn a_lost_index_comes_back_from_the_packs_without_the_cache() {
    let (sandbox, _, second) = with_two_snapshots("repair_index");
    let index = sandbox.path("st/index");
    fs::remove_dir_all(&index).expect("it can be removed");
    fs::create_dir(&index).expect("it can be made");
    fs::remove_dir_all(sandbox.path("home/.cache")).expect("there is a cache");
    sandbox
        .run(&["at", "st", "repair"])
        .ended(65)
        .prints("4 packs in no index");
    sandbox
        .run(&["at", "st", "repair", "-apply"])
        .ended(0)
        .prints("4 packs in no index")
        .prints("index made anew");
    sandbox
        .run(&["at", "st", "check"])
        .ended(0)
        .says_nothing()
        .prints("check: intact");
    sandbox
        .run(&["at", "st", "restore", "-to", "out", &second])
        .ended(0)
        .says_nothing();
    assert!(sandbox.read("out/late") == noise(300_000));
    sandbox.run(&["at", "st", "repair"]).ended(0);
}

#[test]
fn a_damaged_snapshot_object_is_said_to_be_lost() {
    let (sandbox, _, _) = with_two_snapshots("repair_lost");
    sandbox.damage_one_bit("st/snapshots");
    sandbox
        .run(&["at", "st", "repair", "-apply"])
        .ended(3)
        .says("snapshots/")
        .prints("1 snapshot that cannot be read")
        .prints("0 snapshots repaired");
    sandbox.run(&["at", "st", "repair"]).ended(65);
}

#[test]
fn a_killed_repair_is_run_again() {
    let (sandbox, first, second) = with_two_snapshots("repair_kill");
    sandbox.write("d/large", &noise(8 << 20));
    let third = sandbox.backup("st", "d");
    sandbox.damage_one_bit("st/packs");
    fs::remove_dir_all(sandbox.path("st/index")).expect("it can be removed");
    fs::create_dir(sandbox.path("st/index")).expect("it can be made");
    let size = weight(&sandbox.path("st/packs"));
    for round in 0..KILLS {
        let mut running = sandbox.start(&["at", "st", "repair", "-apply"]);
        running.until(|running| running.read_bytes() > 2 * size * round / KILLS);
        running.kill();
        for intact in [&first, &second] {
            let named = format!("{intact}:a");
            sandbox
                .run(&["at", "st", "cat", &named])
                .ended(0)
                .prints_just("hello");
        }
    }
    let run = sandbox
        .run(&["at", "st", "repair", "-apply", "-json"])
        .ended(3);
    assert_eq!(run.object("repair")["snapshot"], third.as_str());
    let tag = format!("repair-of-{}", &third[..16]);
    let listed = sandbox
        .run(&["at", "st", "ls", "-json", "-tag", &tag])
        .ended(0);
    assert_eq!(listed.objects().len(), 1);
    sandbox
        .run(&["at", "st", "diff", "-recursive", &second, &first])
        .ended(1);
}
