//! Walks a stored tree entry by entry, in the order of names, parents first.
//!
//! The open directories are a stack of readers. Each reader holds one chunk of its tree, so neither
//! a large directory nor a deep one is ever in memory as a whole. A damaged chunk or entry is one
//! error, and the walk continues after it. A directory that exceeds the totals of its parent is not
//! entered ([`super::Tally`]), so the totals of the first directory bound the walk.

use super::{DEPTH_LIMIT, TreeReader};
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::kloset::blob::BlobReader;

/// The depth of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only the entries of the directory itself.
    Children,
    /// All entries below the directory.
    All,
}

/// A walk below one directory.
pub struct TreeWalk<'a> {
    blobs: &'a BlobReader<'a>,
    reach: Reach,
    /// The path of the last entry.
    path: Vec<u8>,
    /// Open directories, each with the length of its path in `path`.
    open: Vec<(TreeReader<'a>, usize)>,
}

impl<'a> TreeWalk<'a> {
    /// Creates a walk below the directory `entry`, which has the absolute path `path`.
    pub fn new(
        blobs: &'a BlobReader<'a>,
        path: &[u8],
        entry: &Entry,
        reach: Reach,
    ) -> TreeWalk<'a> {
        let path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
        let open = vec![(TreeReader::new(blobs, entry), path.len())];
        TreeWalk {
            blobs,
            reach,
            path,
            open,
        }
    }

    /// The path of the last entry, or of the directory in which an error occurred.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] for a lost or damaged part of a tree; the next call returns
    /// the entry after it. An error of any other kind ends the walk.
    pub fn try_next(&mut self) -> Result<Option<Entry>> {
        while let Some((reader, path_bytes)) = self.open.last_mut() {
            self.path.truncate(*path_bytes);
            match reader.try_next().map_err(as_damage)? {
                Some(entry) => return self.arrive(entry).map(Some),
                None => drop(self.open.pop()),
            }
        }
        Ok(None)
    }

    /// Records the path of `entry`. Opens it if it is a directory and the walk includes everything
    /// below.
    fn arrive(&mut self, entry: Entry) -> Result<Entry> {
        self.path.push(b'/');
        self.path.extend_from_slice(&entry.name);
        if self.reach == Reach::All && entry.is_dir() {
            if self.open.len() >= DEPTH_LIMIT {
                return Err(Error::corrupt(format!(
                    "more than {DEPTH_LIMIT} directories deep"
                )));
            }
            let reader = TreeReader::new(self.blobs, &entry);
            self.open.push((reader, self.path.len()));
        }
        Ok(entry)
    }
}

/// Converts errors of unreadable parts of a tree. A missing chunk is damage, not a path that does
/// not exist, and must not prevent reading the rest.
fn as_damage(error: Error) -> Error {
    match error.is_of_one_object() {
        true => Error::corrupt(error.to_string()),
        false => error,
    }
}
