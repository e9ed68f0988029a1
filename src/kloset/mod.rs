//! A kloset: a store opened with its keys.

pub mod chunker;
pub mod index;
pub mod progress;
pub mod table;
