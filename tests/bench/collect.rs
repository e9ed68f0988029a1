//! Measures the memory of operations on a whole store, using a large artificial store: a snapshot
//! of one file with a given number of chunks of 8 bytes, in as many packs as chunks of the usual
//! size would fill. Each command is a separate process. All commands use the cache below the same
//! home directory, which is empty for the first command, a backup. `CHUNKS=10000000 cargo bench
//! --bench collect` uses ten million chunks instead of one million. It is faster with TMPDIR in
//! memory, because each pack is made durable.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use plakar::connector::{FileKind, Metadata};
use plakar::format::entry::Entry;
use plakar::format::pack_table::PackKind;
use plakar::kloset::pipeline::Trouble;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::snapshot::{self, Snapshot};
use plakar::kloset::tree::{ListWriter, TreeWriter};
use plakar::kloset::write_session::{WriteSession, write_session};
use plakar::kloset::{Kloset, Locked, Protection, create};
use plakar::net::location::Location;
use plakar::store::{self, Settings};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

/// The number of large incompressible chunks in a pack of 16 MiB.
const PACK_CHUNKS: u64 = 57;
/// The interval between two measurements of memory.
const LOOK_EVERY: Duration = Duration::from_millis(5);

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
    build(&opened()?, chunks)?;
    let files = directory.path().join("files");
    fs::create_dir(&files)?;
    fs::write(files.join("some"), path.repeat(100_000))?;
    let files = files.to_str().ok_or("the directory for tests is UTF-8")?;
    let sibling = format!("{path}-sibling");
    let home = directory.path();
    command(home, chunks, &["at", path, "backup", files])?;
    command(home, chunks, &["at", path, "check", "-fast"])?;
    command(home, chunks, &["at", path, "prune", "-days", "2"])?;
    command(home, chunks, &["at", path, "maintenance", "-dry-run"])?;
    command(
        home,
        chunks,
        &["at", &sibling, "create", "-plaintext", "-from", path],
    )?;
    command(home, chunks, &["at", path, "sync", "to", &sibling])?;
    command(home, chunks, &["at", path, "maintenance"])
}

/// Runs the program and reports its peak memory.
fn command(home: &Path, chunks: u64, words: &[&str]) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut program = Command::new(env!("CARGO_BIN_EXE_plakar"));
    program
        .arg("-quiet")
        .args(words)
        .env_clear()
        .env("HOME", home);
    let mut child = program.spawn()?;
    let mut peak_kib = 0;
    let status = loop {
        // The value only increases, and is not available after the process has ended.
        peak_kib = peak(child.id()).unwrap_or(peak_kib);
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(LOOK_EVERY),
        }
    };
    let limit_kib = 80 * 1024 + 2 * chunks / 1024;
    println!(
        "{:<12} {:>8.2} s {:>8.1} MiB at the peak, of {:.1}; {status}",
        words[2],
        started.elapsed().as_secs_f64(),
        peak_kib as f64 / 1024.0,
        limit_kib as f64 / 1024.0
    );
    Ok(())
}

/// The peak memory of a process so far, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Fills a store. Only the size of its packs is artificial, about a hundredth of the usual size.
fn build(kloset: &Kloset, chunks: u64) -> Result<(), Box<dyn Error>> {
    let trouble = Trouble::new(Interrupt::default());
    let root = write_session(kloset, 3, 4, &trouble, |session| {
        fill(kloset, &session, chunks)
    })??;
    trouble.outcome()?;
    let snapshot = Snapshot {
        id: Id([7; 32]),
        root,
        ..Snapshot::default()
    };
    snapshot::publish(kloset, &snapshot)?;
    Ok(())
}

/// Stores a directory with one file.
fn fill(kloset: &Kloset, session: &WriteSession<'_>, chunks: u64) -> plakar::error::Result<Entry> {
    let mut data = session.packer(PackKind::Data)?;
    let mut packer = session.packer(PackKind::Tree)?;
    let mut list = ListWriter::default();
    for number in 0..chunks {
        list.push(data.put(&number.to_le_bytes())?.0, &mut packer, kloset)?;
        if number % PACK_CHUNKS == PACK_CHUNKS - 1 {
            data.flush()?;
        }
    }
    data.flush()?;
    let metadata = Metadata {
        size_bytes: 8 * chunks,
        ..Metadata::default()
    };
    let file = Entry {
        content: list.finish(&mut packer, kloset)?,
        ..Entry::new(b"large".to_vec(), metadata)
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
    Ok(root)
}
