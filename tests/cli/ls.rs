//! Tests listing snapshots and their contents.

use std::process::Command;

use crate::harness::{PASSPHRASE, Sandbox, binary, store};

#[test]
fn snapshots_are_listed_newest_first() {
    let sandbox = Sandbox::with_store("ls");
    let at = store("ls");
    sandbox.write("d/a", b"hello");
    for time in ["2001-01-01", "2003-01-01", "2002-01-01"] {
        let words = ["at", &at, "backup", "-force-timestamp", time, "-quiet", "d"];
        sandbox.run(&words).ended(0).silent();
    }
    let listed = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    let years: Vec<&str> = listed.lines().map(|line| &line[..4]).collect();
    assert_eq!(years, ["2003", "2002", "2001"]);
    let line = listed.lines().next().expect("there are three");
    // 2003-01-01T00:00:00Z   dd62691d       5 B        0s /…/d
    assert!(
        line.ends_with("/d") && &line[20..23] == "   " && &line[31..41] == "       5 B",
        "{line}"
    );
    assert_eq!(
        sandbox.run(&["at", &at]).ended(0).stdout(),
        listed,
        "without a command"
    );
    let full = sandbox.run(&["at", &at, "ls", "-uuid"]).ended(0).stdout();
    assert!(
        full.contains(&line[23..31]) && full.len() == listed.len() + 3 * 54,
        "{full}"
    );
}

#[test]
fn a_directory_is_listed_by_name() {
    let sandbox = Sandbox::with_store("ls_inside");
    let at = store("ls_inside");
    sandbox.write("d/b/c/deep", b"x");
    sandbox.write("d/a\n\x1b[2J", b"hello");
    sandbox.link("b/c", "d/z");
    let id = sandbox.backup(&at, "d");
    let listed = sandbox.run(&["at", &at, "ls", &id[..10]]).ended(0).stdout();
    let names: Vec<&str> = listed.lines().map(|line| &line[61..]).collect();
    assert_eq!(names, ["a\\n\\u{1b}[2J", "b", "z -> b/c"], "{listed}");
    let below = sandbox
        .run(&["at", &at, "ls", "-recursive", &format!("{id}:b")])
        .ended(0);
    below.prints("/d/b/c\n").prints("/d/b/c/deep\n");
    let one = sandbox
        .run(&["at", &at, "ls", &format!("{id}:b/../b/./c/deep")])
        .ended(0)
        .stdout();
    assert!(
        one.lines().count() == 1 && one.ends_with(" deep\n"),
        "{one}"
    );
}

#[test]
fn entries_are_objects_that_keep_every_byte() {
    let sandbox = Sandbox::with_store("ls_json");
    let at = store("ls_json");
    sandbox.write("d/run", b"12345");
    sandbox.link("run", "d/to");
    sandbox.backup(&at, "d");
    let objects = sandbox
        .run(&["at", &at, "-json", "ls", "latest"])
        .ended(0)
        .objects();
    assert_eq!(
        (&objects[0]["kind"], &objects[0]["size_bytes"]),
        (&"file".into(), &5.into())
    );
    assert_eq!(
        (&objects[1]["kind"], &objects[1]["target"]["path"]),
        (&"symlink".into(), &"run".into())
    );
    assert!(
        objects[0]["mtime"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
}

/// A test cannot change the host name, except in its own user namespace.
#[test]
fn hosts_are_shown_if_there_are_several_and_everything_in_a_long_listing() {
    let sandbox = Sandbox::with_store("ls_hosts");
    let at = store("ls_hosts");
    sandbox.write("d/a", b"hello");
    let words = [
        "at", &at, "backup", "-quiet", "-tag", "weekly", "-job", "j", "d",
    ];
    sandbox.run(&words).ended(0);
    let one = sandbox.run(&["at", &at, "ls", "-long"]).ended(0).stdout();
    let lines: Vec<&str> = one.lines().collect();
    assert_eq!(lines.len(), 2, "{one}");
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        columns,
        ["TIME", "SNAPSHOT", "SIZE", "DURATION", "HOST", "PATHS"]
    );
    let path = lines[0].find("PATHS").expect("it is there");
    assert!(lines[1][path..].starts_with('/'), "{one}");
    assert!(lines[1].ends_with("/d job=j tags=weekly"), "{one}");
    let entries = sandbox
        .run(&["at", &at, "ls", "-long", "latest"])
        .ended(0)
        .stdout();
    let lines: Vec<&str> = entries.lines().collect();
    let name = lines[0].find("NAME").expect("it is there");
    assert_eq!((lines.len(), &lines[1][name..]), (2, "a"), "{entries}");
    let json = sandbox.run(&["-json", "at", &at, "ls", "-long"]).ended(0);
    let origin = json.object("snapshot")["origin"].clone();
    let origin = origin.as_str().expect("it is text");
    let short = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert!(!short.contains(&format!(" {origin} ")), "{short}");
    let elsewhere = format!(
        "hostname elsewhere && exec '{}' at '{at}' backup -quiet d",
        binary()
    );
    let renamed = Command::new("unshare")
        .args(["--map-root-user", "--uts", "/bin/sh", "-c", &elsewhere])
        .current_dir(sandbox.path("."))
        .env("PLAKAR_PASSPHRASE", PASSPHRASE)
        .env("HOME", sandbox.path("home"))
        .output();
    // Some kernels do not allow user namespaces for ordinary users.
    if !renamed.is_ok_and(|run| run.status.success()) {
        return;
    }
    let both = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    let lines: Vec<&str> = both.lines().collect();
    assert!(lines[0].contains(" elsewhere "), "{both}");
    assert!(lines[1].contains(&format!(" {origin} ")), "{both}");
    assert_eq!(lines[0].find("/"), lines[1].find("/"), "{both}");
}

#[test]
fn what_is_not_there_is_told() {
    let sandbox = Sandbox::with_store("ls_nothing");
    let at = store("ls_nothing");
    sandbox
        .run(&["at", &at, "ls", "latest"])
        .ended(66)
        .says("there are no snapshots");
    sandbox.write("d/a", b"x");
    let id = sandbox.backup(&at, "d");
    sandbox
        .run(&["at", &at, "ls", "0123456789abcdef"])
        .ended(66)
        .says("no snapshot begins with");
    sandbox
        .run(&["at", &at, "ls", "no-hex"])
        .ended(66)
        .says("no snapshot begins with");
    sandbox
        .run(&["at", &at, "ls", &format!("{id}:nowhere")])
        .ended(66)
        .says("no such file");
    sandbox
        .run(&["at", &at, "ls", "latest", "latest"])
        .ended(64)
        .says("unexpected argument");
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    let sandbox = Sandbox::with_store("ls_denied").with("PLAKAR_PASSPHRASE", "wrong");
    let run = sandbox.run(&["at", &store("ls_denied"), "ls"]).ended(77);
    run.prints_nothing().says("wrong passphrase");
}
