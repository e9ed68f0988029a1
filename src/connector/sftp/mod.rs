//! Files of a server that speaks SFTP, as source and destination.
//!
//! SFTP knows paths, not open directories, so a directory here is a path. What is opened is
//! looked at before and not followed if it is a link; but between the look and the opening
//! somebody with an account on the server can put a link there, as with any client of SFTP.
//! For the same reason a check of an owner ([`old_file`]) holds only where no other user of
//! the server can write to the directories above.
//!
//! The protocol has kind, permissions, numbers of owner and group, length, and times in whole
//! seconds. There are no inodes, no names of owners, no extended attributes, flags or holes,
//! no hard links that libssh2 could make, and no FIFOs, sockets or devices.
//!
//! A connection that is lost is made again, and what was being done is done again.

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

/// Bits of `st_mode` that are permissions.
const MODE_BITS: u32 = 0o7777;

/// What the server told, in the words of connectors.
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

/// The kind in `st_mode` (inode(7)).
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

/// The path of a location as the server takes it: an empty one is where it puts us.
fn path_of(path: &str) -> PathBuf {
    PathBuf::from(if path.is_empty() { "." } else { path })
}

/// What is at `path`, a link not followed.
fn look(connection: &mut Connection, path: &Path) -> Result<Metadata> {
    connection.lstat(path).map(|stat| metadata(&stat))
}
