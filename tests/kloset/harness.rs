//! Common code of these tests: a small tree of files, a store in memory, a watcher that records
//! messages, and short functions for backup and restore.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use plakar::connector::{LocalDestination, LocalSource, Permissions, Source};
use plakar::error::Result;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::snapshot::{Snapshot, Stored};
use plakar::kloset::{Kloset, Locked, Protection, create};
use plakar::ops::backup::{self, Base, Compare};
use plakar::ops::{check, restore, select};
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;
use tempfile::TempDir;

/// Records all warnings and failures as text.
#[derive(Default)]
pub(crate) struct Watcher {
    counters: Counters,
    heard: Mutex<Vec<String>>,
}

impl Watcher {
    /// The messages. Warnings begin with `warning: `, failures with the path that failed.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Whether one message contains all of `words`.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        self.heard()
            .iter()
            .any(|message| words.iter().all(|word| message.contains(word)))
    }

    pub(crate) fn warnings(&self) -> usize {
        self.heard()
            .iter()
            .filter(|message| message.starts_with("warning: "))
            .count()
    }
}

impl Observer for Watcher {
    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn event(&self, event: &Event<'_>) {
        let message = match event {
            Event::Path { .. } => return,
            Event::Failed { path, error } => format!("{}: {error}", path.escape_ascii()),
            Event::Warning(error) => format!("warning: {error}"),
        };
        self.heard.lock().unwrap().push(message);
    }
}

/// A directory on a disk, because `/tmp` may be a memory file system without holes.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Pseudo-random bytes, the same for each call with the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A few files in a few directories.
pub(crate) fn small_tree() -> TempDir {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("sub/deep")).unwrap();
    fs::write(dir.path().join("a.txt"), "the first file").unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    fs::write(dir.path().join("sub/b.bin"), noise(1, 300)).unwrap();
    fs::write(dir.path().join("sub/deep/c.txt"), "far down").unwrap();
    std::os::unix::fs::symlink("a.txt", dir.path().join("link")).unwrap();
    dir
}

/// Everything below a path: for each relative path, its type and contents.
pub(crate) type Listing = BTreeMap<Vec<u8>, (char, Vec<u8>)>;

pub(crate) fn listing(path: &Path) -> Listing {
    let mut listing = Listing::new();
    add_to(&mut listing, path, path);
    listing
}

fn add_to(listing: &mut Listing, top: &Path, path: &Path) {
    for item in fs::read_dir(path).unwrap() {
        let path = item.unwrap().path();
        let name = path
            .strip_prefix(top)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        let kind = path.symlink_metadata().unwrap().file_type();
        let found = match () {
            () if kind.is_dir() => ('d', Vec::new()),
            () if kind.is_file() => ('f', fs::read(&path).unwrap()),
            () if kind.is_symlink() => (
                'l',
                fs::read_link(&path)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec(),
            ),
            () => ('?', Vec::new()),
        };
        listing.insert(name, found);
        if kind.is_dir() {
            add_to(listing, top, &path);
        }
    }
}

/// A new plaintext store, because deriving a key from a passphrase is slow.
pub(crate) fn new_store() -> MemoryStore {
    let store = MemoryStore::new();
    create(&store, &Protection::Plaintext, 1).unwrap();
    store
}

pub(crate) fn shared(store: &MemoryStore) -> Arc<dyn Store> {
    Arc::new(store.clone())
}

/// A kloset without a cache, and its watcher.
pub(crate) fn open(store: &Arc<dyn Store>) -> (Kloset, Arc<Watcher>) {
    open_with_cache(store, None)
}

pub(crate) fn open_with_cache(
    store: &Arc<dyn Store>,
    cache: Option<&Path>,
) -> (Kloset, Arc<Watcher>) {
    let watcher = Arc::new(Watcher::default());
    let locked = Locked::new(store.clone()).unwrap();
    let key = locked.plaintext_key().unwrap().unwrap();
    let kloset = locked
        .open(key, cache.map(Path::to_owned), watcher.clone())
        .unwrap();
    (kloset, watcher)
}

/// The default options for a backup of `path`.
pub(crate) fn options(path: &Path) -> backup::Options {
    backup::Options {
        places: vec![path.canonicalize().unwrap().as_os_str().as_bytes().to_vec()],
        workers: 2,
        readers: 1,
        compare: Some(Compare::default()),
        base: Base::Any,
        ..backup::Options::default()
    }
}

/// Backs up `path` as a separate process would.
pub(crate) fn backup(store: &Arc<dyn Store>, path: &Path) -> Result<backup::Summary> {
    backup_from(store, &LocalSource::new().unwrap(), &options(path))
}

pub(crate) fn backup_from(
    store: &Arc<dyn Store>,
    source: &dyn Source,
    options: &backup::Options,
) -> Result<backup::Summary> {
    let (kloset, _) = open(store);
    backup::run(&kloset, source, options)
}

/// The snapshot with the id `id`.
pub(crate) fn snapshot(kloset: &Kloset, id: Id) -> Option<Stored> {
    let all = select::all(kloset).unwrap();
    all.into_iter().find(|stored| stored.snapshot.id == id)
}

/// The outcome of a restore, and the restored files.
pub(crate) struct Restored {
    pub(crate) outcome: Result<restore::Summary>,
    pub(crate) listing: Listing,
}

impl Restored {
    /// The number of items that failed. A restore that was aborted counts as one.
    pub(crate) fn errors(&self) -> u64 {
        self.outcome.as_ref().map_or(1, |summary| summary.errors)
    }

    /// Whether exactly `expected` was restored without errors.
    pub(crate) fn is_all_of(&self, expected: &Listing) -> bool {
        self.errors() == 0 && self.listing == *expected
    }
}

/// Restores the first place of `snapshot`.
pub(crate) fn restore(kloset: &Kloset, snapshot: &Snapshot) -> Restored {
    let target = scratch();
    let outcome = restore_into(kloset, snapshot, target.path());
    Restored {
        outcome,
        listing: listing(target.path()),
    }
}

pub(crate) fn restore_into(
    kloset: &Kloset,
    snapshot: &Snapshot,
    target: &Path,
) -> Result<restore::Summary> {
    let options = restore::Options {
        permissions: Permissions::Skip,
        existing: restore::Existing::Replace,
        mode: restore::Mode::Write,
        workers: 2,
        interrupt: Interrupt::default(),
    };
    let place = snapshot.roots.first().map_or(&b"/"[..], Vec::as_slice);
    restore::run(
        kloset,
        snapshot,
        place,
        &LocalDestination::new(target),
        &options,
    )
}

/// Asserts that a separate process finds the snapshot `id` and restores it as `expected`.
pub(crate) fn assert_restores(store: &Arc<dyn Store>, id: Id, expected: &Listing, when: &str) {
    let (kloset, watcher) = open(store);
    let stored = snapshot(&kloset, id)
        .unwrap_or_else(|| panic!("{when}: no such snapshot: {:?}", watcher.heard()));
    let restored = restore(&kloset, &stored.snapshot);
    assert!(
        restored.is_all_of(expected),
        "{when}: {:?}, {:?}, heard {:?}",
        restored.outcome,
        restored
            .listing
            .keys()
            .map(|name| name.escape_ascii().to_string())
            .collect::<Vec<_>>(),
        watcher.heard()
    );
}

pub(crate) fn check_options() -> check::Options {
    check::Options {
        depth: check::Depth::Contents,
        workers: 2,
        interrupt: Interrupt::default(),
    }
}

/// Checks everything, as a separate process would.
pub(crate) fn check(store: &Arc<dyn Store>) -> (check::Summary, Arc<Watcher>) {
    let (kloset, watcher) = open(store);
    (
        check::run(&kloset, None, &check_options()).unwrap(),
        watcher,
    )
}

/// The names of the objects in `area`, sorted.
pub(crate) fn objects(store: &dyn Store, area: Area) -> Vec<Id> {
    let mut names = Vec::new();
    store
        .list(area, &mut |object| {
            names.push(object.id);
            Ok(())
        })
        .unwrap();
    names.sort();
    names
}

/// The names of all objects.
pub(crate) fn all_objects(store: &dyn Store) -> Vec<(Area, Id)> {
    Area::ALL
        .into_iter()
        .flat_map(|area| objects(store, area).into_iter().map(move |id| (area, id)))
        .collect()
}
