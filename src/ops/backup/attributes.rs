//! Decides which attributes of an entry are recorded, and which of the last snapshot are reused.

use super::{Options, Switch};
use crate::error::{Error, Kind};
use crate::format::entry::Entry;
use crate::kloset::failures::Failures;

/// Maximum size of the recorded extended attributes of one entry, in bytes. Linux allows more only on
/// XFS; an entry must fit in a block.
const XATTRS_LIMIT_BYTES: usize = 1 << 20;

/// Removes extended attributes if the user does not want them, or if they are too large, which is a
/// failure. The entry records either case, so that a later backup reads the attributes once the cause
/// is gone.
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

/// Copies the attributes of the unchanged `old` entry to `entry`.
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

/// Whether `old` has all attributes that the options request.
pub(super) fn has_details(old: &Entry, options: &Options) -> bool {
    !old.details_missing || options.skip_xattrs == Switch::On
}
