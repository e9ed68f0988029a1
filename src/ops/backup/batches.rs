//! From the walk to the readers: finds are gathered into batches, and batches numbered.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::steps::{Batch, Find};
use crate::error::Result;
use crate::kloset::pipeline::{Trouble, Window, send};

/// Contents after which a batch is handed on: enough neighbours to fill a few blocks.
pub(super) const BATCH_BYTES: u64 = 4 << 20;
/// Steps after which a batch is handed on, however little there is to read.
const BATCH_STEPS: usize = 1024;
/// Directories with files to be read after which a batch is handed on: each is an open
/// descriptor until they are read, and with the batches that wait and those being read
/// all must stay well below the 1,024, or even 256, that a process may have where nobody
/// raised the limit.
const BATCH_DIRECTORIES: usize = 16;

/// What the walk is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To hand on what is found.
    Backup,
    /// Only to tell what would be.
    DryRun,
}

/// Where the walker's finds go.
pub(super) struct Out<'a> {
    /// Nothing in a dry run.
    batches: Option<SyncSender<Batch>>,
    window: &'a Window,
    trouble: &'a Trouble,
    number: u64,
    finds: Vec<Find>,
    bytes: u64,
    /// How often a file in `finds` is in another directory than the one before it.
    directories: usize,
    /// The address of the directory of the last of them, which `finds` keeps from being
    /// that of another.
    last_directory: Option<usize>,
}

impl<'a> Out<'a> {
    /// To the readers.
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

    /// Nowhere.
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

    /// What the walk is for.
    pub(super) fn purpose(&self) -> Purpose {
        match self.batches {
            Some(_) => Purpose::Backup,
            None => Purpose::DryRun,
        }
    }

    /// # Errors
    /// When it is time to stop.
    pub(super) fn check(&self) -> Result<()> {
        self.trouble.check()
    }

    /// Adds to the open batch a find that stands for `bytes` to be read.
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

    /// Sends the open batch on, and waits until everything so far is in its tree.
    pub(super) fn drain(&mut self) -> Result<()> {
        match self.batches {
            Some(_) => {
                self.flush()?;
                self.window.wait_for_all_below(self.number, self.trouble)
            }
            None => Ok(()),
        }
    }

    /// Sends the open batch on.
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
