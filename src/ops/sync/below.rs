//! Every chunk that a directory needs, whatever its depth: those of trees and of lists as well as
//! those of files.
//!
//! Each tree is read once, mostly ([`Followed`]), so snapshots that have much in common cost
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

/// Whoever takes the chunks: told what kind of pack one belongs in, says how long it is.
pub(super) type Take<'a> = &'a mut dyn FnMut(Id, PackKind) -> Result<u32, Stop>;

/// Walks what is below directories of one store.
pub(super) struct Below<'a> {
    pub(super) blobs: BlobReader<'a>,
    /// Chunks of trees below which everything was taken.
    followed: Followed,
    counters: Option<&'a Counters>,
    interrupt: Interrupt,
}

/// Chunks and entries of one directory that are still to come.
struct Frame {
    path_bytes: usize,
    chunks: IntoIter<Id>,
    entries: IntoIter<Entry>,
    tally: Tally,
}

impl<'a> Below<'a> {
    /// A walk in `kloset` that keeps up to `limit_bytes` of decoded blocks of trees. Files are counted in
    /// `counters`, if there are any.
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

    /// Forgets what was followed: something below it turned out to be missing.
    pub(super) fn clear(&mut self) {
        self.followed.clear();
    }

    /// Calls `take` with every chunk that the directory `root` needs. Directories lie deeper in
    /// each other than a thread's stack would bear, so those we are in are on one of our own.
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

    /// Takes the chunks that the tree of `directory` consists of, and returns those that are to
    /// be followed.
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

    /// Goes on to the next chunk of the directory that was not followed. False if there is none.
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

    /// Takes the chunks of a file: no more than it is long, since lists can be made to stand
    /// for more than could ever be taken.
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

    /// Calls `each` with every chunk of `content`, and tells what stopped it from what stopped
    /// the reading of lists.
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

/// The error of a tree that no machine made.
pub(super) fn too_deep() -> Error {
    Error::corrupt(format!("more than {DEPTH_LIMIT} directories deep"))
}
