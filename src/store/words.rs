//! The names of areas and objects in messages, the same for every store.
//!
//! A message such as `read pack 9f2c41d0: no such file or directory` does not depend on the kind of
//! store. This module does not know how objects are stored.

use super::Area;
use crate::util::Id;

/// Names an object by its kind and the start of its id: `pack 9f2c41d0`.
pub(super) fn object(area: Area, id: Id) -> String {
    format!("{} {}", noun(area), id.short())
}

/// Names an object of `area` without an id.
pub(super) fn noun(area: Area) -> &'static str {
    match area {
        Area::Keys => "key",
        Area::Packs => "pack",
        Area::Index => "index",
        Area::Snapshots => "snapshot",
        Area::Condemned => "condemnation",
    }
}

/// The message for an area with more than `limit` objects, the maximum for its kind.
pub(super) fn too_many(limit: usize) -> String {
    format!("more than {limit} objects are listed")
}
