//! A snapshot: a root tree with its metadata: who made it, when, where and from which source.
//!
//! The id of a snapshot is random, and is kept when the snapshot is copied to another store. The
//! object that contains it is named by the hash of its bytes, like every object. A backup exists
//! from the moment this object is published. The labels can be changed later: see [`stored`].

mod stored;

use std::time::Duration;

use super::Kloset;
use super::cache::Original;
use crate::error::{During, Error, Result};
use crate::format::cbor::{Reader, Writer};
use crate::format::entry::{Entry, Totals};
use crate::format::object;
use crate::format::seal::Part;
use crate::store::Area;
use crate::util::Id;

pub use stored::{Stored, amend, damage, list, one_each, remove, remove_object, revise, take_back};

/// Maximum number of errors recorded in a snapshot. Further errors are only counted.
pub const ERRORS_LIMIT: usize = 1000;

/// The metadata of a snapshot that users can change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The name of the snapshot.
    pub name: String,
    /// A category; free text.
    pub category: String,
    /// An environment, such as `production`.
    pub environment: String,
    /// A perimeter; free text.
    pub perimeter: String,
    /// The job that created the snapshot.
    pub job: String,
    /// Tags, sorted and unique.
    pub tags: Vec<String>,
}

/// A path that could not be backed up, and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Raw bytes of the path from the root.
    pub path: Vec<u8>,
    /// The error message.
    pub cause: String,
}

/// All data recorded about one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Random. Kept when the snapshot is copied to another store.
    pub id: Id,
    /// Time of the backup, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Duration of the backup.
    pub duration: Duration,
    /// The paths that were backed up: absolute paths as raw bytes.
    pub roots: Vec<Vec<u8>>,
    /// The directory `/`, with its tree.
    pub root: Entry,
    /// The machine that the files are on.
    pub origin: String,
    /// The kind of source: `fs` or `sftp`.
    pub source: String,
    /// The machine that ran the backup.
    pub host: String,
    /// The user who ran the backup.
    pub user: String,
    /// The metadata that users can change.
    pub labels: Labels,
    /// Number of items that failed.
    pub error_count: u64,
    /// The first [`ERRORS_LIMIT`] failures. Empty in a snapshot from [`list`].
    pub errors: Vec<Failure>,
    /// Name and version of the program that ran the backup.
    pub program: String,
    /// How many times the labels were changed.
    pub revision: u64,
    /// When the snapshot was copied from another store, or from another snapshot of this store:
    /// nanoseconds since 1970, by the clock of the copying machine. `None` for a snapshot that a
    /// backup created.
    ///
    /// A copied snapshot is published long after its time. So is a snapshot with a forged time,
    /// which an attacker creates to make retention remove genuine ones. This field distinguishes
    /// the two, as long as no attacker has the key: a holder of the key can forge this field too.
    pub synced_ns: Option<i64>,
}

/// CBOR keys of the map. They are part of the format: never renumber them.
mod key {
    pub(crate) const ID: u64 = 0;
    pub(crate) const TIME: u64 = 1;
    pub(crate) const DURATION: u64 = 2;
    pub(crate) const ROOTS: u64 = 3;
    pub(crate) const ROOT: u64 = 4;
    pub(crate) const ORIGIN: u64 = 5;
    pub(crate) const SOURCE: u64 = 6;
    pub(crate) const HOST: u64 = 7;
    pub(crate) const USER: u64 = 8;
    pub(crate) const NAME: u64 = 9;
    pub(crate) const CATEGORY: u64 = 10;
    pub(crate) const ENVIRONMENT: u64 = 11;
    pub(crate) const PERIMETER: u64 = 12;
    pub(crate) const JOB: u64 = 13;
    pub(crate) const TAGS: u64 = 14;
    pub(crate) const ERROR_COUNT: u64 = 15;
    pub(crate) const ERRORS: u64 = 16;
    pub(crate) const PROGRAM: u64 = 17;
    pub(crate) const REVISION: u64 = 18;
    pub(crate) const SYNCED: u64 = 19;
    /// Number of keys that are always written.
    pub(crate) const COUNT: usize = 18;
}

/// The name under which the root entry is encoded. It must be a valid name, but is not used.
const ROOT_NAME: &[u8] = b"root";

impl Snapshot {
    /// The totals of everything below the root.
    pub fn totals(&self) -> Totals {
        self.root.below
    }

    /// Identifies everything that the backup recorded, including each byte of each file, because
    /// the root tree is identified by keyed hashes. Changing labels, and copying to a store with
    /// the same key, do not change the digest. The list of errors is not part of it.
    pub fn digest(&self) -> Id {
        let recorded = Snapshot {
            errors: Vec::new(),
            ..self.without_labels()
        };
        Id::of(&recorded.encode())
    }

    /// Identifies the source of the backup. All snapshots of the same paths of a source have the
    /// same value.
    pub fn source_digest(&self) -> Id {
        let source = Snapshot {
            roots: self.roots.clone(),
            origin: self.origin.clone(),
            source: self.source.clone(),
            ..Snapshot::default()
        };
        Id::of(&source.encode())
    }

    /// The snapshot as the backup created it: without labels, and neither changed nor copied.
    fn without_labels(&self) -> Snapshot {
        Snapshot {
            labels: Labels::default(),
            revision: 0,
            synced_ns: None,
            ..self.clone()
        }
    }

    /// The deepest directory that contains everything backed up, as raw bytes. Relative paths in
    /// `SNAPSHOT:PATH` start here. If only one path was backed up, it is that path.
    pub fn base(&self) -> Vec<u8> {
        common_directory(&self.roots)
    }

    /// Encodes the body of the object.
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        let duration_ns = u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX);
        let is_revised = self.revision > 0;
        let optional = usize::from(is_revised) + usize::from(self.synced_ns.is_some());
        writer
            .map(key::COUNT + optional)
            .u64(key::ID)
            .bytes(&self.id.0)
            .u64(key::TIME)
            .i64(self.time_ns);
        writer
            .u64(key::DURATION)
            .u64(duration_ns)
            .u64(key::ROOTS)
            .array(self.roots.len());
        self.roots.iter().for_each(|root| {
            writer.bytes(root);
        });
        let mut root = Vec::new();
        Entry {
            name: ROOT_NAME.to_vec(),
            ..self.root.clone()
        }
        .encode(&mut root);
        writer.u64(key::ROOT).bytes(&root);
        for (key, text) in self.texts() {
            writer.u64(key).text(text);
        }
        writer.u64(key::TAGS).array(self.labels.tags.len());
        self.labels.tags.iter().for_each(|tag| {
            writer.text(tag);
        });
        writer
            .u64(key::ERROR_COUNT)
            .u64(self.error_count)
            .u64(key::ERRORS)
            .array(2 * self.errors.len());
        self.errors.iter().for_each(|error| {
            writer.bytes(&error.path).text(&error.cause);
        });
        if is_revised {
            writer.u64(key::REVISION).u64(self.revision);
        }
        if let Some(synced_ns) = self.synced_ns {
            writer.u64(key::SYNCED).i64(synced_ns);
        }
        body
    }

    /// The text values, with their keys.
    fn texts(&self) -> [(u64, &str); 10] {
        [
            (key::ORIGIN, &self.origin),
            (key::SOURCE, &self.source),
            (key::HOST, &self.host),
            (key::USER, &self.user),
            (key::NAME, &self.labels.name),
            (key::CATEGORY, &self.labels.category),
            (key::ENVIRONMENT, &self.labels.environment),
            (key::PERIMETER, &self.labels.perimeter),
            (key::JOB, &self.labels.job),
            (key::PROGRAM, &self.program),
        ]
    }

    /// The inverse of [`Snapshot::encode`], except for what `detail` omits.
    fn decode(body: &[u8], detail: Detail) -> Result<Snapshot> {
        let mut reader = Reader::new(body);
        let mut snapshot = Snapshot::default();
        let (mut id, mut root) = (None, None);
        reader.each_pair(|key, reader| {
            match key {
                key::ID => id = Some(reader.id()?),
                key::ROOT => root = Some(root_entry(reader.bytes()?)?),
                // Decoded even if the result is not used, so that listing reports the same damage
                // as a full read.
                key::ERRORS if detail == Detail::Brief => drop(failures(reader)?),
                other => snapshot.decode_pair(other, reader)?,
            }
            Ok(())
        })?;
        reader.end()?;
        let (Some(id), Some(root)) = (id, root.filter(Entry::is_dir)) else {
            return Err(Error::corrupt("a snapshot without id or root directory"));
        };
        Ok(Snapshot {
            id,
            root: Entry {
                name: Vec::new(),
                ..root
            },
            ..snapshot
        })
    }

    /// Reads the value of `key`.
    fn decode_pair(&mut self, key: u64, reader: &mut Reader<'_>) -> Result<()> {
        match key {
            key::TIME => self.time_ns = reader.i64()?,
            key::DURATION => self.duration = Duration::from_nanos(reader.u64()?),
            key::ROOTS => self.roots = items(reader, |reader| Ok(reader.bytes()?.to_vec()))?,
            key::ORIGIN => self.origin = reader.text()?.to_owned(),
            key::SOURCE => self.source = reader.text()?.to_owned(),
            key::HOST => self.host = reader.text()?.to_owned(),
            key::USER => self.user = reader.text()?.to_owned(),
            key::NAME => self.labels.name = reader.text()?.to_owned(),
            key::CATEGORY => self.labels.category = reader.text()?.to_owned(),
            key::ENVIRONMENT => self.labels.environment = reader.text()?.to_owned(),
            key::PERIMETER => self.labels.perimeter = reader.text()?.to_owned(),
            key::JOB => self.labels.job = reader.text()?.to_owned(),
            key::TAGS => self.labels.tags = items(reader, |reader| Ok(reader.text()?.to_owned()))?,
            key::ERROR_COUNT => self.error_count = reader.u64()?,
            key::ERRORS => self.errors = failures(reader)?,
            key::PROGRAM => self.program = reader.text()?.to_owned(),
            key::REVISION => self.revision = reader.u64()?,
            key::SYNCED => self.synced_ns = Some(reader.i64()?),
            _ => reader.skip()?,
        }
        Ok(())
    }
}

/// The deepest directory that contains all of the absolute `paths`, or is one of them; `/` if there
/// are no paths.
pub fn common_directory(paths: &[Vec<u8>]) -> Vec<u8> {
    let Some((first, rest)) = paths.split_first() else {
        return b"/".to_vec();
    };
    let names = |path: &[u8]| {
        path.split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let mut common: Vec<Vec<u8>> = names(first);
    for path in rest {
        let pairs = common.iter().zip(path.split(|byte| *byte == b'/'));
        let same = pairs.take_while(|(one, other)| *one == other).count();
        common.truncate(same);
    }
    match common.join(&b'/') {
        path if path.is_empty() => b"/".to_vec(),
        path => path,
    }
}

/// Decodes an entry that occupies all of `bytes`.
fn root_entry(bytes: &[u8]) -> Result<Entry> {
    let mut reader = Reader::new(bytes);
    let root = Entry::decode(&mut reader)?;
    reader.end()?;
    Ok(root)
}

/// Reads an array; `item` reads one item.
fn items<T>(
    reader: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..reader.array()?).map(|_| item(reader)).collect()
}

/// Reads an array of alternating paths and causes.
fn failures(reader: &mut Reader<'_>) -> Result<Vec<Failure>> {
    let failure = |reader: &mut Reader<'_>| {
        Ok(Failure {
            path: reader.bytes()?.to_vec(),
            cause: reader.text()?.to_owned(),
        })
    };
    (0..reader.pairs()?).map(|_| failure(reader)).collect()
}

/// Publishes `snapshot` and returns the size of its object. It is durable on return.
pub fn publish(kloset: &Kloset, snapshot: &Snapshot) -> Result<u64> {
    publish_object(kloset, snapshot).map(|(_, size_bytes)| size_bytes)
}

/// Publishes `snapshot` and returns the name and the size of its object.
fn publish_object(kloset: &Kloset, snapshot: &Snapshot) -> Result<(Id, u64)> {
    let publish = || -> Result<(Id, u64)> {
        let bytes = object::encode(kloset.sealer(), Part::Snapshot, &snapshot.encode())?;
        let id = Id::of(&bytes);
        kloset.store().put(Area::Snapshots, id, &bytes)?;
        if let Some(copies) = kloset.copies() {
            copies.keep(Original::Object(Area::Snapshots, id), &bytes);
        }
        Ok((id, bytes.len() as u64))
    };
    publish().during(|| format!("publish snapshot {}", snapshot.id.short()))
}

/// How much of a snapshot to keep in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Full,
    /// All except the list of errors. The lists of many snapshots would need too much memory.
    Brief,
}

/// Reads the snapshot in the object `object`, which was listed.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] unless every byte is what was stored.
pub fn read(kloset: &Kloset, object: Id) -> Result<Snapshot> {
    read_as(kloset, object, Detail::Full)
}

/// Decodes the snapshot in the object `object` from its bytes. Errors are those of [`read`].
pub fn parse(kloset: &Kloset, object: Id, bytes: Vec<u8>) -> Result<Snapshot> {
    decode_object(kloset, object, bytes, Detail::Full).during(|| reading(object))
}

/// Reads a snapshot like [`read`], in this `detail`.
fn read_as(kloset: &Kloset, object: Id, detail: Detail) -> Result<Snapshot> {
    kloset
        .get_listed(Area::Snapshots, object, |bytes| {
            decode_object(kloset, object, bytes, detail)
        })
        .during(|| reading(object))
}

/// Verifies and decodes the snapshot in `bytes`, in this `detail`.
fn decode_object(kloset: &Kloset, object: Id, bytes: Vec<u8>, detail: Detail) -> Result<Snapshot> {
    object::decode(kloset.sealer(), Part::Snapshot, object, bytes)
        .and_then(|body| Snapshot::decode(&body, detail))
}

/// The context phrase of errors of reading a snapshot. It contains the full name of the object,
/// because only the full name can be used to remove a damaged object.
fn reading(object: Id) -> String {
    format!("read snapshot object {object}")
}
