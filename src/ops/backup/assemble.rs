//! Builds trees: the last stage of a backup.
//!
//! Results arrive in any order and are put back into the order of the walk, in which the entries of a
//! directory are between its beginning and its end. So the open directories are a stack. The tree of
//! a directory is complete, and is stored, when its end arrives.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use super::hardlinks::Linked;
use super::steps::{Done, End, Step};
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::blob::Packer;
use crate::kloset::pipeline::{Trouble, Window};
use crate::kloset::tree::{ListWriter, TreeWriter};
use crate::util::Id;

/// A directory whose end has not arrived.
struct Open {
    entry: Box<Entry>,
    tree: TreeWriter,
}

/// Builds the trees of one snapshot.
pub(crate) struct Assembler<'a> {
    kloset: &'a Kloset,
    packer: Packer<'a>,
    /// Results that arrived before their turn.
    early: BTreeMap<(u64, u32), Done>,
    /// Number of the next batch and part.
    next: (u64, u32),
    open: Vec<Open>,
    /// Chunks so far of the current file.
    chunks: ListWriter,
    /// Files with several names, for names that come later.
    linked: &'a Linked,
    root: Option<Entry>,
}

impl<'a> Assembler<'a> {
    /// Creates an assembler that stores trees with `packer`.
    pub(crate) fn new(kloset: &'a Kloset, packer: Packer<'a>, linked: &'a Linked) -> Assembler<'a> {
        Assembler {
            kloset,
            packer,
            early: BTreeMap::new(),
            next: (0, 0),
            open: Vec::new(),
            chunks: ListWriter::default(),
            linked,
            root: None,
        }
    }

    /// Processes results until there are no more. After an error, discards them.
    pub(crate) fn run(&mut self, results: Receiver<Done>, window: &Window, trouble: &Trouble) {
        for done in results {
            if trouble.check().is_ok() {
                self.early.insert((done.batch, done.part), done);
                trouble.note(self.take_in_order(window));
            }
        }
    }

    /// Stores open packs, also after an interrupt, so that the next backup finds the data. Returns
    /// the root of the snapshot if everything below it arrived.
    pub(crate) fn finish(mut self, trouble: &Trouble) -> Result<Option<Entry>> {
        if !trouble.has_failed() {
            self.packer.flush()?;
        }
        Ok(self.root)
    }

    /// Processes every result whose turn has come.
    fn take_in_order(&mut self, window: &Window) -> Result<()> {
        while let Some(done) = self.early.remove(&self.next) {
            for step in done.steps {
                self.take(step)?;
            }
            self.next = match done.end {
                End::More => (done.batch, done.part + 1),
                End::Batch => (done.batch + 1, 0),
            };
            window.move_to(self.next.0);
        }
        Ok(())
    }

    /// Processes one step of the walk.
    fn take(&mut self, step: Step<Id>) -> Result<()> {
        match step {
            Step::Enter(entry) => self.open.push(Open {
                entry,
                tree: TreeWriter::default(),
            }),
            Step::Leave => self.leave()?,
            Step::Ready(entry) => self.add(*entry)?,
            Step::Chunks(chunks) => self.append(chunks)?,
            Step::Restart => self.chunks = ListWriter::default(),
            Step::File(mut entry, chunks) => {
                self.append(chunks)?;
                let chunks = std::mem::take(&mut self.chunks);
                entry.content = chunks.finish(&mut self.packer, self.kloset)?;
                self.linked.keep(&entry);
                self.add(*entry)?;
            }
        }
        Ok(())
    }

    /// Appends chunks to the current file.
    fn append(&mut self, chunks: Vec<Id>) -> Result<()> {
        chunks
            .into_iter()
            .try_for_each(|chunk| self.chunks.push(chunk, &mut self.packer, self.kloset))
    }

    /// Adds an entry to the innermost directory.
    fn add(&mut self, entry: Entry) -> Result<()> {
        let stray = || {
            Error::new(
                Kind::Failed,
                "an entry in no directory: a mistake in this program",
            )
        };
        let parent = self.open.last_mut().ok_or_else(stray)?;
        parent.entry.below.add(entry.totals());
        parent.tree.push(&entry, &mut self.packer, self.kloset)
    }

    /// Completes the innermost directory.
    fn leave(&mut self) -> Result<()> {
        let stray = || {
            Error::new(
                Kind::Failed,
                "the end of no directory: a mistake in this program",
            )
        };
        let Open { mut entry, tree } = self.open.pop().ok_or_else(stray)?;
        entry.tree = tree.finish(&mut self.packer, self.kloset)?;
        match self.open.is_empty() {
            true => self.root = Some(*entry),
            false => self.add(*entry)?,
        }
        Ok(())
    }
}
