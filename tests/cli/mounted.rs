//! A small file system in memory, for as long as a test runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Sandbox;

/// A mounted tmpfs; dropped, it is gone, whatever became of the test.
pub(crate) struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Mounts `size_bytes` of memory at `path` of `sandbox`. Where that is not allowed it
    /// says so and returns nothing, and the test has nothing to test.
    pub(crate) fn tmpfs(sandbox: &Sandbox, path: &str, size_bytes: u64) -> Option<Mounted> {
        sandbox.mkdir(path);
        let path = sandbox.path(path);
        let size = format!("size={size_bytes}");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&path)
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Mounted { path }),
            Ok(output) => skipped(&String::from_utf8_lossy(&output.stderr)),
            Err(cause) => skipped(&cause.to_string()),
        }
    }

    /// Fills what is left, all but some bytes.
    pub(crate) fn fill(&self) {
        let zeros = fs::File::open("/dev/zero").expect("there is /dev/zero");
        let mut filler = fs::File::create(self.filler()).expect("a file can be made");
        let full = std::io::copy(&mut &zeros, &mut filler).expect_err("it has an end");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Frees what [`Mounted::fill`] took.
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

/// Unmounts `path`, also if somebody still is in there.
pub(crate) fn unmount(path: &Path) {
    let _ = Command::new("umount").arg("-l").arg(path).output();
}

fn skipped(cause: &str) -> Option<Mounted> {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "not tested, nothing mounted: {cause}");
    None
}
