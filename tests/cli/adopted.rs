//! Tests a restore as root to a directory that another user prepared. The other user is real: it
//! holds files open, owns directories and places links.

use std::fs::{self, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown, lchown, symlink};
use std::path::Path;

use crate::common::prerequisite::has_root;
use crate::common::user::USER;
use crate::harness::{Run, Sandbox};
use crate::prepared::{node, set_mode};

const PROGRAM: &[u8] = b"#!/bin/sh\n# a program that runs as root\n";

/// A snapshot of a setuid program, a plain file and a directory of root. The target directory
/// `back` belongs to another user. `None` if this user is not root.
#[track_caller]
fn prepared(name: &str) -> Option<Sandbox> {
    if !has_root() {
        return None;
    }
    let sandbox = Sandbox::with_store(name);
    sandbox.write("d/su", PROGRAM);
    set_mode(&sandbox.path("d/su"), 0o4755);
    sandbox.write("d/plain", PROGRAM);
    set_mode(&sandbox.path("d/plain"), 0o755);
    sandbox.write("d/sub/file", b"in a directory of root");
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox.mkdir("back");
    give_away(&sandbox.path("back"));
    Some(sandbox)
}

fn give_away(path: &Path) {
    lchown(path, Some(USER), Some(USER)).expect("root may give away");
}

fn restored(sandbox: &Sandbox, code: i32) -> Run {
    sandbox
        .run(&["at", "st", "restore", "-to", "back"])
        .ended(code)
}

#[test]
fn a_file_that_another_user_holds_open_does_not_become_a_program_of_root() {
    let Some(sandbox) = prepared("adopted_open") else {
        return;
    };
    let mut held = Vec::new();
    for name in ["su", "plain"] {
        let path = sandbox.path("back").join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o755);
        let mut file = options.open(&path).expect("a file can be created");
        file.write_all(PROGRAM).expect("it can be written");
        chown(&path, Some(USER), Some(USER)).expect("root may give away");
        held.push(file);
    }
    restored(&sandbox, 0)
        .prints("2 replaced")
        .says("back: user 65534 can rename and remove what is restored there");
    for mut file in held {
        file.rewind().expect("a file can be rewound");
        file.write_all(b"evil")
            .expect("the other user still writes to the old file");
        let old = file.metadata().expect("it is open");
        assert_eq!(
            (old.uid(), old.mode() & 0o7777, old.nlink()),
            (USER, 0o755, 0)
        );
    }
    for (name, mode) in [("su", 0o4755), ("plain", 0o755)] {
        let path = sandbox.path("back").join(name);
        let found = fs::metadata(&path).expect("it is restored");
        assert_eq!((found.uid(), found.mode() & 0o7777), (0, mode), "{name}");
        assert_eq!(fs::read(&path).expect("it can be read"), PROGRAM);
    }
}

#[test]
fn a_second_name_of_another_file_is_replaced_and_that_file_is_kept() {
    let Some(sandbox) = prepared("adopted_linked") else {
        return;
    };
    give_root(&sandbox.path("back"));
    sandbox.write("elsewhere", PROGRAM);
    set_mode(&sandbox.path("elsewhere"), 0o600);
    for name in ["su", "plain"] {
        let link = sandbox.path("back").join(name);
        fs::hard_link(sandbox.path("elsewhere"), link).expect("a link can be made");
    }
    restored(&sandbox, 0).prints("2 replaced");
    let kept = fs::metadata(sandbox.path("elsewhere")).expect("it is there");
    assert_eq!((kept.mode() & 0o7777, kept.nlink()), (0o600, 1));
}

fn give_root(path: &Path) {
    lchown(path, Some(0), Some(0)).expect("root may take over");
}

#[test]
fn a_directory_of_another_user_is_refused_and_named() {
    let Some(sandbox) = prepared("adopted_directory") else {
        return;
    };
    sandbox.write("back/sub/planted", b"evil");
    give_away(&sandbox.path("back/sub"));
    restored(&sandbox, 3)
        .says("sub: the existing directory belongs to user 65534, and root does not take it over")
        .prints("1 error");
    let found = fs::metadata(sandbox.path("back/sub")).expect("it is there");
    assert_eq!(found.uid(), USER);
    assert!(!sandbox.path("back/sub/file").exists());
    assert_eq!(
        sandbox.read("back/plain"),
        PROGRAM,
        "the others are restored"
    );
}

#[test]
fn a_link_of_another_user_on_the_way_to_the_target_is_not_followed() {
    let Some(sandbox) = prepared("adopted_link") else {
        return;
    };
    sandbox.mkdir("system");
    sandbox.link("../system", "back/way");
    give_away(&sandbox.path("back/way"));
    for target in ["back/way", "back/way/below"] {
        sandbox
            .run(&["at", "st", "restore", "-to", target])
            .ended(1)
            .says("way is a symbolic link of user 65534, which root does not follow");
    }
    assert_eq!(
        fs::read_dir(sandbox.path("system"))
            .expect("it is there")
            .count(),
        0
    );
    symlink("system", sandbox.path("of-root")).expect("a link can be made");
    sandbox
        .run(&["at", "st", "restore", "-to", "of-root"])
        .ended(0);
    assert_eq!(sandbox.read("system/plain"), PROGRAM);
}

#[test]
fn a_second_restore_as_root_keeps_what_is_safe_to_keep() {
    let Some(sandbox) = prepared("adopted_again") else {
        return;
    };
    give_root(&sandbox.path("back"));
    restored(&sandbox, 0).says_nothing();
    restored(&sandbox, 0)
        .says_nothing()
        .prints("1 file (1 replaced), ")
        .prints("2 files there already");
}

#[test]
fn without_permissions_root_creates_no_devices_and_private_fifos() {
    let Some(sandbox) = prepared("adopted_devices") else {
        return;
    };
    let path = |name: &str| sandbox.path("d").join(name);
    node(
        &path("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    node(
        &path("disk"),
        rustix::fs::FileType::BlockDevice,
        rustix::fs::makedev(7, 99),
    );
    node(&path("fifo"), rustix::fs::FileType::Fifo, 0);
    node(&path("socket"), rustix::fs::FileType::Socket, 0);
    for name in ["null", "disk", "fifo", "socket"] {
        set_mode(&path(name), 0o666);
    }
    sandbox.run(&["at", "st", "backup", "d"]).ended(0);
    sandbox
        .run(&["at", "st", "restore", "-skip-permissions", "-to", "out"])
        .ended(0)
        .says("2 devices were skipped: -skip-permissions creates no devices");
    assert!(!sandbox.path("out/null").exists() && !sandbox.path("out/disk").exists());
    for name in ["fifo", "socket"] {
        let found = fs::metadata(sandbox.path("out").join(name)).expect("it is restored");
        assert_eq!(found.mode() & 0o7777, 0o600, "{name}");
    }
}
