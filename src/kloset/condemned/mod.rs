//! Condemned packs: those that maintenance means to delete once a grace period is over.
//!
//! A condemnation is final: whoever looks at these objects relies on nothing in the packs that they
//! name, from then on. If something in there is needed after all, it is stored or copied to another
//! pack; no pack is ever taken back. [`collect`](crate::ops::collect) argues why that is enough.
//!
//! A backup, and whoever else makes snapshots, [hides](Condemned::hide) them from its index
//! when it begins, so that what lies in them is stored anew, and [looks again](Condemned::publish)
//! before it publishes, and after.
//!
//! Body: `{0: pack ids in one byte string, 1: salt, 2: 1 if the packs are gone}`. The salt makes each
//! condemnation an object of its own: an older one of the same packs would make it look older than
//! it is. Once packs are gone, a condemnation that says so takes the place of the one that doomed
//! them, for another grace: until then no sync gives their names again, which somebody may be
//! about to delete.

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

/// The key of the list of packs.
const PACKS: u64 = 0;
/// The key of the salt.
const SALT: u64 = 1;
/// The key of whether the packs are gone.
const GONE: u64 = 2;
/// Random bytes in each.
const SALT_BYTES: usize = 16;
/// Packs that one condemnation names at most: 3 MB.
pub(crate) const PACKS_LIMIT: usize = 100_000;

/// Packs that were condemned together.
pub(crate) struct Condemnation {
    /// The object that says so.
    pub(crate) object: Id,
    /// When it was published, by the store's clock, in nanoseconds since 1970.
    pub(crate) since_ns: i64,
    /// The packs.
    pub(crate) packs: Vec<Id>,
    /// What has become of them.
    pub(crate) fate: Fate,
}

/// What has become of condemned packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They wait.
    Doomed,
    /// They were deleted.
    Gone,
}

/// Every condemnation in the store. What is none, although it is whole, was put there by someone
/// without the key: it says nothing, and would be a cheap way to stop all backups.
///
/// # Errors
/// If one is damaged, or cannot be read: nobody can tell which packs it means.
pub(crate) fn list(kloset: &Kloset) -> Result<Vec<Condemnation>> {
    let mut condemnations = Vec::new();
    for object in objects(kloset)? {
        condemnations.extend(read_listed(kloset, object)?);
    }
    Ok(condemnations)
}

/// The packs that are condemned, as far as can be read, and since when at the latest, by the
/// store's clock in nanoseconds since 1970.
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

/// The objects of the area, unread.
pub(crate) fn objects(kloset: &Kloset) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let listed = kloset.store().list(Area::Condemned, &mut |object| {
        objects.push(object);
        Ok(())
    });
    listed.during(|| "list condemned")?;
    Ok(objects)
}

/// The condemnation in an object that was listed, unless it is gone or no condemnation.
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
        // It goes after the packs that it names, and these were not to be relied on.
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) if error.kind() == Kind::Corrupt => Err(error.during(
            "which packs are condemned cannot be told until repair -apply removes what is damaged",
        )),
        Err(error) => Err(error),
    }
}

/// The condemnations that are damaged: nobody learns from them which packs they mean.
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

/// Condemns `packs`, of which there are at most [`PACKS_LIMIT`]; durable on return.
pub(crate) fn publish(kloset: &Kloset, packs: &[Id], fate: Fate) -> Result<Object> {
    let publish = || -> Result<Object> {
        let bytes = object::encode(kloset.sealer(), Part::Condemned, &encode(packs, fate)?)?;
        let id = Id::of(&bytes);
        kloset.store().put(Area::Condemned, id, &bytes)?;
        kloset.store().stat(Area::Condemned, id)
    };
    publish().during(|| "condemn packs")
}

/// Asks the store whether it lets us delete, by deleting what is not there: one that does not would
/// otherwise be left with what was put there in vain, once more each time.
///
/// # Errors
/// [`Kind::Denied`] if it does not.
pub(crate) fn ask_to_delete(kloset: &Kloset) -> Result<()> {
    kloset.store().delete(Area::Condemned, Id(random()?))
}

/// The time by the store's clock, in nanoseconds since 1970, or a little earlier: when a
/// condemnation of nothing was published just now, which is then taken away.
pub(crate) fn store_now_ns(kloset: &Kloset) -> Result<i64> {
    let now = || -> Result<i64> {
        ask_to_delete(kloset)?;
        let probe = publish(kloset, &[], Fate::Gone)?;
        kloset.store().delete(Area::Condemned, probe.id)?;
        Ok(probe.modified_ns)
    };
    now().during(|| "ask for the time of the store")
}

/// The packs that the condemnation `id` names, and their fate; nothing if it is whole, and yet not one that a
/// holder of the key made.
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

/// The warning about an object that is no condemnation.
fn foreign(object: Id) -> Error {
    Error::corrupt("it was not made with the key of this store, and is passed over")
        .during(format!("condemnation {}", object.short()))
}

/// The body that names `packs`.
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

/// What a body tells: the inverse of [`encode`], but for the salt.
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
