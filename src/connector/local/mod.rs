//! The local file system as a source and as a destination.

mod attributes;
mod destination;
mod details;
mod directory;
mod draft;
mod file;
mod flags;
mod names;
mod new_file;
mod node;
mod open;
mod source;
mod stat;
mod target;
mod trust;

pub use destination::LocalDestination;
pub use source::LocalSource;
