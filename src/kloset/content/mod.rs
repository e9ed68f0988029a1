//! The contents of a file: pulled in order by the caller, or pushed to a sink.

pub mod push;
pub mod reader;
