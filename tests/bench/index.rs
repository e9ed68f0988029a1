//! Measures the index: the time to build it, the size of a record on disk and in memory, and the
//! time of a hit and of a miss. `CHUNKS=100000000 cargo bench --bench index` changes the number of
//! chunks from the default of ten million. `CACHE=DIR` keeps the files in DIR.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use plakar::format::pack_table::{BlockTable, ChunkEntry, PackKind, PackTable};
use plakar::kloset::index::Index;
use plakar::util::Id;

/// The number of large incompressible chunks in a pack of 16 MiB.
const PACK_CHUNKS: u64 = 57;
/// One GiB of packs.
const OBJECT_PACKS: u64 = 64;
const LOOKUPS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let chunks = std::env::var("CHUNKS")
        .ok()
        .map_or(Ok(10_000_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let directory = std::env::var_os("CACHE").map_or(temporary.path().to_owned(), Into::into);
    let index = Index::open(Some(&directory));
    build(&index, chunks)?;
    footprint(&index, &directory, chunks)?;
    drop(index);
    let started = Instant::now();
    let index = Index::open(Some(&directory));
    println!(
        "open           {:>8.1} ms",
        1e3 * started.elapsed().as_secs_f64()
    );
    lookups(&index, "hit", |n| n * 0x9e37_79b9 % chunks)?;
    lookups(&index, "miss", |n| u64::MAX - n)
}

fn build(index: &Index, chunks: u64) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let packs = chunks.div_ceil(PACK_CHUNKS);
    for first in (0..packs).step_by(OBJECT_PACKS as usize) {
        let names = first..packs.min(first + OBJECT_PACKS);
        let tables: Vec<PackTable> = names.map(pack).collect();
        index.add_object(id(!first), &tables)?;
    }
    let added = started.elapsed().as_secs_f64();
    index.save()?;
    let all = started.elapsed().as_secs_f64();
    println!(
        "build          {all:>8.2} s, {:.2} us a record",
        1e6 * all / chunks as f64
    );
    println!("of it save     {:>8.2} s", all - added);
    Ok(())
}

fn footprint(index: &Index, directory: &Path, chunks: u64) -> Result<(), Box<dyn Error>> {
    let mut disk_bytes = 0;
    for entry in fs::read_dir(directory)? {
        disk_bytes += entry?.metadata()?.len();
    }
    println!(
        "on disk        {:>8.2} bytes a record",
        disk_bytes as f64 / chunks as f64
    );
    println!(
        "in memory      {:>8.2} bytes a record",
        index.memory_bytes() as f64 / chunks as f64
    );
    peak()
}

fn lookups(index: &Index, what: &str, number: impl Fn(u64) -> u64) -> Result<(), Box<dyn Error>> {
    let ids: Vec<Id> = (0..LOOKUPS).map(|n| id(number(n))).collect();
    let reads = index.page_reads();
    let started = Instant::now();
    let mut found = 0_u64;
    for id in &ids {
        found += u64::from(index.contains(id)?);
    }
    let nanoseconds = started.elapsed().as_nanos() as f64 / LOOKUPS as f64;
    let reads = (index.page_reads() - reads) as f64 / LOOKUPS as f64;
    println!("{what:<14} {nanoseconds:>8.0} ns, {reads:.3} reads, {found} found");
    Ok(())
}

/// The peak memory of this process, as reported by Linux.
fn peak() -> Result<(), Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak memory    {:>8}", line.unwrap_or("unknown").trim());
    Ok(())
}

fn pack(name: u64) -> PackTable {
    let chunks = name * PACK_CHUNKS..(name + 1) * PACK_CHUNKS;
    let block = |chunk| BlockTable {
        sealed_bytes: 200_000,
        chunks: vec![ChunkEntry {
            id: id(chunk),
            length: 290_000,
        }],
    };
    let blocks = chunks.map(block).collect();
    PackTable {
        pack: id(!(name << 20)),
        size_bytes: 1 << 24,
        kind: PackKind::Data,
        blocks,
    }
}

/// The id for a number, distributed by SplitMix64.
fn id(number: u64) -> Id {
    let mut bytes = [0; 32];
    for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
        let mixed = number.wrapping_mul(4).wrapping_add(at as u64);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(mixed ^ mixed >> 31).to_le_bytes());
    }
    Id(bytes)
}
