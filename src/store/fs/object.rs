//! Files that are objects: regular, of a bounded size, and nothing else.
//!
//! A store is a directory that others can write to. A symbolic link could lead
//! out of it, a FIFO never answers, a file that grew would take all memory.
//! Where objects are is not known here.

use std::fs::File;
use std::io::Read;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::{Directory, Facts};
use crate::error::{Error, Result};
use crate::store::Object;
use crate::util::{Id, human};

/// Opens a regular file, and nothing else, without waiting for anything.
pub(super) fn open(directory: &Directory, name: &str) -> Result<File> {
    let file = match directory.open(name) {
        // A symbolic link, a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(irregular()),
        opened => opened?,
    };
    regular(&rustix::fs::fstat(&file)?.into())?;
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
pub(super) fn regular(facts: &Facts) -> Result<()> {
    match facts.kind {
        FileType::RegularFile => Ok(()),
        _ => Err(irregular()),
    }
}

fn irregular() -> Error {
    Error::corrupt("not a regular file")
}

/// The object as a listing tells it.
pub(super) fn describe(id: Id, facts: &Facts) -> Object {
    Object {
        id,
        size_bytes: facts.size_bytes,
        modified_ns: facts.modified_ns,
    }
}
