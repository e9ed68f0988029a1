//! Decompresses the contents of a stored file.
//!
//! The format is detected from the first bytes: gzip (RFC 1952) and Zstandard (RFC 8878), each with
//! one or several concatenated members or frames. Other files are passed on unchanged. Output is
//! passed on as it is produced, so a small file that expands to a very large one uses bounded memory:
//! 32 KiB for gzip; for Zstandard the window size of the file, up to 128 MiB as in `zstd -d`.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Kind, Result};
use crate::kloset::content::push::Sink;
use crate::kloset::content::reader::Contents;

/// Bytes that are read, and passed on, at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The first bytes of a gzip file.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// The first bytes of a Zstandard file.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Adapts contents to the decoders of other libraries, which know only their own error type.
struct Reading<'a> {
    contents: Contents<'a>,
    trouble: Option<Error>,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.contents.read(buffer).map_err(|error| {
            let words = error.to_string();
            self.trouble = Some(error);
            io::Error::other(words)
        })
    }
}

/// Passes the decompressed bytes of `contents` to `sink`, in order.
///
/// # Errors
/// Errors of `sink` and of [`Contents::read`]; [`Kind::Failed`] if the file that was backed up is
/// itself invalid or truncated. The bytes before the error were passed on.
pub fn read(contents: Contents<'_>, sink: Sink<'_>) -> Result<()> {
    let reading = Reading {
        contents,
        trouble: None,
    };
    let mut stored = BufReader::with_capacity(PIECE_BYTES, reading);
    // An error is returned again by the next read.
    let head = stored.fill_buf().unwrap_or_default();
    let (is_gzip, is_zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
    let (copied, name) = match () {
        () if is_gzip => (copy(MultiGzDecoder::new(&mut stored), sink), "gzip"),
        () if is_zstd => (
            zstd::stream::read::Decoder::with_buffer(&mut stored)
                .map_err(Stopped::Reading)
                .and_then(|decoder| copy(decoder, sink)),
            "zstd",
        ),
        () => (copy(&mut stored, sink), "contents"),
    };
    match copied {
        Ok(()) => Ok(()),
        Err(Stopped::Sink(error)) => Err(error),
        Err(Stopped::Reading(cause)) => {
            let trouble = stored.get_mut().trouble.take();
            Err(trouble.unwrap_or_else(|| broken(name, &cause)))
        }
    }
}

/// The reason why copying stopped.
enum Stopped {
    Reading(io::Error),
    Sink(Error),
}

/// Passes on all bytes of `from`.
fn copy(mut from: impl Read, sink: Sink<'_>) -> Result<(), Stopped> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count]).map_err(Stopped::Sink)?,
            Err(cause) => return Err(Stopped::Reading(cause)),
        }
    }
}

/// The error for a file that was restored correctly but is itself invalid.
fn broken(name: &str, cause: &io::Error) -> Error {
    let words = match cause.kind() {
        io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
        _ => cause.to_string(),
    };
    Error::new(
        Kind::Failed,
        format!("cannot decompress its {name}: {words}"),
    )
}
