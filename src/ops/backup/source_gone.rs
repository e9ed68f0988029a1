//! A source that is gone as a whole: then no snapshot is made. One without all that could not
//! be reached would look like one of files that were deleted.

use crate::connector::Source;
use crate::error::{Error, Kind, Result};

/// # Errors
/// [`Kind::Unavailable`] if the source is gone.
pub(super) fn expect(source: &dyn Source) -> Result<()> {
    match source.is_lost() {
        false => Ok(()),
        true => Err(Error::new(Kind::Unavailable, "the source is gone")),
    }
}

/// `error` if it says something of the item at which it showed.
///
/// # Errors
/// [`Kind::Unavailable`] if it says that the source is gone.
pub(super) fn of_item(source: &dyn Source, error: Error) -> Result<Error> {
    match error.kind() == Kind::Unavailable && source.is_lost() {
        false => Ok(error),
        true => Err(error.during("the source is gone")),
    }
}
