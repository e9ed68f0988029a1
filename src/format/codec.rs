//! The content of a sealed part: compressed bytes with their plain length, or plain bytes.
//!
//! Every sealed part contains `codec (1) ‖ plain length (4) ‖ payload`. With codec 0, the payload
//! is the plain bytes. With codec 1, it is one zstd frame (RFC 8878). Data that zstd hardly
//! compresses is stored plain, because reading it back is then free. zstd detects incompressible
//! data itself, at gigabytes per second, so this module does not test for it.
//!
//! Contexts and buffers are reused between calls, which makes small parts 25 % faster. An
//! [`Encoder`] or a [`Decoder`] belongs to one thread.

use std::io::Cursor;

use super::seal::{NONCE_BYTES, OVERHEAD_BYTES, Part, Sealer, TAG_BYTES};
use crate::error::{Error, Kind, Result};

/// Length of the header: codec and plain length.
const HEADER_BYTES: usize = 5;
/// Offset of the payload while a part is being encoded.
const PAYLOAD_AT: usize = NONCE_BYTES + HEADER_BYTES;
/// The payload is the plain bytes.
const STORED: u8 = 0;
/// The payload is a zstd frame.
const ZSTD: u8 = 1;

/// First bytes of a zstd frame (RFC 8878, section 3.1.1).
const FRAME_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The flag in the frame header descriptor that there is no window descriptor.
const SINGLE_SEGMENT: u8 = 1 << 5;
/// The window descriptor of 8 MiB, which no level in [`LEVELS`] exceeds: exponent 23 - 10, mantissa
/// 0.
const WINDOW_LIMIT: u8 = (23 - 10) << 3;

/// The default zstd level.
pub const DEFAULT_LEVEL: i32 = 3;
/// The permitted zstd levels. Levels below 1 are the fast ones of zstd.
pub const LEVELS: std::ops::RangeInclusive<i32> = -7..=19;

/// Maximum number of plain bytes in a part of this kind.
pub fn limit_bytes(part: Part) -> usize {
    match part {
        Part::Block => 8 << 20,
        Part::Footer => 64 << 20,
        Part::Index => 128 << 20,
        Part::Snapshot | Part::Condemned => 32 << 20,
    }
}

/// Maximum length of a sealed part that contains `plain_bytes`.
pub fn sealed_limit_bytes(plain_bytes: usize) -> usize {
    plain_bytes + HEADER_BYTES + OVERHEAD_BYTES
}

/// The name of the codec of an opened part.
pub fn name_of(opened: &[u8]) -> &'static str {
    match opened.first() {
        Some(&STORED) => "none",
        Some(&ZSTD) => "zstd",
        _ => "unknown",
    }
}

/// Compresses and seals parts.
pub struct Encoder {
    compressor: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl Encoder {
    /// Creates an encoder with the zstd level `level`.
    pub fn new(level: i32) -> Result<Encoder> {
        let compressor = zstd::bulk::Compressor::new(level)
            .map_err(|cause| Error::from(cause).during("start zstd"))?;
        Ok(Encoder {
            compressor,
            scratch: Vec::new(),
        })
    }

    /// Encodes `plain` into a sealed part. This replaces the contents of `sealed`.
    ///
    /// # Errors
    /// [`Kind::Failed`] if `plain` is longer than [`limit_bytes`], or sealing fails.
    pub fn encode(
        &mut self,
        sealer: &Sealer,
        part: Part,
        plain: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<()> {
        let length = u32::try_from(plain.len())
            .ok()
            .filter(|_| plain.len() <= limit_bytes(part));
        let length = length.ok_or_else(|| {
            Error::new(
                Kind::Failed,
                format!("{} bytes are too many to seal", plain.len()),
            )
        })?;
        sealed.clear();
        sealed.reserve(PAYLOAD_AT + zstd::zstd_safe::compress_bound(plain.len()) + TAG_BYTES);
        sealed.resize(PAYLOAD_AT, 0);
        let codec = self.compress(plain, sealed)?;
        sealed[NONCE_BYTES] = codec;
        sealed[NONCE_BYTES + 1..PAYLOAD_AT].copy_from_slice(&length.to_le_bytes());
        sealer.seal(part, sealed, &mut self.scratch)
    }

    /// Appends the payload, and returns its codec.
    fn compress(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<u8> {
        let mut payload = Cursor::new(&mut *sealed);
        payload.set_position(PAYLOAD_AT as u64);
        let length = self
            .compressor
            .compress_to_buffer(plain, &mut payload)
            .map_err(|cause| Error::from(cause).during("compress"))?;
        if length < plain.len() - plain.len() / 32 {
            return Ok(ZSTD);
        }
        sealed.truncate(PAYLOAD_AT);
        sealed.extend_from_slice(plain);
        Ok(STORED)
    }
}

/// Opens and decompresses parts.
pub struct Decoder {
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Decoder {
    /// Creates a decoder. Fails if zstd cannot create its context.
    pub fn new() -> Result<Decoder> {
        let decompressor = zstd::bulk::Decompressor::new()
            .map_err(|cause| Error::from(cause).during("start zstd"))?;
        Ok(Decoder { decompressor })
    }

    /// Decodes the part `sealed` into `plain`, and replaces the contents of `plain`. The contents
    /// of `sealed` are destroyed.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] unless every byte is what was sealed. [`Kind::Unsupported`] for an unknown
    /// codec.
    pub fn decode(
        &mut self,
        sealer: &Sealer,
        part: Part,
        sealed: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        let opened = sealer.open(part, sealed)?;
        let (header, payload) = opened
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| Error::corrupt("too short to hold anything"))?;
        let length = u32::from_le_bytes(header[1..].try_into().expect("4 bytes")) as usize;
        if length > limit_bytes(part) {
            return Err(Error::corrupt(format!("claims to hold {length} bytes")));
        }
        plain.clear();
        match header[0] {
            STORED => plain.extend_from_slice(payload),
            ZSTD => self.decompress(payload, length, plain)?,
            other => return Err(Error::new(Kind::Unsupported, format!("codec {other}"))),
        }
        match plain.len() == length {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "holds {} bytes instead of {length}",
                plain.len()
            ))),
        }
    }

    /// Decompresses at most `length` bytes.
    fn decompress(&mut self, payload: &[u8], length: usize, plain: &mut Vec<u8>) -> Result<()> {
        check_frame(payload)?;
        plain.reserve_exact(length);
        self.decompressor
            .decompress_to_buffer(payload, plain)
            .map(drop)
            .map_err(|cause| Error::corrupt(format!("does not decompress: {cause}")))
    }
}

/// # Errors
/// [`Kind::Corrupt`] unless `payload` is exactly one zstd frame. zstd itself would also accept
/// several frames, skippable frames and the formats of its oldest versions; other readers may not.
fn check_frame(payload: &[u8]) -> Result<()> {
    let Some([descriptor, window]) = payload
        .strip_prefix(FRAME_MAGIC)
        .and_then(|rest| rest.first_chunk())
    else {
        return Err(Error::corrupt("not a zstd frame"));
    };
    // A single-segment frame has no window descriptor: its window is as large as its content.
    if descriptor & SINGLE_SEGMENT == 0 && *window > WINDOW_LIMIT {
        return Err(Error::corrupt("a zstd frame with a window of over 8 MiB"));
    }
    match zstd::zstd_safe::find_frame_compressed_size(payload) {
        Ok(length) if length == payload.len() => Ok(()),
        Ok(_) => Err(Error::corrupt("bytes after the zstd frame")),
        Err(_) => Err(Error::corrupt("a zstd frame that ends early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::master::Key;
    use crate::util::Id;

    fn round_trip(plain: &[u8]) -> usize {
        let sealer = Sealer::new(&Key::new([1; 32]), Id([2; 32]));
        let mut sealed = Vec::new();
        Encoder::new(DEFAULT_LEVEL)
            .unwrap()
            .encode(&sealer, Part::Block, plain, &mut sealed)
            .unwrap();
        let length = sealed.len();
        let mut opened = Vec::new();
        Decoder::new()
            .unwrap()
            .decode(&sealer, Part::Block, &mut sealed, &mut opened)
            .unwrap();
        assert_eq!(opened, plain);
        length
    }

    #[test]
    fn what_compresses_gets_smaller_and_what_does_not_stays_plain() {
        assert!(round_trip(&vec![b'a'; 1 << 20]) < 1000);
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(round_trip(&noise), sealed_limit_bytes(noise.len()));
        assert_eq!(round_trip(b""), sealed_limit_bytes(0));
    }

    #[test]
    fn a_length_that_lies_is_corrupt() {
        let sealer = Sealer::new(&Key::new([1; 32]), Id([2; 32]));
        let frame = zstd::bulk::compress(&[0; 5000], 3).unwrap();
        for (codec, length) in [
            (ZSTD, 4999u32),
            (ZSTD, 5001),
            (ZSTD, u32::MAX),
            (STORED, 7),
            (9, 5000),
        ] {
            let mut sealed = vec![0; NONCE_BYTES];
            sealed.push(codec);
            sealed.extend_from_slice(&length.to_le_bytes());
            sealed.extend_from_slice(&frame);
            sealer
                .seal(Part::Block, &mut sealed, &mut Vec::new())
                .unwrap();
            let outcome =
                Decoder::new()
                    .unwrap()
                    .decode(&sealer, Part::Block, &mut sealed, &mut Vec::new());
            assert!(outcome.is_err(), "codec {codec}, length {length}");
        }
    }
}
