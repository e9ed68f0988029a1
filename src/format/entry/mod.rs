//! An entry: one file, directory, link or device, with everything recorded of it.
//!
//! A CBOR map with small integers as keys (drawn in kloset(5)). What has its usual
//! value is left out: a file with one name, no flags and no attributes takes about
//! a hundred bytes, a third of it the id of its chunk.
//!
//! Inode numbers, times of change and the like are kept since they tell an unchanged
//! file from a changed one. The number of the file system is kept for files with
//! several names only: it may differ after each boot, and would then make every tree new.

mod wire;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::util::Id;
use crate::util::file::{Details, FileKind, Metadata};
use crate::util::human::shorten;

use crate::util::printable::printable;

/// The longest name of an entry, in bytes. Linux allows 255, some file systems 1,024.
pub const NAME_LIMIT_BYTES: usize = 4096;
/// Longest error that is recorded with an entry, in bytes.
const PROBLEM_LIMIT_BYTES: usize = 1024;

/// Where the bytes of a file are.
///
/// At depth 0 the ids are those of its chunks, in order. A long list of ids is itself cut
/// into chunks, each holding whole ids one after the other, and at depth 1 the ids are
/// those of these chunks; and so on, a level deeper for as long as the list is long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Ids, in order.
    pub ids: Vec<Id>,
    /// How many levels of lists lie between them and the chunks of the file.
    pub depth: u32,
}

/// What lies below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Everything that is not a directory.
    pub files: u64,
    /// Directories, the one itself not counted.
    pub directories: u64,
    /// Sizes of files.
    pub bytes: u64,
}

impl Totals {
    /// Whether there is no more of anything than in `other`.
    pub fn fits(&self, other: Totals) -> bool {
        self.files <= other.files
            && self.directories <= other.directories
            && self.bytes <= other.bytes
    }

    /// Counts `other` in.
    pub fn add(&mut self, other: Totals) {
        self.files = self.files.saturating_add(other.files);
        self.directories = self.directories.saturating_add(other.directories);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// One name in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Raw bytes, without `/`; empty for the root alone.
    pub name: Vec<u8>,
    /// What `lstat` told.
    pub metadata: Metadata,
    /// Name of the owner, where it was known.
    pub user: Option<Arc<str>>,
    /// Name of the group, where it was known.
    pub group: Option<Arc<str>>,
    /// Extended attributes, inode flags, target of a link.
    pub details: Details,
    /// Runs of a file that are holes, in order; its content is the rest.
    pub holes: Vec<Range<u64>>,
    /// The bytes of a file.
    pub content: Content,
    /// Where the tree of a directory is.
    pub tree: Content,
    /// What lies below a directory.
    pub below: Totals,
    /// Whether the file changed while it was read, so that its contents may be mixed.
    pub changed: bool,
    /// Why the contents are missing, if they are.
    pub problem: Option<String>,
    /// Whether it has extended attributes or flags that are not here: left out, too many, or
    /// not to be read.
    pub details_missing: bool,
    /// Whether a file changed so shortly before it was read that a later change might not show.
    pub recent: bool,
}

impl Entry {
    /// An entry of which nothing is known but this.
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

    /// Whether its contents are there, and from one moment.
    pub fn is_whole(&self) -> bool {
        !self.changed && self.problem.is_none()
    }

    /// What it adds to the totals of the directory it is in.
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

    /// Records why the contents are not what they should be.
    pub fn set_problem(&mut self, problem: &str) {
        self.problem = Some(shorten(problem, PROBLEM_LIMIT_BYTES).to_owned());
    }
}

/// # Errors
/// [`Kind::Corrupt`] for a name that could lead anywhere else than into its directory.
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
