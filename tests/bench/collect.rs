//! Measures the memory of maintenance and prune on a large store that is made up: real index objects, a real
//! snapshot of one file with so many chunks, and packs that are as long as they should be and empty.
//! `CHUNKS=10000000 cargo bench --bench collect` takes ten million chunks instead of one.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plakar::connector::{FileKind, Metadata};
use plakar::kloset::blob::{Packer, Writing};
use plakar::kloset::collect::{self, Options};
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::snapshot::{self, Snapshot};
use plakar::kloset::table::{BlockTable, ChunkEntry, PackKind, PackTable};
use plakar::kloset::tree::{Entry, ListWriter, TreeWriter};
use plakar::kloset::{Kloset, Locked, Protection, create, index_object};
use plakar::net::location::Location;
use plakar::store::{self, Area, Settings, Store};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

/// As many chunks as a pack of 16 MiB has that are large and do not compress.
const PACK_CHUNKS: u64 = 57;
/// Packs that an index object tells of.
const OBJECT_PACKS: u64 = 1024;
/// How long a pack claims to be, and is.
const PACK_BYTES: u64 = 100;

#[derive(Default)]
struct Quiet(Counters);

impl Observer for Quiet {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, event: &Event<'_>) {
        if let Event::Warning(error) = event {
            println!("warning: {error}");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let chunks = std::env::var("CHUNKS")
        .ok()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let path = path.to_str().ok_or("the directory for tests is UTF-8")?;
    let location = Location::parse(path.as_bytes())?;
    let store = store::open(&location, &Settings::default())?;
    create(&*store, &Protection::Plaintext, 3)?;
    let cache = directory.path().join("cache");
    let opened = || -> Result<Kloset, Box<dyn Error>> {
        let locked = Locked::new(store.clone())?;
        let key = locked.plaintext_key()?.ok_or("it has no passphrase")?;
        Ok(locked.open(key, Some(cache.clone()), Arc::new(Quiet::default()))?)
    };
    build(&opened()?, &*store, path, chunks)?;
    let kloset = opened()?;
    kloset.index()?;
    tell("index loaded", chunks);
    for is_dry in [true, false] {
        let kloset = opened()?;
        let options = Options {
            grace: Duration::from_secs(7 * 24 * 3600),
            is_dry,
            max_repack_bytes: None,
            interrupt: Interrupt::default(),
        };
        let started = Instant::now();
        let summary = collect::run(&kloset, &options)?;
        let seconds = started.elapsed().as_secs_f64();
        println!("maintenance    {seconds:>8.2} s, {summary:?}");
        tell("maintenance", chunks);
    }
    Ok(())
}

/// Fills a store. Every other snapshot of it is imagined.
fn build(
    kloset: &Kloset,
    store: &dyn Store,
    path: &str,
    chunks: u64,
) -> Result<(), Box<dyn Error>> {
    let writing = Writing::new(kloset, 3)?;
    let (sender, finished) = std::sync::mpsc::sync_channel(1024);
    let mut packer = Packer::new(&writing, PackKind::Tree, sender)?;
    let mut list = ListWriter::default();
    for number in 0..chunks {
        list.push(id(number), &mut packer, kloset)?;
    }
    let file = Entry {
        name: b"large".to_vec(),
        content: list.finish(&mut packer, kloset)?,
        ..Entry::new(b"large".to_vec(), Metadata::default())
    };
    let mut tree = TreeWriter::default();
    tree.push(&file, &mut packer, kloset)?;
    let metadata = Metadata {
        kind: FileKind::Directory,
        ..Metadata::default()
    };
    let root = Entry {
        tree: tree.finish(&mut packer, kloset)?,
        ..Entry::new(Vec::new(), metadata)
    };
    packer.flush()?;
    drop(packer);
    for pack in finished {
        writing.store(pack)?;
    }
    writing.publish_index()?;
    let packs = chunks.div_ceil(PACK_CHUNKS);
    let mut fake = vec![0; PACK_BYTES as usize];
    for first in (0..packs).step_by(OBJECT_PACKS as usize) {
        let numbers = first..packs.min(first + OBJECT_PACKS);
        let mut tables = Vec::new();
        for number in numbers {
            fake[..8].copy_from_slice(&number.to_le_bytes());
            let pack = Id::of(&fake);
            let name = pack.to_string();
            let at = format!("{path}/packs/{}", &name[..2]);
            fs::create_dir_all(&at)?;
            fs::write(format!("{at}/{name}"), &fake)?;
            tables.push(table(pack, number, chunks));
        }
        index_object::publish(kloset, &tables)?;
    }
    let _ = (store, Area::Packs);
    let snapshot = Snapshot {
        id: Id([7; 32]),
        root,
        ..Snapshot::default()
    };
    snapshot::publish(kloset, &snapshot)?;
    Ok(())
}

/// The table of the pack `number`.
fn table(pack: Id, number: u64, chunks: u64) -> PackTable {
    let first = number * PACK_CHUNKS;
    let entries = first..chunks.min(first + PACK_CHUNKS);
    let chunk = |number| ChunkEntry {
        id: id(number),
        length: 100_000,
    };
    PackTable {
        pack,
        size_bytes: PACK_BYTES,
        kind: PackKind::Data,
        blocks: vec![BlockTable {
            sealed_bytes: 50,
            chunks: entries.map(chunk).collect(),
        }],
    }
}

fn id(number: u64) -> Id {
    Id::of(&number.to_le_bytes())
}

/// The most memory so far.
fn tell(what: &str, chunks: u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0);
    let limit = 80 * 1024 + 2 * chunks / 1024;
    println!(
        "{what:<14} {:>8.1} MiB at the peak, of {:.1}",
        kib as f64 / 1024.0,
        limit as f64 / 1024.0
    );
}
