//! The data that the stages of a backup pass to each other.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::connector::SourceDir;
use crate::format::entry::Entry;
use crate::kloset::pipeline::{Shared, shared_channel};
use crate::util::Id;

/// Consecutive items of the walk.
pub(super) struct Batch {
    /// Position in the walk, counted from 0.
    pub(super) number: u64,
    /// The items in the order of the walk.
    pub(super) finds: Vec<Find>,
}

/// One step of the walk.
pub(super) enum Find {
    /// The beginning of a directory: the items up to the matching [`Find::Leave`] are in it.
    Enter(Box<Entry>),
    /// The end of a directory.
    Leave,
    /// An entry that need not be read.
    Ready(Box<Entry>),
    /// A file to read: its directory, its path, and the entry so far.
    Read(Arc<dyn SourceDir>, Vec<u8>, Box<Entry>),
}

/// Part of a batch after reading, with contents.
pub(super) struct Job {
    /// Number of the batch.
    pub(super) batch: u64,
    /// Number of the part in its batch, counted from 0.
    pub(super) part: u32,
    /// Whether further parts follow.
    pub(super) end: End,
    /// Contents of files, without gaps.
    pub(super) buffer: Buffer,
    /// The steps that refer to the contents.
    pub(super) steps: Vec<Step<Range<usize>>>,
}

/// Whether a part is the last of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Another part of the same batch follows.
    More,
    /// This is the last part.
    Batch,
}

/// Part of a batch after its chunks were stored.
pub(crate) struct Done {
    /// Number of the batch.
    pub(crate) batch: u64,
    /// Number of the part in its batch.
    pub(crate) part: u32,
    /// Whether further parts follow.
    pub(crate) end: End,
    /// The steps, with ids instead of contents.
    pub(crate) steps: Vec<Step<Id>>,
}

/// One step of the walk after reading. `C` is a chunk: first a range of the buffer, then an id.
pub(crate) enum Step<C> {
    /// See [`Find::Enter`].
    Enter(Box<Entry>),
    /// See [`Find::Leave`].
    Leave,
    /// See [`Find::Ready`].
    Ready(Box<Entry>),
    /// The next chunks of a file that ends in a later part.
    Chunks(Vec<C>),
    /// Discard the chunks of the file so far: it is read again.
    Restart,
    /// The last chunks of a file, and its entry.
    File(Box<Entry>, Vec<C>),
}

/// A buffer that is filled once, then returned for the next job. Its memory is allocated and zeroed
/// only when something is read into it, which never happens for unchanged files.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    capacity: usize,
    used: usize,
}

impl Buffer {
    /// A buffer of `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Buffer {
        Buffer {
            bytes: Box::default(),
            capacity,
            used: 0,
        }
    }

    /// The filled part.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// The free part, to read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.capacity].into_boxed_slice();
        }
        &mut self.bytes[self.used..]
    }

    /// Notes that the first `length` bytes of the free part were filled.
    pub(super) fn advance(&mut self, length: usize) {
        self.used += length;
    }

    /// Number of filled bytes.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Appends `bytes`, which must fit.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.room()[..bytes.len()].copy_from_slice(bytes);
            self.advance(bytes.len());
        }
    }
}

/// The unused buffers. Their number is limited to bound memory: a thread that needs one waits.
pub(super) struct Buffers {
    sender: SyncSender<Buffer>,
    receiver: Shared<Buffer>,
}

impl Buffers {
    /// Creates `count` buffers of `capacity` bytes.
    pub(super) fn new(count: usize, capacity: usize) -> Buffers {
        let (sender, receiver) = shared_channel(count);
        for _ in 0..count {
            let sent = sender.try_send(Buffer::new(capacity));
            assert!(sent.is_ok(), "there is room for as many");
        }
        Buffers { sender, receiver }
    }

    /// Takes an empty buffer, and waits for one if necessary.
    pub(super) fn take(&self) -> Buffer {
        self.receiver.next().expect("the sender is in here")
    }

    /// Returns `buffer` for reuse.
    pub(super) fn give_back(&self, mut buffer: Buffer) {
        buffer.used = 0;
        let sent = self.sender.try_send(buffer);
        assert!(sent.is_ok(), "there is room for as many as there are");
    }
}
