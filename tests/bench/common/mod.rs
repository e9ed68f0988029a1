//! Common code of the micro-benchmarks: test data, and fair measurements.
//!
//! On shared machines with varying clock rates, a single number means little. Therefore two
//! implementations of the same work run alternately (A B A B ...). The result is the ratio of the
//! medians of their times.

// Each benchmark is a separate program and uses a part of this module.
#![allow(dead_code)]

use std::time::Instant;

/// Enough rounds that the median ignores load by other processes, few enough to finish soon.
const ROUNDS: usize = 9;

/// The unit of the work in a row.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// Shown in MB/s, with a million bytes per MB.
    Bytes(usize),
    /// Shown in thousands per second.
    Entries(usize),
}

/// One implementation of the work of a row.
pub(crate) type Work<'a> = &'a mut dyn FnMut();

/// Prints the heading of the table that [`row`] fills.
pub(crate) fn head() {
    println!(
        "{:<36} {:>10} {:>16} {:>16} {:>7}",
        "stage", "size", "ours", "raw", "ratio"
    );
}

/// Runs both implementations alternately and prints a row. The ratio is above 1 if `ours` is
/// faster.
pub(crate) fn row(stage: &str, amount: Amount, ours: Work<'_>, raw: Work<'_>) {
    let (ours, raw) = medians(ours, raw);
    let (size, _) = amount.words(raw);
    let [ours_rate, raw_rate] = [ours, raw].map(|seconds| amount.words(seconds).1);
    let ratio = raw / ours;
    println!("{stage:<36} {size:>10} {ours_rate:>16} {raw_rate:>16} {ratio:>7.2}");
}

impl Amount {
    /// The amount, and the rate if it took `seconds`.
    fn words(self, seconds: f64) -> (String, String) {
        match self {
            Amount::Bytes(bytes) => (
                format!("{bytes} B"),
                format!("{:.0} MB/s", bytes as f64 / seconds / 1e6),
            ),
            Amount::Entries(entries) => (
                format!("{entries}"),
                format!("{:.0} k/s", entries as f64 / seconds / 1e3),
            ),
        }
    }
}

/// The median times in seconds, measured alternately after one warm-up run.
fn medians(one: Work<'_>, other: Work<'_>) -> (f64, f64) {
    one();
    other();
    let turns: [(f64, f64); ROUNDS] = std::array::from_fn(|_| (seconds(one), seconds(other)));
    (
        median(turns.map(|turn| turn.0)),
        median(turns.map(|turn| turn.1)),
    )
}

fn seconds(work: Work<'_>) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut seconds: [f64; ROUNDS]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}

/// Incompressible data, the same on every machine.
pub(crate) fn random(size_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"benchmark").finalize_xof().fill(&mut bytes);
    bytes
}

/// Data that compresses to about a third: words, short ones more frequently, in lines that
/// sometimes repeat an earlier one.
pub(crate) fn text(size_bytes: usize) -> Vec<u8> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let words: Vec<Vec<u8>> = (0..4096).map(|rank| dice.word(2 + rank / 400)).collect();
    let mut text = Vec::with_capacity(size_bytes + 256);
    while text.len() < size_bytes {
        let line = text.len();
        if line > 4096 && dice.below(4) == 0 {
            let earlier = line - 64 - dice.below(4000);
            text.extend_from_within(earlier..earlier + 48);
        }
        for _ in 0..4 + dice.below(8) {
            // The product of two random numbers favors low ranks, similar to Zipf's law.
            let rank = dice.below(64) * dice.below(64);
            text.extend_from_slice(&words[rank]);
            text.push(b' ');
        }
        text.push(b'\n');
    }
    text.truncate(size_bytes);
    text
}

/// Xorshift (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as usize) % limit
    }

    fn word(&mut self, letters: usize) -> Vec<u8> {
        (0..letters).map(|_| b'a' + self.below(26) as u8).collect()
    }
}
