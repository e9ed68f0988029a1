//! Sets the resource limits of this process, and protects its memory.
//!
//! Backup and restore hold one file descriptor for each level of nested directories. The default
//! soft limit of 1024 exists for programs that use `select(2)`; other programs are expected to
//! raise it.

use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit};

/// Disables core dumps, which would contain keys and passphrases. A program that plakar starts can
/// raise the limit again for itself.
///
/// The limit alone is not sufficient: the kernel ignores it if core dumps are piped to a program
/// (core(5)). A process that is not dumpable also cannot be traced by other processes of the same
/// user.
pub(super) fn forbid_dumps() {
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    // Both calls succeed if the kernel supports them. On an old kernel without them, plakar runs
    // anyway.
    let _ = setrlimit(Resource::Core, limit);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Raises the limit of open file descriptors to the hard limit.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If this fails, only very deep trees are affected, and they report an error.
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
