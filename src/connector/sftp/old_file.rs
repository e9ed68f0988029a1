//! Existing files and directories on the server, and which of them a restore may keep.
//!
//! If the account is root on the server, it must not take over a file that another user of the
//! server controls. The [local file system](crate::connector::LocalDestination) has the same rule.
//! SFTP does not report how many names a file has. Therefore root keeps a file only if its owner
//! and mode are already correct, and then sets only its time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::MODE_BITS;
use super::destination::Shared;
use super::file::RemoteFile;
use crate::connector::{Attributes, Lost, Metadata, OldFile, Permissions, SourceFile};
use crate::error::{Error, Kind, Result};
use crate::net::ssh::sftp::Change;

const ROOT: u32 = 0;
const SETUID_AND_SETGID: u32 = 0o6000;
const OTHERS_WRITE: u32 = 0o022;

/// An existing file, open for reading.
pub(super) struct SftpOldFile {
    shared: Arc<Shared>,
    path: PathBuf,
    file: RemoteFile,
    /// Whether owner and mode are already correct.
    is_right: bool,
}

impl SftpOldFile {
    /// Opens the regular file at `path`, provided that the account `user` may set `attributes` on
    /// it.
    pub(super) fn open(
        shared: &Arc<Shared>,
        path: PathBuf,
        user: u32,
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<SftpOldFile> {
        let file = RemoteFile::open(&shared.pool, path.clone())?;
        let found = file.metadata()?;
        if !may_adopt(user, &found, attributes.metadata, permissions) {
            return Err(Error::new(
                Kind::Exists,
                "other users control the file that has this name",
            ));
        }
        Ok(SftpOldFile {
            shared: shared.clone(),
            path,
            file,
            is_right: is_right(&found, attributes.metadata),
        })
    }
}

impl OldFile for SftpOldFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.file.read(buffer)
    }

    fn adjust(
        &mut self,
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Vec<Lost>> {
        // A thread that waits for a connection must not hold one.
        self.file.let_go();
        let change = Change::default();
        if permissions == Permissions::Skip || !self.is_right {
            return (self.shared).put(&self.path, attributes, permissions, change);
        }
        let mut lost = (self.shared).put(&self.path, attributes, Permissions::Skip, change)?;
        lost.extend((!attributes.xattrs.is_empty()).then_some(Lost::Xattr));
        lost.extend((attributes.flags != 0).then_some(Lost::Flags));
        Ok(lost)
    }
}

/// Whether the account `user` may keep the file with the metadata `found`.
fn may_adopt(user: u32, found: &Metadata, wanted: &Metadata, permissions: Permissions) -> bool {
    match permissions {
        Permissions::Restore if wanted.mode & SETUID_AND_SETGID != 0 => false,
        Permissions::Restore if user == ROOT => {
            is_right(found, wanted) && found.mode & OTHERS_WRITE == 0
        }
        Permissions::Restore => {
            (found.uid == user || found.uid == wanted.uid)
                && found.mode & OTHERS_WRITE & !wanted.mode == 0
        }
        Permissions::Skip => found.uid == user,
    }
}

/// Whether owner and mode are already correct.
fn is_right(found: &Metadata, wanted: &Metadata) -> bool {
    (found.uid, found.gid, found.mode) == (wanted.uid, wanted.gid, wanted.mode & MODE_BITS)
}

impl Shared {
    /// Whether the account is root, determined with a temporary file in the directory of `path`.
    /// Returns false if no file can be created there.
    pub(super) fn is_root(&self, path: &Path) -> bool {
        (self.plain(path)).is_ok_and(|plain| plain.owner.0 == ROOT)
    }

    /// Checks that the account may set the attributes of `wanted` on the directory at `path`, whose
    /// metadata is `found`.
    ///
    /// # Errors
    /// [`Kind::Exists`] if the account is root and the directory belongs to another user.
    pub(super) fn check_directory(
        &self,
        path: &Path,
        found: &Metadata,
        wanted: &Metadata,
    ) -> Result<()> {
        let is_right = found.uid == ROOT || found.uid == wanted.uid || !self.is_root(path);
        match is_right {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Exists,
                format!(
                    "the existing directory belongs to user {}, and root does not take it over; \
                     remove it or change its owner",
                    found.uid
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(uid: u32, mode: u32) -> Metadata {
        Metadata {
            uid,
            gid: uid,
            mode,
            ..Metadata::default()
        }
    }

    #[test]
    fn root_keeps_only_files_that_are_right_already() {
        let may = |user, found: &Metadata, wanted: &Metadata| {
            may_adopt(user, found, wanted, Permissions::Restore)
        };
        let plain = metadata(ROOT, 0o644);
        assert!(may(ROOT, &plain, &plain));
        assert!(!may(ROOT, &metadata(1000, 0o644), &plain));
        assert!(!may(ROOT, &metadata(ROOT, 0o640), &plain));
        let open = metadata(ROOT, 0o666);
        assert!(!may(ROOT, &open, &open));
        let privileged = metadata(ROOT, 0o4755);
        assert!(!may(ROOT, &privileged, &privileged));
        assert!(may(1000, &metadata(1000, 0o640), &plain));
        assert!(!may(1000, &metadata(1001, 0o644), &plain));
        assert!(!may(1000, &metadata(1000, 0o664), &plain));
    }
}
