//! Sets owner, mode, extended attributes and times, in the only correct order.
//!
//! 1. *Contents* come first: every write clears setuid and capabilities and changes the
//!    modification time.
//! 2. *Owner*: a change clears setuid, setgid and capabilities as well. If the change is refused,
//!    the file must not run with the rights of a user or group that it was not restored to, so
//!    setuid (for the user) or setgid (for the group) is omitted.
//! 3. *Extended attributes*: `security.capability` persists from here on. `user.*` requires write
//!    permission, which a read-only mode would deny to an ordinary user. ACLs are set in this step:
//!    the group bits of a mode *are* the mask of an ACL (POSIX 1003.1e), so setting the recorded
//!    mode afterwards does not change the ACL. Only now is it known whether the ACL was refused; if
//!    so, the group bits are wider than the permissions of the owning group, and must be reduced.
//! 4. *Mode*, including setuid and setgid.
//! 5. *Times*.
//! 6. The *name*, set by the caller: a file never appears under it without all of the above.
//! 7. *Inode flags*, see [`super::flags`]: the immutable flag prevents all other changes.
//!
//! Attributes that the process may not set, or that the file system does not support, are reported
//! as [`Lost`]; anything else (a full or defective disk) is an error. On a node that existed
//! before, attributes that are already correct are not set, so that its change time indicates real
//! changes. This module does not know names or directories.

use std::os::fd::BorrowedFd;

use rustix::fs::fstatvfs;
use rustix::io::Errno;

use super::names::Names;
use super::node::Node;
use super::stat::{MODE_BITS, stat_fd};
use crate::connector::{Attributes, FileKind, Lost, Made, Metadata, Permissions};
use crate::error::{During, Result};
use crate::util::printable::printable;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_BITS: u32 = 0o070;

/// The access ACL, as `setxattr` names it.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The default ACL, which a directory passes on to new entries.
pub(super) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Whether an attribute was set, or was refused in a way that is [`Lost`] and not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Given {
    /// The attribute was set.
    Yes,
    /// Not permitted, or not supported by the file system.
    No,
}

/// The numeric ids of a user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Whether a node has extended attributes before those of the snapshot are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inherited {
    /// None: they need not be listed.
    Nothing,
    /// Possibly: the parent has a default ACL, or the node is not new.
    Perhaps,
}

/// The known state of a node before its attributes are set. Each system call avoided is avoided a
/// million times in a restore of a million files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// The owner, if known.
    pub(super) owner: Option<Owner>,
    /// Whether the node is new: its change time need not be preserved then.
    pub(super) made: Made,
    /// The mode, if known.
    pub(super) mode: Option<u32>,
    /// Whether it may have extended attributes.
    pub(super) xattrs: Inherited,
    /// The mode to set under [`Permissions::Skip`]; `None` keeps the current one.
    pub(super) plain_mode: Option<u32>,
}

/// Sets owner, extended attributes, mode and times, in this order.
pub(super) fn put(
    node: Node<'_>,
    before: &Before,
    attributes: &Attributes<'_>,
    permissions: Permissions,
) -> Result<Vec<Lost>> {
    let mut lost = Vec::new();
    match permissions {
        Permissions::Restore => put_permissions(node, before, attributes, &mut lost)?,
        Permissions::Skip => put_plain_mode(node, before, &mut lost)?,
    }
    if put_mtime(node, before, attributes.metadata.mtime_ns).during(|| "set times")? == Given::No {
        lost.push(Lost::Times);
    }
    Ok(lost)
}

/// Steps 2 to 4 of the module documentation.
fn put_permissions(
    node: Node<'_>,
    before: &Before,
    attributes: &Attributes<'_>,
    lost: &mut Vec<Lost>,
) -> Result<()> {
    let owner = put_owner(node, before, resolve_owner(attributes)).during(|| "set owner")?;
    if owner.user == Given::No || owner.group == Given::No {
        lost.push(Lost::Owner);
    }
    let acl = put_xattrs(node, before, attributes, lost)?;
    if attributes.metadata.kind == FileKind::Symlink {
        return Ok(()); // Symbolic links have no mode on Linux.
    }
    let wanted = attributes.metadata.mode & MODE_BITS;
    let mode = wanted & owner.allowed_bits() & acl.allowed_bits();
    let is_known = attributes.xattrs.is_empty() && before.xattrs == Inherited::Nothing;
    let before_mode = match before.made {
        Made::New => before.mode.filter(|_| is_known),
        Made::Existed => Some(stat_fd(node.fd())?.mode),
    };
    if put_mode(node, before_mode, mode).during(|| "set mode")? == Given::No || mode != wanted {
        lost.push(Lost::Mode);
    }
    Ok(())
}

/// Sets the mode that a new node gets from the umask.
fn put_plain_mode(node: Node<'_>, before: &Before, lost: &mut Vec<Lost>) -> Result<()> {
    let Some(mode) = before.plain_mode else {
        return Ok(());
    };
    if put_mode(node, before.mode, mode).during(|| "set mode")? == Given::No {
        lost.push(Lost::Mode);
    }
    Ok(())
}

/// Returns the owner to set. A name that is known locally takes precedence over the number.
pub(super) fn resolve_owner(attributes: &Attributes<'_>) -> Owner {
    let names = Names::shared();
    Owner {
        uid: attributes
            .user
            .and_then(|name| names.uid(name))
            .unwrap_or(attributes.metadata.uid),
        gid: attributes
            .group
            .and_then(|name| names.gid(name))
            .unwrap_or(attributes.metadata.gid),
    }
}

/// Which parts of the ownership were set.
struct Ownership {
    user: Given,
    group: Given,
}

impl Ownership {
    /// The permitted mode bits: all except those that would grant the rights of an owner that was
    /// not set.
    fn allowed_bits(&self) -> u32 {
        let setuid = if self.user == Given::No { SETUID } else { 0 };
        let setgid = if self.group == Given::No { SETGID } else { 0 };
        !(setuid | setgid)
    }
}

/// Sets the owner. If that is refused, sets at least the group, which an ordinary user may do for
/// their own groups.
fn put_owner(node: Node<'_>, before: &Before, owner: Owner) -> Result<Ownership> {
    let both = Ownership {
        user: Given::Yes,
        group: Given::Yes,
    };
    if before.owner == Some(owner) || attempt(node.chown(Some(owner.uid), owner.gid))? == Given::Yes
    {
        return Ok(both);
    }
    // Whether or not it was refused, the resulting owner is what matters.
    let _ = attempt(node.chown(None, owner.gid))?;
    let now = stat_fd(node.fd())?;
    Ok(Ownership {
        user: given_if(now.uid == owner.uid),
        group: given_if(now.gid == owner.gid),
    })
}

/// The result of setting an access ACL.
enum Acl {
    /// The ACL is set, or there was none.
    Kept,
    /// The ACL was refused. Contains its permissions for the owning group, `0` to `7`.
    Refused(u32),
}

impl Acl {
    /// Without the ACL the group bits are not a mask but the permissions of the owning group.
    fn allowed_bits(&self) -> u32 {
        match self {
            Acl::Kept => MODE_BITS,
            Acl::Refused(group) => (MODE_BITS & !GROUP_BITS) | (group << 3),
        }
    }
}

/// Sets the extended attributes, and removes those that are not in the snapshot.
fn put_xattrs(
    node: Node<'_>,
    before: &Before,
    attributes: &Attributes<'_>,
    lost: &mut Vec<Lost>,
) -> Result<Acl> {
    let mut acl = Acl::Kept;
    let mut all = Given::Yes;
    if before.xattrs == Inherited::Perhaps {
        all = remove_others(node, attributes)?;
    }
    for (name, value) in attributes.xattrs {
        let is_there = before.made == Made::Existed && node.has_xattr(name, value);
        if !is_there && put_xattr(node, name, value)? == Given::No {
            all = Given::No;
            if name == ACL_ACCESS {
                acl = Acl::Refused(acl_permissions(value, Tag::OwningGroup).unwrap_or(0));
            }
        }
    }
    if all == Given::No {
        lost.push(Lost::Xattr);
    }
    Ok(acl)
}

/// Sets one extended attribute. A file system that stores them in one block reports "no space" when
/// that block is full. This is an error only if the disk itself is full.
fn put_xattr(node: Node<'_>, name: &[u8], value: &[u8]) -> Result<Given> {
    let doing = || format!("set extended attribute {}", printable(name));
    match node.set_xattr(name, value) {
        Err(Errno::NOSPC) if has_space(node.fd()) => Ok(Given::No),
        result => attempt(result).during(doing),
    }
}

/// Whether an ordinary user can allocate a block on the file system.
fn has_space(fd: BorrowedFd<'_>) -> bool {
    fstatvfs(fd).is_ok_and(|usage| usage.f_bavail > 0)
}

/// Removes inherited or earlier attributes that are not in the snapshot, if they grant rights or
/// are user attributes. System labels (SELinux) are kept.
fn remove_others(node: Node<'_>, attributes: &Attributes<'_>) -> Result<Given> {
    let mut all = Given::Yes;
    let Ok(names) = node.list_xattrs() else {
        return Ok(Given::Yes);
    };
    for name in names
        .split(|&byte| byte == 0)
        .filter(|name| is_ours_to_remove(name))
    {
        let is_wanted = attributes.xattrs.iter().any(|(wanted, _)| wanted == name);
        if !is_wanted
            && attempt(node.remove_xattr(name)).during(|| "remove extended attribute")? == Given::No
        {
            all = Given::No;
        }
    }
    Ok(all)
}

/// Whether the attribute grants rights or is a user attribute.
fn is_ours_to_remove(name: &[u8]) -> bool {
    name == ACL_ACCESS
        || name == ACL_DEFAULT
        || name == b"security.capability"
        || name.starts_with(b"user.")
}

/// Sets the mode unless it is already correct. The kernel silently drops setgid if the process is
/// not a member of the group, so setuid and setgid are verified.
fn put_mode(node: Node<'_>, before: Option<u32>, mode: u32) -> Result<Given> {
    if before == Some(mode) {
        return Ok(Given::Yes);
    }
    let given = attempt(node.chmod(mode))?;
    if given == Given::Yes && mode & (SETUID | SETGID) != 0 {
        return Ok(given_if(stat_fd(node.fd())?.mode == mode));
    }
    Ok(given)
}

/// Sets the modification time, unless the node existed before and its time is correct.
fn put_mtime(node: Node<'_>, before: &Before, mtime_ns: i64) -> Result<Given> {
    if before.made == Made::Existed && stat_fd(node.fd())?.mtime_ns == mtime_ns {
        return Ok(Given::Yes);
    }
    attempt(node.set_mtime(mtime_ns))
}

/// Distinguishes a refusal, which loses one attribute, from an error, which loses the entry.
pub(super) fn attempt(result: rustix::io::Result<()>) -> Result<Given> {
    match result {
        Ok(()) => Ok(Given::Yes),
        Err(errno) if is_refusal(errno) => Ok(Given::No),
        Err(errno) => Err(errno.into()),
    }
}

/// Not permitted or not supported. `NOENT` means that `/proc` is not mounted.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::NOSYS
            | Errno::NOTTY
            | Errno::INVAL
            | Errno::OVERFLOW
            | Errno::RANGE
            | Errno::TOOBIG
            | Errno::NOENT
            | Errno::NODATA
    )
}

fn given_if(is_so: bool) -> Given {
    if is_so { Given::Yes } else { Given::No }
}

/// The kind of an ACL entry.
#[derive(Clone, Copy)]
enum Tag {
    Owner = 1,
    OwningGroup = 4,
    Mask = 16,
    Others = 32,
}

/// Returns the permissions, `0` to `7`, that `acl` grants to `tag`. The format is that of
/// `posix_acl_xattr.h` of Linux: a version of 4 bytes, then entries with tag, permissions and id.
fn acl_permissions(acl: &[u8], tag: Tag) -> Option<u32> {
    let entries = acl.get(4..)?.chunks_exact(8);
    let entry = entries
        .into_iter()
        .find(|entry| u16::from_le_bytes([entry[0], entry[1]]) == tag as u16)?;
    Some(u32::from(entry[2]) & 7)
}

/// The mode that a default ACL gives to new entries; it replaces the umask.
pub(super) fn acl_mode(acl: &[u8]) -> u32 {
    let of = |tag| acl_permissions(acl, tag);
    let group = of(Tag::Mask).or(of(Tag::OwningGroup)).unwrap_or(0);
    of(Tag::Owner).unwrap_or(0) << 6 | group << 3 | of(Tag::Others).unwrap_or(0)
}

/// Returns the state of an existing node, from its `lstat` metadata.
pub(super) fn existing(metadata: &Metadata, plain_mode: Option<u32>) -> Before {
    let owner = Owner {
        uid: metadata.uid,
        gid: metadata.gid,
    };
    Before {
        owner: Some(owner),
        made: Made::Existed,
        mode: Some(metadata.mode),
        xattrs: Inherited::Perhaps,
        plain_mode,
    }
}
