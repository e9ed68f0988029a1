//! Reads the bytes of a stored file piece by piece, at the pace of the caller.
//!
//! [`super::push::read`] pushes the bytes of a file to a sink. This module is the opposite: a
//! reader for callers that compare two files or insert a decoder. One chunk is in memory at a time.
//! Holes are read as zeros.
//!
//! This module must not depend on how the bytes are used.

use std::ops::Range;
use std::vec::IntoIter;

use super::push::{as_damage, check_contents};
use crate::error::{During, Error, Result};
use crate::format::entry::{Content, Entry};
use crate::format::holes::ContentLength;
use crate::kloset::blob::BlobReader;
use crate::kloset::tree::decode_list;
use crate::util::Id;

/// Iterates over the ids of the chunks of a file.
struct ChunkIds<'a> {
    blobs: &'a BlobReader<'a>,
    /// Open lists, each with the number of levels below it.
    lists: Vec<(IntoIter<Id>, u32)>,
}

impl<'a> ChunkIds<'a> {
    fn new(blobs: &'a BlobReader<'a>, content: &Content) -> ChunkIds<'a> {
        ChunkIds {
            blobs,
            lists: vec![(content.ids.clone().into_iter(), content.depth)],
        }
    }

    /// The next id; it is not consumed.
    fn peek(&mut self) -> Result<Option<Id>> {
        while let Some((ids, depth)) = self.lists.last_mut() {
            let (next, depth) = (ids.as_slice().first().copied(), *depth);
            match next {
                None => drop(self.lists.pop()),
                Some(id) if depth == 0 => return Ok(Some(id)),
                Some(list) => {
                    ids.next();
                    let below = self.blobs.with(&list, decode_list);
                    let below = below.during(|| format!("list of chunks {}", list.short()))?;
                    self.lists.push((below.into_iter(), depth - 1));
                }
            }
        }
        Ok(None)
    }

    /// Consumes the id that `peek` returned.
    fn advance(&mut self) {
        if let Some((ids, _)) = self.lists.last_mut() {
            ids.next();
        }
    }
}

/// A stored file that is read from its first byte to its last.
pub struct Contents<'a> {
    blobs: &'a BlobReader<'a>,
    entry: Entry,
    ids: ChunkIds<'a>,
    /// The current chunk, and the number of its bytes that were read.
    chunk: Vec<u8>,
    chunk_at: usize,
    /// The content bytes read so far.
    length: ContentLength,
    /// Current offset in the file.
    at: u64,
    /// The index of the current or the next hole.
    hole: usize,
    /// The error that ended reading, if any.
    trouble: Option<Error>,
}

impl<'a> Contents<'a> {
    /// # Errors
    /// [`crate::error::Kind::Failed`] if `entry` is not a regular file, or its contents were not
    /// backed up.
    pub fn new(blobs: &'a BlobReader<'a>, entry: &Entry) -> Result<Contents<'a>> {
        check_contents(entry)?;
        Ok(Contents {
            blobs,
            ids: ChunkIds::new(blobs, &entry.content),
            entry: entry.clone(),
            chunk: Vec::new(),
            chunk_at: 0,
            length: ContentLength::new(&entry.holes, entry.metadata.size_bytes),
            at: 0,
            hole: 0,
            trouble: None,
        })
    }

    /// Fills `buffer` and returns the number of bytes. Less than the whole buffer means the end of
    /// the file.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if a part of the file is lost or damaged. Every further call
    /// returns the same error, because the offset of the data after the damage is unknown.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(error) = &self.trouble {
            return Err(error.clone());
        }
        let filled = self.fill(buffer).map_err(as_damage);
        self.trouble = filled.as_ref().err().cloned();
        filled
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.step(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Skips the chunks that come next in both files, without reading them. Does nothing if the
    /// holes of the files differ.
    pub fn skip_common(&mut self, other: &mut Contents<'_>) -> Result<()> {
        if self.entry.holes != other.entry.holes || self.is_inside() || other.is_inside() {
            return Ok(());
        }
        while let (Some(one), Some(two)) = (self.peek()?, other.peek()?) {
            let length = match one == two {
                true => self.blobs.length(&one)?,
                false => None,
            };
            // A chunk that is in no pack is reported when it is read.
            let Some(length) = length else { return Ok(()) };
            self.pass(length.into())?;
            other.pass(length.into())?;
        }
        Ok(())
    }

    /// Whether the current chunk was read partially.
    fn is_inside(&self) -> bool {
        self.chunk_at < self.chunk.len()
    }

    fn peek(&mut self) -> Result<Option<Id>> {
        self.ids.peek().map_err(as_damage)
    }

    /// Skips a chunk of `length` bytes, and the holes before and inside it.
    fn pass(&mut self, length: u64) -> Result<()> {
        self.ids.advance();
        self.length.add(length)?;
        let mut left = length;
        while let Some(hole) = self.entry.holes.get(self.hole) {
            let before = hole.start.saturating_sub(self.at);
            if before > left {
                break;
            }
            left -= before;
            self.at = hole.end;
            self.hole += 1;
        }
        self.at += left;
        Ok(())
    }

    /// Reads some of the next bytes; 0 at the end.
    fn step(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let until = match self.next_hole() {
            Some(hole) if self.at >= hole.start => return Ok(self.zeros(buffer, hole.end)),
            Some(hole) => hole.start,
            // Content after a hole at the end has no position in the file.
            None if self.ends_in_hole() => {
                // Any further chunk is an error.
                self.next_chunk()?;
                self.length.end()?;
                return Ok(0);
            }
            None => u64::MAX,
        };
        while !self.is_inside() {
            if !self.next_chunk()? {
                self.length.end()?;
                return Ok(self.zeros(buffer, until.min(self.entry.metadata.size_bytes)));
            }
        }
        let rest = &self.chunk[self.chunk_at..];
        let room = usize::try_from(until - self.at).unwrap_or(usize::MAX);
        let count = rest.len().min(buffer.len()).min(room);
        buffer[..count].copy_from_slice(&rest[..count]);
        self.chunk_at += count;
        self.at += count as u64;
        Ok(count)
    }

    /// The current or the next hole.
    fn next_hole(&mut self) -> Option<Range<u64>> {
        while self
            .entry
            .holes
            .get(self.hole)
            .is_some_and(|hole| hole.end <= self.at)
        {
            self.hole += 1;
        }
        self.entry.holes.get(self.hole).cloned()
    }

    /// Whether the file ends with a hole.
    fn ends_in_hole(&self) -> bool {
        let last = self.entry.holes.last();
        last.is_some_and(|hole| hole.end >= self.entry.metadata.size_bytes)
    }

    /// Fills `buffer` with zeros, up to the file offset `until`.
    fn zeros(&mut self, buffer: &mut [u8], until: u64) -> usize {
        let length = until.saturating_sub(self.at);
        let count = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[..count].fill(0);
        self.at += count as u64;
        count
    }

    /// Reads the next chunk. Returns false if there is none.
    fn next_chunk(&mut self) -> Result<bool> {
        let Some(id) = self.ids.peek()? else {
            return Ok(false);
        };
        self.ids.advance();
        self.chunk.clear();
        self.chunk_at = 0;
        self.blobs.append(&id, &mut self.chunk)?;
        self.length.add(self.chunk.len() as u64)?;
        Ok(true)
    }
}
