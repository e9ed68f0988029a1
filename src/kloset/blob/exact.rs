//! Reading a chunk from one place, whatever other places there are: for who wants to know whether
//! that copy is good, or moves it.

use super::BlobReader;
use super::decoded::slice;
use crate::error::Result;
use crate::kloset::index::Place;
use crate::util::Id;

impl BlobReader<'_> {
    /// Calls `use_it` with the plain bytes of the chunk as it is at `place`.
    ///
    /// # Errors
    /// [`Corrupt`](crate::error::Kind::Corrupt) or [`NotFound`](crate::error::Kind::NotFound) if it
    /// is not there.
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
