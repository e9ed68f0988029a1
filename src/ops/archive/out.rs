//! From the members of an archive to whoever takes its bytes: gathered, and compressed if wanted.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::{During, Result};
use crate::kloset::content::reader::Sink;

/// Bytes that are handed on at once: headers are small, and each hand-over a system call.
const PIECE_BYTES: usize = 256 << 10;

/// Where the bytes of an archive go.
pub(super) struct Out<'a> {
    sink: Sink<'a>,
    waiting: Waiting,
    /// How many bytes were written, before compression.
    position: u64,
    /// How many bytes the sink took.
    handed_on: u64,
}

/// What waits to be handed on.
enum Waiting {
    Plain(Vec<u8>),
    /// Without a name and a time in its header, so that the same bytes become the same bytes.
    Gzip(GzEncoder<Vec<u8>>),
}

impl<'a> Out<'a> {
    /// To `sink`, as it is.
    pub(super) fn plain(sink: Sink<'a>) -> Out<'a> {
        Out::new(sink, Waiting::Plain(Vec::new()))
    }

    /// To `sink`, compressed.
    pub(super) fn gzip(sink: Sink<'a>) -> Out<'a> {
        let encoder = GzEncoder::new(Vec::new(), Compression::default());
        Out::new(sink, Waiting::Gzip(encoder))
    }

    fn new(sink: Sink<'a>, waiting: Waiting) -> Out<'a> {
        Out {
            sink,
            waiting,
            position: 0,
            handed_on: 0,
        }
    }

    /// How many bytes were written, before compression.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        match &mut self.waiting {
            Waiting::Plain(waiting) => waiting.extend_from_slice(bytes),
            Waiting::Gzip(encoder) => encoder.write_all(bytes).during(|| "compress")?,
        }
        match self.waiting().len() >= PIECE_BYTES {
            true => self.hand_on(),
            false => Ok(()),
        }
    }

    /// Hands everything on, and tells how much that was since the beginning.
    pub(super) fn finish(&mut self) -> Result<u64> {
        if let Waiting::Gzip(encoder) = &mut self.waiting {
            encoder.try_finish().during(|| "compress")?;
        }
        self.hand_on()?;
        Ok(self.handed_on)
    }

    fn waiting(&mut self) -> &mut Vec<u8> {
        match &mut self.waiting {
            Waiting::Plain(waiting) => waiting,
            Waiting::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn hand_on(&mut self) -> Result<()> {
        let mut bytes = std::mem::take(self.waiting());
        (self.sink)(&bytes)?;
        self.handed_on += bytes.len() as u64;
        bytes.clear();
        *self.waiting() = bytes;
        Ok(())
    }
}
