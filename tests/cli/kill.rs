//! Tests `kill -9` at many moments: existing data is not lost, and the same command succeeds when
//! it is run again.

use std::fs;
use std::path::Path;

use crate::harness::{PASSPHRASE, Sandbox, noise};
use crate::process::weight;

/// The number of kills, distributed over one run of a command.
const KILLS: u64 = 16;
/// The number of bytes of the source: one and a half packs, so that kills affect both.
const SOURCE_BYTES: usize = 24 << 20;

/// A sandbox with a store and a snapshot of `old` in it.
fn with_snapshot(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("old/a", b"older than all of this");
    sandbox.write("old/sub/b", &noise(100_000));
    sandbox.backup("st", "old");
    sandbox
}

/// The ids of the snapshots in the store.
fn ids(sandbox: &Sandbox) -> Vec<String> {
    let objects = sandbox
        .run(&["at", "st", "ls", "-json"])
        .ended(0)
        .says_nothing()
        .objects();
    let id = |object: &serde_json::Value| object["snapshot"].as_str().map(str::to_owned);
    objects.iter().filter_map(id).collect()
}

/// Asserts that the first snapshot can be restored, and that all data is intact.
fn nothing_is_lost(sandbox: &Sandbox, old: &str) {
    sandbox
        .run(&["at", "st", "check"])
        .ended(0)
        .prints("check: intact: ");
    let target = sandbox.path("old-out");
    let _ = fs::remove_dir_all(&target);
    sandbox
        .run(&["at", "st", "restore", "-to", "old-out", old])
        .ended(0)
        .says_nothing();
    assert_eq!(sandbox.read("old-out/a"), b"older than all of this");
    assert_eq!(sandbox.read("old-out/sub/b"), noise(100_000));
}

/// Random data that differs in each round of the test.
fn source_of(round: u64) -> Vec<u8> {
    let mut bytes = noise(SOURCE_BYTES);
    for (at, byte) in bytes.iter_mut().step_by(4096).enumerate() {
        *byte = (round as usize * 31 + at) as u8;
    }
    bytes
}

#[test]
fn a_killed_backup_costs_nothing_but_itself() {
    let sandbox = with_snapshot("kill_backup");
    let st = sandbox.path("st");
    let old = ids(&sandbox).remove(0);
    for round in 0..KILLS {
        sandbox.write("new/large", &source_of(round));
        sandbox.write("new/small", &round.to_le_bytes());
        let listed = ids(&sandbox);
        let before = weight(&st);
        let until = before + SOURCE_BYTES as u64 * round / (KILLS - 1);
        let mut running = sandbox.start(&["at", "st", "backup", "new"]);
        running.until(|_| weight(&st) > until);
        running.kill();
        let now = ids(&sandbox);
        assert!(now.ends_with(&listed), "{listed:?} became {now:?}");
        if round % 5 == 0 {
            nothing_is_lost(&sandbox, &old);
        }
    }
    nothing_is_lost(&sandbox, &old);
    sandbox.backup("st", "new");
    sandbox
        .run(&["at", "st", "restore", "-to", "out"])
        .ended(0)
        .says_nothing();
    assert!(sandbox.read("out/large") == source_of(KILLS - 1));
    nothing_is_lost(&sandbox, &old);
    sandbox.discard();
}

#[test]
fn a_killed_restore_leaves_old_files_or_new_ones() {
    let sandbox = Sandbox::with_store("kill_restore");
    let (new, old) = (noise(600_000), vec![7; 500_000]);
    let names: Vec<String> = (0..48).map(|number| format!("{number:02}")).collect();
    for name in &names {
        sandbox.write(&format!("d/{name}"), &new);
    }
    sandbox.write("d/large", &source_of(0));
    sandbox.backup("st", "d");
    let target = sandbox.path("out");
    let mut halves = 0;
    for round in 0..KILLS {
        for name in names.iter().map(String::as_str).chain(["large"]) {
            sandbox.write(&format!("out/{name}"), &old);
        }
        let mut running = sandbox.start(&["at", "st", "restore", "-to", "out"]);
        let replaced = |_: &_| count(&target, &new) as u64 > round * 3;
        running.until(replaced);
        running.kill();
        for name in &names {
            let there = sandbox.read(&format!("out/{name}"));
            assert!(there == old || there == new, "{name} is half-written");
        }
        let large = sandbox.read("out/large");
        assert!(large == old || large == source_of(0), "it is half-written");
        let newer = count(&target, &new);
        halves += u32::from(newer > 0 && newer < names.len());
    }
    assert!(halves > 0, "no restore was met in the middle");
    sandbox
        .run(&["at", "st", "restore", "-to", "out"])
        .ended(0)
        .says_nothing();
    assert_eq!(count(&target, &new), names.len());
    assert!(sandbox.read("out/large") == source_of(0));
    sandbox.discard();
}

/// The number of files in `target` that have the length of `new`, which means that they were
/// replaced.
fn count(target: &Path, new: &[u8]) -> usize {
    let entries = fs::read_dir(target).into_iter().flatten().flatten();
    let is_new = |entry: &fs::DirEntry| {
        let is_named = entry.file_name().len() == 2;
        is_named
            && entry
                .metadata()
                .is_ok_and(|there| there.len() == new.len() as u64)
    };
    entries.filter(is_new).count()
}

#[test]
fn a_killed_removal_removes_whole_snapshots() {
    let sandbox = with_snapshot("kill_rm");
    let old = ids(&sandbox).remove(0);
    for round in 0_u8..8 {
        sandbox.write("d/a", &[round]);
        sandbox.backup("st", "d");
    }
    let mut doomed = ids(&sandbox);
    doomed.retain(|id| *id != old);
    let snapshots = sandbox.path("st/snapshots");
    let objects = || fs::read_dir(&snapshots).expect("it can be listed").count();
    while !doomed.is_empty() {
        let before = objects();
        let words = ["at", "st", "rm", "-apply"];
        let words: Vec<&str> = words
            .into_iter()
            .chain(doomed.iter().map(String::as_str))
            .collect();
        let mut running = sandbox.start(&words);
        running.until(|_| objects() < before);
        running.kill();
        assert!(objects() < before, "it removed something");
        let left = ids(&sandbox);
        assert!(left.contains(&old), "only what was named");
        doomed.retain(|id| left.contains(id));
        nothing_is_lost(&sandbox, &old);
    }
    assert_eq!(ids(&sandbox), [old]);
}

#[test]
fn a_killed_change_of_passphrase_leaves_one_that_opens_the_store() {
    let sandbox = with_snapshot("kill_passwd");
    let old = ids(&sandbox).remove(0);
    let keys = sandbox.path("st/keys");
    let slots = || fs::read_dir(&keys).map_or(0, Iterator::count);
    let opens = |keyfile: &str| {
        let words = ["at", "st", "-silent", "-keyfile", keyfile, "ls"];
        sandbox.run(&words).has_ended(0)
    };
    sandbox.write("key0", PASSPHRASE.as_bytes());
    let mut current = "key0".to_owned();
    for round in 0_u64..8 {
        let next = format!("key{}", round + 1);
        sandbox.write(&next, format!("a gate in the hedge {round}").as_bytes());
        let words = ["at", "st", "-keyfile", &current, "key", "passwd"];
        let words = [&words[..], &["-new-keyfile", &next]].concat();
        let mut running = sandbox.start(&words);
        // Observable moments: started, writing the new slot, both slots exist.
        running.until(|running| match round % 4 {
            0 => running.read_bytes() > 0,
            1 => weight(&sandbox.path("st/tmp")) > 0,
            _ => slots() == 2,
        });
        running.kill();
        let (is_old, is_new) = (opens(&current), opens(&next));
        assert!(is_old || is_new, "nobody can open the store any more");
        if is_new {
            current = next;
        }
    }
    let passphrase = String::from_utf8(sandbox.read(&current)).expect("it is text");
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", &passphrase);
    nothing_is_lost(&sandbox, &old);
}

#[test]
fn a_killed_prune_removes_whole_snapshots_that_the_policy_does_not_keep() {
    let sandbox = with_snapshot("kill_prune");
    let old = ids(&sandbox).remove(0);
    for round in 0_u8..8 {
        sandbox.write("d/a", &[round]);
        sandbox.backup("st", "d");
    }
    let newest = ids(&sandbox).remove(0);
    let snapshots = sandbox.path("st/snapshots");
    let objects = || fs::read_dir(&snapshots).expect("it can be listed").count();
    let words = [
        "at",
        "st",
        "prune",
        "-apply",
        "-years",
        "2",
        "-per-year",
        "1",
    ];
    while objects() > 2 {
        let before = objects();
        let mut running = sandbox.start(&words);
        running.until(|_| objects() < before);
        running.kill();
        assert!(objects() < before, "it removed something");
        let left = ids(&sandbox);
        assert!(left.contains(&old) && left.contains(&newest), "{left:?}");
        nothing_is_lost(&sandbox, &old);
    }
    sandbox.run(&words).ended(0).prints("2 kept and 0 removed");
    assert_eq!(ids(&sandbox), [newest, old]);
}
