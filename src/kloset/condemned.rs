//! Condemned packs: those that maintenance means to delete once a grace period is over.
//!
//! A backup must not let a new snapshot refer to one. It hides them from its index when
//! it begins, so that what lies in them is stored anew, and looks again before it
//! publishes: if others were condemned meanwhile, chunks it counted on may go.
//!
//! Body: `{0: pack ids in one byte string}`.

use std::collections::HashSet;

use super::Kloset;
use super::cbor::Reader;
use super::object;
use super::seal::Part;
use crate::error::{During, Error, Kind, Result};
use crate::store::Area;
use crate::util::Id;

/// The key of the list of packs.
const PACKS: u64 = 0;

/// The condemnations a backup knows of.
pub struct Condemned {
    objects: HashSet<Id>,
    packs: HashSet<Id>,
}

impl Condemned {
    /// Reads every condemnation in the store, and hides the packs from the index.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if one cannot be read: nobody can tell which packs it means.
    pub fn hide(kloset: &Kloset) -> Result<Condemned> {
        let objects = kloset.names(Area::Condemned)?;
        let mut packs = HashSet::new();
        for object in &objects {
            match read(kloset, *object) {
                Ok(named) => packs.extend(named),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        kloset.index()?.exclude_packs(&packs);
        Ok(Condemned { objects, packs })
    }

    /// The packs that are condemned.
    pub fn packs(&self) -> &HashSet<Id> {
        &self.packs
    }

    /// # Errors
    /// [`Kind::Unavailable`] if packs were condemned since: what was counted on may go.
    pub fn check_none_since(&self, kloset: &Kloset) -> Result<()> {
        match kloset.names(Area::Condemned)?.is_subset(&self.objects) {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Unavailable,
                "maintenance condemned packs during this backup; run it again",
            )),
        }
    }
}

/// The packs that the condemnation `id` names.
fn read(kloset: &Kloset, id: Id) -> Result<Vec<Id>> {
    let read = || -> Result<Vec<Id>> {
        let bytes = kloset.store().get(Area::Condemned, id)?;
        decode(&object::decode(
            kloset.sealer(),
            Part::Condemned,
            id,
            bytes,
        )?)
    };
    read().during(|| format!("read condemnation {}", id.short()))
}

/// The packs that a body names.
fn decode(body: &[u8]) -> Result<Vec<Id>> {
    let mut reader = Reader::new(body);
    let mut packs = Vec::new();
    for _ in 0..reader.map()? {
        match reader.u64()? {
            PACKS => packs = reader.ids()?,
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    Ok(packs)
}
