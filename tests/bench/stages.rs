//! Each stage of a backup beside the raw crate or system call that does its work:
//! what we add must be worth what it costs. `cargo bench --bench stages`.
//!
//! `ours` is what the program does, `raw` the obvious use of the library. A stage
//! that has no code of ours to compare shows the raw figure alone; it is the
//! limit to hold against. To add ours, turn its `row_of_raw` into a `row`.
//!
//! `BENCH_TREE` names a directory for the walk; without it a tree of small files
//! is made and removed again.

#![allow(clippy::print_stdout)]

mod common;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{self, Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use chacha20::R20;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305};
use common::Amount;

/// The plain bytes of a block.
const BLOCK_BYTES: usize = 1 << 20;

/// Work of one timing, so that small pieces outlast the clock's grain.
const BATCH_BYTES: usize = 32 << 20;

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 24] = [9; 24];
const ASSOCIATED: &[u8] = b"key id, area and part";

fn main() {
    common::head();
    walk();
    for size_bytes in [4 << 10, 64 << 10, BLOCK_BYTES] {
        hash(size_bytes);
    }
    assert_both_ciphers_agree();
    for size_bytes in [4 << 10, 64 << 10, BLOCK_BYTES] {
        seal(size_bytes);
        unseal(size_bytes);
    }
    for level in [1, 3] {
        compress(level);
        decompress(level);
    }
}

/// Directories read, and each entry asked for its metadata. For the local source.
fn walk() {
    let made;
    let root = match std::env::var_os("BENCH_TREE") {
        Some(root) => PathBuf::from(root),
        None => {
            made = small_tree();
            made.path().to_owned()
        }
    };
    let entries = count_entries(&root);
    common::row_of_raw("walk", Amount::Entries(entries), &mut || {
        black_box(count_entries(&root));
    });
}

/// How many entries are below `directory`; what cannot be read is left out.
fn count_entries(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let mut count = 0;
    for path in entries.flatten().map(|entry| entry.path()) {
        count += 1;
        if fs::symlink_metadata(&path).is_ok_and(|metadata| black_box(metadata).is_dir()) {
            count += count_entries(&path);
        }
    }
    count
}

/// 100 directories of 100 files, deep enough that paths cost something to resolve.
fn small_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    for directory in 0..100 {
        let path = root
            .path()
            .join(format!("some/directories/down/{directory}"));
        fs::create_dir_all(&path).expect("a directory can be made");
        for file in 0..100 {
            fs::write(path.join(format!("file {file}")), b"").expect("a file can be made");
        }
    }
    root
}

/// Ids of chunks.
fn hash(size_bytes: usize) {
    let bytes = common::random(BATCH_BYTES);
    let name = format!("hash, keyed, pieces of {size_bytes}");
    common::row_of_raw(&name, Amount::Bytes(BATCH_BYTES), &mut || {
        for piece in bytes.chunks(size_bytes) {
            black_box(blake3::keyed_hash(&KEY, piece));
        }
    });
}

/// XChaCha20-Poly1305 made of HChaCha20 and a faster ChaCha20-Poly1305, beside the
/// crate that has it whole.
fn seal(size_bytes: usize) {
    let mut bytes = common::random(BATCH_BYTES);
    let mut bytes_of_raw = bytes.clone();
    common::row(
        &format!("seal, pieces of {size_bytes}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for piece in bytes.chunks_mut(size_bytes) {
                drop(black_box(seal_composed(piece)));
            }
        },
        &mut || {
            for piece in bytes_of_raw.chunks_mut(size_bytes) {
                black_box(seal_raw(piece));
            }
        },
    );
}

/// The other direction. Bytes are sealed once, and copied from there each time.
fn unseal(size_bytes: usize) {
    let mut sealed = common::random(size_bytes);
    let tag = seal_raw(&mut sealed);
    let (mut ours, mut raw) = (sealed.clone(), sealed.clone());
    let pieces = BATCH_BYTES / size_bytes;
    common::row(
        &format!("unseal, pieces of {size_bytes}"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for _ in 0..pieces {
                ours.copy_from_slice(&sealed);
                unseal_composed(&mut ours, &tag);
            }
        },
        &mut || {
            for _ in 0..pieces {
                raw.copy_from_slice(&sealed);
                unseal_raw(&mut raw, &tag);
            }
        },
    );
}

fn assert_both_ciphers_agree() {
    let plain = common::random(1000);
    let (mut ours, mut raw) = (plain.clone(), plain.clone());
    assert_eq!(
        seal_composed(&mut ours).as_ref(),
        seal_raw(&mut raw).as_slice()
    );
    assert_eq!(ours, raw);
}

/// The inner key and nonce of draft-irtf-cfrg-xchacha-03, section 2.3.
fn inner_cipher() -> (LessSafeKey, aead::Nonce) {
    let (outer, inner) = NONCE.split_at(16);
    let outer: [u8; 16] = outer.try_into().expect("16 bytes were split off");
    let subkey = chacha20::hchacha::<R20>(&KEY.into(), &outer.into());
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(inner);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("the key has 32 bytes");
    (
        LessSafeKey::new(key),
        aead::Nonce::assume_unique_for_key(nonce),
    )
}

fn seal_composed(bytes: &mut [u8]) -> aead::Tag {
    let (key, nonce) = inner_cipher();
    key.seal_in_place_separate_tag(nonce, Aad::from(ASSOCIATED), bytes)
        .expect("the bytes are fewer than the cipher's limit")
}

fn unseal_composed(bytes: &mut [u8], tag: &Tag) {
    let (key, nonce) = inner_cipher();
    key.open_in_place_separate_tag(nonce, Aad::from(ASSOCIATED), tag, bytes)
        .expect("the bytes were sealed with this key");
}

fn seal_raw(bytes: &mut [u8]) -> Tag {
    XChaCha20Poly1305::new(&KEY.into())
        .encrypt_inout_detached(&NONCE.into(), ASSOCIATED, bytes.into())
        .expect("the bytes are fewer than the cipher's limit")
}

fn unseal_raw(bytes: &mut [u8], tag: &Tag) {
    XChaCha20Poly1305::new(&KEY.into())
        .decrypt_inout_detached(&NONCE.into(), ASSOCIATED, bytes.into(), tag)
        .expect("the bytes were sealed with this key");
}

/// One context and one buffer for all blocks, beside a new one for each.
fn compress(level: i32) {
    let text = common::text(BATCH_BYTES);
    let mut context = zstd::bulk::Compressor::new(level).expect("the level exists");
    let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK_BYTES));
    common::row(
        &format!("compress, level {level}, context kept"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for block in text.chunks(BLOCK_BYTES) {
                let size = context.compress_to_buffer(block, &mut frame);
                black_box(size.expect("the buffer holds any frame"));
            }
        },
        &mut || {
            for block in text.chunks(BLOCK_BYTES) {
                let frame = zstd::bulk::compress(block, level);
                black_box(frame.expect("memory compresses"));
            }
        },
    );
}

/// One context and one buffer for all frames, beside a new one for each.
fn decompress(level: i32) {
    let frames: Vec<Vec<u8>> = common::text(BATCH_BYTES)
        .chunks(BLOCK_BYTES)
        .map(|block| zstd::bulk::compress(block, level).expect("memory compresses"))
        .collect();
    let mut context = zstd::bulk::Decompressor::new().expect("a context can be made");
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    common::row(
        &format!("decompress, level {level}, context kept"),
        Amount::Bytes(BATCH_BYTES),
        &mut || {
            for frame in &frames {
                let size = context.decompress_to_buffer(frame, &mut block);
                black_box(size.expect("the frame is whole"));
            }
        },
        &mut || {
            for frame in &frames {
                let block = zstd::bulk::decompress(frame, BLOCK_BYTES);
                black_box(block.expect("the frame is whole"));
            }
        },
    );
    let stored: usize = frames.iter().map(Vec::len).sum();
    println!("level {level} leaves {stored} of {BATCH_BYTES} bytes");
}
