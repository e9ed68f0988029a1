//! Files on the server that are objects: only regular files of limited size.

use std::path::Path;

use crate::error::{Error, Result};
use crate::net::ssh::sftp::{Connection, File, Open, Stat};
use crate::store::Object;
use crate::util::{Id, human};

/// Returns the metadata of a regular file.
///
/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) for any other file type.
pub(super) fn stat(connection: &mut Connection, path: &Path) -> Result<Stat> {
    let stat = connection.lstat(path)?;
    match stat.is_file() {
        true => Ok(stat),
        false => Err(Error::corrupt("not a regular file")),
    }
}

/// Opens a regular file for reading.
pub(super) fn open(connection: &mut Connection, path: &Path) -> Result<(File, Stat)> {
    let stat = stat(connection, path)?;
    Ok((connection.open(path, Open::Read)?, stat))
}

/// Reads a whole regular file. Its size is checked before memory is allocated.
pub(super) fn read_all(
    connection: &mut Connection,
    path: &Path,
    limit_bytes: u64,
) -> Result<Vec<u8>> {
    let (mut file, stat) = open(connection, path)?;
    if stat.size_bytes > limit_bytes {
        let (size, limit) = (human::size(stat.size_bytes), human::size(limit_bytes));
        let cause = format!("it has {size}, and {limit} is the most it may have");
        return Err(Error::corrupt(cause));
    }
    let mut bytes = vec![0; stat.size_bytes as usize];
    let read = connection.read(&mut file, &mut bytes)?;
    connection.close(file)?;
    match read == bytes.len() {
        true => Ok(bytes),
        false => Err(short(stat.size_bytes)),
    }
}

/// The error for an object that ends before `end`.
pub(super) fn short(end: u64) -> Error {
    Error::corrupt(format!("it ends before byte {end}"))
}

/// Returns the listing entry of an object.
pub(super) fn describe(id: Id, stat: &Stat) -> Object {
    Object {
        id,
        size_bytes: stat.size_bytes,
        modified_ns: i64::from(stat.mtime_seconds) * 1_000_000_000,
    }
}
