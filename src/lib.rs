//! `plakar`: deduplicated, compressed, end-to-end encrypted snapshots of files.
//!
//! The layers, lowest first. Each imports only from those below it; `tests/layers.rs` enforces this:
//!
//! | layer | modules | subject |
//! |---|---|---|
//! | 0 | [`error`], [`util`] | errors, shared vocabulary, small helpers |
//! | 1 | [`net`] | locations, HTTP, TLS, SSH: bytes on a wire |
//! | 2 | [`format`], [`store`], [`connector`] | bytes to structures and sealing; objects by name; files to read and restore |
//! | 3 | [`kloset`], [`config`] | one open store; user-defined names |
//! | 4 | [`ops`] | operations on an open store |
//! | 5 | [`server`] | a store served to others, without its keys |
//! | 6 | [`cli`] | the only layer that prints, prompts or reads the environment |
//!
//! The library exists so that benchmarks, fuzz targets and tests can call the parts. Its
//! interface can change at any time.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod config;
pub mod connector;
pub mod error;
pub mod format;
pub mod kloset;
pub mod net;
pub mod ops;
pub mod server;
pub mod store;
pub mod util;
