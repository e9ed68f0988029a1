//! Small things that know nothing of backups: ids, sizes, times, slips.

pub mod base64;
pub mod clock;
pub mod human;
pub mod id;
pub mod interrupt;
pub mod suggest;

pub use id::Id;
