//! [`Directory`]: an open directory of a destination, and what new files in it start with.
//!
//! Everything below is reached through its descriptor, one name at a time, and no
//! call follows a link: a directory that is swapped for a link while we work leads
//! nowhere else.
//!
//! It also knows what spares a call for each file: whose a new file will be, and
//! which permissions are open to it. On a file system that maps owners (a squashed
//! NFS, an id-mapped mount) that is not the user we are, so it is trusted only where
//! a directory we have just made came out as expected.

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
/// The owner may list, change and enter.
const OWNER_ALL: u32 = 0o700;
/// What a plain `mkdir` asks for, and the umask takes from.
const PLAIN_DIRECTORY: u32 = 0o777;
/// The longest default ACL we look at: 8,000 entries.
const ACL_LIMIT_BYTES: usize = 65536;
/// The mode of what is made, until its attributes are put on: nobody else's business.
pub(super) const PRIVATE_FILE: u32 = 0o600;

/// How a directory is opened: never through a link.
const HOW: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open directory.
pub(super) struct Directory {
    fd: OwnedFd,
    /// What it was like when it was opened, before it was opened up.
    pub(super) metadata: Metadata,
    pub(super) made: Made,
    /// Whose a new file in it will be, if that is certain.
    owner_of_new: Option<Owner>,
    /// The permissions its default ACL leaves to new files; `None` without one.
    acl_mode: Option<u32>,
    /// Whether another user can put another directory in its place while root restores.
    is_exposed: bool,
    /// The user that a file created in it belongs to, once that is known.
    maker: OnceLock<u32>,
}

impl Directory {
    /// Takes an open directory, which was just `made` in `parent` or existed.
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

    /// Makes the directory `name`, private until it gets its permissions if it does, or
    /// opens the one that is there if it may get `attributes`.
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

    /// Opens the directory `name` as [`Directory::enter`] does, if it is there, but changes
    /// nothing.
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

    /// Takes an open directory in which nothing is created, not even to learn who owns it.
    pub(super) fn for_looking(fd: OwnedFd) -> Result<Directory> {
        let directory = Directory::new(fd, Made::Existed, None)?;
        directory.maker.get_or_init(|| geteuid().as_raw());
        Ok(directory)
    }

    /// Which directory it is, if another one could be put in its place.
    pub(super) fn exposed_identity(&self) -> Option<Identity> {
        self.is_exposed.then(|| self.metadata.identity())
    }

    /// The user that a file created in this directory belongs to. A file system that maps
    /// owners can make this another user than the one who runs. Found out once, with a file
    /// that is held open: no other user can put another one in its place.
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

    /// Opens the directory `name`, which was just `made` or existed. One that does not let
    /// its owner in is opened up.
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

    /// Opens the directory `name`, which does not even let us list it, as its owner.
    /// Its mode is left as `enter` finds it, so that it is the one remembered.
    fn open_closed(&self, name: &[u8]) -> Result<OwnedFd> {
        let path = openat(&self.fd, name, HOW | OFlags::PATH, Mode::empty())?;
        let mode = stat_fd(&path)?.mode;
        let through = proc_path(path.as_fd());
        rustix::fs::chmod(&through, Mode::from_raw_mode(mode | OWNER_ALL))?;
        let fd = openat(&path, c".", HOW, Mode::empty())?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        Ok(fd)
    }

    /// Whether `enter` opened it up, so that its mode has to be given back.
    pub(super) fn is_closed_to_its_owner(&self) -> bool {
        self.metadata.mode & OWNER_ALL != OWNER_ALL && self.metadata.uid == geteuid().as_raw()
    }

    /// What is known of a file just made in it with [`PRIVATE_FILE`], which without its
    /// own permissions is to have `plain_mode` as far as umask or default ACL allow.
    pub(super) fn before_of_new(&self, plain_mode: u32) -> Before {
        Before {
            owner: self.owner_of_new,
            made: Made::New,
            mode: Some(PRIVATE_FILE & self.open_bits()),
            xattrs: self.inherited(),
            plain_mode: Some(plain_mode & self.open_bits()),
        }
    }

    /// What is known of this directory itself.
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

    /// The mode a plain `mkdir` would have given it, with the setgid it inherited.
    fn plain_mode(&self) -> u32 {
        (PLAIN_DIRECTORY & self.open_bits()) | (self.metadata.mode & SETGID)
    }

    /// Whether new files get an ACL from it.
    fn inherited(&self) -> Inherited {
        if self.acl_mode.is_some() {
            Inherited::Perhaps
        } else {
            Inherited::Nothing
        }
    }

    /// The permission bits that are left to new files: a default ACL replaces the umask.
    fn open_bits(&self) -> u32 {
        self.acl_mode.unwrap_or(!umask() & 0o777)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whose a file made in the new directory `metadata` will be.
///
/// The user is the one the directory came out with. The group is the directory's if
/// that is setgid, else ours or, on a mount with `grpid`, the directory's: certain
/// only when these are the same.
fn owner_of_new(metadata: &Metadata) -> Option<Owner> {
    let is_group_certain = metadata.mode & SETGID != 0 || metadata.gid == getegid().as_raw();
    let is_certain = is_group_certain && metadata.uid == geteuid().as_raw();
    is_certain.then_some(Owner {
        uid: metadata.uid,
        gid: metadata.gid,
    })
}

/// The permissions the default ACL of `fd` leaves to new files, if it has one.
fn default_acl_mode(fd: BorrowedFd<'_>) -> Option<u32> {
    let length = fgetxattr_query(fd, ACL_DEFAULT).ok()?;
    let mut acl = vec![0; length.min(ACL_LIMIT_BYTES)];
    let length = fgetxattr(fd, ACL_DEFAULT, &mut acl[..]).ok()?;
    Some(acl_mode(acl.get(..length)?))
}

/// In the words of somebody who restores.
fn not_a_directory(errno: Errno, made: Made) -> Error {
    match errno {
        Errno::NOTDIR | Errno::LOOP => Error::new(
            Kind::Exists,
            "something that is not a directory, or a link to one, has this name",
        ),
        Errno::NOENT if made == Made::New => {
            Error::new(Kind::Failed, "it was taken away while being made")
        }
        _ => errno.into(),
    }
}

/// The process's umask, asked for once. `umask` itself can only be asked by changing it,
/// so the kernel's account of the process is read; where there is none, it is changed
/// for a moment to the strictest value, which can only make files of other threads more private.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| umask_told().unwrap_or_else(umask_changed))
}

/// From the line `Umask:\t0022`.
fn umask_told() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let octal = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(octal.trim(), 8).ok()
}

/// By changing it and changing it back.
fn umask_changed() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}
