//! Small things that know nothing of backups: ids, sizes, times.

pub mod human;
pub mod id;
pub mod interrupt;

pub use id::Id;
