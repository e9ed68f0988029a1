//! Which of an entry's attributes go into a snapshot.

use super::{Options, Switch};
use crate::error::{Error, Kind};
use crate::kloset::failures::Failures;
use crate::kloset::tree::Entry;

/// Extended attributes of one entry that are recorded, in bytes. Linux lets a file have more
/// only on XFS; an entry has to fit in a block.
const XATTRS_LIMIT_BYTES: usize = 1 << 20;

/// Takes extended attributes away if the user wants none, or if they are too many, which is a failure.
pub(super) fn trim_xattrs(
    entry: &mut Entry,
    path: &[u8],
    options: &Options,
    failures: &Failures<'_>,
) {
    let xattrs = &mut entry.details.xattrs;
    let bytes: usize = xattrs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > XATTRS_LIMIT_BYTES && options.skip_xattrs == Switch::Off {
        let cause =
            format!("{bytes} bytes of extended attributes are more than {XATTRS_LIMIT_BYTES}");
        failures.add(path, &Error::new(Kind::Unsupported, cause));
        xattrs.clear();
    }
    if options.skip_xattrs == Switch::On {
        xattrs.clear();
    }
}
