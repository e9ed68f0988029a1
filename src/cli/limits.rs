//! What the system lets this process have.
//!
//! Backup and restore hold one descriptor for each directory they are in. The usual
//! limit of 1024 is there for programs that use `select(2)`, and is meant to be raised
//! by those that do not.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of descriptors we may have open to the most we are allowed.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it, only very deep trees suffer, and say so.
    let _ = setrlimit(Resource::Nofile, limit);
}
