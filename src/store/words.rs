//! What areas and objects are called in messages, the same for every store.
//!
//! A person reads `read pack 9f2c41d0: no such file or directory` whichever
//! store it came from. Nothing here knows how objects are kept.

use super::Area;
use crate::util::Id;

/// One object, by kind and the start of its id: `pack 9f2c41d0`.
pub(super) fn object(area: Area, id: Id) -> String {
    format!("{} {}", noun(area), id.short())
}

/// One object of `area` whose id is not known, or of no interest.
pub(super) fn noun(area: Area) -> &'static str {
    match area {
        Area::Keys => "key",
        Area::Packs => "pack",
        Area::Index => "index",
        Area::Snapshots => "snapshot",
        Area::Condemned => "condemnation",
    }
}

/// That an area has more objects than any of ours, which is `limit`.
pub(super) fn too_many(limit: usize) -> String {
    format!("more than {limit} objects are listed")
}
