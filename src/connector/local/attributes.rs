//! Owner, mode, extended attributes and times, put on in the one order that is right.
//!
//! 1. *Contents* come first: every write clears setuid and capabilities and moves the
//!    time of modification.
//! 2. *Owner*: changing it clears setuid, setgid and capabilities too. Where it is
//!    refused, the file must not run with the rights of somebody it was never given
//!    to, so setuid (for the user) and setgid (for the group) are then left out.
//! 3. *Extended attributes*: `security.capability` survives from here on. `user.*`
//!    needs the permission to write, which a read-only mode would take from an
//!    ordinary user. ACLs go with them: the group bits of a mode *are* the mask of
//!    an ACL (POSIX 1003.1e), so the recorded mode put on afterwards changes
//!    nothing. And only now is it known whether the ACL was refused: then the group
//!    bits, wider than what the owning group had, must be narrowed.
//! 4. *Mode*, with setuid and setgid.
//! 5. *Times*.
//! 6. The *name*, by the caller: under it nobody ever sees less than all of the above.
//! 7. *Inode flags*, see [`super::flags`]: immutable forbids all the others.
//!
//! What we are not allowed to do, or the file system cannot keep, is [`Lost`] and
//! told; anything else (a full disk, a broken one) is an error. What is right already
//! is left alone where the node was there before, so that its time of change tells
//! of changes. Nothing here knows names or directories.

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

/// An access ACL, as `setxattr` takes it.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL a directory gives to what is made in it.
pub(super) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Whether something was done, or refused in a way that is [`Lost`] rather than an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Given {
    /// Done.
    Yes,
    /// Not for us, or not on this file system.
    No,
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Extended attributes that are there before ours are put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inherited {
    /// None: nothing needs to be listed.
    Nothing,
    /// Some, perhaps: the parent has a default ACL, or the node is not new.
    Perhaps,
}

/// What is known of a node before its attributes are put on: every call this saves
/// is saved a million times in a restore of a million files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Its owner, if known.
    pub(super) owner: Option<Owner>,
    /// Whether it is new: nobody minds what changes the time of its own change.
    pub(super) made: Made,
    /// Its mode, if known.
    pub(super) mode: Option<u32>,
    /// Whether it may have extended attributes.
    pub(super) xattrs: Inherited,
    /// The mode it is to have under [`Permissions::Skip`]; `None` to leave it alone.
    pub(super) plain_mode: Option<u32>,
}

/// Puts on owner, extended attributes, mode and times, in this order.
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

/// Steps 2 to 4.
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
        return Ok(()); // Linux has no mode on links.
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

/// The mode that a new node gets from the umask.
fn put_plain_mode(node: Node<'_>, before: &Before, lost: &mut Vec<Lost>) -> Result<()> {
    let Some(mode) = before.plain_mode else {
        return Ok(());
    };
    if put_mode(node, before.mode, mode).during(|| "set mode")? == Given::No {
        lost.push(Lost::Mode);
    }
    Ok(())
}

/// Whose the entry is to be: a name that is known here wins over the number.
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

/// Which half of the ownership a node was given.
struct Ownership {
    user: Given,
    group: Given,
}

impl Ownership {
    /// Everything but the bits that would lend the rights of an owner it was not given.
    fn allowed_bits(&self) -> u32 {
        let setuid = if self.user == Given::No { SETUID } else { 0 };
        let setgid = if self.group == Given::No { SETGID } else { 0 };
        !(setuid | setgid)
    }
}

/// Gives the node to `owner`; if that is refused, at least to the group, which an
/// ordinary user may do for groups of their own.
fn put_owner(node: Node<'_>, before: &Before, owner: Owner) -> Result<Ownership> {
    let both = Ownership {
        user: Given::Yes,
        group: Given::Yes,
    };
    if before.owner == Some(owner) || attempt(node.chown(Some(owner.uid), owner.gid))? == Given::Yes
    {
        return Ok(both);
    }
    // Refused or not, what counts is whose it is now.
    let _ = attempt(node.chown(None, owner.gid))?;
    let now = stat_fd(node.fd())?;
    Ok(Ownership {
        user: given_if(now.uid == owner.uid),
        group: given_if(now.gid == owner.gid),
    })
}

/// What became of an access ACL.
enum Acl {
    /// It is on, or there was none.
    Kept,
    /// It was refused; these are the permissions it gave to the owning group, `0` to `7`.
    Refused(u32),
}

impl Acl {
    /// With the ACL gone the group bits no longer are a mask but the owning group's own.
    fn allowed_bits(&self) -> u32 {
        match self {
            Acl::Kept => MODE_BITS,
            Acl::Refused(group) => (MODE_BITS & !GROUP_BITS) | (group << 3),
        }
    }
}

/// Puts on the extended attributes, and takes away those that do not belong.
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

/// Puts on one. A file system that keeps them in one block says "no space" when that
/// block is full: only with the disk itself full is it an error.
fn put_xattr(node: Node<'_>, name: &[u8], value: &[u8]) -> Result<Given> {
    let doing = || format!("set extended attribute {}", printable(name));
    match node.set_xattr(name, value) {
        Err(Errno::NOSPC) if has_space(node.fd()) => Ok(Given::No),
        result => attempt(result).during(doing),
    }
}

/// Whether the file system has room for an ordinary user's next block.
fn has_space(fd: BorrowedFd<'_>) -> bool {
    fstatvfs(fd).is_ok_and(|usage| usage.f_bavail > 0)
}

/// Removes what was inherited or there before and is not among ours, as far as it
/// grants something or is a user's: labels of the system (SELinux) stay.
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

/// Attributes that grant rights or that users set.
fn is_ours_to_remove(name: &[u8]) -> bool {
    name == ACL_ACCESS
        || name == ACL_DEFAULT
        || name == b"security.capability"
        || name.starts_with(b"user.")
}

/// Sets the mode unless it is right already. The kernel drops setgid without a word
/// for a group we are not in, so those two bits are looked at again.
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

/// Sets the time of modification, unless that of what was there before is right already.
fn put_mtime(node: Node<'_>, before: &Before, mtime_ns: i64) -> Result<Given> {
    if before.made == Made::Existed && stat_fd(node.fd())?.mtime_ns == mtime_ns {
        return Ok(Given::Yes);
    }
    attempt(node.set_mtime(mtime_ns))
}

/// Tells a refusal, which loses one attribute, from an error, which loses the entry.
pub(super) fn attempt(result: rustix::io::Result<()>) -> Result<Given> {
    match result {
        Ok(()) => Ok(Given::Yes),
        Err(errno) if is_refusal(errno) => Ok(Given::No),
        Err(errno) => Err(errno.into()),
    }
}

/// We may not, or it cannot be done here. `NOENT` is `/proc` not being mounted.
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

/// What happened, as a [`Given`].
fn given_if(is_so: bool) -> Given {
    if is_so { Given::Yes } else { Given::No }
}

/// Whose permissions an entry of an ACL holds.
#[derive(Clone, Copy)]
enum Tag {
    Owner = 1,
    OwningGroup = 4,
    Mask = 16,
    Others = 32,
}

/// The permissions, `0` to `7`, that `acl` has for `tag`. The form is that of Linux'
/// `posix_acl_xattr.h`: a version of 4 bytes, then entries of tag, permissions and id.
fn acl_permissions(acl: &[u8], tag: Tag) -> Option<u32> {
    let entries = acl.get(4..)?.chunks_exact(8);
    let entry = entries
        .into_iter()
        .find(|entry| u16::from_le_bytes([entry[0], entry[1]]) == tag as u16)?;
    Some(u32::from(entry[2]) & 7)
}

/// The mode that a default ACL gives to what is made below it; it stands in for the umask.
pub(super) fn acl_mode(acl: &[u8]) -> u32 {
    let of = |tag| acl_permissions(acl, tag);
    let group = of(Tag::Mask).or(of(Tag::OwningGroup)).unwrap_or(0);
    of(Tag::Owner).unwrap_or(0) << 6 | group << 3 | of(Tag::Others).unwrap_or(0)
}

/// What is known of a node that was there before, from what `lstat` says of it.
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
