//! Detects that a whole source is unavailable. Then no snapshot is created: a snapshot without the
//! unreachable files would look as if these files had been deleted.

use crate::connector::Source;
use crate::error::{Error, Kind, Result};

/// # Errors
/// [`Kind::Unavailable`] if the source is unavailable.
pub(super) fn expect(source: &dyn Source) -> Result<()> {
    match source.is_lost() {
        false => Ok(()),
        true => Err(Error::new(Kind::Unavailable, "the source is gone")),
    }
}

/// Returns `error` if it concerns only the item for which it occurred.
///
/// # Errors
/// [`Kind::Unavailable`] if the whole source is unavailable.
pub(super) fn of_item(source: &dyn Source, error: Error) -> Result<Error> {
    match error.kind() == Kind::Unavailable && source.is_lost() {
        false => Ok(error),
        true => Err(error.during("the source is gone")),
    }
}
