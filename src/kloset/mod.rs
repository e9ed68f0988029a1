//! A kloset: a store opened with its keys.
//!
//! | topic | module |
//! |---|---|
//! | storing and reading chunks | [`blob`] |
//! | splitting files into chunks | [`chunker`] |
//! | objects, from small to large | [`codec`], [`pack`], [`index_object`], [`tree`], [`snapshot`] |
//! | facts of the store | [`config`] |
//! | reading the contents of a file | [`content`] |
//! | the location of each chunk | [`index`], and `recover` if index objects are lost or wrong |
//! | local copies of objects of a remote store | `cache` |
//! | keys | [`master`], [`slot`], [`kdf_limit`], [`keyring`], [`paper`], [`seal`] |
//! | a store without a key | [`Locked`] |
//! | selecting snapshots and paths | [`query`], [`select`] |
//! | operations that read a store | [`restore`], [`archive`], [`check`], [`compare`] |
//! | | [`locate`], [`digest`], [`inspect`] |
//! | operations that write to a store | [`backup`], [`dup`], [`sync`], [`repair`] |
//! | deleting unreferenced data, and nothing else | [`collect`], [`condemned`] |
//!
//! [`chunker`]: crate::format::chunker
//! [`codec`]: crate::format::codec
//! [`config`]: crate::format::config
//! [`master`]: crate::format::master
//! [`slot`]: crate::format::slot
//! [`seal`]: crate::format::seal
//! [`query`]: crate::ops::query
//! [`select`]: crate::ops::select
//! [`restore`]: crate::ops::restore
//! [`archive`]: crate::ops::archive
//! [`check`]: crate::ops::check
//! [`compare`]: crate::ops::compare
//! [`locate`]: crate::ops::locate
//! [`digest`]: crate::ops::digest
//! [`inspect`]: crate::ops::inspect
//! [`backup`]: crate::ops::backup
//! [`dup`]: crate::ops::dup
//! [`sync`]: crate::ops::sync
//! [`repair`]: crate::ops::repair
//! [`collect`]: crate::ops::collect
//!
//! This module does not depend on local files (except for its cache directory), SSH or a terminal:
//! the caller passes in stores, sources and destinations.

pub(crate) mod bad_packs;
pub mod blob;
pub(crate) mod cache;
pub(crate) mod claims;
pub mod condemned;
pub mod content;
pub mod failures;
pub mod index;
pub mod index_object;
pub mod kdf_limit;
pub mod keyring;
pub(crate) mod opening;
pub mod pack;
pub mod paper;
pub mod pipeline;
pub mod progress;
pub(crate) mod recover;
pub(crate) mod repack;
pub mod snapshot;
pub mod tree;
pub(crate) mod visited;
pub mod write_session;

pub use crate::kloset::opening::{Locked, Protection, create, create_sibling, refuse_existing};

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use crate::format::chunker::{Chunker, Gear};
use crate::format::config::Config;
use crate::format::master::{Key, Purpose};
use crate::format::seal::Sealer;
use crate::kloset::cache::{Copies, Original};
use index::{Index, Known};
use pipeline::{each_at_once, lock};
use progress::{Event, Observer};

use crate::error::{During, Error, Kind, Result};
use crate::store::{Area, Distance, Store};
use crate::util::Id;

/// Maximum number of concurrent calls to a store, even if the store supports more. Each call needs
/// memory for its response.
const CONNECTIONS_LIMIT: usize = 32;
/// Maximum number of index objects read concurrently. Each can need about 10 MB of memory.
const INDEX_READERS: usize = 4;

/// Number of calls to `store` that should run concurrently: 1 for a local directory.
pub(crate) fn connections(store: &dyn Store) -> usize {
    store.manner().connections.clamp(1, CONNECTIONS_LIMIT)
}

/// Number of threads for a stage that reads `store` and processes the data.
///
/// This is at least `workers`. It is higher, but at most `limit`, if more concurrent reads are
/// needed to hide the latency of the store.
pub(crate) fn readers(store: &dyn Store, workers: usize, limit: usize) -> usize {
    workers.max(connections(store).min(limit))
}

/// An open store that can be read and extended. Can be used from several threads.
pub struct Kloset {
    store: Arc<dyn Store>,
    config: Config,
    master: Key,
    sealer: Sealer,
    chunk_key: Key,
    chunker: Chunker,
    tree_chunker: Chunker,
    pub(crate) cache: Option<PathBuf>,
    /// `Some` only for a remote store, and only if there is a cache directory.
    copies: Option<Copies>,
    pub(crate) index: OnceLock<Index>,
    /// Read-locked during lookups. Write-locked while a damaged cache is rebuilt or footers are
    /// read.
    rebuilding: RwLock<()>,
    /// Whether the index includes packs that no index object lists.
    pub(crate) footers_read: AtomicBool,
    /// The index built from the footers of all packs. Built only after an index object proved
    /// wrong.
    truth: OnceLock<Index>,
    /// Damaged packs whose index entries match their footers.
    as_told: Mutex<HashSet<Id>>,
    present_only: AtomicBool,
    observer: Arc<dyn Observer>,
}

impl Kloset {
    /// Opens `store` with its master key. `config_bytes` is the content of CONFIG.
    ///
    /// If `cache` is given, data that is worth caching between runs is stored below this directory.
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

    /// Opens the same kloset again, with a newly loaded index.
    ///
    /// Packs that are hidden in this kloset, because a backup must not rely on them, are readable
    /// in the new one.
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

    /// Whether objects of `other` can be copied here unchanged: both stores have the same key and
    /// the same key id.
    pub fn is_sibling_of(&self, other: &Kloset) -> bool {
        self.config.key_id == other.config.key_id && self.master.is(&other.master)
    }

    /// The underlying store. Objects read from it are still sealed.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// A shared handle to the store, for threads that can outlive the call.
    fn shared_store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Number of calls to the store that should run concurrently: 1 for a local directory.
    pub fn connections(&self) -> usize {
        connections(&*self.store)
    }

    /// The local copies of objects, if the store is remote and there is a cache directory.
    fn copies(&self) -> Option<&Copies> {
        self.copies.as_ref()
    }

    /// Reads a listed object and parses it with `parse`. Uses the local copy if it is intact.
    ///
    /// # Errors
    /// The errors of the store and of `parse`. `parse` must verify the bytes.
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

    /// The decoded and authenticated content of CONFIG.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The observer that receives progress and warnings.
    pub fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Seals and opens objects with the keys of this store.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Splits file contents into chunks.
    pub fn chunker(&self) -> &Chunker {
        &self.chunker
    }

    /// Splits trees into chunks.
    pub fn tree_chunker(&self) -> &Chunker {
        &self.tree_chunker
    }

    /// The master key. It is wrapped when a passphrase is added.
    fn master(&self) -> &Key {
        &self.master
    }

    /// The id of the chunk with the contents `plain`.
    ///
    /// The id is a keyed hash. Without the key, an attacker cannot find out whether a known file is
    /// stored here.
    pub fn chunk_id(&self, plain: &[u8]) -> Id {
        Id(*blake3::keyed_hash(self.chunk_key.bytes(), plain).as_bytes())
    }

    /// The index with the location of each chunk. The first call loads it from the cache and
    /// updates it from the store.
    pub fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let directory = self.cache.as_ref().map(|cache| cache.join("index"));
        let index = Index::open(directory.as_deref());
        self.fill(&index).during(|| "load the index")?;
        Ok(self.index.get_or_init(|| index))
    }

    /// Runs `ask` on the index. If the index cache turns out to be damaged, this rebuilds it from
    /// the store and runs `ask` again.
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

    /// Saves the index to the cache for the next run. A cache that cannot be written only costs
    /// time, so a failure is only a warning.
    pub fn save_index(&self) {
        if let Some(Err(error)) = self.index.get().map(Index::save) {
            self.observer.event(&Event::Warning(&error));
        }
    }

    /// Rebuilds a damaged cache, unless another thread has just done so.
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

    /// Hides missing and damaged packs from the index for the rest of this run.
    ///
    /// A backup then stores lost data again while the source still has it. Returns the packs that
    /// are in the store but that the index does not list.
    pub fn trust_present_packs_only(&self) -> Result<HashSet<Id>> {
        let index = self.index()?;
        self.present_only.store(true, Ordering::Relaxed);
        self.distrust_bad_packs(index);
        self.hide_absent_packs(index)
    }

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

    /// Hides the packs that are missing, and those whose size differs from the index: these are
    /// truncated, so their footer is lost too. Returns the packs that the index does not list.
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

    /// Lists the packs in the store that are not in the index.
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

    /// Lists the names of all objects in `area`.
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

    /// Reads the index objects that are not in the cache.
    ///
    /// If some are damaged, this reports one of them and reads the footers of the packs that no
    /// other index object covers.
    pub(crate) fn fill(&self, index: &Index) -> Result<()> {
        self.take_in(index)?;
        if self.present_only.load(Ordering::Relaxed) {
            self.hide_absent_packs(index)?;
        }
        Ok(())
    }

    /// Does the same as `fill`, but does not check which packs are present.
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
