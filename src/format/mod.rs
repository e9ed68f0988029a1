//! The format of a store: encoding, decoding and sealing. This module does no I/O.
//!
//! It is sufficient to write another program that reads a store.

pub mod cbor;
pub mod chunker;
pub mod codec;
pub mod config;
pub mod entry;
pub mod holes;
pub mod master;
pub mod object;
pub mod pack_table;
pub mod seal;
pub mod slot;
