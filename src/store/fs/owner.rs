//! [`Owner`]: the owner of a store that does not belong to root.
//!
//! Root can write to the store of another user. Entries that root creates belong to root and are
//! not accessible to other users, so the owner of the store could no longer read the store.
//! Therefore new files and directories get the owner and group of the root directory of the store.
//! If that fails, one warning reports it: the store is complete, but its owner cannot read it.
//!
//! The owner of a store can rename all of its entries at any time. Therefore only a file that this
//! process has just created, or an empty directory owned by root, gets a new owner. Otherwise that
//! user could obtain files of root by giving them the name of a new directory.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Dir, Gid, Uid, fchown, fstat};
use rustix::process::geteuid;

use crate::error::{Error, Kind, Result};
use crate::store::settings::Notice;

/// The permissions of the group and of other users to read and search a directory.
const READABLE_BY_OTHERS: u32 = 0o055;

/// Reports, once per store, that its owner cannot read what root stores.
pub(super) struct Alarm {
    location: String,
    notice: Notice,
    is_reported: AtomicBool,
}

impl Alarm {
    /// Creates the alarm of the store at `location`.
    pub(super) fn new(location: &str, notice: Notice) -> Alarm {
        Alarm {
            location: location.to_owned(),
            notice,
            is_reported: AtomicBool::new(false),
        }
    }

    fn report(&self, cause: String) {
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            (self.notice)(&Error::new(Kind::Denied, cause).during(self.location.clone()));
        }
    }
}

/// The user to whom new files and directories of a store are given.
#[derive(Clone)]
pub(super) struct Owner {
    uid: Uid,
    gid: Gid,
    alarm: Arc<Alarm>,
}

impl Owner {
    /// Returns the owner of the store with the root directory `root`, or `None` if this process
    /// does not run as root or the store belongs to root.
    pub(super) fn of(root: &OwnedFd, alarm: &Arc<Alarm>) -> Result<Option<Owner>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let stat = fstat(root)?;
        let owner = Owner {
            uid: Uid::from_raw(stat.st_uid),
            gid: Gid::from_raw(stat.st_gid),
            alarm: alarm.clone(),
        };
        Ok((!owner.uid.is_root()).then_some(owner))
    }

    /// Changes the owner of the file `new`, which this process has just created. On a file system
    /// with one owner for all files, the owner is already correct, and a change would be refused.
    pub(super) fn give(&self, new: impl AsFd) {
        if let Err(cause) = self.try_give(new) {
            self.alarm.report(format!(
                "change the owner of new files to uid {}: {cause}; the owner of the store cannot \
                 read what root stores; to avoid this, run the command as that user",
                self.uid.as_raw()
            ));
        }
    }

    /// Changes the owner of the directory `made`, provided that it is the one that this process has
    /// just created and not another one with its name: it belongs to root and is empty.
    pub(super) fn give_directory(&self, made: &OwnedFd) -> Result<()> {
        let is_new = fstat(made)?.st_uid == Uid::ROOT.as_raw() && is_empty(made)?;
        if is_new {
            self.give(made);
        }
        Ok(())
    }

    fn try_give(&self, new: impl AsFd) -> Result<()> {
        match fstat(&new)?.st_uid == self.uid.as_raw() {
            true => Ok(()),
            false => Ok(fchown(&new, Some(self.uid), Some(self.gid))?),
        }
    }

    /// Reports the directory `name` if it belongs to another user and is not accessible to this
    /// one, who then cannot read what root stores in it.
    pub(super) fn check_directory(&self, directory: &OwnedFd, name: &str) -> Result<()> {
        let stat = fstat(directory)?;
        let (uid, gid) = (self.uid.as_raw(), self.gid.as_raw());
        if stat.st_uid != uid && stat.st_mode & READABLE_BY_OTHERS == 0 {
            let location = &self.alarm.location;
            self.alarm.report(format!(
                "{name} belongs to uid {}; the owner of the store, uid {uid}, cannot read what \
                 root stores there; to change the owner: chown -R {uid}:{gid} {location}",
                stat.st_uid
            ));
        }
        Ok(())
    }
}

fn is_empty(directory: &OwnedFd) -> Result<bool> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// The owner of the store can replace a new directory before it is opened.
    #[test]
    fn a_directory_with_contents_keeps_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let before = fs::metadata(directory.path()).unwrap();
        fs::write(directory.path().join("secret"), b"of root").unwrap();
        let owner = Owner {
            uid: Uid::from_raw(65534),
            gid: Gid::from_raw(65534),
            alarm: Arc::new(Alarm::new("st", Arc::new(|_| {}))),
        };
        let fd = fs::File::open(directory.path()).unwrap().into();
        owner.give_directory(&fd).unwrap();
        let after = fs::metadata(directory.path()).unwrap();
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    }
}
