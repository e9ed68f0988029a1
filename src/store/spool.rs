//! A buffer for an object on its way to a remote store, from which it can be sent again.
//!
//! The id of an object is known only when it is complete, and the connection may be lost at any
//! byte. Therefore the object is buffered: the first bytes in memory, which is sufficient for most
//! objects, and a larger object in an unnamed file. Such a file uses only memory that the system
//! can spare, and is removed with the process, however the process ends.
//!
//! If no file can be created or written, because a disk is full or read-only, memory is used
//! instead: a backup to a remote store must not fail because of the local disk.
//!
//! The bytes are already sealed, so a reader of the disk learns nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{During, Result};
use crate::net::content::Content;

/// The number of bytes kept in memory before a file is created.
const MEMORY_BYTES: usize = 256 << 10;
/// The directories for files if the configured one is unusable. `/tmp` may be in memory, so it
/// comes last.
const DIRECTORIES: [&str; 2] = ["/var/tmp", "/tmp"];
/// Only the owner can read the file.
const FILE_MODE: u32 = 0o600;

/// A buffer that can be read repeatedly.
pub(super) struct Spool {
    kept: Kept,
    size_bytes: u64,
    /// The directories to try, best first. Empty after they were tried.
    directories: Vec<PathBuf>,
}

enum Kept {
    Memory(Vec<u8>),
    File(File),
}

impl Spool {
    /// Creates an empty buffer. A file is created in `directory` if possible.
    pub(super) fn new(directory: Option<&Path>) -> Spool {
        let usual = DIRECTORIES.map(PathBuf::from);
        Spool {
            kept: Kept::Memory(Vec::new()),
            size_bytes: 0,
            directories: directory
                .map(Path::to_owned)
                .into_iter()
                .chain(usual)
                .collect(),
        }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// If the file can neither be extended nor read back.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.size_bytes + bytes.len() as u64;
        if end > MEMORY_BYTES as u64 {
            self.move_to_file();
        }
        match &mut self.kept {
            Kept::Memory(kept) => kept.extend_from_slice(bytes),
            Kept::File(file) => {
                if file.write_all_at(bytes, self.size_bytes).is_err() {
                    self.back_to_memory(bytes)?;
                }
            }
        }
        self.size_bytes = end;
        Ok(())
    }

    /// Moves the buffer from memory to a file, if one can be created.
    fn move_to_file(&mut self) {
        if let Kept::Memory(kept) = &mut self.kept {
            let mut directories = std::mem::take(&mut self.directories).into_iter();
            let file = directories.find_map(|directory| {
                let file = nameless(&directory).ok()?;
                file.write_all_at(kept, 0).is_ok().then_some(file)
            });
            self.kept = file.map_or_else(|| Kept::Memory(std::mem::take(kept)), Kept::File);
        }
    }

    /// Moves the buffer from the file to memory, and appends `bytes`.
    fn back_to_memory(&mut self, bytes: &[u8]) -> Result<()> {
        if let Kept::File(file) = &self.kept {
            let mut kept = vec![0; usize::try_from(self.size_bytes).unwrap_or(usize::MAX)];
            let doing = || "read back what was to be sent";
            file.read_exact_at(&mut kept, 0).during(doing)?;
            kept.extend_from_slice(bytes);
            self.kept = Kept::Memory(kept);
        }
        Ok(())
    }
}

impl Content for Spool {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn append(&self, offset: u64, most: usize, to: &mut Vec<u8>) -> Result<()> {
        match &self.kept {
            Kept::Memory(kept) => kept.as_slice().append(offset, most, to),
            Kept::File(file) => {
                let left = usize::try_from(self.size_bytes - offset).unwrap_or(most);
                let begin = to.len();
                to.resize(begin + left.min(most), 0);
                let read = file.read_exact_at(&mut to[begin..], offset);
                read.during(|| "read back what was to be sent")
            }
        }
    }
}

/// Creates an empty file in `directory` without a name, or removes its name immediately.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::from_raw_mode(FILE_MODE)) {
        Ok(file) => Ok(File::from(file)),
        // NFS and many FUSE file systems do not support unnamed files.
        Err(_) => named_and_removed(directory),
    }
}

fn named_and_removed(directory: &Path) -> io::Result<File> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!("plakar-{:032x}", u128::from_ne_bytes(random));
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = options.mode(FILE_MODE).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all of `spool` in pieces of at most `most` bytes.
    fn sent(spool: &Spool, most: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while (sent.len() as u64) < spool.size_bytes() {
            let before = sent.len();
            spool.append(before as u64, most, &mut sent).unwrap();
            assert!((1..=most).contains(&(sent.len() - before)));
        }
        sent
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn what_was_written_is_sent_as_often_as_it_takes() {
        let directory = tempfile::tempdir().unwrap();
        for length in [0, 1, MEMORY_BYTES, MEMORY_BYTES + 1, 3 << 20] {
            let mut spool = Spool::new(Some(directory.path()));
            for piece in bytes(length).chunks(100_000) {
                spool.write(piece).unwrap();
            }
            let is_small = length <= MEMORY_BYTES;
            assert_eq!(matches!(spool.kept, Kept::Memory(_)), is_small, "{length}");
            for most in [70_001, 4 << 20] {
                assert_eq!(sent(&spool, most), bytes(length));
            }
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_file_that_loses_its_name_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = named_and_removed(directory.path()).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_disk_there_is_memory() {
        let mut spool = Spool::new(None);
        spool.directories = vec!["/proc/no/such/directory".into()];
        spool.write(&bytes(MEMORY_BYTES + 1)).unwrap();
        assert!(matches!(spool.kept, Kept::Memory(_)));
        // The file is read-only: writes fail as on a full disk, and its contents can be read.
        let full = tempfile::NamedTempFile::new().unwrap();
        fs::write(full.path(), bytes(600_000)).unwrap();
        spool.kept = Kept::File(File::open(full.path()).unwrap());
        spool.size_bytes = 600_000;
        spool.write(&bytes(600_000)).unwrap();
        spool.write(b"end").unwrap();
        let expected = [bytes(600_000), bytes(600_000), b"end".to_vec()].concat();
        assert_eq!(sent(&spool, 1 << 20), expected);
    }
}
