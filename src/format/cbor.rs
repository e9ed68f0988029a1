//! CBOR (RFC 8949), as far as the format uses it: integers, byte and text strings,
//! arrays and maps of definite length.
//!
//! A thin layer over `minicbor` that words its errors as ours and bounds every count
//! by the bytes that are there. Maps have small integers as keys; a key that is not
//! known is skipped with its value, so that a reader survives additions.

use minicbor::{Decoder, Encoder};

use crate::error::{Error, Result};
use crate::util::Id;

/// Appends items to a byte vector.
pub struct Writer<'a>(Encoder<&'a mut Vec<u8>>);

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer(Encoder::new(out))
    }

    /// The head of an array of `length` items.
    pub fn array(&mut self, length: usize) -> &mut Self {
        self.0
            .array(length as u64)
            .expect("a vector takes everything");
        self
    }

    /// The head of a map of `length` pairs.
    pub fn map(&mut self, length: usize) -> &mut Self {
        self.0
            .map(length as u64)
            .expect("a vector takes everything");
        self
    }

    /// An unsigned integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.u64(value).expect("a vector takes everything");
        self
    }

    /// A signed integer.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.0.i64(value).expect("a vector takes everything");
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.bytes(value).expect("a vector takes everything");
        self
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.0.str(value).expect("a vector takes everything");
        self
    }

    /// Ids, as one byte string.
    pub fn ids(&mut self, ids: &[Id]) -> &mut Self {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        self.bytes(&bytes)
    }
}

/// Reads items from bytes that may be anyone's.
pub struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    /// A reader that starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(Decoder::new(bytes))
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.0.position()
    }

    /// Whether there is nothing left.
    pub fn at_end(&self) -> bool {
        self.0.position() >= self.0.input().len()
    }

    /// How many items to take memory for beforehand: no more than bytes are left, and never many.
    pub fn plausible(&self, count: u64) -> usize {
        let left = self.0.input().len().saturating_sub(self.0.position());
        usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(left)
            .min(4096)
    }

    /// The length of an array.
    pub fn array(&mut self) -> Result<u64> {
        self.0.array().map_err(malformed)?.ok_or_else(indefinite)
    }

    /// The head of an array whose first `length` items we know. Returns how many follow them, of
    /// a later version, to be passed over with [`Reader::skip_many`].
    pub fn record(&mut self, length: u64) -> Result<u64> {
        let found = self.array()?;
        let few = || Error::corrupt(format!("an array of {found} items where {length} belong"));
        found.checked_sub(length).ok_or_else(few)
    }

    /// The number of pairs in an array of things that come in pairs.
    pub fn pairs(&mut self) -> Result<u64> {
        match self.array()? {
            items if items % 2 == 0 => Ok(items / 2),
            items => Err(Error::corrupt(format!("{items} items, which are no pairs"))),
        }
    }

    /// Reads a map whose keys are small integers. `pair` is called with each key, and must read
    /// its value or skip it. Returns the keys that were there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] for a key below 64 that occurs twice. Larger ones are not
    /// known to this version, so no value of theirs is used.
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

    /// The number of pairs of a map.
    fn map(&mut self) -> Result<u64> {
        self.0.map().map_err(malformed)?.ok_or_else(indefinite)
    }

    /// An unsigned integer.
    pub fn u64(&mut self) -> Result<u64> {
        self.0.u64().map_err(malformed)
    }

    /// An unsigned integer of 32 bits.
    pub fn u32(&mut self) -> Result<u32> {
        self.0.u32().map_err(malformed)
    }

    /// An unsigned integer of 8 bits.
    pub fn u8(&mut self) -> Result<u8> {
        self.0.u8().map_err(malformed)
    }

    /// A signed integer.
    pub fn i64(&mut self) -> Result<i64> {
        self.0.i64().map_err(malformed)
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        self.0.bytes().map_err(malformed)
    }

    /// A text string.
    pub fn text(&mut self) -> Result<&'a str> {
        self.0.str().map_err(malformed)
    }

    /// One id.
    pub fn id(&mut self) -> Result<Id> {
        Id::try_from(self.bytes()?)
    }

    /// Ids in one byte string.
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

    /// Passes over `count` items.
    pub fn skip_many(&mut self, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| self.skip())
    }

    /// Passes over one item, whatever it is.
    pub fn skip(&mut self) -> Result<()> {
        self.0.skip().map_err(malformed)
    }
}

/// The keys of a map that are below 64, as a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys(u64);

impl Keys {
    /// Whether the map had `key`; false for every key from 64 on.
    pub fn has(self, key: u64) -> bool {
        self.0 & Keys::bit(key) != 0
    }

    fn bit(key: u64) -> u64 {
        let shift = u32::try_from(key).unwrap_or(u32::MAX);
        1u64.checked_shl(shift).unwrap_or_default()
    }
}

/// A decoder's words as our error.
fn malformed(cause: minicbor::decode::Error) -> Error {
    Error::corrupt(format!("malformed CBOR: {cause}"))
}

/// The format has definite lengths only.
fn indefinite() -> Error {
    Error::corrupt("malformed CBOR: an indefinite length")
}
