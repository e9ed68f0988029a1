//! A snapshot: a root tree, with who made it, when, where and of what.
//!
//! Its id is random and kept when it is copied to another store; the object it lies in
//! is named, as every object, by its bytes. Publishing that object is the one moment
//! in which a backup comes to be. What people say of it may change later: [`stored`].

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

/// Errors kept in a snapshot; beyond it they are only counted.
pub const ERRORS_LIMIT: usize = 1000;

/// What a person says of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// A name.
    pub name: String,
    /// A category.
    pub category: String,
    /// An environment, such as `production`.
    pub environment: String,
    /// A perimeter.
    pub perimeter: String,
    /// The job that made it.
    pub job: String,
    /// Tags, sorted, each once.
    pub tags: Vec<String>,
}

/// A path that could not be backed up, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// From the root, raw bytes.
    pub path: Vec<u8>,
    /// Why, in words.
    pub cause: String,
}

/// Everything recorded of one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Random, kept when copied to another store.
    pub id: Id,
    /// When it was made, nanoseconds since 1970.
    pub time_ns: i64,
    /// How long that took.
    pub duration: Duration,
    /// The places that were backed up, absolute paths as raw bytes.
    pub roots: Vec<Vec<u8>>,
    /// The directory `/`, with the tree below it.
    pub root: Entry,
    /// The machine the files are on.
    pub origin: String,
    /// The kind of source: `fs`, `sftp`.
    pub source: String,
    /// The machine that made it.
    pub host: String,
    /// The user who made it.
    pub user: String,
    /// What a person says of it.
    pub labels: Labels,
    /// How many items failed.
    pub error_count: u64,
    /// The first [`ERRORS_LIMIT`] of them; none in a snapshot that was [listed](list).
    pub errors: Vec<Failure>,
    /// The program that made it.
    pub program: String,
    /// How often what people say of it was changed since it was made.
    pub revision: u64,
    /// When it was copied, from another store or another snapshot of this one, by the clock of
    /// the machine that did it, in nanoseconds since 1970; nothing of one that a backup made.
    ///
    /// A copy arrives long after its time, as a snapshot does whose time was forged to have
    /// retention remove honest ones. This tells the two apart, as far as the key is in
    /// honest hands: whoever has that can forge this too.
    pub synced_ns: Option<i64>,
}

/// Keys of the map. They are part of the format: never renumber.
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
    /// Those that are always written.
    pub(crate) const COUNT: usize = 18;
}

/// The name of the root entry: never that of a file, it only has to be one.
const ROOT_NAME: &[u8] = b"root";

impl Snapshot {
    /// What lies below the root.
    pub fn totals(&self) -> Totals {
        self.root.below
    }

    /// Identifies everything that the backup recorded, down to the bytes of each file: the root
    /// tree is named by keyed hashes. Changed labels and copies to a store of the same key keep
    /// it. The list of errors is not part of it.
    pub fn digest(&self) -> Id {
        let recorded = Snapshot {
            errors: Vec::new(),
            ..self.without_labels()
        };
        Id::of(&recorded.encode())
    }

    /// Identifies what was backed up: the same for all snapshots of the same places of a source.
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

    /// The deepest directory that everything backed up is in, as raw bytes: what a relative
    /// path in `SNAPSHOT:PATH` starts from. A single place is that itself.
    pub fn base(&self) -> Vec<u8> {
        common_directory(&self.roots)
    }

    /// The body of the object.
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

    /// The values that are text, with their keys.
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

    /// The inverse of [`Snapshot::encode`], but for what is left out.
    fn decode(body: &[u8], detail: Detail) -> Result<Snapshot> {
        let mut reader = Reader::new(body);
        let mut snapshot = Snapshot::default();
        let (mut id, mut root) = (None, None);
        reader.each_pair(|key, reader| {
            match key {
                key::ID => id = Some(reader.id()?),
                key::ROOT => root = Some(root_entry(reader.bytes()?)?),
                // Read all the same: what is damage in detail is damage in a list.
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

    /// Reads the value that belongs to `key`.
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

/// The deepest directory that all of the absolute `paths` are at or below; `/` without any.
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

/// The entry that consists of all of `bytes`.
fn root_entry(bytes: &[u8]) -> Result<Entry> {
    let mut reader = Reader::new(bytes);
    let root = Entry::decode(&mut reader)?;
    reader.end()?;
    Ok(root)
}

/// Reads an array of what `item` reads.
fn items<T>(
    reader: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..reader.array()?).map(|_| item(reader)).collect()
}

/// Reads paths and causes in turn.
fn failures(reader: &mut Reader<'_>) -> Result<Vec<Failure>> {
    let failure = |reader: &mut Reader<'_>| {
        Ok(Failure {
            path: reader.bytes()?.to_vec(),
            cause: reader.text()?.to_owned(),
        })
    };
    (0..reader.pairs()?).map(|_| failure(reader)).collect()
}

/// Publishes `snapshot`, and returns the size of its object; durable on return.
pub fn publish(kloset: &Kloset, snapshot: &Snapshot) -> Result<u64> {
    publish_object(kloset, snapshot).map(|(_, size_bytes)| size_bytes)
}

/// The same, with the name of the object.
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

/// How much of a snapshot to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// Everything.
    Full,
    /// All but the errors: those of many snapshots at once would be too much to hold.
    Brief,
}

/// The snapshot in the object `object`, which was listed.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] unless every byte is what was stored.
pub fn read(kloset: &Kloset, object: Id) -> Result<Snapshot> {
    read_as(kloset, object, Detail::Full)
}

/// The same, of an object whose bytes were read already.
pub fn parse(kloset: &Kloset, object: Id, bytes: Vec<u8>) -> Result<Snapshot> {
    decode_object(kloset, object, bytes, Detail::Full).during(|| reading(object))
}

/// As [`read`], in as much detail as is asked for.
fn read_as(kloset: &Kloset, object: Id, detail: Detail) -> Result<Snapshot> {
    kloset
        .get_listed(Area::Snapshots, object, |bytes| {
            decode_object(kloset, object, bytes, detail)
        })
        .during(|| reading(object))
}

/// What `bytes` hold, in as much detail as is asked for.
fn decode_object(kloset: &Kloset, object: Id, bytes: Vec<u8>, detail: Detail) -> Result<Snapshot> {
    object::decode(kloset.sealer(), Part::Snapshot, object, bytes)
        .and_then(|body| Snapshot::decode(&body, detail))
}

/// What is being done when a snapshot cannot be read. The whole name, by which alone it can be removed.
fn reading(object: Id) -> String {
    format!("read snapshot object {object}")
}
