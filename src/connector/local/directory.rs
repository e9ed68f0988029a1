//! [`Directory`]: an open directory of a destination, and the initial attributes of new files in
//! it.
//!
//! Everything below it is accessed through its descriptor, one name at a time, and no call follows
//! a symbolic link: replacing a directory by a link during the restore does not redirect it.
//!
//! It also caches facts that save a system call per file: the owner and the effective permissions
//! of a new file. On a file system that maps owners (NFS with squashing, an id-mapped mount) this
//! owner is not the user of the process. Therefore the assumption is used only if a directory that
//! was just created had the expected owner.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Mode, OFlags, fgetxattr, fgetxattr_query, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::attributes::{ACL_DEFAULT, Before, Inherited, Owner, acl_mode};
use super::draft::make_temporary;
use super::node::proc_path;
use super::stat::stat_fd;
use super::trust;
use crate::connector::{Attributes, Identity, Made, Metadata, Permissions};
use crate::error::{Error, Kind, Result};

const SETGID: u32 = 0o2000;
/// Read, write and search permission for the owner.
const OWNER_ALL: u32 = 0o700;
/// The mode that a plain `mkdir` requests, before the umask is applied.
const PLAIN_DIRECTORY: u32 = 0o777;
/// The maximum length of a default ACL that is read: 8,000 entries.
const ACL_LIMIT_BYTES: usize = 65536;
/// The mode of a new file until its attributes are set: accessible only to its owner.
pub(super) const PRIVATE_FILE: u32 = 0o600;

/// The flags for opening a directory: never through a symbolic link.
const HOW: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

pub(super) struct Directory {
    fd: OwnedFd,
    /// Its metadata when it was opened, before its mode was extended.
    pub(super) metadata: Metadata,
    pub(super) made: Made,
    /// The owner of a new file in it, if certain.
    owner_of_new: Option<Owner>,
    /// The permissions that its default ACL leaves to new files; `None` without a default ACL.
    acl_mode: Option<u32>,
    /// Whether another user can replace it by another directory while root restores.
    is_exposed: bool,
    /// The user that owns new files in it, once known.
    maker: OnceLock<u32>,
}

impl Directory {
    /// Wraps an open directory, which was just `made` in `parent` or existed before.
    pub(super) fn new(fd: OwnedFd, made: Made, parent: Option<&Directory>) -> Result<Directory> {
        let metadata = stat_fd(&fd)?;
        let acl_mode = match (made, parent) {
            (Made::New, Some(parent)) => parent.acl_mode,
            _ => default_acl_mode(fd.as_fd()),
        };
        let owner_of_new = if made == Made::New {
            owner_of_new(&metadata)
        } else {
            None
        };
        Ok(Directory {
            fd,
            metadata,
            made,
            owner_of_new,
            acl_mode,
            is_exposed: parent
                .is_some_and(|parent| trust::other_holder(&parent.metadata).is_some()),
            maker: OnceLock::new(),
        })
    }

    /// Creates the directory `name`, with mode 0700 if its permissions are set later, or opens the
    /// existing one if it may get `attributes`.
    pub(super) fn enter(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Directory> {
        let mode = match permissions {
            Permissions::Restore => OWNER_ALL,
            Permissions::Skip => PLAIN_DIRECTORY,
        };
        let made = match mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => Made::New,
            Err(Errno::EXIST) => Made::Existed,
            Err(errno) => return Err(errno.into()),
        };
        let mut directory = self.open(name, made)?;
        if permissions == Permissions::Restore {
            trust::check_directory(&directory, attributes)?;
            trust::close_directory(&mut directory, attributes)?;
        }
        Ok(directory)
    }

    /// Opens the directory `name` like [`Directory::enter`] if it exists, but changes nothing.
    pub(super) fn look(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Option<Directory>> {
        let fd = match openat(&self.fd, name, HOW, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(|errno| not_a_directory(errno, Made::Existed))?,
        };
        let directory = Directory::for_looking(fd)?;
        if permissions == Permissions::Restore {
            trust::check_directory(&directory, attributes)?;
        }
        Ok(Some(directory))
    }

    /// Wraps an open directory in which nothing is created, not even to determine the owner of new
    /// files.
    pub(super) fn for_looking(fd: OwnedFd) -> Result<Directory> {
        let directory = Directory::new(fd, Made::Existed, None)?;
        directory.maker.get_or_init(|| geteuid().as_raw());
        Ok(directory)
    }

    /// Returns the identity of the directory if another user could replace it.
    pub(super) fn exposed_identity(&self) -> Option<Identity> {
        self.is_exposed.then(|| self.metadata.identity())
    }

    /// Returns the user that owns new files in this directory. On a file system that maps owners
    /// this may not be the user of the process. Determined once, with a temporary file that is kept
    /// open, so that no other user can replace it.
    pub(super) fn maker(&self) -> u32 {
        *self.maker.get_or_init(|| {
            let how = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let private = Mode::from_raw_mode(PRIVATE_FILE);
            let made = make_temporary(|name| openat(&self.fd, name, how, private));
            let user = geteuid().as_raw();
            made.map_or(user, |(name, file)| {
                let owner = stat_fd(&file).map(|found| found.uid);
                let _ = unlinkat(&self.fd, &name, AtFlags::empty());
                owner.unwrap_or(user)
            })
        })
    }

    /// Opens the directory `name`, which was just `made` or existed before. If its mode denies
    /// access to its owner, extends the mode.
    pub(super) fn open(&self, name: &[u8], made: Made) -> Result<Directory> {
        let fd = match openat(&self.fd, name, HOW, Mode::empty()) {
            Err(Errno::ACCESS) => self.open_closed(name)?,
            result => result.map_err(|errno| not_a_directory(errno, made))?,
        };
        let directory = Directory::new(fd, made, Some(self))?;
        if directory.is_closed_to_its_owner() {
            rustix::fs::fchmod(
                &directory.fd,
                Mode::from_raw_mode(directory.metadata.mode | OWNER_ALL),
            )?;
        }
        Ok(directory)
    }

    /// Opens the directory `name`, which its owner may not list. The mode is changed only for the
    /// opening, so that `enter` sees and remembers the original one.
    fn open_closed(&self, name: &[u8]) -> Result<OwnedFd> {
        let path = openat(&self.fd, name, HOW | OFlags::PATH, Mode::empty())?;
        let mode = stat_fd(&path)?.mode;
        let through = proc_path(path.as_fd());
        rustix::fs::chmod(&through, Mode::from_raw_mode(mode | OWNER_ALL))?;
        let fd = openat(&path, c".", HOW, Mode::empty())?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        Ok(fd)
    }

    /// Whether `enter` extended the mode, so that it must be restored.
    pub(super) fn is_closed_to_its_owner(&self) -> bool {
        self.metadata.mode & OWNER_ALL != OWNER_ALL && self.metadata.uid == geteuid().as_raw()
    }

    /// Returns the state of a file just created in it with [`PRIVATE_FILE`]. Without recorded
    /// permissions it will get `plain_mode`, reduced by the umask or the default ACL.
    pub(super) fn before_of_new(&self, plain_mode: u32) -> Before {
        Before {
            owner: self.owner_of_new,
            made: Made::New,
            mode: Some(PRIVATE_FILE & self.open_bits()),
            xattrs: self.inherited(),
            plain_mode: Some(plain_mode & self.open_bits()),
        }
    }

    /// Returns the state of this directory itself.
    pub(super) fn before_of_itself(&self) -> Before {
        let owner = Owner {
            uid: self.metadata.uid,
            gid: self.metadata.gid,
        };
        let is_new = self.made == Made::New;
        let found = if self.is_closed_to_its_owner() {
            self.metadata.mode | OWNER_ALL
        } else {
            self.metadata.mode
        };
        Before {
            owner: Some(owner),
            made: self.made,
            mode: Some(found),
            xattrs: if is_new {
                self.inherited()
            } else {
                Inherited::Perhaps
            },
            plain_mode: Some(if is_new {
                self.plain_mode()
            } else {
                self.metadata.mode
            }),
        }
    }

    /// The mode that a plain `mkdir` would have set, with the setgid bit that it inherited.
    fn plain_mode(&self) -> u32 {
        (PLAIN_DIRECTORY & self.open_bits()) | (self.metadata.mode & SETGID)
    }

    /// Whether new files inherit an ACL from it.
    fn inherited(&self) -> Inherited {
        if self.acl_mode.is_some() {
            Inherited::Perhaps
        } else {
            Inherited::Nothing
        }
    }

    /// The permission bits that new files can have: a default ACL replaces the umask.
    fn open_bits(&self) -> u32 {
        self.acl_mode.unwrap_or(!umask() & 0o777)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the owner of a file created in the new directory `metadata`, if certain.
///
/// The user is that of the directory. The group is that of the directory if it has setgid,
/// otherwise that of the process or, on a mount with `grpid`, that of the directory. It is certain
/// only if these are equal.
fn owner_of_new(metadata: &Metadata) -> Option<Owner> {
    let is_group_certain = metadata.mode & SETGID != 0 || metadata.gid == getegid().as_raw();
    let is_certain = is_group_certain && metadata.uid == geteuid().as_raw();
    is_certain.then_some(Owner {
        uid: metadata.uid,
        gid: metadata.gid,
    })
}

/// Returns the permissions that the default ACL of `fd` leaves to new files, if it has one.
fn default_acl_mode(fd: BorrowedFd<'_>) -> Option<u32> {
    let length = fgetxattr_query(fd, ACL_DEFAULT).ok()?;
    let mut acl = vec![0; length.min(ACL_LIMIT_BYTES)];
    let length = fgetxattr(fd, ACL_DEFAULT, &mut acl[..]).ok()?;
    Some(acl_mode(acl.get(..length)?))
}

/// Explains the error in terms of the restore.
fn not_a_directory(errno: Errno, made: Made) -> Error {
    match errno {
        Errno::NOTDIR | Errno::LOOP => Error::new(
            Kind::Exists,
            "something that is not a directory, or a link to one, has this name",
        ),
        Errno::NOENT if made == Made::New => {
            Error::new(Kind::Failed, "it was removed while it was being created")
        }
        _ => errno.into(),
    }
}

/// Returns the umask of the process, determined once. The `umask` call can read it only by changing
/// it, so it is read from `/proc`. If that is not available, it is briefly set to the strictest
/// value, which at most makes files of other threads more private.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| umask_told().unwrap_or_else(umask_changed))
}

/// Parses the line `Umask:\t0022`.
fn umask_told() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let octal = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(octal.trim(), 8).ok()
}

/// Reads the umask by changing it and changing it back.
fn umask_changed() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}
