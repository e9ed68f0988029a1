//! A kloset: a store opened with its keys.
//!
//! | what | where |
//! |---|---|
//! | how a chunk gets in and out | [`blob`] |
//! | how files are cut into chunks | [`chunker`] |
//! | what lies in a store, from small to large | [`codec`], [`pack`], [`index_object`], [`file`], [`tree`], [`snapshot`], [`config`] |
//! | where each chunk is | [`index`], and `footers` when that is lost or lies |
//! | what is remembered of a store behind a network | `copies` |
//! | keys | [`master`], [`slot`], [`kdf_limit`], [`keyring`], [`paper`], [`seal`]; [`Locked`] until there is one |
//! | which snapshot, and what in it, is meant | [`query`], [`select`] |
//! | what people ask for | [`backup`], [`restore`], [`archive`], [`check`], [`compare`], [`locate`], [`digest`], [`dup`], [`sync`], [`repair`], [`inspect`] |
//! | what nobody needs any more is deleted, and nothing else | [`collect`], [`condemned`] |
//!
//! It has never heard of files on this machine (but for the directory it caches things
//! in), of SSH, or of a terminal: stores, sources and destinations are handed in.

pub mod archive;
pub mod backup;
mod bad_packs;
pub mod blob;
pub mod cbor;
pub mod check;
pub mod chunker;
mod claims;
pub mod codec;
pub mod collect;
pub mod compare;
pub mod condemned;
pub mod config;
pub mod contents;
mod copier;
mod copies;
pub mod decompress;
pub mod digest;
pub mod dup;
pub mod failures;
pub mod file;
mod followed;
mod footers;
pub mod index;
pub mod index_object;
pub mod inspect;
pub mod kdf_limit;
pub mod keyring;
pub mod layout;
pub mod locate;
mod locked;
pub mod master;
pub mod object;
pub mod pack;
pub mod paper;
pub mod pipeline;
pub mod progress;
pub mod query;
pub mod repair;
pub mod restore;
pub mod seal;
pub mod select;
pub mod slot;
pub mod snapshot;
pub mod sync;
pub mod table;
pub mod tree;

pub use locked::{Locked, Protection, create, create_sibling, refuse_existing};

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use chunker::{Chunker, Gear};
use config::Config;
use copies::{Copies, Original};
use index::{Index, Known};
use master::{Key, Purpose};
use pipeline::{each_at_once, lock};
use progress::{Event, Observer};
use seal::Sealer;

use crate::error::{During, Error, Kind, Result};
use crate::store::{Area, Distance, Store};
use crate::util::Id;

/// Calls to a store that are worth making at once, however many it thinks it bears: each costs
/// memory for its answer.
const CONNECTIONS_LIMIT: usize = 32;
/// Index objects that are read at once: each may take some 10 MB of memory.
const INDEX_READERS: usize = 4;

/// How many calls to `store` are worth making at once: 1 for a directory.
fn connections(store: &dyn Store) -> usize {
    store.manner().connections.clamp(1, CONNECTIONS_LIMIT)
}

/// How many threads a stage needs that computes with what it reads of `store`: `workers`, or, so
/// that enough answers are waited for at once, more, but no more than `limit`.
fn readers(store: &dyn Store, workers: usize, limit: usize) -> usize {
    workers.max(connections(store).min(limit))
}

/// A store whose contents can be read and added to. May be used from several threads.
pub struct Kloset {
    store: Arc<dyn Store>,
    config: Config,
    master: Key,
    sealer: Sealer,
    chunk_key: Key,
    chunker: Chunker,
    tree_chunker: Chunker,
    cache: Option<PathBuf>,
    /// Only of a store behind a network, and only if there is a cache.
    copies: Option<Copies>,
    index: OnceLock<Index>,
    /// Held for reading by who looks something up, for writing while a damaged cache is rebuilt
    /// or footers are read.
    rebuilding: RwLock<()>,
    /// Whether the index knows of packs that no index object covers.
    footers_read: AtomicBool,
    /// What the footers of all packs say, once an index object was found to lie.
    truth: OnceLock<Index>,
    /// Packs with damage in them, of which the index told the truth.
    as_told: Mutex<HashSet<Id>>,
    present_only: AtomicBool,
    observer: Arc<dyn Observer>,
}

impl Kloset {
    /// Opens `store`, whose CONFIG is `config_bytes`, with its master key. What is worth caching
    /// between runs goes below `cache`, if there is such a directory.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if CONFIG was not written by a holder of the key.
    pub fn open(
        store: Arc<dyn Store>,
        config_bytes: &[u8],
        master: Key,
        cache: Option<PathBuf>,
        observer: Arc<dyn Observer>,
    ) -> Result<Kloset> {
        let config = Config::decode(config_bytes).during(|| "CONFIG")?;
        Config::authenticate(config_bytes, &master).during(|| "CONFIG")?;
        let cache = cache.map(|cache| cache.join(&config.store_id));
        let remote = store.manner().distance == Distance::Remote;
        let copies = cache.as_ref().filter(|_| remote);
        let gear = || Gear::new(master.derive(Purpose::Gear).bytes());
        Ok(Kloset {
            sealer: Sealer::new(&master, config.key_id()?),
            chunk_key: master.derive(Purpose::ChunkId),
            chunker: Chunker::new(gear(), config.chunking())?,
            tree_chunker: Chunker::new(gear(), config.tree_chunking())?,
            copies: copies.map(|cache| Copies::new(cache.join("copies"))),
            cache,
            index: OnceLock::new(),
            rebuilding: RwLock::default(),
            footers_read: AtomicBool::new(false),
            truth: OnceLock::new(),
            as_told: Mutex::default(),
            present_only: AtomicBool::new(false),
            store,
            config,
            master,
            observer,
        })
    }

    /// The same kloset with nothing known yet of where chunks are: what was hidden from this
    /// one, as something a backup must not count on, that one reads.
    pub fn afresh(&self) -> Result<Kloset> {
        let config = self.config.encode(&self.master)?;
        let cache = self.cache.as_deref().and_then(Path::parent);
        Kloset::open(
            self.store.clone(),
            &config,
            self.master.clone(),
            cache.map(Path::to_owned),
            self.observer.clone(),
        )
    }

    /// Whether objects of `other` are as good here: it has the same key, under the same name.
    pub fn is_sibling_of(&self, other: &Kloset) -> bool {
        self.config.key_id == other.config.key_id && self.master.is(&other.master)
    }

    /// The store itself.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The store, for threads that may outlive a call.
    fn shared_store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// How many calls to the store are worth making at once: 1 for a directory.
    pub fn connections(&self) -> usize {
        connections(&*self.store)
    }

    /// Copies of what is in the store, if it is worth having any.
    fn copies(&self) -> Option<&Copies> {
        self.copies.as_ref()
    }

    /// What `parse` makes of an object of the store that was listed, from a copy if there is a
    /// good one.
    ///
    /// # Errors
    /// Those of the store, and of `parse`, which is to verify the bytes.
    fn get_listed<T>(&self, area: Area, id: Id, parse: impl Fn(Vec<u8>) -> Result<T>) -> Result<T> {
        let Some(copies) = &self.copies else {
            return parse(self.store.get(area, id)?);
        };
        let original = Original::Object(area, id);
        if let Some(bytes) = copies.read(original) {
            match parse(bytes) {
                Ok(parsed) => return Ok(parsed),
                Err(_) => copies.forget(original),
            };
        }
        let bytes = self.store.get(area, id)?;
        let draft = copies.draft(&bytes);
        let parsed = parse(bytes)?;
        if let Some(draft) = draft {
            copies.name(draft, original);
        }
        Ok(parsed)
    }

    /// The facts of the store.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whoever watches.
    pub fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Seals and opens.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// How files are cut.
    pub fn chunker(&self) -> &Chunker {
        &self.chunker
    }

    /// How trees are cut.
    pub fn tree_chunker(&self) -> &Chunker {
        &self.tree_chunker
    }

    /// The key to wrap under another passphrase.
    fn master(&self) -> &Key {
        &self.master
    }

    /// The id of the chunk that consists of `plain`. Keyed, so that nobody without the
    /// key can tell whether a known file is stored here.
    pub fn chunk_id(&self, plain: &[u8]) -> Id {
        Id(*blake3::keyed_hash(self.chunk_key.bytes(), plain).as_bytes())
    }

    /// Where each chunk is: the cache, brought up to date with the store at the first call.
    pub fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let directory = self.cache.as_ref().map(|cache| cache.join("index"));
        let index = Index::open(directory.as_deref());
        self.fill(&index).during(|| "load the index")?;
        Ok(self.index.get_or_init(|| index))
    }

    /// The answer of `ask` to a question about the index. A cache that turns out to be damaged
    /// is made anew from the store, and asked again.
    pub fn look_up<T>(&self, ask: impl Fn(&Index) -> Result<T>) -> Result<T> {
        let index = self.index()?;
        let reading = self
            .rebuilding
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let answer = ask(index);
        drop(reading);
        match answer {
            Err(error) if error.kind() == Kind::Corrupt && index.damaged() => {
                self.rebuild(index, &error)?;
                ask(index)
            }
            answer => answer,
        }
    }

    /// Keeps for the next run what this one learnt of where chunks are. A cache that cannot be
    /// written costs time, so it is no more than a warning.
    pub fn save_index(&self) {
        if let Some(Err(error)) = self.index.get().map(Index::save) {
            self.observer.event(&Event::Warning(&error));
        }
    }

    /// Makes a damaged cache anew, unless another thread just did.
    fn rebuild(&self, index: &Index, damage: &Error) -> Result<()> {
        let _writing = self
            .rebuilding
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !index.damaged() {
            return Ok(());
        }
        self.observer.event(&Event::Warning(
            &damage.clone().during("making the index cache anew"),
        ));
        index.clear();
        self.footers_read.store(false, Ordering::Release);
        self.fill(index).during(|| "rebuild the index cache")
    }

    /// Makes the index forget what lies in packs that are no longer in the store, for the
    /// rest of this run: a backup then stores again what was lost, while its source still exists.
    /// Returns the packs that are there, but that no index object tells of.
    pub fn trust_present_packs_only(&self) -> Result<HashSet<Id>> {
        let index = self.index()?;
        self.present_only.store(true, Ordering::Relaxed);
        self.distrust_bad_packs(index);
        self.hide_absent_packs(index)
    }

    /// Hides the packs that the last check found damaged.
    fn distrust_bad_packs(&self, index: &Index) {
        let bad: HashSet<Id> = bad_packs::read(self).into_iter().collect();
        if bad.is_empty() {
            return;
        }
        index.exclude_packs(&bad);
        let packs = match bad.len() {
            1 => "1 pack".to_owned(),
            count => format!("{count} packs"),
        };
        let error = Error::corrupt(format!(
            "the last check found {packs} damaged; what was in there is stored anew"
        ));
        self.observer.event(&Event::Warning(&error));
    }

    /// Hides the packs that are not in the store, and those that are not as long as the index
    /// says: these lost their end, and their footer with it. Returns those it does not know.
    fn hide_absent_packs(&self, index: &Index) -> Result<HashSet<Id>> {
        let mut unknown = HashSet::new();
        index.presume_absent();
        self.store
            .list(Area::Packs, &mut |pack| {
                if index.mark_present(&pack.id, pack.size_bytes) == Known::No {
                    unknown.insert(pack.id);
                }
                Ok(())
            })
            .during(|| "list packs")?;
        Ok(unknown)
    }

    /// The packs in the store that the index does not know.
    fn unknown_packs(&self, index: &Index) -> Result<Vec<Id>> {
        let mut unknown = Vec::new();
        self.store
            .list(Area::Packs, &mut |pack| {
                if index.knows(&pack.id) == Known::No {
                    unknown.push(pack.id);
                }
                Ok(())
            })
            .during(|| "list packs")?;
        Ok(unknown)
    }

    /// The names of all objects in `area`.
    pub fn names(&self, area: Area) -> Result<HashSet<Id>> {
        let mut names = HashSet::new();
        self.store
            .list(area, &mut |object| {
                names.insert(object.id);
                Ok(())
            })
            .during(|| format!("list {}", area.name()))?;
        Ok(names)
    }

    /// Reads the index objects that the cache has not seen. Those that are damaged are told of
    /// once, and the footers of packs that no other index object covers are read instead.
    fn fill(&self, index: &Index) -> Result<()> {
        self.take_in(index)?;
        if self.present_only.load(Ordering::Relaxed) {
            self.hide_absent_packs(index)?;
        }
        Ok(())
    }

    /// The same, without a look at which packs are there.
    fn take_in(&self, index: &Index) -> Result<()> {
        let live = self.names(Area::Index)?;
        let missing: Vec<Id> = live
            .iter()
            .copied()
            .filter(|id| !index.covers(*id))
            .collect();
        let damaged = Mutex::new(None);
        let readers = self.connections().min(INDEX_READERS);
        each_at_once(&missing, readers, |object| {
            let note = |error| {
                *lock(&damaged) = Some(error);
                Ok(())
            };
            let tables = match index_object::read(self, *object) {
                Ok(tables) => tables,
                Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                Err(error) if error.is_of_one_object() => return note(error),
                Err(error) => return Err(error),
            };
            match index.add_object(*object, &tables) {
                Err(error) if error.kind() == Kind::Corrupt => note(error),
                outcome => outcome,
            }
        })?;
        index.retain_objects(&live);
        if let Err(error) = index.save() {
            self.observer.event(&Event::Warning(&error));
        }
        if let Some(error) = damaged.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.read_footers(index, &error)?;
        }
        Ok(())
    }
}
