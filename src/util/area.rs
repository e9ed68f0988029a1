//! Areas: the kinds of objects in a store.

/// The kind of an object. CONFIG has no area, because it has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// Key slots, one per passphrase.
    Keys,
    /// Blocks of chunks, sealed together.
    Packs,
    /// The contents of each pack.
    Index,
    /// One object per snapshot.
    Snapshots,
    /// Packs that maintenance intends to delete, with the time at which it decided so.
    Condemned,
}

impl Area {
    /// All areas, in the order in which they are created.
    pub const ALL: [Area; 5] = [
        Area::Keys,
        Area::Packs,
        Area::Index,
        Area::Snapshots,
        Area::Condemned,
    ];

    /// The name of this area in directories and URLs.
    pub fn name(self) -> &'static str {
        match self {
            Area::Keys => "keys",
            Area::Packs => "packs",
            Area::Index => "index",
            Area::Snapshots => "snapshots",
            Area::Condemned => "condemned",
        }
    }

    /// The size limit of an object in this area, in bytes. Readers reject larger objects before
    /// they allocate memory.
    pub fn limit_bytes(self) -> u64 {
        match self {
            Area::Keys => 64 << 10,
            Area::Packs => 256 << 20,
            Area::Index => 64 << 20,
            Area::Snapshots | Area::Condemned => 16 << 20,
        }
    }

    /// The maximum number of objects in a listing of this area. A store with more objects is not a
    /// plakar store: it would hold 256 TiB, or a million backups. This bounds the memory that an
    /// endless listing of a hostile server can use: about 100 bytes per object.
    pub fn limit_objects(self) -> usize {
        match self {
            Area::Keys => 10_000,
            Area::Packs => 1 << 24,
            Area::Index | Area::Snapshots | Area::Condemned => 1_000_000,
        }
    }
}
