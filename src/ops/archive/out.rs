//! Buffers the bytes of an archive, compresses them if requested, and passes them to the sink.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::{During, Result};
use crate::kloset::content::push::Sink;

/// Bytes that are passed on at a time: headers are small, and each write to the sink is a system
/// call.
const PIECE_BYTES: usize = 256 << 10;

/// The output of an archive.
pub(super) struct Out<'a> {
    sink: Sink<'a>,
    waiting: Waiting,
    /// Bytes written, before compression.
    position: u64,
    /// Bytes that the sink has accepted.
    handed_on: u64,
}

/// Bytes that are not passed on yet.
enum Waiting {
    Plain(Vec<u8>),
    /// The gzip header has no name and no time, so that equal input results in equal output.
    Gzip(GzEncoder<Vec<u8>>),
}

impl<'a> Out<'a> {
    /// Writes to `sink` without compression.
    pub(super) fn plain(sink: Sink<'a>) -> Out<'a> {
        Out::new(sink, Waiting::Plain(Vec::new()))
    }

    /// Writes to `sink` with compression.
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

    /// Bytes written, before compression.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

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

    /// Passes everything on, and returns the total number of bytes passed on.
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
