//! Decides which existing files and directories a restore may keep.
//!
//! A restore as root sets owners, modes and privileges. It must not set them on an inode that
//! another user controls: that user may have the file open or mapped for writing, may have other
//! names for it, or may have filled the directory. Therefore an existing file is kept only if this
//! gives another user no advantage; otherwise it is replaced by a new one. An existing directory of
//! another user is never taken over.
//!
//! Every check uses the metadata of an open descriptor, and the caller then uses the same
//! descriptor. A check of a name would be meaningless for the file that has the name later.
//!
//! Some file systems map owners: on an NFS export with `root_squash`, files created by root belong
//! to another user, and root cannot change owners. If new files do not belong to root, the rules
//! for an ordinary user apply.

use rustix::fs::fchmod;
use rustix::process::geteuid;

use super::attributes::{attempt, resolve_owner};
use super::directory::Directory;
use crate::connector::{Attributes, Metadata, Permissions};
use crate::error::{During, Error, Kind, Result};

const ROOT: u32 = 0;
const SETUID_AND_SETGID: u32 = 0o6000;
/// Write permission for users other than the owner. With a POSIX ACL the group bits are its mask,
/// which limits every named user and group.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Whether the file in `dir` with the metadata `found` may be kept and get `attributes`.
pub(super) fn may_adopt(
    dir: &Directory,
    found: &Metadata,
    attributes: &Attributes<'_>,
    permissions: Permissions,
) -> bool {
    if permissions == Permissions::Restore && gives_privilege(attributes) {
        return false;
    }
    let user = geteuid().as_raw();
    if user != ROOT {
        return may_user_adopt(user, found, attributes, permissions);
    }
    if may_root_adopt(dir, found, attributes, permissions) {
        return true;
    }
    let user = dir.maker();
    user != ROOT && may_user_adopt(user, found, attributes, permissions)
}

/// The rule for root: only the correct owner, or root, can write to the file, now or through a
/// descriptor that was opened with the current permissions.
fn may_root_adopt(
    dir: &Directory,
    found: &Metadata,
    attributes: &Attributes<'_>,
    permissions: Permissions,
) -> bool {
    let holder = &dir.metadata;
    let has_right_owner = match permissions {
        Permissions::Restore => {
            let wanted = resolve_owner(attributes);
            (found.uid, found.gid) == (wanted.uid, wanted.gid)
        }
        // The owner of the directory could replace the file at any time.
        Permissions::Skip => found.uid == ROOT || found.uid == holder.uid,
    };
    has_right_owner
        && found.links == 1
        && (found.mode | holder.mode) & OTHERS_WRITE == 0
        && (holder.uid == ROOT || holder.uid == found.uid)
}

/// The rule for an ordinary user, who cannot change the owner of a file: every user who can write
/// to the file now keeps that permission, and the file has no more names than were backed up.
fn may_user_adopt(
    user: u32,
    found: &Metadata,
    attributes: &Attributes<'_>,
    permissions: Permissions,
) -> bool {
    let wanted = attributes.metadata;
    let (owner, allowed) = match permissions {
        Permissions::Restore => (resolve_owner(attributes).uid, wanted.mode),
        Permissions::Skip => (user, OTHERS_WRITE),
    };
    (found.uid == user || found.uid == owner)
        && found.links <= wanted.links.max(1)
        && found.mode & OTHERS_WRITE & !allowed == 0
}

/// Whether the file will run with rights other than those of the user who runs it.
fn gives_privilege(attributes: &Attributes<'_>) -> bool {
    attributes.metadata.mode & SETUID_AND_SETGID != 0
        || (attributes.xattrs.iter()).any(|(name, _)| name == b"security.capability")
}

/// Checks that root may set `attributes` on the open directory `dir`: it belongs to root or already
/// to the correct owner.
///
/// # Errors
/// [`Kind::Exists`] if it belongs to another user. This includes a directory that another user put
/// in the place of a new one.
pub(super) fn check_directory(dir: &Directory, attributes: &Attributes<'_>) -> Result<()> {
    let uid = dir.metadata.uid;
    let is_right = !geteuid().is_root()
        || uid == ROOT
        || uid == resolve_owner(attributes).uid
        || uid == dir.maker();
    match is_right {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Exists,
            format!(
                "the existing directory belongs to user {uid}, and root does not take it over; \
                 remove it or change its owner"
            ),
        )),
    }
}

/// Removes write permissions of `dir` that `attributes` does not contain, before anything is
/// restored into it: until then other users could replace restored entries.
pub(super) fn close_directory(dir: &mut Directory, attributes: &Attributes<'_>) -> Result<()> {
    let mut kept = attributes.metadata.mode;
    if dir.metadata.gid != resolve_owner(attributes).gid {
        kept &= !0o020;
    }
    let excess = dir.metadata.mode & OTHERS_WRITE & !kept;
    if geteuid().is_root() && excess != 0 {
        let mode = dir.metadata.mode & !excess;
        // A refusal is reported when the directory gets its final mode.
        let _ = attempt(fchmod(&*dir, rustix::fs::Mode::from_raw_mode(mode)))
            .during(|| "remove write permissions")?;
        dir.metadata.mode = mode;
    }
    Ok(())
}

/// Whether a node that was just created in `dir`, and then opened by name, is the one that was
/// created: it belongs to the user that owns new files there.
pub(super) fn is_own(dir: &Directory, found: &Metadata) -> bool {
    found.uid == geteuid().as_raw() || found.uid == dir.maker()
}

/// Whether root follows a symbolic link on the way to the target. A link of another user could lead
/// to any directory of the system.
pub(super) fn may_follow(link: &Metadata) -> bool {
    !geteuid().is_root() || link.uid == ROOT
}

/// Returns the user, other than root, who can rename and remove the files that root restores below
/// the directory with the metadata `found`.
pub(super) fn other_holder(found: &Metadata) -> Option<String> {
    if !geteuid().is_root() {
        return None;
    }
    if found.uid != ROOT {
        return Some(format!("user {}", found.uid));
    }
    let is_open = found.mode & OTHERS_WRITE != 0 && found.mode & STICKY == 0;
    is_open.then(|| "users other than root".to_owned())
}
