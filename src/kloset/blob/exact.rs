//! Reads a chunk from one given place, regardless of other copies. Used to verify or to move that
//! copy.

use super::BlobReader;
use super::decoded::slice;
use crate::error::Result;
use crate::kloset::index::Place;
use crate::util::Id;

impl BlobReader<'_> {
    /// Calls `use_it` with the plain bytes of the copy of the chunk at `place`.
    ///
    /// # Errors
    /// [`Corrupt`](crate::error::Kind::Corrupt) or [`NotFound`](crate::error::Kind::NotFound) if
    /// the chunk is not at `place`.
    pub fn with_at<T>(
        &self,
        id: &Id,
        place: &Place,
        use_it: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let block = self.at(id, place)?;
        use_it(slice(&block, place))
    }
}
