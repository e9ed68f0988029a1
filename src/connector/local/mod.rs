//! The local file system as source and destination.

mod destination;
mod names;
mod source;
mod stat;

pub use destination::LocalDestination;
pub use source::LocalSource;
