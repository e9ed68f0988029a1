//! An entry: one file, directory, link or device with all its recorded metadata.
//!
//! An entry is encoded as a CBOR map with small integers as keys; kloset(5) shows it. Default
//! values are omitted: a file with one name, no flags and no attributes needs about a hundred
//! bytes, a third of which is the id of its chunk.
//!
//! Inode numbers, change times and similar fields are recorded because they distinguish an
//! unchanged file from a changed one. The device number is recorded only for files with several
//! names: it can change at every boot, and would then change every tree.

mod wire;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::util::Id;
use crate::util::file::{Details, FileKind, Metadata};
use crate::util::human::shorten;

use crate::util::printable::printable;

/// Maximum length of a name, in bytes. Linux permits 255, some file systems 1,024.
pub const NAME_LIMIT_BYTES: usize = 4096;
/// Maximum length of an error that is recorded in an entry, in bytes.
const PROBLEM_LIMIT_BYTES: usize = 1024;

/// The location of the contents of a file.
///
/// At depth 0, the ids are those of its chunks, in order. A long list of ids is itself split into
/// chunks, each of which contains whole ids. At depth 1, the ids are those of the chunks of this
/// list, and so on: each level adds 1 to the depth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The ids, in order.
    pub ids: Vec<Id>,
    /// Number of levels of lists between these ids and the chunks of the file.
    pub depth: u32,
}

/// The totals of everything below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of entries that are not directories.
    pub files: u64,
    /// Number of directories, without this one.
    pub directories: u64,
    /// Sum of the sizes of the regular files.
    pub bytes: u64,
}

impl Totals {
    /// Whether no total exceeds that of `other`.
    pub fn fits(&self, other: Totals) -> bool {
        self.files <= other.files
            && self.directories <= other.directories
            && self.bytes <= other.bytes
    }

    /// Adds `other`. The totals saturate.
    pub fn add(&mut self, other: Totals) {
        self.files = self.files.saturating_add(other.files);
        self.directories = self.directories.saturating_add(other.directories);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// One name in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Raw bytes, without `/`. Empty only for the root.
    pub name: Vec<u8>,
    /// The result of `lstat`.
    pub metadata: Metadata,
    /// Name of the owner, if known.
    pub user: Option<Arc<str>>,
    /// Name of the group, if known.
    pub group: Option<Arc<str>>,
    /// Extended attributes, inode flags, and the target of a link.
    pub details: Details,
    /// The holes of a file, in order. Its content is the rest.
    pub holes: Vec<Range<u64>>,
    /// The contents of a file.
    pub content: Content,
    /// The tree of a directory.
    pub tree: Content,
    /// The totals of everything below a directory.
    pub below: Totals,
    /// Set if the file changed while it was read, so that its contents may be inconsistent.
    pub changed: bool,
    /// Why the contents are missing, if they are.
    pub problem: Option<String>,
    /// Set if the file has extended attributes or flags that are not recorded here, because they
    /// were excluded, too many, or unreadable.
    pub details_missing: bool,
    /// Set if the file changed so shortly before it was read that a later change may not be
    /// detected.
    pub recent: bool,
}

impl Entry {
    /// Creates an entry with only a name and metadata.
    pub fn new(name: Vec<u8>, metadata: Metadata) -> Entry {
        Entry {
            name,
            metadata,
            ..Entry::default()
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.metadata.kind == FileKind::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.metadata.kind == FileKind::File
    }

    /// Whether the contents are complete and consistent.
    pub fn is_whole(&self) -> bool {
        !self.changed && self.problem.is_none()
    }

    /// The totals that this entry adds to its directory.
    pub fn totals(&self) -> Totals {
        let mut totals = self.below;
        match self.is_dir() {
            true => totals.directories = totals.directories.saturating_add(1),
            false => {
                totals.files = totals.files.saturating_add(1);
                totals.bytes = totals.bytes.saturating_add(if self.is_file() {
                    self.metadata.size_bytes
                } else {
                    0
                });
            }
        }
        totals
    }

    /// Records why the contents are missing or wrong, truncated to the length limit.
    pub fn set_problem(&mut self, problem: &str) {
        self.problem = Some(shorten(problem, PROBLEM_LIMIT_BYTES).to_owned());
    }
}

/// # Errors
/// [`Kind::Corrupt`] for a name that could refer to something outside its directory.
pub fn check_name(name: &[u8]) -> Result<()> {
    let hostile = name.is_empty()
        || name == b"."
        || name == b".."
        || name.len() > NAME_LIMIT_BYTES
        || name.iter().any(|byte| matches!(byte, b'/' | 0));
    match hostile {
        true => Err(Error::new(
            Kind::Corrupt,
            format!("impossible name \"{}\"", printable(name)),
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            &b""[..],
            b".",
            b"..",
            b"a/b",
            b"/",
            b"a\0",
            &[b'a'; NAME_LIMIT_BYTES + 1],
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
