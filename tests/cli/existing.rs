//! Tests restoring over existing files: dry runs, kept files, the original location, and the
//! counters of the summary.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::harness::{Run, Sandbox};
use crate::prepared::set_mode;

/// A snapshot of three files and two directories, and a target `out` in which one file is
/// identical, one differs and one is missing.
fn prepared(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_store(name);
    for (path, contents) in [
        ("d/same", "same"),
        ("d/differs", "new"),
        ("d/sub/missing", "m"),
    ] {
        sandbox.write(path, contents.as_bytes());
    }
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox.write("out/same", b"same");
    sandbox.write("out/differs", b"old contents");
    sandbox
}

fn restore(sandbox: &Sandbox, words: &[&str]) -> Run {
    sandbox.run(&[&["at", "st", "restore"], words].concat())
}

/// Every path below `path`, with all properties that a restore could change.
fn seen(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let mut command = std::process::Command::new("find");
    command
        .arg(sandbox.path(path))
        .args(["-printf", "%p %m %u %g %T@ %C@ %i %s\n"]);
    let mut lines: Vec<String> = Run::of(&mut command)
        .ended(0)
        .stdout()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn replaced_files_are_counted() {
    let sandbox = prepared("existing_counts");
    let run = restore(&sandbox, &["-json", "-to", "out"]).ended(0);
    let summary = run.object("summary");
    assert_eq!(
        (
            &summary["files"],
            &summary["files_replaced"],
            &summary["files_identical"]
        ),
        (&2.into(), &1.into(), &1.into())
    );
    sandbox.write("out/differs", b"old again");
    restore(&sandbox, &["-to", "out"])
        .ended(0)
        .prints("restore: to out: 1 file (1 replaced), 2 directories, 3 B, 2 files there already");
}

#[test]
fn a_dry_run_lists_and_counts_and_writes_nothing() {
    let sandbox = prepared("existing_dry");
    let before = seen(&sandbox, "out");
    let run = restore(&sandbox, &["-dry-run", "-to", "out"]).ended(0);
    let d = sandbox.path("d").display().to_string();
    for line in [
        format!("replace   {d}/differs\n"),
        format!("keep      {d}/same\n"),
        format!("create    {d}/sub\n"),
        format!("create    {d}/sub/missing\n"),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_listed = run.stdout().lines().any(|printed| {
            let printed: Vec<&str> = printed.split_whitespace().collect();
            printed == words
        });
        assert!(is_listed, "{line} in {}", run.stdout());
    }
    run.prints("restore: dry run: to out: 2 files (1 replaced), 2 directories, 4 B, 1 file there");
    assert_eq!(seen(&sandbox, "out"), before);
    let run = restore(&sandbox, &["-dry-run", "-json", "-to", "new/target"]).ended(0);
    assert!(!sandbox.path("new").exists());
    assert_eq!(run.object("summary")["dry_run"], true);
    let actions = run.objects();
    let actions = actions.iter().filter(|line| line["type"] == "path");
    assert!(actions.clone().all(|line| line["action"] == "create"));
    assert_eq!(actions.count(), 4);
    // The real run does what was listed.
    restore(&sandbox, &["-to", "out"])
        .ended(0)
        .prints("2 files (1 replaced), 2 directories, 4 B, 1 file there already");
}

#[test]
fn what_a_dry_run_cannot_replace_is_an_error() {
    let sandbox = prepared("existing_dry_blocked");
    sandbox.write("out/sub", b"not a directory");
    fs::remove_file(sandbox.path("out/same")).expect("it is there");
    sandbox.mkdir("out/same");
    restore(&sandbox, &["-dry-run", "-to", "out"])
        .ended(3)
        .says("sub: something that is not a directory")
        .says("same: a directory has this name")
        .prints("2 errors");
}

#[test]
fn existing_files_and_directories_are_kept_on_request() {
    let sandbox = prepared("existing_kept");
    sandbox.mkdir("out/sub");
    set_mode(&sandbox.path("out/sub"), 0o711);
    let before = seen(&sandbox, "out");
    for words in [
        ["-dry-run", "-keep-existing"].as_slice(),
        &["-keep-existing"],
    ] {
        let run = restore(&sandbox, &[words, &["-to", "out"]].concat()).ended(0);
        run.prints("1 file, 2 directories, 1 B, 2 existing files kept");
    }
    assert_eq!(sandbox.read("out/differs"), b"old contents");
    assert_eq!(sandbox.read("out/sub/missing"), b"m");
    let after = seen(&sandbox, "out");
    let is_kept = |line: &&String| line.contains("/same ") || line.contains("/differs ");
    assert_eq!(
        before.iter().filter(is_kept).collect::<Vec<_>>(),
        after.iter().filter(is_kept).collect::<Vec<_>>()
    );
    let sub = fs::metadata(sandbox.path("out/sub")).expect("it is there");
    assert_eq!(sub.mode() & 0o7777, 0o711);
}

/// A kept file is not the file that was backed up under its name, so no other name is linked to it.
#[test]
fn further_names_are_not_linked_to_a_file_that_is_kept() {
    let sandbox = Sandbox::with_store("existing_linked");
    sandbox.write("d/a", b"backed up");
    for name in ["b", "c"] {
        fs::hard_link(sandbox.path("d/a"), sandbox.path("d").join(name)).expect("a link");
    }
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox.write("out/a", b"another file");
    restore(&sandbox, &["-keep-existing", "-to", "out"])
        .ended(0)
        .prints("2 files, 1 directory, 9 B, 1 existing file kept");
    assert_eq!(sandbox.read("out/a"), b"another file");
    assert_eq!(sandbox.read("out/b"), b"backed up");
    let inode = |name: &str| fs::metadata(sandbox.path("out").join(name)).map(|found| found.ino());
    assert_eq!(inode("b").ok(), inode("c").ok());
}

#[test]
fn a_restore_in_place_brings_files_back_to_where_they_were() {
    let sandbox = prepared("existing_in_place");
    sandbox.write("d/differs", b"changed since");
    sandbox.write("d/unrelated", b"is kept");
    fs::remove_dir_all(sandbox.path("d/sub")).expect("it is there");
    restore(&sandbox, &["-in-place", "latest:sub/missing"]).ended(0);
    assert_eq!(sandbox.read("d/sub/missing"), b"m");
    assert_eq!(sandbox.read("d/differs"), b"changed since", "not asked for");
    let run = restore(&sandbox, &["-in-place", "-dry-run"]).ended(0);
    run.prints("1 file (1 replaced)")
        .prints(&format!("to {}", sandbox.path("d").display()));
    assert_eq!(sandbox.read("d/differs"), b"changed since");
    restore(&sandbox, &["-in-place"]).ended(0).says_nothing();
    assert_eq!(sandbox.read("d/differs"), b"new");
    assert_eq!(sandbox.read("d/unrelated"), b"is kept");
    restore(&sandbox, &["-in-place", "-to", "out"])
        .ended(64)
        .says("-to and -in-place exclude each other");
}

#[test]
fn files_of_another_machine_have_no_original_location_here() {
    let sandbox = Sandbox::with_store("existing_elsewhere");
    sandbox
        .run(&["at", "st", "backup", "cmd:out.txt", "--", "echo", "hello"])
        .ended(0);
    restore(&sandbox, &["-in-place"])
        .ended(1)
        .says("not of this machine; name the directory with -to");
}

#[test]
fn contents_that_are_about_to_land_in_the_root_directory_are_announced() {
    let sandbox = prepared("existing_root");
    let d = sandbox.path("d").display().to_string();
    restore(&sandbox, &["-dry-run", "-to", "/"])
        .ended(0)
        .says(&format!(
            "warning: the contents of {d} will be written to /; "
        ))
        .says("use -in-place");
    for words in [
        ["-dry-run", "-to", "/", "latest:sub"].as_slice(),
        &["-dry-run", "-to", "out"],
    ] {
        restore(&sandbox, words).ended(0).says_nothing();
    }
}

#[test]
fn help_lists_the_flags_of_restore_first() {
    let sandbox = Sandbox::new("existing_help");
    let help = sandbox.run(&["restore", "-h"]).ended(0).stdout();
    let at = |flag: &str| help.find(&format!("\n  {flag}")).unwrap_or(usize::MAX);
    let own = [
        "-to ",
        "-in-place",
        "-dry-run",
        "-keep-existing",
        "-skip-permissions",
    ];
    assert!(own.iter().all(|flag| at(flag) < at("-before")), "{help}");
}
