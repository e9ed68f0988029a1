//! The files of a server: SFTP version 3 (draft-ietf-secsh-filexfer-02), as implemented by OpenSSH.
//!
//! A call is one round trip, except for reads and writes, which have as many requests in flight as
//! one call can use. Errors have the same wording as the same failure on a local file system. The
//! protocol has few status codes: a full disk, an existing name and a non-empty directory are all
//! `failure`, and the caller has to find out which one it is.
//!
//! A relative path starts in the login directory of the server, which is the meaning of `~`.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ssh2::{ErrorCode, FileStat, OpenFlags, OpenType, RenameFlags};

use super::session::{Outcome, Session, broken};
use crate::error::{Error, Kind, Result};
use crate::net::content::Content;

/// Status codes of SFTP (section 7, and those of later versions that some servers use).
const END_OF_FILE: i32 = 1;
const NO_SUCH_FILE: i32 = 2;
const PERMISSION_DENIED: i32 = 3;
const FAILURE: i32 = 4;
const BAD_MESSAGE: i32 = 5;
const NO_CONNECTION: i32 = 6;
const CONNECTION_LOST: i32 = 7;
const UNSUPPORTED: i32 = 8;
const NO_SUCH_PATH: i32 = 10;
const EXISTS: i32 = 11;
const WRITE_PROTECT: i32 = 12;
const NO_SPACE: i32 = 14;
const QUOTA_EXCEEDED: i32 = 15;
const LAST: i32 = 21;

/// The code by which libssh2 reports the end of a directory (`LIBSSH2_ERROR_FILE`).
const END_OF_DIRECTORY: i32 = -16;
/// An error reported by the server, as opposed to one of the connection
/// (`LIBSSH2_ERROR_SFTP_PROTOCOL`).
const TOLD: i32 = -31;

/// The flag of a read-only file system (`SSH_FXE_STATVFS_ST_RDONLY`).
const READ_ONLY: u64 = 1;

/// The number of bytes in flight in one direction. The OpenSSH server accepts no more before it has
/// read them, and libssh2 keeps a copy of all of them.
const WINDOW_BYTES: usize = 2 << 20;
/// The number of bytes read from the source at once.
const PIECE_BYTES: usize = 256 << 10;

/// The number of files that a connection keeps open, for threads that read them in turns.
const KEPT: usize = 4;

/// The metadata of a file, as far as the protocol transfers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The size in bytes.
    pub size_bytes: u64,
    /// The file type and permissions, as in `st_mode`.
    pub mode: u32,
    /// The numeric user id of the owner.
    pub uid: u32,
    /// The numeric id of the group.
    pub gid: u32,
    /// The modification time in seconds since 1970. The protocol has no finer resolution.
    pub mtime_seconds: u32,
}

const KIND_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

impl Stat {
    fn new(stat: &FileStat) -> Stat {
        Stat {
            size_bytes: stat.size.unwrap_or(0),
            mode: stat.perm.unwrap_or(0),
            uid: stat.uid.unwrap_or(0),
            gid: stat.gid.unwrap_or(0),
            mtime_seconds: stat.mtime.unwrap_or(0) as u32,
        }
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & KIND_MASK == REGULAR
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & KIND_MASK == DIRECTORY
    }
}

/// The attributes to set on a file. `None` keeps the current value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// The size in bytes.
    pub size_bytes: Option<u64>,
    /// The permission bits, without the file type.
    pub mode: Option<u32>,
    /// The user id and the group id.
    pub owner: Option<(u32, u32)>,
    /// The access time and the modification time, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// An open file. Valid only for the connection that opened it.
pub struct File {
    file: ssh2::File,
    /// The offset of the next byte to read or write.
    offset: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading. The server follows a symbolic link and blocks on a FIFO, so check the file type
    /// first.
    Read,
    /// For writing a new file with these permissions. Fails if the name exists.
    New(u32),
    /// For writing an existing file.
    Write,
}

/// An SFTP connection. Only one thread at a time may use it.
pub struct Connection {
    /// Files kept open for the next read, the most recently used one first.
    kept: VecDeque<(PathBuf, File)>,
    sftp: ssh2::Sftp,
    session: Session,
    /// Whether the server supports `fsync@openssh.com`, as far as is known.
    can_sync: bool,
    /// Whether an error made the connection unusable.
    is_broken: bool,
}

impl Connection {
    /// Starts SFTP on an authenticated session.
    pub(super) fn new(session: Session) -> Result<Connection> {
        let sftp = session.drive(|| session.ssh().sftp())?.map_err(|cause| {
            let words = broken(&cause).to_string();
            let cause = format!("it does not serve files by SFTP: {words}");
            Error::new(Kind::Unavailable, cause)
        })?;
        Ok(Connection {
            kept: VecDeque::new(),
            sftp,
            session,
            can_sync: true,
            is_broken: false,
        })
    }

    /// Whether the connection is unusable.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Returns the metadata of `path`. Does not follow a symbolic link.
    pub fn lstat(&mut self, path: &Path) -> Result<Stat> {
        self.call(|sftp| sftp.lstat(path))
            .map(|stat| Stat::new(&stat))
    }

    /// Returns the metadata of `path`. Follows symbolic links.
    pub fn stat(&mut self, path: &Path) -> Result<Stat> {
        self.call(|sftp| sftp.stat(path))
            .map(|stat| Stat::new(&stat))
    }

    /// Creates a directory with the permissions `mode`, to which the server applies its umask.
    pub fn mkdir(&mut self, path: &Path, mode: u32) -> Result<()> {
        self.call(|sftp| sftp.mkdir(path, mode as i32))
    }

    /// Removes a file or a symbolic link.
    pub fn remove(&mut self, path: &Path) -> Result<()> {
        self.call(|sftp| sftp.unlink(path))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &Path) -> Result<()> {
        self.call(|sftp| sftp.rmdir(path))
    }

    /// Renames a file. An existing file at `to` is never replaced: a version 3 server must refuse
    /// the request (section 6.5), and OpenSSH enforces this with a hard link.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.call(|sftp| sftp.rename(from, to, Some(RenameFlags::empty())))
    }

    /// Creates a symbolic link at `path` that points to `target`.
    pub fn symlink(&mut self, target: &Path, path: &Path) -> Result<()> {
        self.call(|sftp| sftp.symlink(target, path))
    }

    /// Returns the target of a symbolic link.
    pub fn readlink(&mut self, path: &Path) -> Result<PathBuf> {
        self.call(|sftp| sftp.readlink(path))
    }

    /// Returns the canonical form of `path` on the server: absolute and without symbolic links.
    pub fn realpath(&mut self, path: &Path) -> Result<PathBuf> {
        self.call(|sftp| sftp.realpath(path))
    }

    /// Sets attributes of `path`. Follows symbolic links.
    pub fn set(&mut self, path: &Path, change: Change) -> Result<()> {
        let stat = wire_stat(change);
        self.call(|sftp| sftp.setstat(path, stat.clone()))
    }

    /// Sets attributes of an open file.
    pub fn set_open(&mut self, file: &mut File, change: Change) -> Result<()> {
        let stat = wire_stat(change);
        self.call(|_| file.file.setstat(stat.clone()))
    }

    /// Opens a file. The offset is 0.
    pub fn open(&mut self, path: &Path, how: Open) -> Result<File> {
        let (flags, mode) = match how {
            Open::Read => (OpenFlags::READ, 0),
            Open::New(mode) => (OpenFlags::WRITE | OpenFlags::EXCLUSIVE, mode as i32),
            Open::Write => (OpenFlags::WRITE, 0),
        };
        let file = self.call(|sftp| sftp.open_mode(path, flags, mode, OpenType::File))?;
        Ok(File { file, offset: 0 })
    }

    /// Returns the metadata of an open file.
    pub fn stat_open(&mut self, file: &mut File) -> Result<Stat> {
        self.call(|_| file.file.stat()).map(|stat| Stat::new(&stat))
    }

    /// Calls `each` for every entry of a directory except `.` and `..`, in any order.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the server sends more than `limit` entries: a list could be endless.
    pub fn read_dir(
        &mut self,
        path: &Path,
        limit: usize,
        each: &mut dyn FnMut(&[u8], Stat),
    ) -> Result<()> {
        let mut directory = self.call(|sftp| sftp.opendir(path))?;
        // The server also sends `.` and `..`.
        let most = limit.saturating_add(2);
        for count in 0.. {
            if count > most {
                let words = format!("the directory has more than {limit} entries");
                return Err(Error::corrupt(words));
            }
            let entry = self.attempt(|_| directory.readdir())?;
            match entry {
                Ok((name, stat)) => match name.as_os_str().as_bytes() {
                    b"." | b".." => {}
                    // A name that points outside the directory is not an entry of it.
                    name if name.is_empty() || name.contains(&b'/') => {}
                    name => each(name, Stat::new(&stat)),
                },
                Err(cause) if cause.code() == ErrorCode::Session(END_OF_DIRECTORY) => break,
                Err(cause) => return Err(self.failed(&cause)),
            }
        }
        self.call(|_| directory.close())
    }

    /// Closes a file. Some write errors are reported only here.
    pub fn close(&mut self, mut file: File) -> Result<()> {
        self.call(|_| file.file.close())
    }

    /// Makes the written data durable, if the server supports it.
    pub fn sync(&mut self, file: &mut File) -> Result<()> {
        if !self.can_sync {
            return Ok(());
        }
        match self.attempt(|_| file.file.fsync())? {
            Err(cause) if cause.code() == ErrorCode::SFTP(UNSUPPORTED) => {
                self.can_sync = false;
                Ok(())
            }
            outcome => outcome.map_err(|cause| self.failed(&cause)),
        }
    }

    /// Appends `bytes`, with [`WINDOW_BYTES`] in flight.
    pub fn write(&mut self, file: &mut File, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // libssh2 remembers the bytes of the previous call: each call must begin with the first
            // byte that the server has not yet confirmed, and pass all bytes that may be in flight.
            let window = &rest[..rest.len().min(WINDOW_BYTES)];
            let written = self.transfer(|| file.file.write(window))?;
            rest = &rest[written..];
            file.offset += written as u64;
        }
        Ok(())
    }

    /// Fills `buffer`, up to the end of the file, and returns the number of bytes read. Requests no
    /// bytes beyond that.
    pub fn read(&mut self, file: &mut File, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            // libssh2 requests four times as many bytes as it is asked to return, so that the rest
            // is in flight. A quarter of the buffer therefore requests no byte beyond the buffer.
            let rest = &mut buffer[filled..];
            let now = rest.len().div_ceil(4);
            match self.transfer(|| file.file.read(&mut rest[..now]))? {
                0 => break,
                read => filled += read,
            }
        }
        file.offset += filled as u64;
        Ok(filled)
    }

    /// Writes all of `content`, and keeps [`WINDOW_BYTES`] in flight throughout.
    pub fn send(&mut self, file: &mut File, content: &dyn Content) -> Result<()> {
        let size_bytes = content.size_bytes();
        // From `begun` on, the buffer holds bytes that are unconfirmed or not yet sent.
        let most = size_bytes.min((2 * WINDOW_BYTES + PIECE_BYTES) as u64);
        let (mut buffer, mut begun, mut taken) = (Vec::with_capacity(most as usize), 0, 0);
        while begun < buffer.len() || taken < size_bytes {
            if buffer.len() - begun < WINDOW_BYTES && taken < size_bytes {
                if begun >= WINDOW_BYTES {
                    buffer.drain(..begun);
                    begun = 0;
                }
                let before = buffer.len();
                content.append(taken, PIECE_BYTES, &mut buffer)?;
                taken += (buffer.len() - before) as u64;
                continue;
            }
            // As in `write`.
            let window = &buffer[begun..buffer.len().min(begun + WINDOW_BYTES)];
            let written = self.transfer(|| file.file.write(window))?;
            begun += written;
            file.offset += written as u64;
        }
        Ok(())
    }

    /// Takes the open file for `path`, if this connection kept one.
    pub fn take_kept(&mut self, path: &Path) -> Option<File> {
        let position = self.kept.iter().position(|(kept, _)| kept == path)?;
        self.kept.remove(position).map(|(_, file)| file)
    }

    /// Whether the connection keeps `path` open.
    pub(super) fn keeps(&self, path: &Path) -> bool {
        self.kept.iter().any(|(kept, _)| kept == path)
    }

    /// Keeps `file` open for the next read of `path`, and closes the least recently used file
    /// beyond the limit.
    pub fn keep(&mut self, path: &Path, file: File) -> Result<()> {
        self.kept.push_front((path.to_owned(), file));
        if self.kept.len() > KEPT
            && let Some((_, file)) = self.kept.pop_back()
        {
            self.close(file)?;
        }
        Ok(())
    }

    /// Sets the offset of the next read or write.
    pub fn seek(&mut self, file: &mut File, offset: u64) -> Result<()> {
        if file.offset != offset {
            file.file.seek(SeekFrom::Start(offset))?;
            file.offset = offset;
        }
        Ok(())
    }

    /// Finds the cause of a failed write to `file`: if the server reported only `failure`, checks
    /// whether the file system is read-only or has too little free space.
    pub fn explain(&mut self, cause: Error, file: &mut File, wanted_bytes: u64) -> Error {
        if !is_failure(&cause) {
            return cause;
        }
        let Ok(space) = self.call(|_| file.file.statvfs()) else {
            return cause;
        };
        // On systems that support it, the space available to the user accounts for quotas.
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if space.f_flag & READ_ONLY != 0 {
            return Error::new(Kind::Denied, "read-only file system");
        }
        match free < wanted_bytes || (space.f_files > 0 && space.f_favail == 0) {
            true => Error::new(Kind::NoSpace, "no space left on device"),
            false => cause,
        }
    }

    /// Runs a call and converts its error.
    fn call<T>(
        &mut self,
        mut call: impl FnMut(&ssh2::Sftp) -> Result<T, ssh2::Error>,
    ) -> Result<T> {
        let outcome = self.attempt(|sftp| call(sftp))?;
        outcome.map_err(|cause| self.failed(&cause))
    }

    /// Runs a call and returns the error of libssh2, for callers that accept some errors.
    fn attempt<T>(
        &mut self,
        mut call: impl FnMut(&ssh2::Sftp) -> Result<T, ssh2::Error>,
    ) -> Result<Result<T, ssh2::Error>> {
        let outcome = self.session.drive(|| call(&self.sftp));
        self.is_broken |= outcome.is_err();
        outcome
    }

    /// Runs a call that transfers bytes.
    fn transfer(&mut self, call: impl FnMut() -> io::Result<usize>) -> Result<usize> {
        let outcome = self.session.drive(call);
        self.is_broken |= outcome.is_err();
        outcome?.map_err(|cause| {
            debug_assert!(!cause.is_again(), "that is waited for");
            // The `io::Error` has lost the code of libssh2 but has kept the message.
            let last = ssh2::Error::last_session_error(self.session.ssh());
            match last.filter(|last| last.code() != ErrorCode::Session(TOLD)) {
                Some(last) => self.failed(&last),
                None => self.failed(&told(&cause.to_string())),
            }
        })
    }

    /// Converts an error of libssh2. Marks the connection broken unless the server reported a
    /// status.
    fn failed(&mut self, cause: &ssh2::Error) -> Error {
        let ErrorCode::SFTP(code) = cause.code() else {
            self.is_broken = true;
            return broken(cause);
        };
        let (kind, words) = match code {
            NO_SUCH_FILE | NO_SUCH_PATH => (Kind::NotFound, "no such file or directory"),
            PERMISSION_DENIED => (Kind::Denied, "permission denied"),
            WRITE_PROTECT => (Kind::Denied, "read-only file system"),
            EXISTS => (Kind::Exists, "file exists"),
            NO_SPACE => (Kind::NoSpace, "no space left on device"),
            QUOTA_EXCEEDED => (Kind::NoSpace, "disk quota exceeded"),
            NO_CONNECTION | CONNECTION_LOST => (Kind::Unavailable, "connection lost"),
            END_OF_FILE => (Kind::Corrupt, "unexpected end of file"),
            UNSUPPORTED => (Kind::Failed, "the server cannot do that"),
            BAD_MESSAGE => (Kind::Failed, "the server cannot do that with such a name"),
            FAILURE => (Kind::Failed, REFUSAL),
            _ => (Kind::Failed, cause.message()),
        };
        self.is_broken |= kind == Kind::Unavailable;
        Error::new(kind, words)
    }
}

/// The message for the status `failure`, by which a server gives no reason.
const REFUSAL: &str = "the server refuses, and does not say why";

/// Whether `cause` is the generic status `failure`.
pub fn is_failure(cause: &Error) -> bool {
    cause.kind() == Kind::Failed && cause.to_string().ends_with(REFUSAL)
}

/// Finds the status code for a message of libssh2.
fn told(words: &str) -> ssh2::Error {
    let errors = (END_OF_FILE..=LAST).map(|code| ssh2::Error::from_errno(ErrorCode::SFTP(code)));
    let mut errors = errors.filter(|error| error.message() == words);
    let failure = || ssh2::Error::from_errno(ErrorCode::SFTP(FAILURE));
    errors.next().unwrap_or_else(failure)
}

fn wire_stat(change: Change) -> FileStat {
    FileStat {
        size: change.size_bytes,
        uid: change.owner.map(|(uid, _)| uid),
        gid: change.owner.map(|(_, gid)| gid),
        perm: change.mode,
        atime: change.times.map(|(atime, _)| u64::from(atime)),
        mtime: change.times.map(|(_, mtime)| u64::from(mtime)),
    }
}

/// Joins `directory` and `name`, both raw bytes. In the login directory (an empty path) the result
/// is the bare name.
pub fn joined(directory: &Path, name: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(name))
}
