//! The files of a server: SFTP version 3 (draft-ietf-secsh-filexfer-02), as OpenSSH speaks it.
//!
//! One call is one round trip, but for reading and writing, of which as much is under way at
//! once as one call is given. What goes wrong is told in the words that the same failure has
//! on this machine. A server has few words: a full disk, a name that is taken and a directory
//! that is not empty are all `failure`, and whoever calls has to find out which it is.
//!
//! A relative path begins in the directory where the server puts us, which is what `~` means.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ssh2::{ErrorCode, FileStat, OpenFlags, OpenType, RenameFlags};

use super::session::{Outcome, Session, broken};
use crate::error::{Error, Kind, Result};
use crate::net::content::Content;

/// Codes of SFTP (section 7, and those of later versions that some servers use).
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

/// What libssh2 calls the end of a directory (`LIBSSH2_ERROR_FILE`).
const END_OF_DIRECTORY: i32 = -16;
/// An error that the server told, as opposed to one of the connection
/// (`LIBSSH2_ERROR_SFTP_PROTOCOL`).
const TOLD: i32 = -31;

/// Of a file system that nobody may write to (`SSH_FXE_STATVFS_ST_RDONLY`).
const READ_ONLY: u64 = 1;

/// How many bytes are under way at once in one direction: OpenSSH's server lets no more through
/// before it has read them, and libssh2 holds a copy of all of it.
const WINDOW_BYTES: usize = 2 << 20;
/// How many bytes are taken in at once to be sent.
const PIECE_BYTES: usize = 256 << 10;

/// How many files a connection keeps open: those that its threads read in turns.
const KEPT: usize = 4;

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub size_bytes: u64,
    /// Kind and permissions: `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the contents, in seconds since 1970. The protocol has no more.
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

/// What is to be set of a file; what is nothing stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Length.
    pub size_bytes: Option<u64>,
    /// Permissions.
    pub mode: Option<u32>,
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// Last access and last change, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// An open file, of use only with the connection that opened it.
pub struct File {
    file: ssh2::File,
    /// Where the next byte comes from or goes to.
    offset: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading. A link is followed and a FIFO waited for: look before.
    Read,
    /// For writing, with these permissions; nothing may have the name yet.
    New(u32),
    /// For writing what is there already.
    Write,
}

/// A connection to the files of a server, for one thread at a time.
pub struct Connection {
    /// Files that are kept open for the next who reads them, the one used last in front.
    kept: VecDeque<(PathBuf, File)>,
    sftp: ssh2::Sftp,
    session: Session,
    /// Whether the server has `fsync@openssh.com`, as far as is known.
    can_sync: bool,
    /// Whether an error made it useless.
    is_broken: bool,
}

impl Connection {
    /// Asks for the files over a session that is let in.
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

    /// Whether it is of no use any more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What is known of `path`, a link not followed.
    pub fn lstat(&mut self, path: &Path) -> Result<Stat> {
        self.call(|sftp| sftp.lstat(path))
            .map(|stat| Stat::new(&stat))
    }

    /// What is known of what `path` leads to.
    pub fn stat(&mut self, path: &Path) -> Result<Stat> {
        self.call(|sftp| sftp.stat(path))
            .map(|stat| Stat::new(&stat))
    }

    /// Makes a directory.
    pub fn mkdir(&mut self, path: &Path, mode: u32) -> Result<()> {
        self.call(|sftp| sftp.mkdir(path, mode as i32))
    }

    /// Removes a file or link.
    pub fn remove(&mut self, path: &Path) -> Result<()> {
        self.call(|sftp| sftp.unlink(path))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &Path) -> Result<()> {
        self.call(|sftp| sftp.rmdir(path))
    }

    /// Renames a file. One that has the new name is never replaced: a server of version 3
    /// must refuse (section 6.5), and OpenSSH makes a link to be sure.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.call(|sftp| sftp.rename(from, to, Some(RenameFlags::empty())))
    }

    /// Makes a link called `path` to `target`.
    pub fn symlink(&mut self, target: &Path, path: &Path) -> Result<()> {
        self.call(|sftp| sftp.symlink(target, path))
    }

    /// Where a link points.
    pub fn readlink(&mut self, path: &Path) -> Result<PathBuf> {
        self.call(|sftp| sftp.readlink(path))
    }

    /// `path` as the server has it, absolute and without links.
    pub fn realpath(&mut self, path: &Path) -> Result<PathBuf> {
        self.call(|sftp| sftp.realpath(path))
    }

    /// Sets what is to be changed of `path`, a link followed.
    pub fn set(&mut self, path: &Path, change: Change) -> Result<()> {
        let stat = wire_stat(change);
        self.call(|sftp| sftp.setstat(path, stat.clone()))
    }

    /// Sets what is to be changed of an open file.
    pub fn set_open(&mut self, file: &mut File, change: Change) -> Result<()> {
        let stat = wire_stat(change);
        self.call(|_| file.file.setstat(stat.clone()))
    }

    /// Opens a file.
    pub fn open(&mut self, path: &Path, how: Open) -> Result<File> {
        let (flags, mode) = match how {
            Open::Read => (OpenFlags::READ, 0),
            Open::New(mode) => (OpenFlags::WRITE | OpenFlags::EXCLUSIVE, mode as i32),
            Open::Write => (OpenFlags::WRITE, 0),
        };
        let file = self.call(|sftp| sftp.open_mode(path, flags, mode, OpenType::File))?;
        Ok(File { file, offset: 0 })
    }

    /// What is known of an open file.
    pub fn stat_open(&mut self, file: &mut File) -> Result<Stat> {
        self.call(|_| file.file.stat()).map(|stat| Stat::new(&stat))
    }

    /// Calls `each` with everything in a directory but `.` and `..`, in any order.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] after more than `limit` entries: a server can list without end.
    pub fn read_dir(
        &mut self,
        path: &Path,
        limit: usize,
        each: &mut dyn FnMut(&[u8], Stat),
    ) -> Result<()> {
        let mut directory = self.call(|sftp| sftp.opendir(path))?;
        for count in 0.. {
            if count > limit {
                let words = format!("the directory has more than {limit} entries");
                return Err(Error::corrupt(words));
            }
            let entry = self.attempt(|_| directory.readdir())?;
            match entry {
                Ok((name, stat)) => match name.as_os_str().as_bytes() {
                    b"." | b".." => {}
                    // A name that leads elsewhere is none of this directory.
                    name if name.is_empty() || name.contains(&b'/') => {}
                    name => each(name, Stat::new(&stat)),
                },
                Err(cause) if cause.code() == ErrorCode::Session(END_OF_DIRECTORY) => break,
                Err(cause) => return Err(self.failed(&cause)),
            }
        }
        self.call(|_| directory.close())
    }

    /// Closes a file. What was written is only told to be right, or not, by now.
    pub fn close(&mut self, mut file: File) -> Result<()> {
        self.call(|_| file.file.close())
    }

    /// Makes what was written durable, where the server can.
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

    /// Appends `bytes`, of which [`WINDOW_BYTES`] are under way at once.
    pub fn write(&mut self, file: &mut File, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // libssh2 goes by what it was given before: each call begins with the first byte
            // that the server has not yet confirmed, and shows as much as may be under way.
            let window = &rest[..rest.len().min(WINDOW_BYTES)];
            let written = self.transfer(|| file.file.write(window))?;
            rest = &rest[written..];
            file.offset += written as u64;
        }
        Ok(())
    }

    /// Fills as much of `buffer` as there are bytes left, and tells how much. No more is asked
    /// for than that.
    pub fn read(&mut self, file: &mut File, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            // libssh2 asks for four times as much as it is to return now, so that the rest is
            // under way. Of what nobody wants after this nothing is.
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

    /// Writes all of `content`, of which [`WINDOW_BYTES`] are under way all the while.
    pub fn send(&mut self, file: &mut File, content: &dyn Content) -> Result<()> {
        let size_bytes = content.size_bytes();
        // From `begun` on it has what the server has not confirmed, or not been sent.
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
            // As in write().
            let window = &buffer[begun..buffer.len().min(begun + WINDOW_BYTES)];
            let written = self.transfer(|| file.file.write(window))?;
            begun += written;
            file.offset += written as u64;
        }
        Ok(())
    }

    /// The file `path`, if it was kept open.
    pub fn take_kept(&mut self, path: &Path) -> Option<File> {
        let position = self.kept.iter().position(|(kept, _)| kept == path)?;
        self.kept.remove(position).map(|(_, file)| file)
    }

    /// Whether `path` is kept open.
    pub(super) fn keeps(&self, path: &Path) -> bool {
        self.kept.iter().any(|(kept, _)| kept == path)
    }

    /// Keeps `file` open for the next who reads `path`, and closes the one that was not read
    /// for longest.
    pub fn keep(&mut self, path: &Path, file: File) -> Result<()> {
        self.kept.push_front((path.to_owned(), file));
        if self.kept.len() > KEPT
            && let Some((_, file)) = self.kept.pop_back()
        {
            self.close(file)?;
        }
        Ok(())
    }

    /// Goes to `offset`, where the next byte is read or written.
    pub fn seek(&mut self, file: &mut File, offset: u64) -> Result<()> {
        if file.offset != offset {
            file.file.seek(SeekFrom::Start(offset))?;
            file.offset = offset;
        }
        Ok(())
    }

    /// The error of what could not be written where `file` is: what the server calls a failure
    /// is looked into.
    pub fn explain(&mut self, cause: Error, file: &mut File, wanted_bytes: u64) -> Error {
        if !is_failure(&cause) {
            return cause;
        }
        let Ok(space) = self.call(|_| file.file.statvfs()) else {
            return cause;
        };
        // A quota is in what is free for us, where the server's system has it so.
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if space.f_flag & READ_ONLY != 0 {
            return Error::new(Kind::Denied, "read-only file system");
        }
        match free < wanted_bytes || (space.f_files > 0 && space.f_favail == 0) {
            true => Error::new(Kind::NoSpace, "no space left on device"),
            false => cause,
        }
    }

    /// Makes a call, and words its error.
    fn call<T>(
        &mut self,
        mut call: impl FnMut(&ssh2::Sftp) -> Result<T, ssh2::Error>,
    ) -> Result<T> {
        let outcome = self.attempt(|sftp| call(sftp))?;
        outcome.map_err(|cause| self.failed(&cause))
    }

    /// Makes a call whose errors are not all failures.
    fn attempt<T>(
        &mut self,
        mut call: impl FnMut(&ssh2::Sftp) -> Result<T, ssh2::Error>,
    ) -> Result<Result<T, ssh2::Error>> {
        let outcome = self.session.drive(|| call(&self.sftp));
        self.is_broken |= outcome.is_err();
        outcome
    }

    /// Makes a call that moves bytes.
    fn transfer(&mut self, call: impl FnMut() -> io::Result<usize>) -> Result<usize> {
        let outcome = self.session.drive(call);
        self.is_broken |= outcome.is_err();
        outcome?.map_err(|cause| {
            debug_assert!(!cause.is_again(), "that is waited for");
            // The code is lost in the standard library's error, but not its words.
            let last = ssh2::Error::last_session_error(self.session.ssh());
            match last.filter(|last| last.code() != ErrorCode::Session(TOLD)) {
                Some(last) => self.failed(&last),
                None => self.failed(&told(&cause.to_string())),
            }
        })
    }

    /// The error that `cause` is.
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

/// What a server says that has no word for what happened.
const REFUSAL: &str = "the server refuses, and does not say why";

/// Whether `cause` is the failure that stands for anything.
pub fn is_failure(cause: &Error) -> bool {
    cause.kind() == Kind::Failed && cause.to_string().ends_with(REFUSAL)
}

/// The status whose words are `words`.
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

/// `name` in `directory`, both raw bytes. Nothing is put before it in the directory where the
/// server puts us.
pub fn joined(directory: &Path, name: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(name))
}
