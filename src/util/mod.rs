//! Small things that know nothing of backups: ids, sizes, times, names, slips.

pub mod base64;
pub mod child;
pub mod clock;
pub mod human;
pub mod id;
pub mod interrupt;
pub mod printable;
pub mod suggest;

pub use id::Id;
