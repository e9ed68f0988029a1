//! What the micro-benchmarks share: contents to work on, and a clock that is fair.
//!
//! Machines are shared and clocks wander, so a figure alone means little. Two
//! ways of doing the same work are run in turns (A B A B ...), the median of
//! each is taken, and the ratio of the medians is what to read.

// Each benchmark is a program of its own, and uses a part of this.
#![allow(dead_code)]

use std::time::Instant;

/// Enough for a median to shrug off a neighbour's bursts, few enough to wait for.
const ROUNDS: usize = 9;

/// What a row's work is counted in.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// Shown as MB/s, of a million bytes.
    Bytes(usize),
    /// Shown as thousands a second.
    Entries(usize),
}

/// One way of doing the work of a row.
pub(crate) type Work<'a> = &'a mut dyn FnMut();

/// The head of the table that [`row`] fills.
pub(crate) fn head() {
    println!(
        "{:<36} {:>10} {:>16} {:>16} {:>7}",
        "stage", "size", "ours", "raw", "ratio"
    );
}

/// Runs both in turns and prints a row; the ratio is above 1 where ours is faster.
pub(crate) fn row(stage: &str, amount: Amount, ours: Work<'_>, raw: Work<'_>) {
    let (ours, raw) = medians(ours, raw);
    let (size, _) = amount.words(raw);
    let [ours_rate, raw_rate] = [ours, raw].map(|seconds| amount.words(seconds).1);
    let ratio = raw / ours;
    println!("{stage:<36} {size:>10} {ours_rate:>16} {raw_rate:>16} {ratio:>7.2}");
}

impl Amount {
    /// How much it is, and how fast that was in `seconds`.
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

/// The median seconds of each, run in turns after one run that warms up.
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

/// Contents nothing can compress, the same on every machine.
pub(crate) fn random(size_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"benchmark").finalize_xof().fill(&mut bytes);
    bytes
}

/// Contents that compress to about a third: words, the short ones oftener, in
/// lines that now and then repeat an earlier one.
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
            // The product of two throws favours low ranks, as Zipf's law would.
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
