//! Enumerates every chunk that a directory references at any depth: chunks of trees and lists as well
//! as those of files.
//!
//! Each tree is usually read once ([`Followed`]), so several snapshots that have much in common cost
//! little more than one of them.

use std::vec::IntoIter;

use super::course::{Stop, lost};
use crate::error::{During, Error};
use crate::format::entry::{Content, Entry};
use crate::format::holes::ContentLength;
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::progress::{Counters, add};
use crate::kloset::tree::{self, DEPTH_LIMIT, Role, Tally, each_reference};
use crate::kloset::visited::Followed;
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Callback for each chunk: takes the kind of pack that the chunk belongs in, and returns the length
/// of the chunk.
pub(super) type Take<'a> = &'a mut dyn FnMut(Id, PackKind) -> Result<u32, Stop>;

/// Walks the trees of one store.
pub(super) struct Below<'a> {
    pub(super) blobs: BlobReader<'a>,
    /// Tree chunks that were read, with everything below them.
    followed: Followed,
    counters: Option<&'a Counters>,
    interrupt: Interrupt,
}

/// Chunks and entries of one directory that are still to be processed.
struct Frame {
    path_bytes: usize,
    chunks: IntoIter<Id>,
    entries: IntoIter<Entry>,
    tally: Tally,
}

impl<'a> Below<'a> {
    /// Creates a walk in `kloset` with a cache of `limit_bytes` for decoded tree blocks. Files are
    /// counted in `counters`, if given.
    pub(super) fn new(
        kloset: &'a Kloset,
        limit_bytes: usize,
        counters: Option<&'a Counters>,
        interrupt: Interrupt,
    ) -> Result<Below<'a>, Error> {
        Ok(Below {
            blobs: BlobReader::new(kloset, limit_bytes)?,
            followed: Followed::new(),
            counters,
            interrupt,
        })
    }

    /// Forgets which chunks were followed, because something below one of them turned out to be
    /// missing.
    pub(super) fn clear(&mut self) {
        self.followed.clear();
    }

    /// Calls `take` with every chunk that the directory `root` references. Directories can be nested
    /// deeper than the stack of a thread allows, so the open directories are on an explicit stack.
    pub(super) fn each(&mut self, root: &Entry, take: Take<'_>) -> Result<(), Stop> {
        let mut path = Vec::new();
        let mut open = vec![self.enter(root, 0, take)?];
        while let Some(frame) = open.last_mut() {
            path.truncate(frame.path_bytes);
            let Some(entry) = frame.entries.next() else {
                if !self.next_chunk(frame).map_err(|stop| stop.at(&path))? {
                    open.pop();
                }
                continue;
            };
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            let counted = frame.tally.count(&entry).map_err(lost);
            counted.map_err(|stop| stop.at(&path))?;
            if !entry.is_dir() {
                self.file(&entry, take).map_err(|stop| stop.at(&path))?;
            } else if open.len() >= DEPTH_LIMIT {
                return Err(Stop::Lost(too_deep()).at(&path));
            } else {
                let below = self.enter(&entry, path.len(), take);
                open.push(below.map_err(|stop| stop.at(&path))?);
            }
        }
        Ok(())
    }

    /// Takes the chunks of which the tree at `content` consists, and returns those to follow.
    fn enter(&self, directory: &Entry, path_bytes: usize, take: Take<'_>) -> Result<Frame, Stop> {
        let mut chunks = Vec::new();
        self.references(&directory.tree, &mut |chunk, role| {
            take(chunk, PackKind::Tree)?;
            if role == Role::Part {
                chunks.push(chunk);
            }
            match chunks.len() <= tree::TREE_CHUNKS_LIMIT {
                true => Ok(()),
                false => Err(Stop::Lost(Error::corrupt("a tree of too many chunks"))),
            }
        })?;
        Ok(Frame {
            path_bytes,
            chunks: chunks.into_iter(),
            entries: Vec::new().into_iter(),
            tally: Tally::new(directory.below),
        })
    }

    /// Reads the next chunk of the directory that was not followed yet. Returns `false` if there is
    /// none.
    fn next_chunk(&mut self, frame: &mut Frame) -> Result<bool, Stop> {
        self.interrupt.check()?;
        let followed = &mut self.followed;
        let Some(chunk) = frame.chunks.find(|chunk| !followed.note(chunk)) else {
            return Ok(false);
        };
        let entries = self.blobs.with(&chunk, tree::decode_all);
        let entries = entries.during(|| format!("tree {}", chunk.short()));
        frame.entries = entries.map_err(lost)?.into_iter();
        Ok(true)
    }

    /// Takes the chunks of a file, up to the size of the file: a malicious list could expand to more
    /// chunks than could ever be processed.
    pub(super) fn file(&self, entry: &Entry, take: Take<'_>) -> Result<(), Stop> {
        let mut content = ContentLength::new(&entry.holes, entry.metadata.size_bytes);
        self.references(&entry.content, &mut |chunk, role| {
            self.interrupt.check()?;
            if role == Role::List {
                return take(chunk, PackKind::Tree).map(drop);
            }
            let length = take(chunk, PackKind::Data)?;
            content.add(length.into()).map_err(Stop::Lost)
        })?;
        if let Some(counters) = self.counters {
            add(&counters.files, 1);
            add(&counters.bytes, entry.totals().bytes);
        }
        Ok(())
    }

    /// Calls `each` with every chunk of `content`. Distinguishes an error of `each` from an error of
    /// reading lists.
    fn references(
        &self,
        content: &Content,
        each: &mut dyn FnMut(Id, Role) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut stop = None;
        let walked = each_reference(&self.blobs, content, &mut |chunk, role| {
            each(chunk, role).map_err(|why| {
                stop = Some(why);
                Error::corrupt("stopped")
            })
        });
        match stop {
            Some(stop) => Err(stop),
            None => walked.map_err(lost),
        }
    }
}

/// The error for a tree nested deeper than any writer nests it.
pub(super) fn too_deep() -> Error {
    Error::corrupt(format!("more than {DEPTH_LIMIT} directories deep"))
}
