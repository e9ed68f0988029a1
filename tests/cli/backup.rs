//! Tests creating snapshots.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use crate::harness::{Sandbox, store};

/// A sandbox with a store and a small tree in `d`.
fn with_tree(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/a.txt", b"hello\n");
    sandbox.write("d/sub/b.o", b"object");
    sandbox
}

#[test]
fn the_summary_tells_what_was_done() {
    let sandbox = with_tree("backup_summary");
    let at = store("backup_summary");
    let run = sandbox
        .run(&["at", &at, "backup", "-json", "d"])
        .ended(0)
        .says_nothing();
    let summary = run.object("summary");
    assert_eq!(
        (&summary["files_new"], &summary["files"]),
        (&2.into(), &2.into()),
        "{summary}"
    );
    assert_eq!(summary["read_bytes"], 12);
    assert_eq!(summary["snapshot"].as_str().map(str::len), Some(64));
    let again = sandbox
        .run(&["at", &at, "backup", "d"])
        .ended(0)
        .says_nothing();
    again
        .prints("backup: snapshot ")
        .prints("2 files (0 new, 0 changed, 2 unchanged)")
        .prints("read 0 B");
    let afresh = sandbox
        .run(&["at", &at, "backup", "-json", "-cache", "no", "d"])
        .ended(0);
    assert_eq!(afresh.object("summary")["read_bytes"], 12);
}

#[test]
fn what_a_person_says_of_a_snapshot_is_kept() {
    let sandbox = with_tree("backup_labels").with("PLAKAR_TAGS", "nightly, home");
    let at = store("backup_labels");
    let words = [
        "at",
        &at,
        "backup",
        "-tag",
        "b,a",
        "-tag=a",
        "-name",
        "n",
        "-category",
        "c",
        "-environment",
        "e",
        "-perimeter",
        "p",
        "-job",
        "j",
        "-force-timestamp",
        "2001-02-03 04:05",
        "d",
    ];
    sandbox.run(&words).ended(0);
    let snapshot = sandbox
        .run(&["at", &at, "ls", "-json"])
        .ended(0)
        .object("snapshot");
    assert_eq!(
        snapshot["tags"],
        serde_json::json!(["a", "b", "home", "nightly"])
    );
    assert_eq!(snapshot["time"], "2001-02-03T04:05:00Z");
    for (name, value) in [
        ("name", "n"),
        ("category", "c"),
        ("environment", "e"),
        ("perimeter", "p"),
        ("job", "j"),
    ] {
        assert_eq!(snapshot[name], value);
    }
    sandbox
        .run(&["at", &at, "ls", "-tags"])
        .ended(0)
        .prints(" tags=a,b,home,nightly\n");
}

#[test]
fn a_dry_run_lists_what_would_be_stored_and_stores_nothing() {
    let sandbox = with_tree("backup_dry_run");
    let at = store("backup_dry_run");
    let words = ["at", &at, "backup", "-dry-run", "-ignore", "*.o", "d"];
    let run = sandbox.run(&words).ended(0).says_nothing();
    let listed = run.stdout();
    assert!(
        listed.contains("new ") && listed.contains("/d/a.txt\n"),
        "{listed}"
    );
    assert!(!listed.contains("b.o"), "{listed}");
    sandbox.run(&["at", &at, "ls"]).ended(0).silent();
}

#[test]
fn patterns_come_from_files_and_from_the_command_line() {
    let sandbox = with_tree("backup_ignore");
    let at = store("backup_ignore");
    sandbox.write("patterns", b"# all but text\n*\n!**/\n");
    let words = [
        "at",
        &at,
        "backup",
        "-ignore-file",
        "patterns",
        "-ignore",
        "!*.txt",
        "d",
    ];
    sandbox.run(&words).ended(0);
    let listed = sandbox
        .run(&["at", &at, "ls", "-recursive", "latest"])
        .ended(0)
        .stdout();
    assert!(
        listed.contains("a.txt") && !listed.contains("b.o"),
        "{listed}"
    );
    let bad = sandbox
        .run(&["at", &at, "backup", "-ignore", "[z-a]", "d"])
        .ended(64);
    bad.says("ignore pattern 1");
    let none = sandbox
        .run(&["at", &at, "backup", "-ignore-file", "nowhere", "d"])
        .ended(66);
    none.says("ignore file nowhere");
}

#[test]
fn the_store_and_the_cache_do_not_back_themselves_up() {
    let sandbox = with_tree("backup_itself");
    sandbox.link("st", "d/to-the-store");
    sandbox.run(&["at", "st", "create"]);
    for _ in 0..2 {
        sandbox
            .run(&["at", "st", "-cachedir", "c", "backup"])
            .ended(0);
    }
    let listed = sandbox
        .run(&["at", "st", "ls", "-recursive", "latest"])
        .ended(0)
        .stdout();
    assert!(listed.contains("a.txt"), "{listed}");
    assert!(
        !listed.contains("CONFIG") && !listed.contains("/c/"),
        "{listed}"
    );
}

#[test]
fn places_may_be_links_bytes_and_several() {
    let sandbox = with_tree("backup_places");
    let at = store("backup_places");
    let odd = OsString::from_vec(b"caf\xe9".to_vec());
    fs::create_dir(sandbox.path(".").join(&odd)).expect("any name is a name");
    fs::write(sandbox.path(".").join(&odd).join("x"), b"odd").expect("a file can be written");
    sandbox.link("d", "to-d");
    let mut words: Vec<OsString> = ["at", &at, "backup", "to-d"].map(OsString::from).to_vec();
    words.push(odd);
    sandbox.run(&words).ended(0);
    let roots = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert!(
        roots.contains("caf\\xe9, ") && roots.trim_end().ends_with("/d"),
        "{roots}"
    );
    sandbox
        .run(&["at", &at, "cat", "latest:d/a.txt"])
        .ended(0)
        .prints_just("hello\n");
}

#[test]
fn a_place_that_is_not_there_is_told() {
    let sandbox = with_tree("backup_nowhere");
    let at = store("backup_nowhere");
    sandbox
        .run(&["at", &at, "backup", "nowhere"])
        .ended(66)
        .says("backup: nowhere: no such file");
    sandbox
        .run(&["at", "nothing", "backup", "d"])
        .ended(66)
        .says("there is no store here");
    let slip = sandbox
        .run(&["at", &at, "backup", "-o", "exclude_cache=true", "d"])
        .ended(64);
    slip.says("did you mean exclude_caches?")
        .says("one_file_system");
    sandbox
        .run(&["at", &at, "backup", "-cache", "yes", "d"])
        .ended(64)
        .says("neither vfs nor no");
    let late = ["at", &at, "backup", "-force-timestamp", "yesterday", "d"];
    sandbox.run(&late).ended(64).says("RFC 3339");
}

#[test]
fn marked_caches_are_left_out_on_request() {
    let sandbox = with_tree("backup_caches");
    let at = store("backup_caches");
    sandbox.write(
        "d/cache/CACHEDIR.TAG",
        b"Signature: 8a477f597d28d172789f06886806bc55\n",
    );
    sandbox.write("d/cache/blob", b"x");
    sandbox
        .run(&["at", &at, "backup", "-o", "exclude_caches=true", "d"])
        .ended(0);
    let listed = sandbox
        .run(&["at", &at, "ls", "latest:cache"])
        .ended(0)
        .stdout();
    assert!(
        listed.contains("CACHEDIR.TAG") && !listed.contains("blob"),
        "{listed}"
    );
}

#[test]
fn paths_are_told_to_logs_and_to_programs() {
    let sandbox = with_tree("backup_stdio");
    let at = store("backup_stdio");
    let lines = sandbox
        .run(&["at", &at, "backup", "-stdio", "d"])
        .ended(0)
        .stdout();
    assert!(lines.starts_with("new       /"), "{lines}");
    let run = sandbox
        .run(&["at", &at, "backup", "-stdio", "-json", "d"])
        .ended(0);
    assert_eq!(run.object("path")["action"], "unchanged");
}

#[test]
fn a_backup_may_be_checked_at_once() {
    let sandbox = with_tree("backup_check");
    let run = sandbox
        .run(&["at", &store("backup_check"), "backup", "-check", "d"])
        .ended(0);
    run.prints("backup: snapshot ")
        .prints("check: intact: 1 snapshot, 2 files");
}
