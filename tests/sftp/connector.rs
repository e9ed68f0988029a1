//! Tests backup from, and restore to, an SFTP server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::command::sandbox;
use crate::harness::{Run, noise};
use crate::server::Server;

/// The modification time of files in these tests: in the past, in whole seconds.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// Creates a file with `mode` and a modification time in the past.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let file = fs::File::open(path).unwrap();
    file.set_modified(long_ago()).unwrap();
}

/// A tree with all types of entries that SFTP supports.
pub(crate) fn tree(root: &Path) {
    write(&root.join("large"), &noise(5 << 20), 0o640);
    write(&root.join("empty"), b"", 0o600);
    write(&root.join("sub/deep/run"), b"#!/bin/sh\n", 0o755);
    write(
        &root.join(OsStr::from_bytes(b"sub/raw-\xff\n")),
        b"raw",
        0o604,
    );
    symlink("sub/deep/run", root.join("link")).unwrap();
    symlink("/no/where", root.join("sub/dangling")).unwrap();
    fs::set_permissions(root.join("sub/deep"), fs::Permissions::from_mode(0o550)).unwrap();
    for dir in ["sub/deep", "sub", "."] {
        fs::File::open(root.join(dir))
            .unwrap()
            .set_modified(long_ago())
            .unwrap();
    }
}

/// Everything below `root`: names, types, modes, times in seconds, link targets.
pub(crate) fn listed(root: &Path) -> String {
    let mut find = Command::new("find");
    find.arg(root).args([
        "-mindepth",
        "1",
        "(",
        "-type",
        "l",
        "-printf",
        "%P -> %l\\n",
        ")",
    ]);
    find.args(["-o", "-printf", "%P %y %m %Ts %U %G\\n"]);
    let output = find.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

pub(crate) fn assert_same_contents(one: &Path, other: &Path) {
    let mut diff = Command::new("diff");
    let status = diff
        .args(["-r", "--no-dereference"])
        .arg(one)
        .arg(other)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn files_of_a_server_are_backed_up_incrementally() {
    let server = Server::new();
    tree(&server.path("srv/tree"));
    let sandbox = sandbox("sftp_source", &server);
    sandbox.run(&["at", "st", "create"]).ended(0);
    let place = server.location("tree");
    let backup = || {
        sandbox
            .run(&["at", "st", "backup", "-json", &place])
            .ended(0)
            .object("summary")
    };
    let first = backup();
    assert_eq!(first["errors"], 0, "{first}");
    sandbox
        .run(&["at", "st", "restore", "-to", "back", "latest"])
        .ended(0);
    assert_same_contents(&server.path("srv/tree"), &sandbox.path("back"));
    assert_eq!(
        listed(&server.path("srv/tree")),
        listed(&sandbox.path("back"))
    );

    let second = backup();
    assert_eq!(second["files_unchanged"], second["files"], "{second}");
    write(&server.path("srv/tree/sub/new"), b"new", 0o600);
    write(&server.path("srv/tree/empty"), b"not any more", 0o600);
    let third = backup();
    assert_eq!(
        (&third["files_new"], &third["files_changed"]),
        (&1.into(), &1.into()),
        "{third}"
    );
    sandbox
        .run(&[
            "at",
            "st",
            "cat",
            &format!("latest:{}", server.path("srv/tree/empty").display()),
        ])
        .ended(0)
        .prints_just("not any more");
    sandbox
        .run(&[
            "at", "st", "ls", "-type", "sftp", "-origin", "nas", "-latest",
        ])
        .ended(0)
        .prints("/srv/tree");
}

#[test]
fn a_source_has_a_name_and_patterns() {
    let server = Server::new();
    tree(&server.path("srv/tree"));
    let sandbox = sandbox("sftp_source_named", &server);
    sandbox.run(&["at", "st", "create"]).ended(0);
    let location = server.location("");
    sandbox.run(&["source", "add", "far", &location]).ended(0);
    sandbox
        .run(&["source", "ping", "far"])
        .ended(0)
        .prints("is there");
    sandbox
        .run(&["source", "check", "far"])
        .ended(0)
        .prints("can be read");
    sandbox
        .run(&["at", "st", "backup", "-ignore", "large", "@far:tree"])
        .ended(0);
    sandbox
        .run(&["at", "st", "restore", "-to", "back", "latest"])
        .ended(0);
    assert!(!sandbox.path("back/large").exists() && sandbox.path("back/sub/deep/run").exists());
    let single = server.location("tree/large");
    sandbox
        .run(&["at", "st", "backup", &single, &server.location("tree/sub")])
        .ended(0);
    sandbox
        .run(&["at", "st", "backup", &single, "/tmp"])
        .ended(64)
        .says("one backup is of one machine");
    sandbox
        .run(&["at", "st", "backup", &server.location("none")])
        .ended(66)
        .says("no such file");
    sandbox.run(&["source", "check", "far"]).ended(0);
}

#[test]
fn a_server_that_is_restarted_while_it_is_read_is_waited_for() {
    let mut server = Server::new();
    for n in 0..40 {
        write(
            &server.path(&format!("srv/tree/file{n}")),
            &noise((4 << 20) + n),
            0o600,
        );
    }
    let sandbox = sandbox("sftp_source_restarted", &server);
    sandbox.run(&["at", "st", "create"]).ended(0);
    let mut command = sandbox.command(&["at", "st", "backup", "-stdio", &server.location("tree")]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Waits until it reports the first file.
    let mut said = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut said).unwrap();
    server.kill();
    server.start();
    let drained = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let run = Run::after("backup".to_owned(), child.wait_with_output().unwrap());
    run.ended(0);
    drained.join().unwrap().unwrap();
    sandbox
        .run(&["at", "st", "restore", "-to", "back", "latest"])
        .ended(0);
    assert_same_contents(&server.path("srv/tree"), &sandbox.path("back"));
    sandbox.discard();
}

#[test]
fn a_tree_is_restored_to_a_server() {
    let server = Server::new();
    let sandbox = sandbox("sftp_destination", &server);
    tree(&sandbox.path("d"));
    fs::hard_link(sandbox.path("d/large"), sandbox.path("d/sub/same")).unwrap();
    fs::File::open(sandbox.path("d/sub"))
        .unwrap()
        .set_modified(long_ago())
        .unwrap();
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);

    // Existing files are in the way, and the target directory has its own mode.
    let back = server.path("srv/back");
    write(&back.join("large"), b"another", 0o444);
    write(&back.join("link"), b"no link", 0o600);
    write(&back.join("sub/other"), b"stays", 0o600);
    fs::set_permissions(&back, fs::Permissions::from_mode(0o711)).unwrap();
    let to = server.location("back");
    let run = sandbox
        .run(&["at", "st", "restore", "-to", &to, "latest"])
        .ended(0);
    run.says("2 times, 1 hard link (it is a copy) could not be restored: SFTP cannot say them");
    assert_eq!(fs::metadata(&back).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::read(back.join("sub/other")).unwrap(), b"stays");
    fs::remove_file(back.join("sub/other")).unwrap();
    fs::File::open(back.join("sub"))
        .unwrap()
        .set_modified(long_ago())
        .unwrap();
    assert_same_contents(&sandbox.path("d"), &back);
    assert_eq!(listed(&sandbox.path("d")), listed(&back));

    // One configured connection is sufficient, even to copy a former hard link.
    let one = server.location("one");
    sandbox
        .run(&["destination", "add", "one", &one, "connections=1"])
        .ended(0);
    sandbox
        .run(&["at", "st", "restore", "-to", "@one", "latest"])
        .ended(0);
    assert_same_contents(&sandbox.path("d"), &server.path("srv/one"));

    // In the second restore all files exist.
    let again = sandbox
        .run(&["at", "st", "restore", "-json", "-to", &to, "latest"])
        .ended(0);
    let summary = again.object("summary");
    assert_eq!(summary["files_identical"], 4, "{summary}");
    assert_eq!(listed(&sandbox.path("d")), listed(&back));
}

#[test]
fn a_destination_has_a_name() {
    let server = Server::new();
    let sandbox = sandbox("sftp_destination_named", &server);
    sandbox.write("d/a", b"a");
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox
        .run(&["destination", "add", "far", &server.location("")])
        .ended(0);
    sandbox
        .run(&["destination", "check", "far"])
        .ended(0)
        .prints("can be written to");
    sandbox
        .run(&["destination", "ping", "far"])
        .ended(0)
        .prints("is there");
    sandbox
        .run(&[
            "at",
            "st",
            "restore",
            "-to",
            "@far:new/place",
            "-skip-permissions",
            "latest",
        ])
        .ended(0);
    let made = server.path("srv/new/place/a");
    assert_eq!(fs::read(&made).unwrap(), b"a");
    // The mode that the umask of the server results in, not the recorded one.
    fs::write(server.path("srv/plain"), b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&made), mode(&server.path("srv/plain")));
    assert_eq!(
        crate::server::files_below(&server.path("srv")),
        ["./new/place/a", "./plain"]
    );
}

#[test]
fn a_store_on_the_server_is_not_backed_up_into_itself() {
    let server = Server::new();
    tree(&server.path("srv/tree"));
    let sandbox = sandbox("sftp_source_store", &server);
    let store = server.location("tree/sub/st");
    sandbox.run(&["at", &store, "create"]).ended(0);
    // The same account on the same server under different names, and a path through a symbolic
    // link.
    symlink(server.path("srv/tree"), server.path("srv/way")).unwrap();
    let way = server.path("srv/way");
    let far = format!("sftp://127.0.0.1:{}{}", server.port(), way.display());
    server.configure(&format!(
        "Host 127.0.0.1\n  User {}\n",
        crate::server::user()
    ));
    for place in [&server.location("tree"), &far] {
        sandbox.run(&["at", &store, "backup", place]).ended(0);
        let listed = sandbox
            .run(&["at", &store, "ls", "-recursive", "latest"])
            .ended(0)
            .prints("sub/deep/run")
            .stdout();
        assert!(!listed.contains("sub/st"), "{listed}");
        let foreseen = sandbox
            .run(&["at", &store, "backup", "-dry-run", place])
            .ended(0)
            .stdout();
        assert!(!foreseen.contains("sub/st"), "{foreseen}");
    }
    // A different store on the server is backed up like any other files.
    sandbox.run(&["at", "st", "create"]).ended(0);
    sandbox
        .run(&["at", "st", "backup", &server.location("tree")])
        .ended(0);
    sandbox
        .run(&["at", "st", "ls", "-recursive", "latest"])
        .ended(0)
        .prints("sub/st/CONFIG");
}
