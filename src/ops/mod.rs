//! Operations on an open store, one module for each.

pub mod archive;
pub mod backup;
pub mod check;
pub mod collect;
pub mod compare;
pub mod decompress;
pub mod digest;
pub mod dup;
pub mod inspect;
pub mod locate;
pub mod query;
pub mod repair;
pub mod restore;
pub mod select;
pub mod sync;
