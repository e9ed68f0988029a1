//! Sends steps from the walk to the workers, in numbered batches.

use std::sync::mpsc::SyncSender;

use crate::error::Result;
use crate::kloset::pipeline::{Trouble, Window, send};
use crate::ops::backup::Step;
use crate::util::Id;

/// A batch is sent when it contains this much: enough adjacent data to fill a few blocks.
const BATCH_BYTES: u64 = 4 << 20;
/// A batch is sent after this many steps, however few bytes they stand for.
const BATCH_STEPS: usize = 256;

/// Consecutive steps of the walk, with the ids that chunks have in the source store.
pub(super) struct Batch {
    /// Position in the walk, counted from 0.
    pub(super) number: u64,
    pub(super) steps: Vec<Step<Id>>,
}

/// Collects steps of the walk into batches.
pub(super) struct Out<'a> {
    batches: SyncSender<Batch>,
    window: &'a Window,
    trouble: &'a Trouble,
    number: u64,
    steps: Vec<Step<Id>>,
    bytes: u64,
}

impl<'a> Out<'a> {
    /// Sends to the workers.
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

    /// Adds a step that stands for about `bytes` of data to read to the open batch.
    pub(super) fn push(&mut self, step: Step<Id>, bytes: u64) -> Result<()> {
        self.steps.push(step);
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes >= BATCH_BYTES || self.steps.len() >= BATCH_STEPS {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Sends the open batch.
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
