//! The bytes of a stored file that is compressed, as they were before that.
//!
//! What it was compressed with is told by its first bytes: gzip (RFC 1952) and Zstandard
//! (RFC 8878), each of one part or of several one after the other. Anything else comes as
//! it is. Bytes are handed on as they are made, so that a small file that stands for a
//! very large one costs no memory: of gzip 32 KiB, of Zstandard what the file's window
//! asks for, up to 128 MiB as in `zstd -d`.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Kind, Result};
use crate::kloset::content::push::Contents;
use crate::kloset::content::reader::Sink;

/// How much is read, and handed on, at once.
const PIECE_BYTES: usize = 64 << 10;

/// What a file of gzip begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// What a file of Zstandard begins with.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Contents for decoders of other libraries, which know only their own kind of error.
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

/// Hands every byte that `contents` stands for to `sink`, in order.
///
/// # Errors
/// Those of `sink` and of [`Contents::read`]; [`Kind::Failed`] where what was backed up is
/// itself broken or ends early: what came before that was handed on.
pub fn read(contents: Contents<'_>, sink: Sink<'_>) -> Result<()> {
    let reading = Reading {
        contents,
        trouble: None,
    };
    let mut stored = BufReader::with_capacity(PIECE_BYTES, reading);
    // A failure comes again when it is read, instead of what would follow.
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

/// Why copying stopped.
enum Stopped {
    Reading(io::Error),
    Sink(Error),
}

/// Hands on all that `from` has.
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

/// The store gave what was backed up, and that is broken.
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
