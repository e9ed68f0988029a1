//! [`Metadata`] from `statx`, which in one call also returns the creation time, and times after
//! 2038 on 32-bit systems.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Statx, StatxFlags, StatxTimestamp, makedev, statx};

use crate::connector::{FileKind, Metadata};
use crate::error::{Error, Kind, Result};

/// Permission bits with setuid, setgid and sticky.
pub(super) const MODE_BITS: u32 = 0o7777;

/// Returns the result of `lstat` for `name` in the open directory `dir`.
pub(super) fn stat_at(dir: impl AsFd, name: &[u8]) -> Result<Metadata> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    metadata(&statx(dir, name, flags, wanted())?)
}

/// Returns the result of `fstat` for an open file or directory.
pub(super) fn stat_fd(file: impl AsFd) -> Result<Metadata> {
    metadata(&statx(file, c"", AtFlags::EMPTY_PATH, wanted())?)
}

/// The fields to request.
fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// Converts the result of `statx`.
fn metadata(stat: &Statx) -> Result<Metadata> {
    let mode = u32::from(stat.stx_mode);
    let has_btime = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(Metadata {
        kind: kind(mode)?,
        mode: mode & MODE_BITS,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size_bytes: if matches!(kind(mode)?, FileKind::File | FileKind::Symlink) {
            stat.stx_size
        } else {
            0
        },
        mtime_ns: nanoseconds(&stat.stx_mtime),
        ctime_ns: nanoseconds(&stat.stx_ctime),
        btime_ns: has_btime.then(|| nanoseconds(&stat.stx_btime)),
        inode: stat.stx_ino,
        device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        links: u64::from(stat.stx_nlink),
        rdev: makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        allocated_bytes: stat.stx_blocks.saturating_mul(512),
    })
}

/// Returns the file type in `mode`.
fn kind(mode: u32) -> Result<FileKind> {
    use rustix::fs::FileType as T;
    match T::from_raw_mode(mode) {
        T::RegularFile => Ok(FileKind::File),
        T::Directory => Ok(FileKind::Directory),
        T::Symlink => Ok(FileKind::Symlink),
        T::Fifo => Ok(FileKind::Fifo),
        T::Socket => Ok(FileKind::Socket),
        T::CharacterDevice => Ok(FileKind::CharDevice),
        T::BlockDevice => Ok(FileKind::BlockDevice),
        T::Unknown => Err(Error::new(
            Kind::Failed,
            format!("unknown kind of file, mode {mode:o}"),
        )),
    }
}

/// Converts a time to nanoseconds since 1970, limited to the years 1677 to 2262.
fn nanoseconds(time: &StatxTimestamp) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(time.tv_nsec))
}
