//! What the stages of a backup hand to each other.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::connector::SourceDir;
use crate::format::entry::Entry;
use crate::kloset::pipeline::{Shared, shared_channel};
use crate::util::Id;

/// A run of the walk, in its order.
pub(super) struct Batch {
    /// Where it comes in the walk, counted from 0.
    pub(super) number: u64,
    /// What was found.
    pub(super) finds: Vec<Find>,
}

/// One step of the walk.
pub(super) enum Find {
    /// What follows, up to the matching [`Find::Leave`], is in this directory.
    Enter(Box<Entry>),
    /// The end of a directory.
    Leave,
    /// An entry that needs no reading.
    Ready(Box<Entry>),
    /// A file to be read: the directory it is in, its path, and what is known of it.
    Read(Arc<dyn SourceDir>, Vec<u8>, Box<Entry>),
}

/// Part of a batch after reading: contents, and where they belong.
pub(super) struct Job {
    /// Of which batch.
    pub(super) batch: u64,
    /// Which part of it, counted from 0.
    pub(super) part: u32,
    /// Whether there are more.
    pub(super) end: End,
    /// Contents of files, back to back.
    pub(super) buffer: Buffer,
    /// What they are.
    pub(super) steps: Vec<Step<Range<usize>>>,
}

/// Whether a part is the last of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The next part of the same batch follows.
    More,
    /// This was the last.
    Batch,
}

/// Part of a batch after its chunks were stored.
pub(crate) struct Done {
    /// Of which batch.
    pub(crate) batch: u64,
    /// Which part of it.
    pub(crate) part: u32,
    /// Whether there are more.
    pub(crate) end: End,
    /// What it held, with ids in place of contents.
    pub(crate) steps: Vec<Step<Id>>,
}

/// One step of the walk after reading: `C` is a chunk, first as a range of the buffer, then as an id.
pub(crate) enum Step<C> {
    /// As [`Find::Enter`].
    Enter(Box<Entry>),
    /// As [`Find::Leave`].
    Leave,
    /// As [`Find::Ready`].
    Ready(Box<Entry>),
    /// The next chunks of a file whose end is in a later part.
    Chunks(Vec<C>),
    /// Forget the chunks of the file so far: it is being read again.
    Restart,
    /// The last chunks of a file, and the file.
    File(Box<Entry>, Vec<C>),
}

/// A buffer that is filled once, then handed back for the next job. It takes memory, and is zeroed,
/// once something is read into it: of files that did not change nothing is.
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

    /// What was put in.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// The rest, to be read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.capacity].into_boxed_slice();
        }
        &mut self.bytes[self.used..]
    }

    /// Notes that the first `length` bytes of the room were filled.
    pub(super) fn advance(&mut self, length: usize) {
        self.used += length;
    }

    /// How many bytes are filled.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Appends `bytes`, for which there is room.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.room()[..bytes.len()].copy_from_slice(bytes);
            self.advance(bytes.len());
        }
    }
}

/// Buffers that are not in use. There are no more than fit in memory: whoever wants one waits.
pub(super) struct Buffers {
    sender: SyncSender<Buffer>,
    receiver: Shared<Buffer>,
}

impl Buffers {
    /// `count` buffers of `capacity` bytes.
    pub(super) fn new(count: usize, capacity: usize) -> Buffers {
        let (sender, receiver) = shared_channel(count);
        for _ in 0..count {
            let sent = sender.try_send(Buffer::new(capacity));
            assert!(sent.is_ok(), "there is room for as many");
        }
        Buffers { sender, receiver }
    }

    /// An empty buffer, as soon as there is one.
    pub(super) fn take(&self) -> Buffer {
        self.receiver.next().expect("the sender is in here")
    }

    /// Hands `buffer` back.
    pub(super) fn give_back(&self, mut buffer: Buffer) {
        buffer.used = 0;
        let sent = self.sender.try_send(buffer);
        assert!(sent.is_ok(), "there is room for as many as there are");
    }
}
