//! What the system lets this process have, and what others may have of this process.
//!
//! Backup and restore hold one descriptor for each directory they are in. The usual
//! limit of 1024 is there for programs that use `select(2)`, and is meant to be raised
//! by those that do not.

use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};

/// Disables core dumps, which would contain keys and passphrases. A program that plakar starts
/// may raise the limit again for itself.
///
/// The limit alone is not enough: the kernel ignores it where a program receives the dumps
/// (core(5)). A process that is not dumpable cannot be traced by others of its user either.
pub(super) fn forbid_dumps() {
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    // Both always succeed where they are known; an old kernel without them runs plakar anyway.
    let _ = setrlimit(Resource::Core, limit);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Raises the number of descriptors we may have open to the most we are allowed.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it, only very deep trees suffer, and say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_dumps_are_forbidden() {
        forbid_dumps();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        let behavior = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(behavior, DumpableBehavior::NotDumpable);
    }
}
