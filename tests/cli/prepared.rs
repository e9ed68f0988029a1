//! Prepares files before they are backed up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// Sets the time of `path` without following links.
pub(crate) fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let at = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    at.expect("a time can be set");
}

/// Creates a FIFO or, as root, a device.
pub(crate) fn node(path: &Path, kind: FileType, device: u64) {
    let made = rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device);
    made.expect("a node can be made");
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode can be set");
}
