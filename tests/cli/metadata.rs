//! Tests backup and restore of all metadata as root.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{FileType, Mode, XattrFlags};

use crate::common::prerequisite::{has_root, program};
use crate::harness::{Sandbox, noise, store};
use crate::prepared::{node, set_mode, set_mtime};
use crate::seen::{Tree, differences, tree};

/// Runs a system tool, which must succeed.
#[track_caller]
fn tool(words: &[&str], path: &Path) {
    let output = program(words[0]).args(&words[1..]).arg(path).output();
    let output = output.expect("it can be run");
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// A sandbox whose previous run may have left immutable files.
fn unlocked(name: &str) -> Sandbox {
    let earlier = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    unlock(&earlier);
    Sandbox::new(name)
}

fn unlock(path: &Path) {
    let mut command = Command::new("chattr");
    let _ = command.args(["-R", "-f", "-i"]).arg(path).output();
}

/// Makes all files removable on drop.
struct Unlock<'a>(&'a Sandbox);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        unlock(&self.0.path("."));
    }
}

/// Backs up `d`, restores it and compares the result.
fn there_and_back(sandbox: &Sandbox, name: &str) -> Tree {
    let at = store(name);
    let before = tree(&sandbox.path("d"));
    sandbox
        .run(&["at", &at, "backup", "d"])
        .ended(0)
        .says_nothing();
    sandbox
        .run(&["at", &at, "restore", "-to", "out"])
        .ended(0)
        .says_nothing();
    same(&before, &tree(&sandbox.path("out")));
    before
}

#[track_caller]
fn same(before: &Tree, after: &Tree) {
    let differ = differences(before, after);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn with_store(name: &str) -> Sandbox {
    let sandbox = unlocked(name);
    sandbox.run(&["at", &store(name), "create"]).ended(0);
    sandbox.mkdir("d");
    sandbox
}

#[test]
fn every_kind_of_entry_comes_back() {
    if !has_root() {
        return;
    }
    let sandbox = with_store("metadata_kinds");
    let path = |name: &str| sandbox.path("d").join(name);
    node(&path("fifo"), FileType::Fifo, 0);
    node(&path("socket"), FileType::Socket, 0);
    node(
        &path("null"),
        FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    node(
        &path("disk"),
        FileType::BlockDevice,
        rustix::fs::makedev(259, 1_048_575),
    );
    sandbox.write("d/a", b"a");
    sandbox.mkdir("d/sub/empty");
    sandbox.mkdir("d/z");
    for (target, link) in [
        ("a", "d/link"),
        ("nowhere", "d/dangling"),
        ("sub", "d/to-directory"),
        ("/etc/passwd", "d/absolute"),
        ("loop", "d/loop"),
        (&"x".repeat(4095), "d/long-target"),
    ] {
        sandbox.link(target, link);
    }
    for name in ["sub/b", "z/c"] {
        fs::hard_link(path("a"), path(name)).expect("a link can be made");
    }
    sandbox.write("d/empty", b"");
    let before = there_and_back(&sandbox, "metadata_kinds");
    assert_eq!(before[&b"/z/c"[..]].first_name, b"/a");
}

#[test]
fn names_may_be_anything_and_paths_longer_than_the_kernel_takes() {
    if !has_root() {
        return;
    }
    let sandbox = with_store("metadata_names");
    let odd = [
        "x".repeat(255).into_bytes(),
        b"two\nlines".to_vec(),
        b"caf\xe9\xff\x80".to_vec(),
        b"\x1b[31mred\x07".to_vec(),
        b" ".to_vec(),
        b"-rf".to_vec(),
        b"*".to_vec(),
        b"back\\slash".to_vec(),
        "Ａ\u{202e}txt".as_bytes().to_vec(),
    ];
    for name in odd {
        let path = sandbox.path("d").join(OsString::from_vec(name));
        fs::write(&path, path.as_os_str().as_encoded_bytes()).expect("any name is a name");
    }
    deep(&sandbox.path("d"), 30);
    let before = there_and_back(&sandbox, "metadata_names");
    let longest = before.keys().map(Vec::len).max();
    assert!(longest > Some(6000), "{longest:?}");
}

/// Creates nested directories with long names, and a file in the innermost one.
fn deep(path: &Path, levels: usize) {
    let name = "n".repeat(200);
    let how = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
    let mut dir = rustix::fs::open(path, how, Mode::empty()).expect("it is there");
    for _ in 0..levels {
        let made = rustix::fs::mkdirat(&dir, &name, Mode::from_raw_mode(0o755));
        made.expect("a directory can be made");
        dir = rustix::fs::openat(&dir, &name, how, Mode::empty()).expect("it was made");
    }
    let how = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::openat(&dir, "deepest", how, Mode::from_raw_mode(0o644));
    let file = File::from(file.expect("a file can be made"));
    file.write_all_at(b"down here", 0)
        .expect("it can be written");
}

#[test]
fn holes_come_back_where_they_were() {
    if !has_root() {
        return;
    }
    let sandbox = with_store("metadata_holes");
    let sparse = |name: &str, size_bytes: u64, data: &[(u64, usize)]| {
        let file = File::create(sandbox.path("d").join(name)).expect("a file can be made");
        file.set_len(size_bytes).expect("a length can be set");
        for (offset, bytes) in data {
            file.write_all_at(&noise(*bytes), *offset)
                .expect("it can be written");
        }
    };
    sparse(
        "middle",
        40 << 20,
        &[(0, 4096), (20 << 20, 300_000), ((40 << 20) - 4096, 4096)],
    );
    sparse("ends", 3 << 20, &[(1 << 20, 8192)]);
    sparse("nothing", 1 << 30, &[]);
    sparse("odd-end", (1 << 20) + 123, &[(4096, 1)]);
    sparse("zeros", 64 << 10, &[]);
    let zeros = File::options().write(true).open(sandbox.path("d/zeros"));
    let zeros = zeros.expect("it was made");
    zeros
        .write_all_at(&[0; 64 << 10], 0)
        .expect("it can be written");
    let before = there_and_back(&sandbox, "metadata_holes");
    assert_eq!(before[&b"/middle"[..]].data.len(), 3);
    assert!(before[&b"/nothing"[..]].data.is_empty());
    assert_eq!(before[&b"/zeros"[..]].data.len(), 1);
}

#[test]
fn times_modes_and_owners_come_back() {
    if !has_root() {
        return;
    }
    let sandbox = with_store("metadata_modes");
    let moments = [
        (-1, 999_999_999),
        (-86_400 * 365 * 30, 1),
        (0, 0),
        (i64::from(i32::MAX) + 1, 123_456_789),
        (9_000_000_000, 987_654_321),
    ];
    for (number, (seconds, nanoseconds)) in moments.into_iter().enumerate() {
        let path = |kind: &str| sandbox.path(&format!("d/{kind}{number}"));
        sandbox.write(&format!("d/directory{number}/in"), b"below");
        sandbox.write(&format!("d/file{number}"), b"contents");
        sandbox.link("nowhere", &format!("d/link{number}"));
        for kind in ["directory", "file", "link"] {
            set_mtime(&path(kind), seconds, nanoseconds);
            let (uid, gid) = (Some(1000 + number as u32), Some(4_000_000_000));
            std::os::unix::fs::lchown(path(kind), uid, gid).expect("an owner can be set");
        }
        set_mtime(&path("file"), seconds, nanoseconds);
    }
    for mode in [
        0o000, 0o400, 0o644, 0o777, 0o2755, 0o4755, 0o6711, 0o1644, 0o7777,
    ] {
        sandbox.write(&format!("d/mode{mode:o}"), b"x");
        set_mode(&sandbox.path(&format!("d/mode{mode:o}")), mode);
        sandbox.write(&format!("d/dir{mode:o}/x"), b"x");
        set_mode(&sandbox.path(&format!("d/dir{mode:o}")), mode);
    }
    set_mtime(&sandbox.path("d"), 1, 2);
    there_and_back(&sandbox, "metadata_modes");
}

#[test]
fn attributes_acls_capabilities_and_flags_come_back() {
    if !has_root() {
        return;
    }
    let sandbox = with_store("metadata_attributes");
    let _unlock = Unlock(&sandbox);
    let path = |name: &str| sandbox.path("d").join(name);
    for name in [
        "acl",
        "capability",
        "nodump",
        "noatime",
        "immutable",
        "user",
        "many",
    ] {
        sandbox.write(&format!("d/{name}"), name.as_bytes());
    }
    for name in ["dir", "flagged", "locked"] {
        sandbox.write(&format!("d/{name}/in"), b"below");
    }
    sandbox.link("nowhere", "d/link");
    let every: Vec<u8> = (0..=255).collect();
    let set = |name: &str, key: &str, value: &[u8]| {
        let set = rustix::fs::lsetxattr(path(name), key, value, XattrFlags::empty());
        set.unwrap_or_else(|cause| panic!("{key} of {name}: {cause}"));
    };
    set("user", "user.every byte", &every);
    set("user", "user.empty", b"");
    set("user", "trusted.root", &every);
    set("user", "user.long", &noise(2000));
    set("dir", "user.directory", &every);
    set("link", "trusted.link", &every);
    (0..40).for_each(|number| set("many", &format!("user.{number}"), &[number]));
    tool(
        &["setfacl", "-m", "u:1234:rwx,g:99:---,m:r-x"],
        &path("acl"),
    );
    tool(
        &["setfacl", "-m", "u:7:r-x,d:u:1234:rwx,d:o::---"],
        &path("dir"),
    );
    tool(&["setcap", "cap_net_raw,cap_chown+ep"], &path("capability"));
    tool(&["chattr", "+d"], &path("nodump"));
    tool(&["chattr", "+A"], &path("noatime"));
    tool(&["chattr", "+dA"], &path("flagged"));
    tool(&["chattr", "+i"], &path("immutable"));
    tool(&["chattr", "+i"], &path("locked"));
    let before = there_and_back(&sandbox, "metadata_attributes");
    assert_eq!(before[&b"/many"[..]].xattrs.len(), 40);
    assert_ne!(before[&b"/locked"[..]].flags, 0);
    // Restore over existing files: immutable flags are cleared for files that have to be replaced,
    // and set again.
    let immutable = sandbox.path("out/immutable");
    unlock(&immutable);
    sandbox.write("out/immutable", b"changed");
    tool(&["chattr", "+i"], &immutable);
    let at = store("metadata_attributes");
    sandbox
        .run(&["at", &at, "restore", "-to", "out"])
        .ended(0)
        .says_nothing();
    // An existing target directory keeps its own time and mode.
    let (mut before, mut after) = (before, tree(&sandbox.path("out")));
    for tree in [&mut before, &mut after] {
        tree.remove(&b""[..]);
    }
    same(&before, &after);
}

#[test]
fn attributes_may_be_left_out_on_either_side() {
    if !has_root() {
        return;
    }
    let sandbox = with_store("metadata_without");
    let at = store("metadata_without");
    sandbox.write("d/a", b"a");
    std::os::unix::fs::chown(sandbox.path("d/a"), Some(77), Some(88)).expect("root may");
    set_mode(&sandbox.path("d/a"), 0o4711);
    tool(
        &["setfattr", "-n", "user.x", "-v", "y"],
        &sandbox.path("d/a"),
    );
    set_mtime(&sandbox.path("d/a"), 1_000_000_000, 5);
    sandbox.run(&["at", &at, "backup", "d"]).ended(0);
    let words = ["at", &at, "restore", "-skip-permissions", "-to", "plain"];
    sandbox.run(&words).ended(0).says_nothing();
    let plain = tree(&sandbox.path("plain"))[&b"/a"[..]].clone();
    assert_eq!((plain.uid, plain.gid, plain.mode & 0o7777), (0, 0, 0o644));
    assert!(plain.xattrs.is_empty(), "{plain:?}");
    assert_eq!(plain.mtime, (1_000_000_000, 5));
    sandbox
        .run(&["at", &at, "backup", "-no-xattr", "-cache", "no", "d"])
        .ended(0);
    sandbox.run(&["at", &at, "restore", "-to", "out"]).ended(0);
    let out = tree(&sandbox.path("out"))[&b"/a"[..]].clone();
    assert_eq!((out.uid, out.gid, out.mode & 0o7777), (77, 88, 0o4711));
    assert!(out.xattrs.is_empty(), "{out:?}");
}

#[test]
fn a_name_that_is_not_utf8_can_be_asked_for() {
    let sandbox = with_store("metadata_bytes");
    let at = store("metadata_bytes");
    let name = OsString::from_vec(b"caf\xe9".to_vec());
    fs::write(sandbox.path("d").join(&name), b"odd").expect("any name is a name");
    sandbox.run(&["at", &at, "backup", "d"]).ended(0);
    let mut asked = OsString::from("latest:");
    asked.push(&name);
    let words = ["at", &at, "cat"].map(OsStr::new);
    let words = [&words[..], &[&asked]].concat();
    sandbox.run(&words).ended(0).prints_just("odd");
}
