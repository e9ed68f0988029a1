//! The location of the cache files: a directory that several processes can share, or none. Without
//! a directory, the cache uses unnamed files that disappear with the process.
//!
//! ```text
//! manifest              the list of the contents of the cache; replaced by rename
//! segment-<16 hex>      sorted records; never changed once a manifest lists it
//! lock                  locked while manifest and segments are made consistent
//! ```
//!
//! Every process holds a shared `flock` on each segment that it has open. The process that has just
//! replaced the manifest deletes the files that are neither listed in it nor locked by another
//! process: files left by processes that died, and segments that were merged. The system releases a
//! lock when its process ends, so there are no stale locks. Where `flock` does not work, a file may
//! be deleted while another process needs it. That process continues to read the files it has open,
//! and the next process that does not find the file starts with an empty cache.
//!
//! This module knows about names and locks. It knows nothing about the contents of the files.

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
/// Symbolic links are not followed, because other users may be able to write to the cache
/// directory.
const NOFOLLOW: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;
/// Number of attempts to get the lock: one every 20 ms for 5 s. Other processes hold it for
/// milliseconds, unless they are stopped. Continuing without the lock can at worst lose the cache.
const LOCK_ATTEMPTS: u32 = 250;

/// The directory, or `None` for unnamed files.
pub(super) struct Home {
    directory: Option<PathBuf>,
}

/// A new file with a lock that prevents other processes from deleting it.
pub(super) struct NewFile {
    pub(super) file: File,
    pub(super) name: u64,
    /// The path of the file; `None` if it has no name, in which case no manifest can list it.
    pub(super) path: Option<PathBuf>,
}

impl Home {
    /// Uses `directory`, and creates it if it is missing. If that fails, the error occurs when the
    /// first file is created.
    pub(super) fn open(directory: Option<&Path>) -> Home {
        if let Some(directory) = directory {
            // Other users must not see the ids of chunks.
            let _ = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory);
        }
        Home {
            directory: directory.map(Path::to_owned),
        }
    }

    /// Whether the next process can find what is saved here.
    pub(super) fn is_kept(&self) -> bool {
        self.directory.is_some()
    }

    /// Creates a file for a new segment. If the directory is not writable or full, this is an
    /// unnamed file in a temporary directory.
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

    /// Opens the file of a segment that the manifest lists, and locks it against deletion.
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

    /// Opens the manifest.
    pub(super) fn open_manifest(&self) -> Result<File> {
        Ok(open(&self.path(MANIFEST)?)?)
    }

    /// Atomically replaces the manifest by the output of `write`.
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

    /// Deletes the manifest, which discards the saved cache.
    pub(super) fn remove_manifest(&self) {
        if let Ok(path) = self.path(MANIFEST) {
            let _ = fs::remove_file(path);
        }
    }

    /// Deletes the files that `keep` does not list and no process has open. The lock must be held.
    /// Files that cannot be deleted are left for a later sweep.
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

    /// Locks the cache until the returned file is dropped. Returns `None` if locking does not work
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

/// The preferred location of a new segment.
#[derive(Clone, Copy)]
pub(super) enum Preference {
    /// The cache directory, if it is writable.
    Directory,
    /// A temporary directory, because the cache directory is full.
    Elsewhere,
    /// Memory, because every disk is full.
    Memory,
}

/// `/tmp` is last because it is often in memory, and the file is meant to save memory.
fn temporary_directories() -> impl Iterator<Item = PathBuf> {
    ["/var/tmp", "/tmp"].into_iter().map(PathBuf::from)
}

/// Creates a file with a random name.
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

/// Creates a file in memory. It needs 38 bytes of memory per chunk, so this is the last resort. But
/// on a machine without free disk space, maintenance must still be able to free some.
fn in_memory() -> Result<NewFile> {
    let file = memfd_create(c"plakar-index", MemfdFlags::CLOEXEC)?;
    Ok(NewFile {
        file: file.into(),
        name: 0,
        path: None,
    })
}

/// Deletes the name of the file, so that the file disappears with the process in any case.
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
