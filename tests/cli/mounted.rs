//! A small file system in memory for the duration of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::prerequisite::has_mounted;
use crate::harness::Sandbox;

/// A mounted tmpfs. Unmounted on drop, even if the test failed.
pub(crate) struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Mounts a tmpfs of `size_bytes` at `path` in `sandbox`. Returns `None` if this is not
    /// possible: the test is skipped.
    #[track_caller]
    pub(crate) fn tmpfs(sandbox: &Sandbox, path: &str, size_bytes: u64) -> Option<Mounted> {
        sandbox.mkdir(path);
        let path = sandbox.path(path);
        has_mounted(&path, &format!("size={size_bytes}")).then(|| Mounted { path })
    }

    /// Fills the remaining space, except for some bytes.
    pub(crate) fn fill(&self) {
        let zeros = fs::File::open("/dev/zero").expect("there is /dev/zero");
        let mut filler = fs::File::create(self.filler()).expect("a file can be made");
        let full = std::io::copy(&mut &zeros, &mut filler).expect_err("it has an end");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Frees the space that [`Mounted::fill`] used.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("lost+found")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// Unmounts `path`, even if it is in use.
pub(crate) fn unmount(path: &Path) {
    let _ = Command::new("umount").arg("-l").arg(path).output();
}
