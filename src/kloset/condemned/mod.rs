//! Condemned packs: packs that maintenance will delete after a grace period.
//!
//! A condemnation is final. From the moment a client reads it, that client no longer relies on the
//! packs it lists. Data in these packs that is needed again is stored again or copied to another
//! pack. A condemned pack is never reinstated. [`collect`](crate::ops::collect) explains why this
//! is safe.
//!
//! A backup, and every other writer of snapshots, [hides](Condemned::hide) condemned packs from its
//! index when it starts, so their contents are stored again. It [reads the
//! condemnations](Condemned::publish) again before it publishes the snapshot, and once more
//! afterwards.
//!
//! Body: `{0: pack ids in one byte string, 1: salt, 2: 1 if the packs are gone}`. The salt makes
//! each condemnation a separate object. Without it, a new condemnation would have the same name as
//! an older one of the same packs, and would look older than it is. When packs have been deleted, a
//! condemnation marked as gone replaces the original one for another grace period. During that
//! period, no sync creates packs with the same names, which another process might be about to
//! delete.

mod guard;

use std::collections::HashMap;

use super::Kloset;
use super::progress::Event;
use crate::error::{During, Error, Kind, Result};
use crate::format::cbor::{Reader, Writer};
use crate::format::master::random;
use crate::format::object;
use crate::format::seal::Part;
use crate::store::{Area, Object};
use crate::util::Id;

pub use crate::kloset::condemned::guard::Condemned;

/// CBOR key of the pack ids.
const PACKS: u64 = 0;
/// CBOR key of the salt.
const SALT: u64 = 1;
/// CBOR key of the flag for deleted packs.
const GONE: u64 = 2;
/// Length of the salt.
const SALT_BYTES: usize = 16;
/// Maximum number of packs in one condemnation: 3 MB.
pub(crate) const PACKS_LIMIT: usize = 100_000;

/// Packs that were condemned together, as read from one object.
pub(crate) struct Condemnation {
    /// The id of the object that lists them.
    pub(crate) object: Id,
    /// Modification time of the object by the store's clock, in nanoseconds since 1970.
    pub(crate) since_ns: i64,
    pub(crate) packs: Vec<Id>,
    /// Whether they were deleted.
    pub(crate) fate: Fate,
}

/// The state of condemned packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They are waiting for the grace period to end.
    Doomed,
    /// They were deleted after the grace period.
    Gone,
}

/// Reads every condemnation in the store.
///
/// An object that is whole but not a condemnation was put there by someone without the key. It is
/// skipped with a warning: it has no authority, and failing on it would be a cheap way to stop all
/// backups.
///
/// # Errors
/// [`Kind::Corrupt`] if a condemnation is damaged, because it is then unknown which packs it lists.
/// The errors of the store.
pub(crate) fn list(kloset: &Kloset) -> Result<Vec<Condemnation>> {
    let mut condemnations = Vec::new();
    for object in objects(kloset)? {
        condemnations.extend(read_listed(kloset, object)?);
    }
    Ok(condemnations)
}

/// Lists the condemned packs of all readable condemnations. For each pack, this returns the time of
/// the latest condemnation by the store's clock, in nanoseconds since 1970.
pub(crate) fn names_readable(kloset: &Kloset) -> Result<HashMap<Id, i64>> {
    let mut packs = HashMap::new();
    for object in objects(kloset)? {
        match read(kloset, object.id) {
            Ok(named) => {
                for pack in named.into_iter().flat_map(|(packs, _)| packs) {
                    let since_ns = packs.entry(pack).or_insert(object.modified_ns);
                    *since_ns = object.modified_ns.max(*since_ns);
                }
            }
            Err(error) if error.is_of_one_object() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(packs)
}

/// Lists the objects of the area without reading them.
pub(crate) fn objects(kloset: &Kloset) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let listed = kloset.store().list(Area::Condemned, &mut |object| {
        objects.push(object);
        Ok(())
    });
    listed.during(|| "list condemned")?;
    Ok(objects)
}

/// Reads a listed condemnation. Returns `None` if it was deleted meanwhile or is not a
/// condemnation.
pub(crate) fn read_listed(kloset: &Kloset, object: Object) -> Result<Option<Condemnation>> {
    match read(kloset, object.id) {
        Ok(Some((packs, fate))) => Ok(Some(Condemnation {
            object: object.id,
            since_ns: object.modified_ns,
            packs,
            fate,
        })),
        Ok(None) => {
            let foreign = foreign(object.id);
            kloset.observer().event(&Event::Warning(&foreign));
            Ok(None)
        }
        // A condemnation is deleted after the packs that it lists, and these must not be relied on.
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) if error.kind() == Kind::Corrupt => Err(error.during(
            "the condemned packs are unknown until repair -apply removes the damaged object",
        )),
        Err(error) => Err(error),
    }
}

/// Lists the damaged condemnations. It is unknown which packs these list.
pub(crate) fn damaged(kloset: &Kloset) -> Result<Vec<Id>> {
    let mut damaged = Vec::new();
    for object in objects(kloset)? {
        match read(kloset, object.id) {
            Err(error) if error.kind() == Kind::Corrupt => {
                kloset.observer().event(&Event::Warning(&error));
                damaged.push(object.id);
            }
            Err(error) if !error.is_of_one_object() => return Err(error),
            _ => {}
        }
    }
    Ok(damaged)
}

/// Publishes a condemnation of `packs`, at most [`PACKS_LIMIT`] of them. It is durable on return.
pub(crate) fn publish(kloset: &Kloset, packs: &[Id], fate: Fate) -> Result<Object> {
    let publish = || -> Result<Object> {
        let bytes = object::encode(kloset.sealer(), Part::Condemned, &encode(packs, fate)?)?;
        let id = Id::of(&bytes);
        kloset.store().put(Area::Condemned, id, &bytes)?;
        kloset.store().stat(Area::Condemned, id)
    };
    publish().during(|| "condemn packs")
}

/// Checks whether the store permits deletion, by deleting an object that does not exist.
///
/// Without this check, every run on a store that does not permit deletion would leave another
/// useless condemnation there.
///
/// # Errors
/// [`Kind::Denied`] if the store does not permit deletion.
pub(crate) fn ask_to_delete(kloset: &Kloset) -> Result<()> {
    kloset.store().delete(Area::Condemned, Id(random()?))
}

/// The current time by the store's clock, in nanoseconds since 1970, or slightly earlier. This is
/// the modification time of an empty condemnation, which is published for this purpose and then
/// deleted.
pub(crate) fn store_now_ns(kloset: &Kloset) -> Result<i64> {
    let now = || -> Result<i64> {
        ask_to_delete(kloset)?;
        let probe = publish(kloset, &[], Fate::Gone)?;
        kloset.store().delete(Area::Condemned, probe.id)?;
        Ok(probe.modified_ns)
    };
    now().during(|| "ask for the time of the store")
}

/// Reads the packs that the condemnation `id` lists, and their fate. Returns `None` if the object
/// is whole but was not written by a holder of the key.
pub(crate) fn read(kloset: &Kloset, id: Id) -> Result<Option<(Vec<Id>, Fate)>> {
    let read = || -> Result<Option<(Vec<Id>, Fate)>> {
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

/// The warning about an object that is not a condemnation.
fn foreign(object: Id) -> Error {
    Error::corrupt("it was not created with the key of this store; skipped")
        .during(format!("condemnation {}", object.short()))
}

/// Encodes the body of a condemnation with a new salt.
fn encode(packs: &[Id], fate: Fate) -> Result<Vec<u8>> {
    let salt: [u8; SALT_BYTES] = random()?;
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    let is_gone = fate == Fate::Gone;
    writer.map(2 + usize::from(is_gone)).u64(PACKS).ids(packs);
    writer.u64(SALT).bytes(&salt);
    if is_gone {
        writer.u64(GONE).u64(1);
    }
    Ok(body)
}

/// The inverse of [`encode`], except that it ignores the salt.
fn decode(body: &[u8]) -> Result<(Vec<Id>, Fate)> {
    let mut reader = Reader::new(body);
    let (mut packs, mut fate) = (Vec::new(), Fate::Doomed);
    reader.each_pair(|key, reader| {
        match key {
            PACKS => packs = reader.ids()?,
            GONE if reader.u64()? == 1 => fate = Fate::Gone,
            GONE => {}
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    reader.end()?;
    Ok((packs, fate))
}
