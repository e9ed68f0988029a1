//! Compares each stage of a backup or restore with the crate or system call that does its work, to
//! check that the additional features are worth their cost. `cargo bench --bench stages`.
//!
//! `ours` is the code of the program, `raw` the direct use of the library. Sealing also hashes the
//! nonce and opens the sealed data again to verify it, so it costs more than the cipher alone. The
//! faster cipher compensates for that; the ratio shows the rest.
//!
//! `BENCH_TREE` names a directory for the walk. Without it, a tree of small files is created and
//! removed again.

#![allow(clippy::print_stdout)]

mod common;

use std::fs;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305};
use common::Amount;
use plakar::connector::{FileKind, LocalSource, Source, SourceDir};
use plakar::error::Result;
use plakar::format::codec::{Decoder, Encoder};
use plakar::format::config::Config;
use plakar::format::master::Key;
use plakar::format::seal::{NONCE_BYTES, Part};
use plakar::kloset::Kloset;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::store::memory::MemoryStore;

/// The size of the plain data of a block.
const BLOCK_BYTES: usize = plakar::format::pack_table::PackKind::Data.block_bytes();

/// The amount of work in one measurement, so that small pieces exceed the resolution of the clock.
const BATCH_BYTES: usize = 32 << 20;

/// The sizes of pieces: a small file, a small chunk, and a block.
const PIECES_BYTES: [usize; 3] = [4 << 10, 64 << 10, BLOCK_BYTES];

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 24] = [9; 24];
const ASSOCIATED: &[u8; 34] = b"the key's id, the area, the part..";

fn main() -> Result<()> {
    let kloset = kloset()?;
    common::head();
    walk_and_read()?;
    for size_bytes in PIECES_BYTES {
        chunk_id(&kloset, size_bytes);
    }
    for size_bytes in PIECES_BYTES {
        seal(&kloset, size_bytes);
        open(&kloset, size_bytes);
    }
    for level in [1, 3] {
        encode(&kloset, level)?;
        decode(&kloset, level)?;
    }
    Ok(())
}

/// An empty kloset, for its keys.
fn kloset() -> Result<Kloset> {
    let master = Key::new(KEY);
    let config = Config::new(3)?.encode(&master)?;
    let store = Arc::new(MemoryStore::new());
    Kloset::open(store, &config, master, None, Arc::new(Nobody::default()))
}

/// An observer that ignores events.
#[derive(Default)]
struct Nobody(Counters);

impl Observer for Nobody {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _: &Event<'_>) {}
}

/// Reads directories and the metadata of each entry; then also each file.
fn walk_and_read() -> Result<()> {
    let made;
    let root = match std::env::var_os("BENCH_TREE") {
        Some(root) => PathBuf::from(root),
        None => {
            made = small_tree();
            made.path().to_owned()
        }
    };
    let mut buffer = Vec::new();
    for (name, want) in [("walk", Want::Names), ("walk and read", Want::Contents)] {
        let entries = walk_raw(&root, want);
        assert_eq!(walk_ours(&*opened(&root)?, want, &mut buffer)?, entries);
        common::row(
            name,
            Amount::Entries(entries),
            &mut || {
                let entries = opened(&root).and_then(|dir| walk_ours(&*dir, want, &mut buffer));
                black_box(entries.expect("the tree was read before"));
            },
            &mut || {
                black_box(walk_raw(&root, want));
            },
        );
    }
    Ok(())
}

/// How much of a tree to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Names,
    Contents,
}

/// Opens `path` in the same way as a backup: one component at a time.
fn opened(path: &Path) -> Result<Arc<dyn SourceDir>> {
    let path = path.canonicalize()?;
    let (mut dir, _) = LocalSource::new()?.root()?;
    for name in path.iter().skip(1) {
        dir = dir.open_dir(name.as_bytes())?;
    }
    Ok(dir)
}

/// The number of entries below `dir`.
fn walk_ours(dir: &dyn SourceDir, want: Want, buffer: &mut Vec<u8>) -> Result<usize> {
    let items = dir.items()?;
    let mut count = items.len();
    for item in items {
        let metadata = black_box(item.metadata?);
        match metadata.kind {
            FileKind::Directory => count += walk_ours(&*dir.open_dir(&item.name)?, want, buffer)?,
            FileKind::File if want == Want::Contents => {
                // One byte more than the file should have: a short read indicates the end.
                buffer.resize(metadata.size_bytes as usize + 1, 0);
                let mut file = dir.open_file(&item.name)?;
                black_box(file.metadata()?);
                black_box(file.read(buffer)?);
            }
            _ => {}
        }
    }
    Ok(count)
}

/// Like [`walk_ours`], but with paths.
fn walk_raw(directory: &Path, want: Want) -> usize {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    let mut count = 0;
    for path in entries.flatten().map(|entry| entry.path()) {
        count += 1;
        let metadata = black_box(fs::symlink_metadata(&path)).expect("the entry is there");
        if metadata.is_dir() {
            count += walk_raw(&path, want);
        } else if metadata.is_file() && want == Want::Contents {
            drop(black_box(fs::read(&path)));
        }
    }
    count
}

/// 100 directories of 100 files, at a depth where resolving paths has a cost.
fn small_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    for directory in 0..100 {
        let path = root
            .path()
            .join(format!("some/directories/down/{directory}"));
        fs::create_dir_all(&path).expect("a directory can be made");
        for file in 0..100 {
            fs::write(path.join(format!("file {file}")), [b'a'; 1000]).expect("it can be written");
        }
    }
    root
}

fn chunk_id(kloset: &Kloset, size_bytes: usize) {
    let bytes = common::random(BATCH_BYTES);
    common::row(
        &format!("chunk id, pieces of {size_bytes}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for piece in bytes.chunks(size_bytes) {
                black_box(kloset.chunk_id(piece));
            }
        },
        &mut || {
            for piece in bytes.chunks(size_bytes) {
                black_box(blake3::keyed_hash(&KEY, piece));
            }
        },
    );
}

/// Sealing, including the hash of the nonce and the verification, compared with the cipher alone.
fn seal(kloset: &Kloset, size_bytes: usize) {
    let bytes = common::random(BATCH_BYTES);
    let (mut sealed, mut scratch, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    common::row(
        &format!("seal, pieces of {size_bytes}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for piece in bytes.chunks(size_bytes) {
                sealed.clear();
                sealed.resize(NONCE_BYTES, 0);
                sealed.extend_from_slice(piece);
                let done = kloset.sealer().seal(Part::Block, &mut sealed, &mut scratch);
                done.expect("the machine works");
            }
        },
        &mut || {
            for piece in bytes.chunks(size_bytes) {
                raw.clear();
                raw.extend_from_slice(piece);
                black_box(seal_raw(&mut raw));
            }
        },
    );
}

/// The reverse operation. Data is sealed once, and copied for each measurement.
fn open(kloset: &Kloset, size_bytes: usize) {
    let plain = common::random(size_bytes);
    let mut sealed = [vec![0; NONCE_BYTES], plain.clone()].concat();
    let done = kloset
        .sealer()
        .seal(Part::Block, &mut sealed, &mut Vec::new());
    done.expect("the machine works");
    let mut sealed_raw = plain;
    let tag = seal_raw(&mut sealed_raw);
    let (mut ours, mut raw) = (sealed.clone(), sealed_raw.clone());
    let pieces = BATCH_BYTES / size_bytes;
    common::row(
        &format!("open, pieces of {size_bytes}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for _ in 0..pieces {
                ours.copy_from_slice(&sealed);
                let plain = kloset.sealer().open(Part::Block, &mut ours);
                black_box(plain.expect("it was sealed with this key"));
            }
        },
        &mut || {
            for _ in 0..pieces {
                raw.copy_from_slice(&sealed_raw);
                open_raw(&mut raw, &tag);
            }
        },
    );
}

/// Compressing and sealing, compared with a new context and buffer for each block and the cipher
/// alone.
fn encode(kloset: &Kloset, level: i32) -> Result<()> {
    let text = common::text(BATCH_BYTES);
    let mut encoder = Encoder::new(level)?;
    let mut sealed = Vec::new();
    common::row(
        &format!("compress and seal, level {level}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for block in text.chunks(BLOCK_BYTES) {
                let done = encoder.encode(kloset.sealer(), Part::Block, block, &mut sealed);
                done.expect("the machine works");
            }
        },
        &mut || {
            for block in text.chunks(BLOCK_BYTES) {
                black_box(encode_raw(block, level));
            }
        },
    );
    Ok(())
}

/// Opening and decompressing, compared with the cipher and a new context and buffer for each block.
fn decode(kloset: &Kloset, level: i32) -> Result<()> {
    let text = common::text(BATCH_BYTES);
    let blocks = || text.chunks(BLOCK_BYTES);
    let mut encoder = Encoder::new(level)?;
    let mut sealed = Vec::new();
    for block in blocks() {
        let mut part = Vec::new();
        encoder.encode(kloset.sealer(), Part::Block, block, &mut part)?;
        sealed.push(part);
    }
    let sealed_raw: Vec<(Vec<u8>, Tag)> = blocks().map(|block| encode_raw(block, level)).collect();
    let mut decoder = Decoder::new()?;
    let (mut part, mut plain) = (Vec::new(), Vec::new());
    common::row(
        &format!("open and decompress, level {level}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for whole in &sealed {
                part.clone_from(whole);
                let done = decoder.decode(kloset.sealer(), Part::Block, &mut part, &mut plain);
                done.expect("it was sealed with this key");
            }
        },
        &mut || {
            for (frame, tag) in &sealed_raw {
                let mut frame = frame.clone();
                open_raw(&mut frame, tag);
                let block = zstd::bulk::decompress(&frame, BLOCK_BYTES);
                black_box(block.expect("the frame is whole"));
            }
        },
    );
    let stored: usize = sealed.iter().map(Vec::len).sum();
    println!("level {level} leaves {stored} of {BATCH_BYTES} bytes");
    Ok(())
}

fn seal_raw(bytes: &mut [u8]) -> Tag {
    XChaCha20Poly1305::new(&KEY.into())
        .encrypt_inout_detached(&NONCE.into(), ASSOCIATED, bytes.into())
        .expect("the bytes are fewer than the cipher's limit")
}

fn open_raw(bytes: &mut [u8], tag: &Tag) {
    XChaCha20Poly1305::new(&KEY.into())
        .decrypt_inout_detached(&NONCE.into(), ASSOCIATED, bytes.into(), tag)
        .expect("the bytes were sealed with this key");
}

fn encode_raw(block: &[u8], level: i32) -> (Vec<u8>, Tag) {
    let mut frame = zstd::bulk::compress(block, level).expect("memory compresses");
    let tag = seal_raw(&mut frame);
    (frame, tag)
}
