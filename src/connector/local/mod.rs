//! The local file system as source and destination.

mod destination;
mod details;
mod file;
mod names;
mod open;
mod source;
mod stat;

pub use destination::LocalDestination;
pub use source::LocalSource;
