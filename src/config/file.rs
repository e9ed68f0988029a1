//! Reads and writes a file.
//!
//! A reader never sees a partially written file, and two writers do not overwrite each other's
//! changes: each of them holds the [`Lock`] of the directory while it reads and writes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::error::{During, Error, Kind, Result};

/// The maximum size. A larger file is a mistake: thousands of names fit.
const LIMIT_BYTES: u64 = 1 << 20;
/// The permissions of a new file: accessible to the owner only, because it may contain a
/// passphrase.
const FILE_MODE: u32 = 0o600;
/// The permissions of a new directory.
const DIRECTORY_MODE: u32 = 0o700;
/// The name of the lock file. It is never deleted, because then two processes could hold the lock.
const LOCK: &str = ".lock";
/// An edit takes milliseconds. A process that holds the lock for more than 10 seconds is stuck.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The limit of symbolic links that Linux follows.
const LINK_LIMIT: u32 = 40;

/// The contents of a file.
pub(super) struct Contents {
    pub(super) text: Zeroizing<String>,
    /// The permission bits of the file.
    pub(super) mode: u32,
}

/// Reads the file at `path`. `None` if it does not exist.
///
/// # Errors
/// [`Kind::Unsupported`] for a file that is too large or not text.
pub(super) fn read(path: &Path) -> Result<Option<Contents>> {
    // Without this flag, opening a FIFO would block forever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::Unsupported, "not a regular file"));
    }
    Ok(Some(Contents {
        text: text(file)?,
        mode: metadata.permissions().mode() & 0o777,
    }))
}

/// Reads all of `file`, which must be text and not too long.
///
/// # Errors
/// [`Kind::Unsupported`] if it is too long or not text.
pub(super) fn text(mut file: impl Read) -> Result<Zeroizing<String>> {
    // The buffer is enlarged manually, because automatic growth leaves copies of secrets in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    loop {
        let space = bytes.capacity() - bytes.len();
        if space == 0 {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * bytes.capacity()));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        } else if (&mut file).take(space as u64).read_to_end(&mut bytes)? == 0 {
            break;
        }
        if bytes.len() as u64 > LIMIT_BYTES {
            let cause = format!("longer than {LIMIT_BYTES} bytes");
            return Err(Error::new(Kind::Unsupported, cause));
        }
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(cause) => {
            let before = &bytes[..cause.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let cause = format!("line {line}: not text in UTF-8");
            Err(Error::new(Kind::Unsupported, cause))
        }
    }
}

/// Exclusive permission to change the files of a directory, released on drop.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Creates `dir` if it is missing, and waits until no other process holds the lock.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if that takes too long.
    pub(super) fn take(dir: &Path) -> Result<Lock> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE);
        builder
            .create(dir)
            .during(|| format!("make {}", dir.display()))?;
        let path = dir.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .during(|| path.display().to_string())?;
        for _ in 0..LOCK_TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during(|| format!("lock {}", path.display())),
            }
        }
        let cause = format!("another process holds {}", path.display());
        Err(Error::new(Kind::Unavailable, cause))
    }
}

/// Replaces the contents of `path` by `text`, atomically and durably. If `path` is a symbolic link,
/// the link is kept and its target is replaced.
pub(super) fn write(path: &Path, text: &str, _lock: &Lock) -> Result<()> {
    let path = target(path)?;
    let (dir, name) = match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) if dir == Path::new("") => (Path::new("."), name.to_string_lossy()),
        (Some(dir), Some(name)) => (dir, name.to_string_lossy()),
        _ => return Err(Error::new(Kind::Failed, "it has no directory")),
    };
    // The temporary name is always the same, so a killed writer leaves at most one file. The lock
    // prevents two writers from using it concurrently.
    let temporary = dir.join(format!(".{name}.new"));
    match fs::remove_file(&temporary) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause.into()),
        _ => {}
    }
    let written = write_new(&temporary, text, &path).and_then(|()| {
        fs::rename(&temporary, &path)?;
        Ok(File::open(dir)?.sync_all()?)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes `text` to a new file with the owner of the file that it will replace: if root changes the
/// configuration of another user, that user must be able to read it afterwards.
fn write_new(temporary: &Path, text: &str, old: &Path) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(temporary)?;
    let new = file.metadata()?;
    if let Ok(old) = fs::metadata(old)
        && (old.uid(), old.gid()) != (new.uid(), new.gid())
    {
        // Only root is allowed to do this. Otherwise the file belongs to the current user, as with
        // any editor.
        let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
    }
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Follows symbolic links from `path` to the final path, which need not exist.
fn target(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINK_LIMIT {
        match fs::read_link(&path) {
            // The target is relative to the directory of the link.
            Ok(to) => path = path.parent().unwrap_or(Path::new("/")).join(to),
            // Not a symbolic link, or it does not exist yet.
            Err(_) => return Ok(path),
        }
    }
    Err(Error::new(Kind::Failed, "too many symbolic links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_private_and_replaces_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let lock = Lock::take(&dir).unwrap();
        let path = dir.join("x.toml");
        fs::write(dir.join(".x.toml.new"), "left by a killed writer").unwrap();
        write(&path, "one", &lock).unwrap();
        assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().mode, 0o644);
        write(&path, "two", &lock).unwrap();
        let contents = read(&path).unwrap().unwrap();
        assert_eq!((contents.text.as_str(), contents.mode), ("two", 0o600));
        let mut left: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".lock", "x.toml"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("conf");
        let lock = Lock::take(&dir).unwrap();
        fs::create_dir(root.path().join("dotfiles")).unwrap();
        let path = dir.join("x.toml");
        std::os::unix::fs::symlink("../dotfiles/x", &path).unwrap();
        for text in ["one", "two"] {
            write(&path, text, &lock).unwrap();
            assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
            assert_eq!(
                fs::read_to_string(root.path().join("dotfiles/x")).unwrap(),
                text
            );
        }
        let ring = dir.join("ring");
        std::os::unix::fs::symlink("ring", &ring).unwrap();
        assert!(write(&ring, "x", &lock).is_err());
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        assert!(read(&path).unwrap().is_none());
        fs::write(&path, b"a = 1\n\xff").unwrap();
        let error = read(&path).err().unwrap();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Unsupported, "line 2: not text in UTF-8")
        );
        fs::write(&path, vec![b'#'; LIMIT_BYTES as usize]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().text.len() as u64, LIMIT_BYTES);
        fs::write(&path, vec![b'#'; LIMIT_BYTES as usize + 1]).unwrap();
        assert_eq!(read(&path).err().unwrap().kind(), Kind::Unsupported);
        assert_eq!(read(root.path()).err().unwrap().kind(), Kind::Unsupported);
    }
}
