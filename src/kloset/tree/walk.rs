//! Walking a stored tree, entry by entry, in the order of names and parents first.
//!
//! The directories we are in are a stack of readers, each with one chunk of its tree,
//! so neither a long directory nor a deep one is ever held whole. A damaged chunk, or entry, is
//! one error, and the walk continues after it. No directory is entered that exceeds the totals of its
//! parent ([`super::Tally`]), so the totals of the first one bound the walk.

use super::{DEPTH_LIMIT, TreeReader};
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::kloset::blob::BlobReader;

/// How far a walk goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only what is in the directory itself.
    Children,
    /// Everything below.
    All,
}

/// A walk below one directory.
pub struct TreeWalk<'a> {
    blobs: &'a BlobReader<'a>,
    reach: Reach,
    /// Of the entry that came last.
    path: Vec<u8>,
    /// Open directories, and how much of `path` is theirs.
    open: Vec<(TreeReader<'a>, usize)>,
}

impl<'a> TreeWalk<'a> {
    /// A walk below the directory `entry`, which is at the absolute `path`.
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

    /// Where the entry that came last is, or the directory in which an error was met.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The next entry.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] for a part of a tree that is lost or damaged: call again for what
    /// follows it. Any other kind ends the walk.
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

    /// Notes where `entry` is, and opens it if we are to go on below it.
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

/// What a tree needs and cannot be read is damage, not a name that does not exist, nor a
/// reason to leave out what follows.
fn as_damage(error: Error) -> Error {
    match error.is_of_one_object() {
        true => Error::corrupt(error.to_string()),
        false => error,
    }
}
