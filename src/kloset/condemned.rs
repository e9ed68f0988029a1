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
use super::progress::Event;
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
    /// Reads every condemnation in the store, and hides the packs from the index. What is no
    /// condemnation, although it is whole, was put there by someone without the key: it says
    /// nothing, and would be a cheap way to stop all backups.
    ///
    /// # Errors
    /// If one is damaged, or cannot be read: nobody can tell which packs it means.
    pub fn hide(kloset: &Kloset) -> Result<Condemned> {
        let objects = kloset.names(Area::Condemned)?;
        let mut packs = HashSet::new();
        for object in &objects {
            match read(kloset, *object) {
                Ok(Some(named)) => packs.extend(named),
                Ok(None) => kloset.observer().event(&Event::Warning(&foreign(*object))),
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

/// The packs that the condemnation `id` names; nothing if it is whole, and yet not one that a
/// holder of the key made.
pub(super) fn read(kloset: &Kloset, id: Id) -> Result<Option<Vec<Id>>> {
    let read = || -> Result<Option<Vec<Id>>> {
        kloset.get_listed(Area::Condemned, id, |bytes| {
            let bytes = object::check_name(id, bytes)?;
            let body = object::decode(kloset.sealer(), Part::Condemned, id, bytes);
            match body.and_then(|body| decode(&body)) {
                Err(error) if error.kind() == Kind::Corrupt => Ok(None),
                packs => packs.map(Some),
            }
        })
    };
    read().during(|| format!("read condemnation {}", id.short()))
}

/// The warning about an object that is no condemnation.
fn foreign(object: Id) -> Error {
    Error::corrupt("it was not made with the key of this store, and is passed over")
        .during(format!("condemnation {}", object.short()))
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
