//! Rebuilds trees without the lost items.
//!
//! Every directory is written again, entry by entry. One that lost nothing results in the same chunks
//! that already exist, and they are not stored again.

use std::vec::IntoIter;

use crate::error::{Error, Kind, Result};
use crate::format::entry::{Content, Entry, Totals};
use crate::format::holes::ContentLength;
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::blob::{BlobReader, Packer};
use crate::kloset::failures::Failures;
use crate::kloset::index::Index;
use crate::kloset::pipeline::Trouble;
use crate::kloset::progress::{Counters, Event, Observer};
use crate::kloset::snapshot::Failure;
use crate::kloset::tree::{self, DEPTH_LIMIT, Tally, TreeWriter, chunk_ids, each_chunk};
use crate::kloset::write_session::write_session;
use crate::util::Id;
use crate::util::interrupt::Interrupt;

/// Size of the cache of decoded tree blocks.
const CACHE_BYTES: usize = 8 << 20;

/// Number of lost items, and the first of them.
pub(super) type Lost = (u64, Vec<Failure>);

/// Rebuilds the trees of one snapshot.
pub(super) struct Rebuild<'a> {
    to: &'a Kloset,
    good: &'a Index,
    blobs: BlobReader<'a>,
    interrupt: &'a Interrupt,
}

/// An open directory.
struct Frame {
    path_bytes: usize,
    /// The directory, without the entries below it.
    entry: Entry,
    tree: TreeWriter,
    /// Chunks of the old tree that are still to be read.
    chunks: IntoIter<Id>,
    entries: IntoIter<Entry>,
    /// The tally of the old tree.
    tally: Tally,
}

/// The check has reported every loss, so they are only recorded here.
#[derive(Default)]
struct Silent(Counters);

impl Observer for Silent {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _: &Event<'_>) {}
}

impl<'a> Rebuild<'a> {
    /// Reads from `from`, and writes to `to`, which is the same store with unreliable data hidden.
    pub(super) fn new(
        from: &'a Kloset,
        to: &'a Kloset,
        good: &'a Index,
        interrupt: &'a Interrupt,
    ) -> Result<Rebuild<'a>> {
        Ok(Rebuild {
            to,
            good,
            blobs: BlobReader::of_store(from, CACHE_BYTES)?,
            interrupt,
        })
    }

    /// Writes all good data below `root`, and returns the new root and the lost items.
    pub(super) fn run(&self, root: &Entry) -> Result<(Entry, Lost)> {
        let silent = Silent::default();
        let lost = Failures::new(&silent);
        let trouble = Trouble::new(self.interrupt.clone());
        let level = self.to.config().compression;
        let rebuilt = write_session(self.to, level, 1, &trouble, |session| {
            let packer = session.packer(PackKind::Tree);
            trouble.note(packer.and_then(|mut packer| {
                let rebuilt = self.directory(root, &mut packer, &lost)?;
                packer.flush()?;
                Ok(rebuilt)
            }))
        })?;
        trouble.outcome()?;
        let rebuilt = rebuilt.expect("without trouble there is an outcome");
        Ok((rebuilt, lost.into_list()))
    }

    /// Writes a directory and everything below it. Directories can be nested deeper than the stack of
    /// a thread allows, so the open directories are on an explicit stack.
    fn directory(
        &self,
        root: &Entry,
        packer: &mut Packer<'_>,
        lost: &Failures<'_>,
    ) -> Result<Entry> {
        let mut path = Vec::new();
        let mut open = vec![self.enter(root.clone(), &path, lost)?];
        while let Some(frame) = open.last_mut() {
            self.interrupt.check()?;
            path.truncate(frame.path_bytes);
            if let Some(entry) = frame.entries.next() {
                path.push(b'/');
                path.extend_from_slice(&entry.name);
                if !entry.is_dir() {
                    if let Some(()) = note(self.is_whole(&entry), &path, lost)? {
                        frame.add(&entry, packer, self.to)?;
                    }
                } else if open.len() < DEPTH_LIMIT {
                    open.push(self.enter(entry, &path, lost)?);
                } else {
                    lost.add(&path, &Error::corrupt("too deep"));
                }
            } else if !self.next_chunk(frame, &path, lost)? {
                let Some(Frame {
                    mut entry, tree, ..
                }) = open.pop()
                else {
                    break;
                };
                entry.tree = tree.finish(packer, self.to)?;
                match open.last_mut() {
                    Some(parent) => parent.add(&entry, packer, self.to)?,
                    None => return Ok(entry),
                }
            }
        }
        let mistake = "a tree without a root: a mistake in this program";
        Err(Error::new(Kind::Failed, mistake))
    }

    /// Enters a directory. Unreadable parts of its tree are recorded as lost.
    fn enter(&self, entry: Entry, path: &[u8], lost: &Failures<'_>) -> Result<Frame> {
        let chunks = note(chunk_ids(&self.blobs, &entry.tree), path, lost)?;
        let tally = Tally::new(entry.below);
        Ok(Frame {
            path_bytes: path.len(),
            entry: Entry {
                tree: Content::default(),
                below: Totals::default(),
                ..entry
            },
            tree: TreeWriter::default(),
            chunks: chunks.unwrap_or_default().into_iter(),
            entries: Vec::new().into_iter(),
            tally,
        })
    }

    /// Reads the next chunk of the old tree of `frame`. Returns `false` if there is none.
    fn next_chunk(&self, frame: &mut Frame, path: &[u8], lost: &Failures<'_>) -> Result<bool> {
        let Some(chunk) = frame.chunks.next() else {
            return Ok(false);
        };
        let read = self.blobs.with(&chunk, |chunk| Ok(tree::decode(chunk)));
        let mut good = Vec::new();
        for entry in note(read, path, lost)?.unwrap_or_default() {
            let counted = entry.and_then(|entry| frame.tally.count(&entry).map(|()| entry));
            good.extend(note(counted, path, lost)?);
        }
        frame.entries = good.into_iter();
        Ok(true)
    }

    /// # Errors
    /// [`crate::error::Kind::Corrupt`] unless all chunks of the file are good and their total length
    /// is that of the file.
    fn is_whole(&self, entry: &Entry) -> Result<()> {
        let mut length = ContentLength::new(&entry.holes, entry.metadata.size_bytes);
        each_chunk(&self.blobs, &entry.content, &mut |chunk| {
            let missing = || Error::corrupt(format!("chunk {} is lost", chunk.short()));
            let found = self.good.lookup(&chunk)?.ok_or_else(missing)?;
            length.add(found.place.length.into())
        })?;
        match entry.is_file() && entry.problem.is_none() {
            true => length.end(),
            false => Ok(()),
        }
    }
}

impl Frame {
    fn add(&mut self, entry: &Entry, packer: &mut Packer<'_>, to: &Kloset) -> Result<()> {
        self.entry.below.add(entry.totals());
        self.tree.push(entry, packer, to)
    }
}

/// The value, or `None` if the item at `path` is lost; then records the loss.
fn note<T>(result: Result<T>, path: &[u8], lost: &Failures<'_>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_of_one_object() => {
            lost.add(if path.is_empty() { b"/" } else { path }, &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
