//! From the walk to the workers: steps are gathered into batches, and batches numbered.

use std::sync::mpsc::SyncSender;

use crate::error::Result;
use crate::kloset::pipeline::{Trouble, Window, send};
use crate::ops::backup::Step;
use crate::util::Id;

/// Contents after which a batch is handed on: enough neighbours to fill a few blocks.
const BATCH_BYTES: u64 = 4 << 20;
/// Steps after which a batch is handed on, however little there is to read.
const BATCH_STEPS: usize = 256;

/// A run of the walk, in its order, with chunks called as they are where they come from.
pub(super) struct Batch {
    /// Where it comes in the walk, counted from 0.
    pub(super) number: u64,
    pub(super) steps: Vec<Step<Id>>,
}

/// Where the walk's steps go.
pub(super) struct Out<'a> {
    batches: SyncSender<Batch>,
    window: &'a Window,
    trouble: &'a Trouble,
    number: u64,
    steps: Vec<Step<Id>>,
    bytes: u64,
}

impl<'a> Out<'a> {
    /// To the workers.
    pub(super) fn new(
        batches: SyncSender<Batch>,
        window: &'a Window,
        trouble: &'a Trouble,
    ) -> Out<'a> {
        Out {
            batches,
            window,
            trouble,
            number: 0,
            steps: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a step that stands for about `bytes` to be read to the open batch.
    pub(super) fn push(&mut self, step: Step<Id>, bytes: u64) -> Result<()> {
        self.steps.push(step);
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes >= BATCH_BYTES || self.steps.len() >= BATCH_STEPS {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Sends the open batch on.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.trouble.check()?;
        self.window.wait_for(self.number, self.trouble)?;
        let batch = Batch {
            number: self.number,
            steps: std::mem::take(&mut self.steps),
        };
        send(&self.batches, batch)?;
        self.number += 1;
        self.bytes = 0;
        Ok(())
    }
}
