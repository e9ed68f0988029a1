//! The bytes of a stored file, from the first to the last.
//!
//! What is stored of a file is what lies between its holes, in order. Reading puts the
//! holes back as zeros. A chunk is handed on only after its id was recomputed, so bytes
//! that come out are those that went in; after an error there is no telling what would
//! have followed, and nothing more comes.

use std::ops::Range;

use super::blob::BlobReader;
use super::tree::{Entry, each_chunk};
use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};

/// How many zeros are handed on at once.
const ZEROS_BYTES: usize = 64 << 10;
/// A piece of a hole.
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// Whoever takes the bytes, in pieces of any length.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Hands every byte of the file `entry` to `sink`, in order.
///
/// # Errors
/// Those of `sink`; [`Kind::Corrupt`] when a part is lost or damaged; [`Kind::Failed`]
/// for what is no file, or was not read when it was backed up.
pub fn read(blobs: &BlobReader<'_>, entry: &Entry, sink: Sink<'_>) -> Result<()> {
    check_contents(entry)?;
    let mut layout = Layout { holes: &entry.holes, at: 0, sink };
    let read = each_chunk(blobs, &entry.content, &mut |id| {
        blobs.with(&id, |bytes| layout.data(bytes))
    });
    read.map_err(as_damage)?;
    layout.holes_here()?;
    match entry.changed || layout.at == entry.metadata.size_bytes {
        true => Ok(()),
        false => Err(Error::corrupt(format!(
            "{} bytes are stored of a file of {}",
            layout.at, entry.metadata.size_bytes
        ))),
    }
}

/// # Errors
/// Unless `entry` is a file with contents.
fn check_contents(entry: &Entry) -> Result<()> {
    match (entry.metadata.kind, &entry.problem) {
        (FileKind::File, None) => Ok(()),
        (FileKind::File, Some(problem)) => {
            Err(Error::new(Kind::Failed, format!("its contents were not backed up: {problem}")))
        }
        (FileKind::Directory, _) => Err(Error::new(Kind::Failed, "is a directory")),
        (FileKind::Symlink, _) => {
            let target = entry.details.target.escape_ascii();
            Err(Error::new(Kind::Failed, format!("is a symbolic link to {target}")))
        }
        _ => Err(Error::new(Kind::Failed, "is no regular file")),
    }
}

/// What the contents need and no pack has is damage, not a file that does not exist.
fn as_damage(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::corrupt(error.to_string()),
        _ => error,
    }
}

/// Where we are in a file while its data and its holes are put together.
struct Layout<'a, 'b> {
    /// Those that are still to come.
    holes: &'a [Range<u64>],
    at: u64,
    sink: Sink<'b>,
}

impl Layout<'_, '_> {
    /// Takes bytes that lie between holes, and puts the holes where they belong.
    fn data(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.holes_here()?;
            let until_hole = self.holes.first().map_or(u64::MAX, |hole| hole.start - self.at);
            let length = usize::try_from(until_hole).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(length);
            (self.sink)(now)?;
            self.at += length as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Fills the holes that begin here.
    fn holes_here(&mut self) -> Result<()> {
        while let Some((hole, rest)) = self.holes.split_first()
            && hole.start == self.at
        {
            let mut left = hole.end - hole.start;
            while left > 0 {
                let length = left.min(ZEROS_BYTES as u64);
                (self.sink)(&ZEROS[..length as usize])?;
                left -= length;
            }
            self.at = hole.end;
            self.holes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of data in pieces of `piece` bytes and `holes`.
    fn laid_out(data: &[u8], holes: &[Range<u64>], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(())
        };
        let mut layout = Layout { holes, at: 0, sink: &mut sink };
        for bytes in data.chunks(piece) {
            layout.data(bytes).unwrap();
        }
        layout.holes_here().unwrap();
        out
    }

    #[test]
    fn holes_are_zeros_wherever_they_are_and_however_data_is_cut() {
        for piece in 1..8 {
            assert_eq!(laid_out(b"abcdef", &[], piece), b"abcdef");
            assert_eq!(laid_out(b"abcdef", &[0..2, 3..4, 9..11], piece), b"\0\0a\0bcdef\0\0", "{piece}");
        }
        let holes = [0..100_000, 100_000..200_000];
        assert_eq!(laid_out(b"", &holes, 1), vec![0; 200_000]);
    }
}
