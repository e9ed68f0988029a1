//! Where the cache's files are: a directory several processes may share, or
//! nowhere, when it lives in files without names that go away with the process.
//!
//! ```text
//! manifest              what the cache consists of; replaced by rename
//! segment-<16 hex>      sorted records; never changed once named in a manifest
//! lock                  held for as long as the two are made to agree
//! ```
//!
//! Every process holds a shared `flock` on each segment it has open. Whoever has
//! just replaced the manifest deletes the files it does not name and nobody has
//! locked: left-overs of processes that died, and segments merged into others.
//! The system drops a lock with its process, so none can go stale. Where `flock`
//! does not work, a file may go while another process still wants it: that one
//! keeps reading what it has open, and the next to find it missing starts empty.
//!
//! Knows names and locks; knows nothing of what the files hold.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, MemfdFlags, OFlags, flock, memfd_create};

use crate::error::{During, Error, Kind, Result};

const MANIFEST: &str = "manifest";
const LOCK: &str = "lock";
const SEGMENT: &str = "segment-";
const DRAFT: &str = "draft-";
/// No link is followed: the cache may be where others can write.
const NOFOLLOW: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;
/// Tried every 20 ms for 5 s; holders need milliseconds, unless they are stopped,
/// and then going on without costs at most the cache.
const LOCK_ATTEMPTS: u32 = 250;

/// The directory, or the lack of one.
pub(super) struct Home {
    directory: Option<PathBuf>,
}

/// A file just made, with a lock on it that keeps other processes from sweeping it.
pub(super) struct NewFile {
    pub(super) file: File,
    pub(super) name: u64,
    /// Where it is; `None` if nowhere, so that no manifest can name it.
    pub(super) path: Option<PathBuf>,
}

impl Home {
    /// Uses `directory`, making it where it is missing. One that cannot be made
    /// is found out when the first file is created.
    pub(super) fn open(directory: Option<&Path>) -> Home {
        if let Some(directory) = directory {
            // Names of chunks are nobody else's business.
            let _ = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory);
        }
        Home {
            directory: directory.map(Path::to_owned),
        }
    }

    /// Whether what is saved here is found by the next process.
    pub(super) fn is_kept(&self) -> bool {
        self.directory.is_some()
    }

    /// A new segment: in the directory, or without a name in a temporary
    /// directory if that cannot be written or is full.
    pub(super) fn create_segment(&self, place: Preference) -> Result<NewFile> {
        if let Preference::Memory = place {
            return in_memory();
        }
        if let (Some(directory), Preference::Directory) = (&self.directory, place)
            && let Ok(new) = create(directory, SEGMENT)
        {
            return Ok(new);
        }
        let mut refused = Error::new(Kind::Failed, "no temporary directory");
        for directory in temporary_directories() {
            match create(&directory, SEGMENT) {
                Ok(new) => return unnamed(new),
                Err(cause) => refused = cause,
            }
        }
        Err(refused.during("create a temporary file"))
    }

    /// The file of a segment the manifest names, locked against sweeping.
    pub(super) fn open_segment(&self, name: u64) -> Result<NewFile> {
        let path = self.path(&file_name(SEGMENT, name))?;
        let file = open(&path).during(|| format!("open {}", path.display()))?;
        let _ = flock(&file, FlockOperation::NonBlockingLockShared);
        Ok(NewFile {
            file,
            name,
            path: Some(path),
        })
    }

    /// The manifest, if there is one.
    pub(super) fn open_manifest(&self) -> Result<File> {
        Ok(open(&self.path(MANIFEST)?)?)
    }

    /// Replaces the manifest by what `write` writes, all or nothing.
    pub(super) fn replace_manifest(
        &self,
        write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>,
    ) -> Result<()> {
        let manifest = self.path(MANIFEST)?;
        let directory = self.directory.as_deref().unwrap_or(Path::new("."));
        let draft = create(directory, DRAFT)?;
        let path = draft.path.as_deref().unwrap_or(directory);
        let mut to = BufWriter::new(&draft.file);
        let outcome = write(&mut to)
            .and_then(|()| Ok(to.flush()?))
            .and_then(|()| Ok(fs::rename(path, manifest)?));
        if outcome.is_err() {
            let _ = fs::remove_file(path);
        }
        outcome
    }

    /// Forgets what was saved.
    pub(super) fn remove_manifest(&self) {
        if let Ok(path) = self.path(MANIFEST) {
            let _ = fs::remove_file(path);
        }
    }

    /// Deletes the files that `keep` does not name and no process has open. To be
    /// called with the lock held. What cannot be deleted is left to the next one.
    pub(super) fn sweep(&self, keep: &HashSet<u64>) {
        let entries = self
            .directory
            .as_deref()
            .and_then(|directory| fs::read_dir(directory).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let digits = name.strip_prefix(SEGMENT).or(name.strip_prefix(DRAFT));
            let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let ours = number.is_some_and(|number| {
                [SEGMENT, DRAFT]
                    .iter()
                    .any(|kind| *name == file_name(kind, number))
            });
            if ours && !keep.iter().any(|kept| *name == file_name(SEGMENT, *kept)) {
                remove_unless_locked(&entry.path());
            }
        }
    }

    /// Holds the lock until the file is dropped; `None` where that does not work,
    /// or takes too long.
    pub(super) fn lock(&self) -> Option<File> {
        let path = self.path(LOCK).ok()?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NOFOLLOW)
            .open(path)
            .ok()?;
        for _ in 0..LOCK_ATTEMPTS {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(file),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => return None,
            }
        }
        None
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.as_deref();
        let directory =
            directory.ok_or_else(|| Error::new(Kind::NotFound, "no cache directory"))?;
        Ok(directory.join(name))
    }
}

/// Where a new segment should go.
#[derive(Clone, Copy)]
pub(super) enum Preference {
    /// To the cache directory, if it takes files at all.
    Directory,
    /// Anywhere but the cache directory, which is full.
    Elsewhere,
    /// In memory: every disk is full.
    Memory,
}

/// `/tmp` is often memory, which is what a file is here to save: last.
fn temporary_directories() -> impl Iterator<Item = PathBuf> {
    ["/var/tmp", "/tmp"].into_iter().map(PathBuf::from)
}

/// A new file under a random name.
fn create(directory: &Path, kind: &str) -> Result<NewFile> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(|cause| Error::new(Kind::Failed, cause.to_string()))?;
    let name = u64::from_le_bytes(name);
    let path = directory.join(file_name(kind, name));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .during(|| format!("create {}", path.display()))?;
    let _ = flock(&file, FlockOperation::NonBlockingLockShared);
    Ok(NewFile {
        file,
        name,
        path: Some(path),
    })
}

/// A new file in memory. It takes 38 bytes a chunk there, so this is the last resort: on a machine
/// without a free byte on any disk, maintenance must still be able to free some.
fn in_memory() -> Result<NewFile> {
    let file = memfd_create(c"plakar-index", MemfdFlags::CLOEXEC)?;
    Ok(NewFile {
        file: file.into(),
        name: 0,
        path: None,
    })
}

/// Takes the file's name away, so that it goes with the process however that ends.
fn unnamed(new: NewFile) -> Result<NewFile> {
    if let Some(path) = &new.path {
        fs::remove_file(path)?;
    }
    Ok(NewFile { path: None, ..new })
}

fn file_name(kind: &str, name: u64) -> String {
    format!("{kind}{name:016x}")
}

/// Opens a file of the cache for reading.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(NOFOLLOW).open(path)
}

fn remove_unless_locked(path: &Path) {
    let unused =
        open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
    if unused {
        let _ = fs::remove_file(path);
    }
}
