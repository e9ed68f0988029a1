//! Files that are objects: only regular files of limited size.
//!
//! A store is a directory that other users may be able to write to. A symbolic link could lead out
//! of it, a FIFO could block forever, and a huge file could exhaust the memory. This module does
//! not know where objects are stored.

use std::fs::File;
use std::io::Read;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::{Directory, Facts};
use crate::error::{Error, Result};
use crate::store::Object;
use crate::util::{Id, human};

/// Opens a regular file. Fails for any other file type, and never blocks.
pub(super) fn open(directory: &Directory, name: &str) -> Result<File> {
    let file = match directory.open(name) {
        // A symbolic link or a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(irregular()),
        opened => opened?,
    };
    regular(&rustix::fs::fstat(&file)?.into())?;
    Ok(file)
}

/// Reads all of `file`. Its size is checked before memory is allocated.
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

/// Checks that the file is a regular file.
///
/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for any other file type.
pub(super) fn regular(facts: &Facts) -> Result<()> {
    match facts.kind {
        FileType::RegularFile => Ok(()),
        _ => Err(irregular()),
    }
}

fn irregular() -> Error {
    Error::corrupt("not a regular file")
}

/// Returns the listing entry of an object.
pub(super) fn describe(id: Id, facts: &Facts) -> Object {
    Object {
        id,
        size_bytes: facts.size_bytes,
        modified_ns: facts.modified_ns,
    }
}
