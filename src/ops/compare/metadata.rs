//! Compares the metadata of files.

use std::sync::Arc;

use super::side::Node;
use crate::connector::{Details, FileKind};
use crate::error::Result;
use crate::format::entry::Entry;

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The numeric id.
    pub id: u32,
    /// The name, if it is known.
    pub name: Option<Arc<str>>,
}

impl Owner {
    /// Whether both have the same id, and the same name if both names are known.
    fn is(&self, other: &Owner) -> bool {
        let names = self.name.as_ref().zip(other.name.as_ref());
        self.id == other.id && names.is_none_or(|(one, other)| one == other)
    }
}

/// How an extended attribute changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// Only the second node has it.
    Added,
    /// Only the first node has it.
    Removed,
    /// The values differ.
    Changed,
}

/// One difference: the value in the first node, and the value in the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Permission bits.
    Mode(u32, u32),
    /// The owning user.
    User(Owner, Owner),
    /// The owning group.
    Group(Owner, Owner),
    /// Modification time, in nanoseconds since 1970.
    Mtime(i64, i64),
    /// Target of a symbolic link.
    Target(Vec<u8>, Vec<u8>),
    /// Device number of a device node.
    Device(u64, u64),
    /// Inode flags.
    Flags(u32, u32),
    /// The extended attribute with this name.
    Xattr(Vec<u8>, Became),
}

/// Compares the metadata that `lstat` provides.
pub(super) fn of_metadata(a: &Entry, b: &Entry) -> Vec<Change> {
    let (one, two) = (&a.metadata, &b.metadata);
    let mut changes = Vec::new();
    if one.mode != two.mode {
        changes.push(Change::Mode(one.mode, two.mode));
    }
    let users = [(one.uid, &a.user), (two.uid, &b.user)].map(owner);
    if let [old, new] = users
        && !old.is(&new)
    {
        changes.push(Change::User(old, new));
    }
    let groups = [(one.gid, &a.group), (two.gid, &b.group)].map(owner);
    if let [old, new] = groups
        && !old.is(&new)
    {
        changes.push(Change::Group(old, new));
    }
    if one.mtime_ns != two.mtime_ns {
        changes.push(Change::Mtime(one.mtime_ns, two.mtime_ns));
    }
    if one.rdev != two.rdev {
        changes.push(Change::Device(one.rdev, two.rdev));
    }
    changes
}

fn owner((id, name): (u32, &Option<Arc<str>>)) -> Owner {
    Owner {
        id,
        name: name.clone(),
    }
}

/// Compares link targets, and attributes and flags if both sides know them.
pub(super) fn of_details(a: &Node<'_>, b: &Node<'_>) -> Result<Vec<Change>> {
    let is_link = a.entry.metadata.kind == FileKind::Symlink;
    let are_known = a.has_attributes() && b.has_attributes();
    let mut changes = Vec::new();
    if !is_link && !are_known {
        return Ok(changes);
    }
    let (old, new) = (a.details()?, b.details()?);
    if is_link && old.target != new.target {
        changes.push(Change::Target(old.target.clone(), new.target.clone()));
    }
    if are_known && old.flags != new.flags {
        changes.push(Change::Flags(old.flags, new.flags));
    }
    if are_known {
        changes.extend(of_xattrs(&old, &new));
    }
    Ok(changes)
}

/// Every attribute that differs: those of the first node before those that only the second has.
fn of_xattrs(old: &Details, new: &Details) -> Vec<Change> {
    let find = |details: &Details, name: &[u8]| {
        let found = details.xattrs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let mut changes = Vec::new();
    for (name, value) in &old.xattrs {
        match find(new, name) {
            None => changes.push(Change::Xattr(name.clone(), Became::Removed)),
            Some(other) if other != *value => {
                changes.push(Change::Xattr(name.clone(), Became::Changed));
            }
            Some(_) => {}
        }
    }
    for (name, _) in &new.xattrs {
        if find(old, name).is_none() {
            changes.push(Change::Xattr(name.clone(), Became::Added));
        }
    }
    changes
}

/// The changes without the modification time, for nodes in which a different time is expected.
pub(super) fn without_mtime(mut changes: Vec<Change>) -> Vec<Change> {
    changes.retain(|change| !matches!(change, Change::Mtime(..)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_the_same_only_in_number_and_name() {
        let owner = |id, name: Option<&str>| Owner {
            id,
            name: name.map(Arc::from),
        };
        assert!(owner(1, Some("a")).is(&owner(1, None)));
        assert!(!owner(1, Some("a")).is(&owner(1, Some("b"))));
        assert!(!owner(1, Some("a")).is(&owner(2, Some("a"))));
    }

    #[test]
    fn attributes_come_go_and_change() {
        let details = |xattrs: &[(&str, &str)]| Details {
            xattrs: xattrs
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
            ..Details::default()
        };
        let changes = of_xattrs(
            &details(&[("a", "1"), ("b", "1"), ("c", "1")]),
            &details(&[("b", "2"), ("c", "1"), ("d", "1")]),
        );
        let expected = [
            Change::Xattr(b"a".to_vec(), Became::Removed),
            Change::Xattr(b"b".to_vec(), Became::Changed),
            Change::Xattr(b"d".to_vec(), Became::Added),
        ];
        assert_eq!(changes, expected);
    }
}
