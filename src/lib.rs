//! `plakar`: deduplicated, compressed, end-to-end encrypted snapshots of files.
//!
//! The layers, lowest first; each imports only from those below it, and
//! `tests/layers.rs` keeps it so:
//!
//! | layer | modules | what it knows |
//! |---|---|---|
//! | 0 | [`error`], [`util`] | nothing of backups |
//! | 1 | [`net`] | what a location is |
//! | 2 | [`store`], [`connector`] | where objects are kept; where files are read and written |
//! | 3 | [`kloset`], [`server`], [`config`] | keys, chunks, blocks, packs, trees, snapshots; a store for others to use; what is kept by name |
//! | 4 | [`cli`] | alone prints, prompts and reads the environment |
//!
//! The library exists so that benchmarks, fuzz targets and tests can call the
//! parts; its interface is not promised to anyone else.

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
