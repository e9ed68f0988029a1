//! Tests the local destination on a real file system: the result of a restore as a user finds it.
//!
//! As root, every test that concerns permissions runs again as uid 65534, in a copy of this program
//! started by `setpriv`.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plakar::connector::{
    Attributes, Destination, DestinationDir, FileKind, LocalDestination, Lost, Made, Metadata,
    OldFile, Permissions,
};
use plakar::error::Kind;
use rustix::fs::{XattrFlags, lgetxattr, setxattr};
use tempfile::TempDir;

use common::prerequisite::{has_mounted, has_root, skip};
use common::user;

mod attributes;
#[path = "../common/mod.rs"]
mod common;
mod entries;
mod safety;
mod trust;

const IMMUTABLE: u32 = 0x10;
const NODUMP: u32 = 0x40;
/// cap_net_raw=ep, in the format of `setcap`.
const CAPABILITY: &[u8] = &[
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The target of a test: a temporary directory that the ordinary user can access.
fn sandbox() -> TempDir {
    TempDir::new().unwrap()
}

fn root_of(path: &Path) -> Arc<dyn DestinationDir> {
    LocalDestination::new(path).root().unwrap().0
}

/// Metadata of an entry of the current user, with a modification time in nanoseconds.
fn metadata(kind: FileKind, mode: u32) -> Metadata {
    Metadata {
        kind,
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        size_bytes: 0,
        mtime_ns: 1_234_567_890_123_456_789,
        ctime_ns: 0,
        btime_ns: None,
        inode: 0,
        device: 0,
        links: 1,
        rdev: 0,
        allocated_bytes: 0,
    }
}

fn attributes(metadata: &Metadata) -> Attributes<'_> {
    Attributes {
        metadata,
        user: None,
        group: None,
        xattrs: &[],
        flags: 0,
    }
}

/// Enters a directory that will get mode 0755.
fn enter(
    dir: &dyn DestinationDir,
    name: &[u8],
) -> plakar::error::Result<(Arc<dyn DestinationDir>, Made)> {
    let metadata = metadata(FileKind::Directory, 0o755);
    dir.enter(name, &attributes(&metadata), Permissions::Restore)
}

/// Opens an existing file, if it can be kept.
fn open_old(
    dir: &dyn DestinationDir,
    name: &[u8],
    attributes: &Attributes<'_>,
) -> plakar::error::Result<Box<dyn OldFile>> {
    dir.read(name, attributes, Permissions::Restore)
}

/// Sets the attributes of an existing file.
fn adjust(
    dir: &dyn DestinationDir,
    name: &[u8],
    attributes: &Attributes<'_>,
) -> plakar::error::Result<Vec<Lost>> {
    open_old(dir, name, attributes)?.adjust(attributes, Permissions::Restore)
}

/// Restores a file completely.
fn put(
    dir: &dyn DestinationDir,
    name: &[u8],
    bytes: &[u8],
    attributes: &Attributes<'_>,
) -> Vec<Lost> {
    let file = dir.create(name, bytes.len() as u64).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.finish(attributes, Permissions::Restore).unwrap()
}

/// An access ACL: owner rw, user 4242 rw, owning group none, mask rw, others none.
fn acl() -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (1u16, 6u16, u32::MAX),
        (2, 6, 4242),
        (4, 0, u32::MAX),
        (16, 6, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 65536];
    let length = lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn mtime_ns(path: &Path) -> i64 {
    let found = fs::symlink_metadata(path).unwrap();
    found.mtime() * 1_000_000_000 + found.mtime_nsec()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// As root, runs `test` of this program again as uid 65534.
fn again_as_ordinary_user(test: &str) {
    if !is_root() {
        return;
    }
    let dir = user::directory();
    let program = user::copy(&std::env::current_exe().unwrap(), dir.path());
    let output = user::command(&program)
        .args(["--exact", test])
        // The parts that require root have already been run.
        .env_remove("PLAKAR_TEST_SKIP")
        .env("TMPDIR", dir.path())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
