//! The local file system as destination. Stub.

/// A directory of this machine.
pub struct LocalDestination;
