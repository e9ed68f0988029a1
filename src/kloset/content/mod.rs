//! The contents of a file: read in order, or pushed to a sink.

pub mod push;
pub mod reader;
