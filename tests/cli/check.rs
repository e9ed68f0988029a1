//! Tests detecting damage.

use crate::harness::{Sandbox, store};

fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/a", &[7; 100_000]);
    sandbox.write("d/sub/b", b"below");
    sandbox.backup(&store(name), "d");
    sandbox
}

#[test]
fn an_intact_store_is_told_to_be() {
    let sandbox = with_snapshot("check");
    let at = store("check");
    for words in [
        ["check"].as_slice(),
        &["verify", "latest"],
        &["check", "-fast"],
        &["check", "latest:/"],
    ] {
        let words = [&["at", &at], words].concat();
        let run = sandbox.run(&words).ended(0).says_nothing();
        run.prints("check: intact: 1 snapshot, 2 files");
    }
    let part = sandbox.run(&["at", &at, "check", "latest:sub"]).ended(0);
    part.prints("1 file,");
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let sandbox = with_snapshot("check_flipped_bit");
    sandbox.damage_one_bit("st/packs");
    let run = sandbox.run(&["at", "st", "check"]).ended(65);
    run.says("does not authenticate").prints("check: damaged: ");
}

#[test]
fn damaged_directories_are_not_counted_as_files() {
    let sandbox = Sandbox::with_store("check_directories");
    // Empty files have no contents, so the only pack contains directories.
    for number in 0..50 {
        sandbox.write(&format!("d/sub/{number}"), b"");
    }
    sandbox.backup("st", "d");
    let whole = sandbox.run(&["at", "st", "-json", "check"]).ended(0);
    let whole = whole.object("summary");
    let below = sandbox.run(&["at", "st", "check", "latest:sub"]).ended(0);
    below.prints("check: intact: 1 snapshot, 50 files, 1 directory, ");
    assert_eq!(whole["files"], 50);
    assert_eq!(whole["damaged_directories"], 0);
    sandbox.damage_one_bit("st/packs");
    let run = sandbox.run(&["at", "st", "-json", "check"]).ended(65);
    let summary = run.object("summary");
    assert_eq!(summary["damaged_files"], 0, "{summary}");
    assert_eq!(summary["damaged_directories"], 1, "{summary}");
    sandbox
        .run(&["at", "st", "check"])
        .ended(65)
        .prints("1 snapshot (1 damaged), 0 files, 1 directory (1 damaged), ");
}

#[test]
fn names_are_checked_without_any_key() {
    let sandbox = with_snapshot("check_no_key").without("PLAKAR_PASSPHRASE");
    sandbox
        .run(&["at", "st", "check", "-no-key"])
        .ended(0)
        .prints("check: intact: ");
    sandbox.damage_one_bit("st/packs");
    sandbox
        .run(&["at", "st", "check", "-no-key"])
        .ended(65)
        .prints("(1 damaged)");
    let confused = sandbox.run(&["at", "st", "check", "-no-key", "latest"]);
    confused.ended(64).says("-no-key checks every object");
}
