//! Files that are objects: regular, of a bounded size, and nothing else.
//!
//! A store is a directory that others can write to. A symbolic link could lead
//! out of it, a FIFO never answers, a file that grew would take all memory.
//! Where objects are is not known here.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::store::Object;
use crate::util::{Id, human};

/// Opens a regular file, and nothing else, without waiting for anything.
pub(super) fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        // A symbolic link, a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(irregular()),
        opened => File::from(opened?),
    };
    regular(&file.metadata()?)?;
    Ok(file)
}

/// All of `file`, whose size is looked at before memory is taken.
pub(super) fn read_all(file: &File, limit_bytes: u64) -> Result<Vec<u8>> {
    let size = file.metadata()?.len();
    if size > limit_bytes {
        let (size, limit) = (human::size(size), human::size(limit_bytes));
        return Err(Error::corrupt(format!(
            "it has {size}, and {limit} is the most it may have"
        )));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(size).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == size {
        true => Ok(bytes),
        false => Err(Error::corrupt(format!("it ends before byte {size}"))),
    }
}

/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for anything but a regular file.
pub(super) fn regular(metadata: &Metadata) -> Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(irregular()),
    }
}

fn irregular() -> Error {
    Error::corrupt("not a regular file")
}

/// The object as a listing tells it.
pub(super) fn describe(id: Id, metadata: &Metadata) -> Object {
    let modified_ns = metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec());
    Object {
        id,
        size_bytes: metadata.len(),
        modified_ns,
    }
}
