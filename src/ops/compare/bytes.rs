//! Compares the bytes of two files in constant memory.

use super::side::{Bytes, Node};
use crate::error::Result;
use crate::util::interrupt::Interrupt;

/// Bytes of each file that are read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Compares up to the first difference. The common parts of two stored files are not read.
pub(super) fn are_same(a: &Node<'_>, b: &Node<'_>, interrupt: &Interrupt) -> Result<bool> {
    let (mut one, mut two) = (a.open()?, b.open()?);
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        interrupt.check()?;
        if let (Bytes::Stored(one), Bytes::Stored(two)) = (&mut one, &mut two) {
            one.skip_common(two)?;
        }
        let count = one.read(&mut left)?;
        if count != two.read(&mut right)? || left[..count] != right[..count] {
            return Ok(false);
        }
        if count < PIECE_BYTES {
            return Ok(true);
        }
    }
}
