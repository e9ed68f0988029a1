//! An index object: copies of the tables of many packs, so that opening a store does not need one
//! request per pack. It is never the only copy of any information.
//!
//! Body: `{0: [[pack id, size, table] …]}`. The *table* is encoded as in the footer of a pack, but
//! only with the first 16 bytes of each chunk id.

use super::Kloset;
use crate::error::{During, Error, Result};
use crate::format::cbor::{Reader, Writer};
use crate::format::object;
use crate::format::pack_table::{self, Ids, PackTable};
use crate::format::seal::Part;
use crate::store::Area;
use crate::util::Id;

/// CBOR key of the list of packs.
const PACKS: u64 = 0;

/// Publishes an index object that lists `tables`. Returns its name and its size in bytes.
pub fn publish(kloset: &Kloset, tables: &[PackTable]) -> Result<(Id, u64)> {
    let bytes = object::encode(kloset.sealer(), Part::Index, &encode(tables))?;
    let id = Id::of(&bytes);
    kloset
        .store()
        .put(Area::Index, id, &bytes)
        .during(|| format!("publish index {}", id.short()))?;
    Ok((id, bytes.len() as u64))
}

/// Reads the tables in the index object `id`.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] unless every byte is what was stored.
pub fn read(kloset: &Kloset, id: Id) -> Result<Vec<PackTable>> {
    let bytes = kloset.store().get(Area::Index, id);
    parse(kloset, id, bytes.during(|| reading(id))?)
}

/// Decodes the tables in the index object `id` from its bytes. Errors are those of [`read`].
pub fn parse(kloset: &Kloset, id: Id, bytes: Vec<u8>) -> Result<Vec<PackTable>> {
    object::decode(kloset.sealer(), Part::Index, id, bytes)
        .and_then(|body| decode(&body))
        .during(|| reading(id))
}

/// The context phrase of errors of reading an index object.
fn reading(id: Id) -> String {
    format!("read index {}", id.short())
}

/// The body that lists `tables`.
fn encode(tables: &[PackTable]) -> Vec<u8> {
    let mut body = Vec::new();
    Writer::new(&mut body).map(1).u64(PACKS).array(tables.len());
    tables.iter().for_each(|pack| encode_pack(pack, &mut body));
    body
}

/// Appends the copy of the table of one pack.
fn encode_pack(pack: &PackTable, body: &mut Vec<u8>) {
    Writer::new(body)
        .array(3)
        .bytes(&pack.pack.0)
        .u64(pack.size_bytes);
    pack_table::encode(pack.kind, &pack.blocks, Ids::Prefix, body);
}

/// A hash of everything that an index object records about `pack`. `pack` can also be the table
/// from a footer: only the first half of its ids is hashed.
pub fn fingerprint(pack: &PackTable) -> [u8; 16] {
    let mut body = Vec::new();
    encode_pack(pack, &mut body);
    let hash = blake3::hash(&body);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The inverse of [`encode`].
fn decode(body: &[u8]) -> Result<Vec<PackTable>> {
    let mut reader = Reader::new(body);
    let mut tables = Vec::new();
    reader.each_pair(|key, reader| match key {
        PACKS => packs(reader, &mut tables),
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(tables)
}

fn packs(reader: &mut Reader<'_>, tables: &mut Vec<PackTable>) -> Result<()> {
    for _ in 0..reader.array()? {
        let additions = reader.record(3)?;
        let (pack, size_bytes) = (reader.id()?, reader.u64()?);
        if size_bytes > Area::Packs.limit_bytes() {
            return Err(Error::corrupt(format!("a pack of {size_bytes} bytes")));
        }
        let (kind, blocks) = pack_table::decode(reader, Ids::Prefix)?;
        reader.skip_many(additions)?;
        tables.push(PackTable {
            pack,
            size_bytes,
            kind,
            blocks,
        });
    }
    Ok(())
}
