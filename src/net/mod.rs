//! Places on this machine and others, and one day the bytes that go there.
//!
//! Nothing here knows what is kept at a place.

pub mod location;
