//! Contents to send: a request body or a file, readable again for a retry.

use crate::error::Result;

/// Bytes that can be read from any offset, repeatedly.
pub trait Content: Sync {
    /// The total length in bytes.
    fn size_bytes(&self) -> u64;

    /// Appends the bytes at `offset`, which is below the end, to `to`: at least one byte, at most
    /// `most`.
    fn append(&self, offset: u64, most: usize, to: &mut Vec<u8>) -> Result<()>;
}

/// Bytes in memory.
impl Content for &[u8] {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn append(&self, offset: u64, most: usize, to: &mut Vec<u8>) -> Result<()> {
        let rest = &self[usize::try_from(offset).unwrap_or(self.len())..];
        to.extend_from_slice(&rest[..rest.len().min(most)]);
        Ok(())
    }
}
