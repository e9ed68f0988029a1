//! The format of a store: bytes to structures and back, and sealing. No I/O.
//!
//! Another program could read a store with this module alone.

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
