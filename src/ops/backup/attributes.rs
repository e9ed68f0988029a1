//! Which of an entry's attributes go into a snapshot, and which of the last one may be used again.

use super::{Options, Switch};
use crate::error::{Error, Kind};
use crate::format::entry::Entry;
use crate::kloset::failures::Failures;

/// Extended attributes of one entry that are recorded, in bytes. Linux lets a file have more
/// only on XFS; an entry has to fit in a block.
const XATTRS_LIMIT_BYTES: usize = 1 << 20;

/// Takes extended attributes away if the user wants none, or if they are too many, which is a
/// failure. Either is noted in the entry, so that it lasts no longer than its cause.
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
    let too_many = bytes > XATTRS_LIMIT_BYTES;
    if too_many && options.skip_xattrs == Switch::Off {
        let cause =
            format!("{bytes} bytes of extended attributes are more than {XATTRS_LIMIT_BYTES}");
        failures.add(path, &Error::new(Kind::Unsupported, cause));
    }
    if too_many || options.skip_xattrs == Switch::On && !xattrs.is_empty() {
        xattrs.clear();
        entry.details_missing = true;
    }
}

/// Gives `entry` the attributes of its unchanged `old` self.
pub(super) fn reuse_details(
    entry: &mut Entry,
    old: &Entry,
    path: &[u8],
    options: &Options,
    failures: &Failures<'_>,
) {
    entry.details = old.details.clone();
    entry.details_missing = old.details_missing;
    trim_xattrs(entry, path, options, failures);
}

/// Whether the attributes of `old` are all that are wanted now.
pub(super) fn has_details(old: &Entry, options: &Options) -> bool {
    !old.details_missing || options.skip_xattrs == Switch::On
}
