//! The bytes of a stored file, for whoever asks for them piece by piece.
//!
//! [`super::reader::read`] hands a file's bytes to somebody who takes them as they come;
//! this is the other way round, for whoever reads two files side by side or puts a
//! decoder in between. One chunk is in memory at a time. Holes come as zeros.
//!
//! It must not know what the bytes are for.

use std::ops::Range;
use std::vec::IntoIter;

use super::reader::{as_damage, check_contents};
use crate::error::{During, Error, Result};
use crate::format::entry::{Content, Entry};
use crate::format::holes::ContentLength;
use crate::kloset::blob::BlobReader;
use crate::kloset::tree::decode_list;
use crate::util::Id;

/// The ids of the chunks of a file, one by one.
struct ChunkIds<'a> {
    blobs: &'a BlobReader<'a>,
    /// Lists we are in, each with the number of levels below it.
    lists: Vec<(IntoIter<Id>, u32)>,
}

impl<'a> ChunkIds<'a> {
    fn new(blobs: &'a BlobReader<'a>, content: &Content) -> ChunkIds<'a> {
        ChunkIds {
            blobs,
            lists: vec![(content.ids.clone().into_iter(), content.depth)],
        }
    }

    /// The next id, which stays where it is.
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

    /// Goes on to the id after the one that was peeked at.
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
    /// The chunk we are in, and how much of it was read.
    chunk: Vec<u8>,
    chunk_at: usize,
    /// How much content came by.
    length: ContentLength,
    /// Where in the file we are.
    at: u64,
    /// The hole we are in, or before.
    hole: usize,
    /// Why there is no more, if something went wrong.
    trouble: Option<Error>,
}

impl<'a> Contents<'a> {
    /// # Errors
    /// [`crate::error::Kind::Failed`] for what is no file, or was not read when it was backed up.
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

    /// Fills as much of `buffer` as there are bytes left; less than all of it means the end.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when a part is lost or damaged, and again at every further call:
    /// there is no telling where what follows would belong.
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

    /// Passes over the chunks that come next in both files, without reading them. Only of
    /// files whose holes are the same.
    pub fn skip_common(&mut self, other: &mut Contents<'_>) -> Result<()> {
        if self.entry.holes != other.entry.holes || self.is_inside() || other.is_inside() {
            return Ok(());
        }
        while let (Some(one), Some(two)) = (self.peek()?, other.peek()?) {
            let length = match one == two {
                true => self.blobs.length(&one)?,
                false => None,
            };
            // What is in no pack is for whoever reads it to find out.
            let Some(length) = length else { return Ok(()) };
            self.pass(length.into())?;
            other.pass(length.into())?;
        }
        Ok(())
    }

    /// Whether a part of a chunk was read and a part was not.
    fn is_inside(&self) -> bool {
        self.chunk_at < self.chunk.len()
    }

    fn peek(&mut self) -> Result<Option<Id>> {
        self.ids.peek().map_err(as_damage)
    }

    /// Goes on by a chunk of `length` bytes, and the holes in and before it.
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

    /// Some of what comes next; nothing at the end.
    fn step(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let until = match self.next_hole() {
            Some(hole) if self.at >= hole.start => return Ok(self.zeros(buffer, hole.end)),
            Some(hole) => hole.start,
            // What is stored beyond a hole at the end has no place.
            None if self.ends_in_hole() => {
                // Any further chunk is one too many.
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

    /// The hole we are in, or the one that comes next.
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

    /// Whether the last bytes of the file are those of a hole.
    fn ends_in_hole(&self) -> bool {
        let last = self.entry.holes.last();
        last.is_some_and(|hole| hole.end >= self.entry.metadata.size_bytes)
    }

    /// Writes the zeros that lie before `until`, as far as they fit.
    fn zeros(&mut self, buffer: &mut [u8], until: u64) -> usize {
        let length = until.saturating_sub(self.at);
        let count = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[..count].fill(0);
        self.at += count as u64;
        count
    }

    /// Reads the next chunk, unless there is none.
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
