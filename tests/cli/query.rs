//! Tests queries in the commands that accept one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Sandbox, store};

/// Backs up `d` with the given `time` and returns the id of the snapshot.
pub(crate) fn backup(sandbox: &Sandbox, at: &str, time: &str, flags: &[&str]) -> String {
    let words = ["at", at, "backup", "-json", "-force-timestamp", time];
    let words = [&words[..], flags, &["d"]].concat();
    let summary = sandbox.run(&words).ended(0).object("summary");
    let snapshot = summary["snapshot"].as_str().map(str::to_owned);
    came_then(sandbox, at, time);
    snapshot.expect("a backup names its snapshot")
}

/// Sets the arrival time of the newest snapshot in a local store to `time`, so that the snapshot is
/// not suspicious.
pub(crate) fn came_then(sandbox: &Sandbox, at: &str, time: &str) {
    let Ok(entries) = fs::read_dir(sandbox.path(at).join("snapshots")) else {
        return;
    };
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified());
    let paths = entries.flatten().map(|entry| entry.path());
    let newest = paths.max_by_key(|path| modified(path).ok());
    let newest = newest.expect("there is a snapshot");
    let touch = Command::new("touch")
        .args(["-d", &format!("{time} UTC")])
        .arg(newest)
        .status();
    assert!(touch.is_ok_and(|status| status.success()));
}

/// The ids that `ls` prints with `flags`, in its order.
fn listed(sandbox: &Sandbox, at: &str, flags: &[&str]) -> Vec<String> {
    let words = [&["at", at, "ls", "-json"], flags].concat();
    let objects = sandbox.run(&words).ended(0).objects();
    let ids = objects
        .iter()
        .filter_map(|object| object["snapshot"].as_str());
    ids.map(str::to_owned).collect()
}

#[test]
fn filters_must_all_hold() {
    let sandbox = Sandbox::with_store("query");
    let at = store("query");
    sandbox.write("d/a", b"one");
    let old = backup(&sandbox, &at, "2024-02-29", &["-tag", "a,b", "-name", "n"]);
    let mid = backup(&sandbox, &at, "2024-03-01", &["-tag", "a", "-job", "j"]);
    let new = backup(&sandbox, &at, "2025-01-01 12:00", &["-category", "c"]);
    let is = |flags: &[&str], expected: &[&String]| {
        let found = listed(&sandbox, &at, flags);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{flags:?}");
    };
    is(&[], &[&new, &mid, &old]);
    is(&["-tag", "a"], &[&mid, &old]);
    is(&["-tag", "a,!b"], &[&mid]);
    is(&["-tag", "a", "-tag", "b"], &[&old]);
    is(&["-tag", "!a"], &[&new]);
    is(&["-name", "n"], &[&old]);
    is(&["-name", ""], &[&new, &mid]);
    is(&["-name", "n", "-job", "j"], &[]);
    is(&["-category", "c"], &[&new]);
    is(&["-since", "2024-03-01"], &[&new, &mid]);
    is(&["-before", "2024-03-01"], &[&old]);
    is(
        &[
            "-since",
            "2024-03-01T01:00:00+01:00",
            "-before",
            "2024-03-01 00:00:01",
        ],
        &[&mid],
    );
    is(&["-since", "a month"], &[]);
    is(&["-before", "2 weeks 3 days", "-latest"], &[&new]);
    is(&["-tag", "a", "-latest"], &[&mid]);
    is(&["-type", "fs"], &[&new, &mid, &old]);
    is(&["-type", "sftp"], &[]);
    is(&["-root", "d/"], &[&new, &mid, &old]);
    is(&["-root", "d/.."], &[]);
    is(&["-root", "/nowhere", "-root", "d"], &[&new, &mid, &old]);
    is(&["-per-year", "1"], &[&new, &mid]);
    is(&["-per-month", "1", "-name", "n"], &[&old]);
    is(&["-years", "1"], &[]);
    is(&["-years=900", "-thuesdays", "1"], &[&new, &mid, &old]);
    is(&["-latest", "-group-by", "tag"], &[&new, &mid, &old]);
}

#[test]
fn groups_have_headings_and_objects_name_theirs() {
    let sandbox = Sandbox::with_store("query_groups");
    let at = store("query_groups");
    sandbox.write("d/a", b"one");
    let time = "2024-02-29";
    backup(&sandbox, &at, time, &["-name", "we\x1bb"]);
    backup(&sandbox, &at, time, &[]);
    backup(&sandbox, &at, "2025-01-01", &["-name", "we\x1bb"]);
    let listed = sandbox
        .run(&["at", &at, "ls", "-group-by", "name"])
        .ended(0)
        .stdout();
    let starts: Vec<&str> = listed
        .lines()
        .map(|line| line.split("T00").next().unwrap_or_default())
        .collect();
    let expected = [
        "name (none): 1 snapshot",
        time,
        "",
        "name we\\u{1b}b: 2 snapshots",
        "2025-01-01",
        time,
    ];
    assert_eq!(starts, expected);
    let objects = sandbox
        .run(&["at", &at, "ls", "-json", "-group-by=name"])
        .ended(0)
        .objects();
    let groups: Vec<String> = objects
        .iter()
        .map(|object| object["group"].to_string())
        .collect();
    assert_eq!(groups, ["[]", "[\"we\\\\u{1b}b\"]", "[\"we\\\\u{1b}b\"]"]);
}

#[test]
fn a_snapshot_that_is_named_must_pass_the_query() {
    let sandbox = Sandbox::with_store("query_named");
    let at = store("query_named");
    sandbox.write("d/a", b"one");
    let old = backup(&sandbox, &at, "2024-02-29", &["-tag", "a"]);
    sandbox.write("d/b", b"two");
    let new = backup(&sandbox, &at, "2025-01-01", &["-tag", "b"]);
    let ls = |flags: &[&str]| sandbox.run(&[&["at", &at, "ls"], flags].concat());
    ls(&["-tag", "a", &old]).ended(0).prints(" a\n");
    let run = ls(&["-tag", "a", &new]).ended(66).prints_nothing();
    run.says(&format!("snapshot {} does not pass -tag", &new[..8]));
    ls(&["-latest", &old])
        .ended(66)
        .says("does not pass -latest");
    ls(&["-years", "1", &new])
        .ended(66)
        .says("is of no period that is asked for");
    // The newest snapshot that matches, which is not the newest of all.
    let inside = ls(&["-tag", "a", "latest"]).ended(0).stdout();
    assert_eq!(inside.lines().count(), 1, "{inside}");
    ls(&["-tag", "c", "latest"])
        .ended(66)
        .says("no snapshot matches");
    ls(&["-before", "2025-01-01", "latest:b"])
        .ended(66)
        .says("no such file");
}

#[test]
fn restore_brings_back_the_newest_that_matches() {
    let sandbox = Sandbox::with_store("query_restore");
    let at = store("query_restore");
    for (time, contents) in [
        ("2024-01-01", "one"),
        ("2024-06-01", "two"),
        ("2025-01-01", "three"),
    ] {
        sandbox.write("d/a", contents.as_bytes());
        backup(&sandbox, &at, time, &[]);
    }
    let restore =
        |flags: &[&str]| sandbox.run(&[&["at", &at, "restore", "-to", "out"], flags].concat());
    restore(&["-before", "2025-01-01"]).ended(0);
    assert_eq!(sandbox.read("out/a"), b"two");
    restore(&["-before", "2024-06-01", "latest:a"]).ended(0);
    assert_eq!(sandbox.read("out/a"), b"one");
    restore(&["-tag", "none"])
        .ended(66)
        .says("no snapshot matches");
}

#[test]
fn check_takes_a_query_and_finds_fault_with_an_empty_one() {
    let sandbox = Sandbox::with_store("query_check");
    let at = store("query_check");
    sandbox.write("d/a", b"one");
    backup(&sandbox, &at, "2024-02-29", &["-tag", "a"]);
    backup(&sandbox, &at, "2025-01-01", &[]);
    let check = |flags: &[&str]| sandbox.run(&[&["at", &at, "check"], flags].concat());
    check(&["-tag", "a"])
        .ended(0)
        .prints("intact: 1 snapshot, ");
    check(&["-tag", "!c"])
        .ended(0)
        .prints("intact: 2 snapshots, ");
    check(&["-tag", "c"])
        .ended(66)
        .prints_nothing()
        .says("no snapshot matches");
    check(&["-no-key", "-tag", "a"])
        .ended(64)
        .says("no -fast, QUERY or SNAPSHOT");
}

#[test]
fn rm_removes_what_a_query_selects_and_never_all_by_mistake() {
    let sandbox = Sandbox::with_store("query_rm");
    let at = store("query_rm");
    sandbox.write("d/a", b"one");
    let old = backup(&sandbox, &at, "2024-02-29", &["-tag", "test"]);
    let mid = backup(&sandbox, &at, "2024-03-01", &["-tag", "test"]);
    let new = backup(&sandbox, &at, "2025-01-01", &[]);
    let rm = |flags: &[&str]| sandbox.run(&[&["at", &at, "rm", "-apply"], flags].concat());
    rm(&[]).ended(64).says("needs a SNAPSHOT, or a QUERY");
    rm(&["-group-by", "name"]).ended(64);
    rm(&["-latest=false"]).ended(64);
    rm(&["-tag", "tset"]).ended(66).says("no snapshot matches");
    rm(&["-tag", "test", &old, &new])
        .ended(66)
        .says("does not pass -tag");
    assert_eq!(
        listed(&sandbox, &at, &[]),
        [&*new, &mid, &old],
        "nothing is removed so far"
    );
    rm(&["-tag", "test", &old])
        .ended(0)
        .prints("1 snapshot removed");
    rm(&["-tag", "test"]).ended(0).prints(&mid[..8]);
    assert_eq!(listed(&sandbox, &at, &[]), [new]);
}

#[test]
fn a_wrong_query_is_refused_before_anything_is_opened() {
    let sandbox = Sandbox::new("query_wrong");
    for command in ["ls", "check", "restore", "rm", "prune"] {
        let run = sandbox
            .run(&["at", "nowhere", command, "-before", "30"])
            .ended(64);
        run.says(&format!(
            "plakar: {command}: -before: \"30\" is not a valid time"
        ));
        let run = sandbox
            .run(&["at", "nowhere", command, "-dasy", "3"])
            .ended(64);
        run.says("did you mean -days?");
        sandbox
            .run(&[command, "-days", "0"])
            .ended(64)
            .says("-days: \"0\" is not a number from 1");
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_hides_no_other() {
    let sandbox = Sandbox::with_store("query_damaged");
    sandbox.write("d/a", b"one");
    // The largest object of the area will be damaged.
    let long = "x".repeat(2000);
    backup(&sandbox, "st", "2024-01-01", &["-name", &long, "-tag", "a"]);
    let good = backup(&sandbox, "st", "2024-02-29", &["-tag", "a"]);
    sandbox.damage_one_bit("st/snapshots");
    for command in ["ls", "check", "prune"] {
        let run = sandbox
            .run(&["at", "st", command, "-tag", "a", "-per-day", "1", "-json"])
            .ended(65);
        run.prints("\"warning\"");
        if command != "check" {
            let run = sandbox
                .run(&["at", "st", command, "-tag", "a", "-per-day", "1"])
                .ended(65);
            run.prints(&good[..8]).says("read snapshot object");
        }
    }
}
