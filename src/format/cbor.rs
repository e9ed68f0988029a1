//! The subset of CBOR (RFC 8949) that the format uses: integers, byte strings, text strings, and
//! arrays and maps of definite length.
//!
//! A thin layer over `minicbor` that returns errors of this program and limits every count by the
//! number of bytes present. The keys of maps are small integers. An unknown key is skipped with its
//! value, so that readers remain compatible with additions.

use minicbor::{Decoder, Encoder};

use crate::error::{Error, Result};
use crate::util::Id;

/// Appends items to a byte vector.
pub struct Writer<'a>(Encoder<&'a mut Vec<u8>>);

impl<'a> Writer<'a> {
    /// Creates a writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer(Encoder::new(out))
    }

    /// Appends the head of an array of `length` items.
    pub fn array(&mut self, length: usize) -> &mut Self {
        self.0
            .array(length as u64)
            .expect("a vector takes everything");
        self
    }

    /// Appends the head of a map of `length` pairs.
    pub fn map(&mut self, length: usize) -> &mut Self {
        self.0
            .map(length as u64)
            .expect("a vector takes everything");
        self
    }

    /// Appends an unsigned integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.u64(value).expect("a vector takes everything");
        self
    }

    /// Appends a signed integer.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.0.i64(value).expect("a vector takes everything");
        self
    }

    /// Appends a byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.bytes(value).expect("a vector takes everything");
        self
    }

    /// Appends a text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.0.str(value).expect("a vector takes everything");
        self
    }

    /// Appends ids as one byte string.
    pub fn ids(&mut self, ids: &[Id]) -> &mut Self {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        self.bytes(&bytes)
    }
}

/// Reads items from untrusted bytes.
pub struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    /// Creates a reader that starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(Decoder::new(bytes))
    }

    /// Number of bytes read so far.
    pub fn position(&self) -> usize {
        self.0.position()
    }

    /// Whether all bytes have been read.
    pub fn at_end(&self) -> bool {
        self.0.position() >= self.0.input().len()
    }

    /// The number of items to allocate memory for in advance: at most `count`, the number of
    /// remaining bytes, and 4096.
    pub fn plausible(&self, count: u64) -> usize {
        let left = self.0.input().len().saturating_sub(self.0.position());
        usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(left)
            .min(4096)
    }

    /// Reads the head of an array, and returns its length.
    pub fn array(&mut self) -> Result<u64> {
        self.0.array().map_err(malformed)?.ok_or_else(indefinite)
    }

    /// Reads the head of an array with at least `length` items. Returns the number of items after
    /// those. A later version added them; skip them with [`Reader::skip_many`].
    pub fn record(&mut self, length: u64) -> Result<u64> {
        let found = self.array()?;
        let few = || Error::corrupt(format!("an array of {found} items where {length} belong"));
        found.checked_sub(length).ok_or_else(few)
    }

    /// Reads the head of an array of pairs, and returns the number of pairs.
    pub fn pairs(&mut self) -> Result<u64> {
        match self.array()? {
            items if items % 2 == 0 => Ok(items / 2),
            items => Err(Error::corrupt(format!(
                "{items} items, which are not pairs"
            ))),
        }
    }

    /// Reads a map with small integers as keys. `pair` is called with each key, and must read or
    /// skip its value. Returns the keys of the map.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] if a key below 64 occurs twice. Larger keys are unknown to
    /// this version, so their values are not used.
    pub fn each_pair(
        &mut self,
        mut pair: impl FnMut(u64, &mut Self) -> Result<()>,
    ) -> Result<Keys> {
        let mut keys = Keys(0);
        for _ in 0..self.map()? {
            let key = self.u64()?;
            if keys.has(key) {
                return Err(Error::corrupt(format!("key {key} occurs twice")));
            }
            keys.0 |= Keys::bit(key);
            pair(key, self)?;
        }
        Ok(keys)
    }

    /// Reads the head of a map, and returns the number of pairs.
    fn map(&mut self) -> Result<u64> {
        self.0.map().map_err(malformed)?.ok_or_else(indefinite)
    }

    /// Reads an unsigned integer.
    pub fn u64(&mut self) -> Result<u64> {
        self.0.u64().map_err(malformed)
    }

    /// Reads an unsigned integer of 32 bits.
    pub fn u32(&mut self) -> Result<u32> {
        self.0.u32().map_err(malformed)
    }

    /// Reads an unsigned integer of 8 bits.
    pub fn u8(&mut self) -> Result<u8> {
        self.0.u8().map_err(malformed)
    }

    /// Reads a signed integer.
    pub fn i64(&mut self) -> Result<i64> {
        self.0.i64().map_err(malformed)
    }

    /// Reads a byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        self.0.bytes().map_err(malformed)
    }

    /// Reads a text string.
    pub fn text(&mut self) -> Result<&'a str> {
        self.0.str().map_err(malformed)
    }

    /// Reads one id.
    pub fn id(&mut self) -> Result<Id> {
        Id::try_from(self.bytes()?)
    }

    /// Reads ids from one byte string.
    pub fn ids(&mut self) -> Result<Vec<Id>> {
        match self.bytes()?.as_chunks::<32>() {
            (ids, []) => Ok(ids.iter().map(|id| Id(*id)).collect()),
            _ => Err(Error::corrupt("a list of ids with a broken last one")),
        }
    }

    /// # Errors
    /// [`crate::error::Kind::Corrupt`] unless everything has been read.
    pub fn end(&self) -> Result<()> {
        match self.at_end() {
            true => Ok(()),
            false => Err(Error::corrupt("bytes after the end")),
        }
    }

    /// Skips `count` items.
    pub fn skip_many(&mut self, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| self.skip())
    }

    /// Skips one item of any type.
    pub fn skip(&mut self) -> Result<()> {
        self.0.skip().map_err(malformed)
    }
}

/// The keys of a map that are below 64, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys(u64);

impl Keys {
    /// Whether the map contained `key`. Always false for keys from 64.
    pub fn has(self, key: u64) -> bool {
        self.0 & Keys::bit(key) != 0
    }

    fn bit(key: u64) -> u64 {
        let shift = u32::try_from(key).unwrap_or(u32::MAX);
        1u64.checked_shl(shift).unwrap_or_default()
    }
}

/// Converts an error of the decoder.
fn malformed(cause: minicbor::decode::Error) -> Error {
    Error::corrupt(format!("malformed CBOR: {cause}"))
}

/// The error of an indefinite length, which the format does not permit.
fn indefinite() -> Error {
    Error::corrupt("malformed CBOR: an indefinite length")
}
