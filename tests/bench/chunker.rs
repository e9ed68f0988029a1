//! Compares the chunker with the crate `fastcdc`: same contents, same minimum, average and maximum.
//! `cargo bench --bench chunker`.
//!
//! The keys differ, so the boundaries do too. The mean length of chunks is printed to show that
//! both do the same amount of work.

#![allow(clippy::print_stdout)]

mod common;

use std::hint::black_box;

use common::Amount;
use fastcdc::v2020::FastCDC;
use plakar::format::chunker::{Chunker, Gear, Parameters};

/// Much more than the CPU caches hold, as in a real backup.
const SIZE_BYTES: usize = 128 << 20;

/// For trees, and for users who prefer small chunks.
const SMALL: Parameters = Parameters {
    min_bytes: 8 << 10,
    average_bytes: 32 << 10,
    max_bytes: 128 << 10,
};

fn main() {
    let contents = [
        ("random", common::random(SIZE_BYTES)),
        ("text", common::text(SIZE_BYTES)),
        ("zeros", vec![0; SIZE_BYTES]),
    ];
    common::head();
    for (name, bytes) in &contents {
        compare(&format!("{name}, default"), bytes, Parameters::default());
        compare(&format!("{name}, 8/32/128 KiB"), bytes, SMALL);
    }
    for (name, bytes) in &contents {
        tell_means(name, bytes);
    }
}

fn compare(name: &str, bytes: &[u8], parameters: Parameters) {
    let chunker = chunker(parameters);
    common::row(
        name,
        Amount::Bytes(bytes.len()),
        &mut || {
            black_box(count(&chunker, bytes));
        },
        &mut || {
            black_box(count_by_crate(parameters, bytes));
        },
    );
}

fn tell_means(name: &str, bytes: &[u8]) {
    let parameters = Parameters::default();
    let ours = bytes.len() / count(&chunker(parameters), bytes);
    let raw = bytes.len() / count_by_crate(parameters, bytes);
    println!("mean chunk of {name}: ours {ours} bytes, raw {raw}");
}

fn chunker(parameters: Parameters) -> Chunker {
    Chunker::new(Gear::new(&[7; 32]), parameters).expect("the parameters are within bounds")
}

fn count(chunker: &Chunker, mut bytes: &[u8]) -> usize {
    let mut chunks = 0;
    while !bytes.is_empty() {
        bytes = &bytes[chunker.cut(bytes)..];
        chunks += 1;
    }
    chunks
}

/// The crate's default is normalization level 1. plakar uses level 2, so this benchmark does too.
fn count_by_crate(parameters: Parameters, bytes: &[u8]) -> usize {
    let Parameters {
        min_bytes,
        average_bytes,
        max_bytes,
    } = parameters;
    let [min, average, max] = [min_bytes, average_bytes, max_bytes].map(|bytes| bytes as usize);
    FastCDC::with_level(
        bytes,
        min,
        average,
        max,
        fastcdc::v2020::Normalization::Level2,
    )
    .count()
}
