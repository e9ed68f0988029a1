//! Sends items from the walk to the readers, in numbered batches.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::steps::{Batch, Find};
use crate::error::Result;
use crate::kloset::pipeline::{Trouble, Window, send};

/// A batch is sent when it contains this much: enough adjacent data to fill a few blocks.
pub(super) const BATCH_BYTES: u64 = 4 << 20;
/// A batch is sent after this many steps, however few bytes they stand for.
const BATCH_STEPS: usize = 1024;
/// A batch is sent after this many directories with files to read. Each directory needs a descriptor
/// until its files are read. Together with the batches that wait and those being read, the total must
/// stay well below 1,024, or even 256, the default limits of open files per process.
const BATCH_DIRECTORIES: usize = 16;

/// The purpose of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends the items to readers.
    Backup,
    /// Only reports the items.
    DryRun,
}

/// Collects items of the walk into batches.
pub(super) struct Out<'a> {
    /// `None` in a dry run.
    batches: Option<SyncSender<Batch>>,
    window: &'a Window,
    trouble: &'a Trouble,
    number: u64,
    finds: Vec<Find>,
    bytes: u64,
    /// Number of files in `finds` whose directory differs from that of the file before.
    directories: usize,
    /// Address of the directory of the last file. `finds` keeps that directory alive, so no other
    /// directory can have the same address.
    last_directory: Option<usize>,
}

impl<'a> Out<'a> {
    /// Sends to the readers.
    pub(super) fn new(
        batches: SyncSender<Batch>,
        window: &'a Window,
        trouble: &'a Trouble,
    ) -> Out<'a> {
        Out {
            batches: Some(batches),
            ..Out::nowhere(window, trouble)
        }
    }

    /// Discards all items.
    pub(super) fn nowhere(window: &'a Window, trouble: &'a Trouble) -> Out<'a> {
        Out {
            batches: None,
            window,
            trouble,
            number: 0,
            finds: Vec::new(),
            bytes: 0,
            directories: 0,
            last_directory: None,
        }
    }

    /// The purpose of the walk.
    pub(super) fn purpose(&self) -> Purpose {
        match self.batches {
            Some(_) => Purpose::Backup,
            None => Purpose::DryRun,
        }
    }

    /// # Errors
    /// Fails if the backup must stop.
    pub(super) fn check(&self) -> Result<()> {
        self.trouble.check()
    }

    /// Adds an item that stands for `bytes` of contents to the open batch.
    pub(super) fn push(&mut self, find: Find, bytes: u64) -> Result<()> {
        if self.batches.is_none() {
            return Ok(());
        }
        if let Find::Read(dir, ..) = &find {
            let directory = Some(Arc::as_ptr(dir).addr());
            if self.last_directory != directory {
                self.directories += 1;
                self.last_directory = directory;
            }
        }
        self.finds.push(find);
        self.bytes = self.bytes.saturating_add(bytes);
        let is_full = self.bytes >= BATCH_BYTES
            || self.finds.len() >= BATCH_STEPS
            || self.directories >= BATCH_DIRECTORIES;
        match is_full {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Sends the open batch, and waits until everything so far is in its tree.
    pub(super) fn drain(&mut self) -> Result<()> {
        match self.batches {
            Some(_) => {
                self.flush()?;
                self.window.wait_for_all_below(self.number, self.trouble)
            }
            None => Ok(()),
        }
    }

    /// Sends the open batch.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Some(batches) = &self.batches else {
            return Ok(());
        };
        self.window.wait_for(self.number, self.trouble)?;
        let finds = std::mem::take(&mut self.finds);
        send(
            batches,
            Batch {
                number: self.number,
                finds,
            },
        )?;
        self.number += 1;
        self.bytes = 0;
        self.directories = 0;
        self.last_directory = None;
        Ok(())
    }
}
