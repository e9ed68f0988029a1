//! A body that is sent, and can be sent again.

use crate::error::Result;

/// Bytes that can be read from any place, as often as it takes.
pub trait Content: Sync {
    /// How many there are.
    fn size_bytes(&self) -> u64;

    /// Some of the bytes from `offset` on, which is below the end: at least one, at most
    /// `most`. They may be put into `buffer`, or lie elsewhere.
    fn piece<'a>(&'a self, offset: u64, most: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]>;
}

/// Bytes in memory.
impl Content for &[u8] {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn piece<'a>(&'a self, offset: u64, most: usize, _: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let rest = &self[usize::try_from(offset).unwrap_or(self.len())..];
        Ok(&rest[..rest.len().min(most)])
    }
}
