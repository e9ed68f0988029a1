//! Hashes, looks up, compresses and seals chunks: the third stage of a backup.

use std::sync::mpsc::SyncSender;

use super::steps::{Buffers, Done, Job, Step};
use crate::error::Result;
use crate::kloset::blob::{Packer, Put};
use crate::kloset::pipeline::{Shared, Trouble, send};
use crate::kloset::progress::{Counters, add};
use crate::util::Id;

/// Runs one worker: stores the chunks of jobs until there are no more. After an error, discards jobs.
///
/// Open packs are stored also after an interrupt, so that the next backup finds the data.
pub(super) fn run(
    mut packer: Packer<'_>,
    jobs: &Shared<Job>,
    buffers: &Buffers,
    done: SyncSender<Done>,
    counters: &Counters,
    trouble: &Trouble,
) {
    while let Some(mut job) = jobs.next() {
        if trouble.check().is_ok() {
            let outcome =
                store(&mut packer, &mut job, counters).and_then(|results| send(&done, results));
            trouble.note(outcome);
        }
        buffers.give_back(job.buffer);
    }
    if !trouble.has_failed() {
        trouble.note(packer.flush());
    }
}

/// Stores the chunks of one job.
fn store(packer: &mut Packer<'_>, job: &mut Job, counters: &Counters) -> Result<Done> {
    let bytes = job.buffer.filled();
    let mut put = |chunks: Vec<std::ops::Range<usize>>| -> Result<Vec<Id>> {
        let mut ids = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (id, put) = packer.put(&bytes[chunk.clone()])?;
            ids.push(id);
            if put == Put::New {
                add(&counters.new_bytes, chunk.len() as u64);
            }
        }
        Ok(ids)
    };
    let mut steps = Vec::with_capacity(job.steps.len());
    for step in job.steps.drain(..) {
        steps.push(match step {
            Step::Enter(entry) => Step::Enter(entry),
            Step::Leave => Step::Leave,
            Step::Ready(entry) => Step::Ready(entry),
            Step::Restart => Step::Restart,
            Step::Chunks(chunks) => Step::Chunks(put(chunks)?),
            Step::File(entry, chunks) => Step::File(entry, put(chunks)?),
        });
    }
    Ok(Done {
        batch: job.batch,
        part: job.part,
        end: job.end,
        steps,
    })
}
