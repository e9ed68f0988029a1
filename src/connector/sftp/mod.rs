//! Files on an SFTP server, as a source and as a destination.
//!
//! SFTP uses paths, not open directories, so a directory in this module is a path. Before a file is
//! opened, its type is checked, and a symbolic link is not followed. Between the check and the
//! opening, another user of the server can replace the file by a symbolic link. This race is
//! inherent in SFTP. For the same reason a check of an owner ([`old_file`]) holds only if no other
//! user of the server can write to the directories above.
//!
//! The protocol transfers file type, permissions, numeric user and group ids, size, and times in
//! whole seconds. It does not transfer inode numbers, user and group names, extended attributes,
//! flags or holes. It cannot create FIFOs, sockets or devices, nor (with libssh2) hard links.
//!
//! If a connection is lost, the operation is repeated over a new one.

mod ahead;
mod destination;
mod file;
mod new_file;
mod old_file;
mod source;

pub use destination::SftpDestination;
pub use source::SftpSource;

use std::path::{Path, PathBuf};

use super::{FileKind, Metadata};
use crate::error::Result;
use crate::net::ssh::sftp::{Connection, Stat};

/// The permission bits of `st_mode`.
const MODE_BITS: u32 = 0o7777;

/// Converts the metadata that the server sent.
fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        kind: kind(stat.mode),
        mode: stat.mode & MODE_BITS,
        uid: stat.uid,
        gid: stat.gid,
        size_bytes: match kind(stat.mode) {
            FileKind::File | FileKind::Symlink => stat.size_bytes,
            _ => 0,
        },
        mtime_ns: i64::from(stat.mtime_seconds) * 1_000_000_000,
        links: 1,
        allocated_bytes: stat.size_bytes,
        ..Metadata::default()
    }
}

/// Returns the file type in `st_mode` (inode(7)).
fn kind(mode: u32) -> FileKind {
    match mode & 0o170_000 {
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Symlink,
        0o010_000 => FileKind::Fifo,
        0o140_000 => FileKind::Socket,
        0o020_000 => FileKind::CharDevice,
        0o060_000 => FileKind::BlockDevice,
        _ => FileKind::File,
    }
}

/// Converts the path of a location. An empty path is the login directory.
fn path_of(path: &str) -> PathBuf {
    PathBuf::from(if path.is_empty() { "." } else { path })
}

/// Returns the metadata of `path`. Does not follow a symbolic link.
fn look(connection: &mut Connection, path: &Path) -> Result<Metadata> {
    connection.lstat(path).map(|stat| metadata(&stat))
}
