//! Reads the bytes of a stored file from the first to the last.
//!
//! The stored content of a file is the data between its holes, in order. Reading inserts the holes
//! as zeros. A chunk is passed on only after its id was recomputed, so the bytes read are the bytes
//! that were backed up. Reading stops at the first error, because the position of the remaining
//! data is then unknown.

use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::format::holes::{ContentLength, Layout};
use crate::kloset::blob::BlobReader;
use crate::kloset::tree::each_chunk;
use crate::util::printable::printable;

/// Number of zeros that are written to the sink at once.
const ZEROS_BYTES: usize = 16 << 10;
/// Zeros that replace a part of a hole or of lost contents.
pub(crate) static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// The receiver of the bytes, in pieces of any length.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Writes all bytes of the file `entry` to `sink`, in order.
///
/// # Errors
/// Those of `sink`. [`Kind::Corrupt`] if a part is lost or damaged. [`Kind::Failed`] if `entry` is
/// not a regular file, or its contents were not backed up.
pub fn read(blobs: &BlobReader<'_>, entry: &Entry, sink: Sink<'_>) -> Result<()> {
    let size_bytes = entry.metadata.size_bytes;
    let mut stream = Stream {
        layout: Layout::new(&entry.holes, size_bytes),
        content_bytes: 0,
        at: 0,
        sink,
    };
    data(blobs, entry, &mut |bytes| stream.content(bytes))?;
    stream.zeros_until(size_bytes)
}

/// Writes only the data between the holes to `sink`, without gaps. Errors are those of [`read`].
pub fn data(blobs: &BlobReader<'_>, entry: &Entry, sink: Sink<'_>) -> Result<()> {
    check_contents(entry)?;
    let mut length = ContentLength::new(&entry.holes, entry.metadata.size_bytes);
    let read = each_chunk(blobs, &entry.content, &mut |id| {
        blobs.with(&id, |bytes| {
            length.add(bytes.len() as u64)?;
            sink(bytes)
        })
    });
    read.map_err(as_damage)?;
    length.end()
}

/// # Errors
/// [`Kind::Failed`] unless `entry` is a regular file whose contents were backed up.
pub(crate) fn check_contents(entry: &Entry) -> Result<()> {
    match (entry.metadata.kind, &entry.problem) {
        (FileKind::File, None) => Ok(()),
        (FileKind::File, Some(problem)) => Err(Error::new(
            Kind::Failed,
            format!("its contents were not backed up: {problem}"),
        )),
        (FileKind::Directory, _) => Err(Error::new(Kind::Failed, "is a directory")),
        (FileKind::Symlink, _) => {
            let target = printable(&entry.details.target);
            Err(Error::new(
                Kind::Failed,
                format!("is a symbolic link to {target}"),
            ))
        }
        _ => Err(Error::new(Kind::Failed, "not a regular file")),
    }
}

/// Converts the error of a missing chunk: it is damage, not a file that does not exist.
pub(crate) fn as_damage(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::corrupt(error.to_string()),
        _ => error,
    }
}

/// Combines the content of a file with its holes.
struct Stream<'a> {
    layout: Layout,
    /// The content bytes so far.
    content_bytes: u64,
    /// Current offset in the file.
    at: u64,
    sink: Sink<'a>,
}

impl Stream<'_> {
    /// Writes the next bytes of the content, and the holes before them.
    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        let parts = self.layout.parts(self.content_bytes, bytes.len() as u64);
        self.content_bytes += bytes.len() as u64;
        for (offset, part) in parts {
            self.zeros_until(offset)?;
            self.at += part.len() as u64;
            (self.sink)(&bytes[part])?;
        }
        Ok(())
    }

    /// Writes the hole that ends at `offset`.
    fn zeros_until(&mut self, offset: u64) -> Result<()> {
        while self.at < offset {
            let length = (offset - self.at).min(ZEROS_BYTES as u64);
            (self.sink)(&ZEROS[..length as usize])?;
            self.at += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// The bytes of a file of `size_bytes` whose `content` arrives in pieces of `piece` bytes.
    fn laid_out(content: &[u8], holes: &[Range<u64>], size_bytes: u64, piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(())
        };
        let layout = Layout::new(holes, size_bytes);
        let mut stream = Stream {
            layout,
            content_bytes: 0,
            at: 0,
            sink: &mut sink,
        };
        for bytes in content.chunks(piece) {
            stream.content(bytes).unwrap();
        }
        stream.zeros_until(size_bytes).unwrap();
        out
    }

    #[test]
    fn holes_are_zeros_wherever_they_are_and_however_data_is_cut() {
        let holes = [0..2, 3..4, 9..11];
        for piece in 1..8 {
            assert_eq!(laid_out(b"abcdef", &[], 6, piece), b"abcdef");
            assert_eq!(laid_out(b"abcdef", &holes, 11, piece), b"\0\0a\0bcdef\0\0");
        }
        let holes = [0..100_000, 100_000..200_000];
        assert_eq!(laid_out(b"", &holes, 200_000, 1), vec![0; 200_000]);
    }
}
