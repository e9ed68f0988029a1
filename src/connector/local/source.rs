//! The local file system as source. Stub.

/// Files of this machine.
pub struct LocalSource;
