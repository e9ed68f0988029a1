//! Types and helpers shared by all layers: ids, areas, file metadata, sizes, times, names.

pub mod area;
pub mod base64;
pub mod child;
pub mod clock;
pub mod file;
pub mod human;
pub mod id;
pub mod interrupt;
pub mod printable;
pub mod suggest;

pub use area::Area;
pub use id::Id;
