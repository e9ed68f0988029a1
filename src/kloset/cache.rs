//! Local copies of immutable objects of a remote store.
//!
//! A backup of unchanged files reads all trees of the last snapshot, `ls` reads some of them, and
//! every command reads the snapshots. From a remote store, each of these costs a round trip. Stored
//! objects never change, so a copy stays valid forever:
//!
//! ```text
//! <cache>/<store id>/copies/
//!   block-<pack id>-<offset>   a sealed block of a tree pack; the offset in 8 hex digits
//!   <area>-<object id>         a snapshot or a condemnation, as it is stored
//!   draft-<16 hex digits>      a copy whose original has no name yet: a tree block of an open pack
//!   swept                      empty; its modification time is that of the last sweep
//! ```
//!
//! **The store determines which objects exist; copies only provide their contents.** A copy is used
//! only after a listing or the index of the store showed that the original exists. So an object
//! that was deleted from the store is no longer used here. Key slots are not copied, so that a
//! removed passphrase stays removed. File contents are not copied, because a restore reads them
//! only once.
//!
//! **A copy proves nothing.** It is sealed like the original, and the caller verifies it as if it
//! came from the store. A damaged copy is [deleted](Copies::forget), and the original is read from
//! the store. `check` never uses copies, because it must verify the store.
//!
//! **It is only a cache.** Files are written completely before they are named, so any number of
//! processes can share it. If a file cannot be written, for example because the disk is full, this
//! process silently stops adding copies: the only effect is that the next run takes longer. Files
//! are not synced: a file that is incomplete after a power failure does not verify.
//!
//! **Bounded:** [`LIMIT_BYTES`], or 1/[`DISK_SHARE`] of the disk if that is less. Using a copy
//! updates its modification time, unless that is recent. A sweep deletes the least recently used
//! copies. A sweep reads the metadata of every file. Therefore a process starts one only when there
//! was none in the last hour, or when it has added 1/[`SWEEP_SHARE`] of the limit.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::format::master::random;
use crate::store::Area;
use crate::util::Id;
use rustix::fs::OFlags;

/// Maximum size of all copies: the trees of about ten million files.
const LIMIT_BYTES: u64 = 1 << 30;
/// On a small disk, copies may use 1/20 of the disk.
const DISK_SHARE: u64 = 20;
/// A process that has added this fraction (1/16) of the limit starts a sweep.
const SWEEP_SHARE: u64 = 16;
/// A sweep deletes copies until 7/8 of the limit is used, so that the next one is not due
/// immediately.
const LEFT_EIGHTHS: u64 = 7;
/// Minimum size that a copy counts as. It limits the number of copies to 65,536, whose list a sweep
/// can hold in memory.
const COUNTED_BYTES: u64 = 16 << 10;
/// Time between two sweeps of all processes together, unless a process adds many copies.
const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);
/// The time of the last use is not updated if it is more recent than this.
const USE_AGE: Duration = Duration::from_secs(60 * 60);
/// The process that wrote a draft older than this no longer exists.
const DRAFT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum size of a copy. No sealed block and no small object is that large.
const COPY_LIMIT_BYTES: u64 = 16 << 20;

/// Symbolic links are not followed, because other users may be able to write to the cache
/// directory.
const NOFOLLOW: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

const DRAFT: &str = "draft-";
const SWEPT: &str = "swept";

/// Identifies the original of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Original {
    /// An object of the store.
    Object(Area, Id),
    /// The sealed block at an offset of a pack.
    Block(Id, u32),
}

/// The file name of the copy.
impl fmt::Display for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Original::Object(area, id) => write!(f, "{}-{id}", area.name()),
            Original::Block(pack, offset) => write!(f, "block-{pack}-{offset:08x}"),
        }
    }
}

/// Whether `name` is the file name of a copy. Foreign files in the directory are kept.
fn is_of_copy(name: &str) -> bool {
    if let Some(block) = name.strip_prefix("block-") {
        let parts = block.split_once('-');
        return parts.is_some_and(|(pack, offset)| is_id(pack) && is_hex(offset, 8));
    }
    let mut areas = Area::ALL.into_iter();
    areas.any(|area| {
        let rest = name.strip_prefix(area.name());
        rest.and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(is_id)
    })
}

fn is_id(text: &str) -> bool {
    text.parse::<Id>().is_ok()
}

/// Whether `text` consists of exactly `digits` hexadecimal digits.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The copies of objects of one store. Can be used from several threads.
pub(crate) struct Copies {
    directory: PathBuf,
    limit_bytes: OnceLock<u64>,
    /// Size of the copies that this process added since the last sweep.
    added_bytes: AtomicU64,
    /// Whether this process has checked the time of the last sweep.
    has_begun: AtomicBool,
    /// Set when adding a copy failed; then this process adds no more copies.
    is_given_up: AtomicBool,
}

/// A copy whose original has no name yet. It is deleted on drop, unless it was
/// [named](Copies::name).
pub(crate) struct Draft {
    path: PathBuf,
    bytes: u64,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Usually it was renamed, so there is no file to delete.
        let _ = fs::remove_file(&self.path);
    }
}

impl Copies {
    /// Uses `directory`, which is created when the first copy is added.
    pub(crate) fn new(directory: PathBuf) -> Copies {
        Copies {
            directory,
            limit_bytes: OnceLock::new(),
            added_bytes: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// Reads the copy of `original`, if there is one. It may be damaged.
    pub(crate) fn read(&self, original: Original) -> Option<Vec<u8>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(NOFOLLOW);
        let file = options.open(self.path(original)).ok()?;
        let metadata = file.metadata().ok()?;
        if metadata.len() > COPY_LIMIT_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        (&file)
            .take(COPY_LIMIT_BYTES)
            .read_to_end(&mut bytes)
            .ok()?;
        if metadata.modified().is_ok_and(|used| age(used) > USE_AGE) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes)
    }

    /// Adds `bytes` as the copy of `original`. Failures are ignored.
    pub(crate) fn keep(&self, original: Original, bytes: &[u8]) {
        if let Some(draft) = self.draft(bytes) {
            self.name(draft, original);
        }
    }

    /// Writes `bytes` as a draft, which gets its name when the original has one. Returns `None` if
    /// that fails.
    pub(crate) fn draft(&self, bytes: &[u8]) -> Option<Draft> {
        let is_too_large = bytes.len() as u64 > COPY_LIMIT_BYTES;
        if is_too_large || self.is_given_up.load(Ordering::Relaxed) {
            return None;
        }
        let draft = self.write_draft(bytes);
        if draft.is_err() {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
        draft.ok()
    }

    /// Makes `draft` the copy of `original`.
    pub(crate) fn name(&self, draft: Draft, original: Original) {
        if fs::rename(&draft.path, self.path(original)).is_ok() {
            let bytes = counted(draft.bytes);
            self.sweep_if_due(self.added_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes);
        }
    }

    /// Deletes the copy of `original`. Returns whether there was one.
    pub(crate) fn forget(&self, original: Original) -> bool {
        fs::remove_file(self.path(original)).is_ok()
    }

    fn path(&self, original: Original) -> PathBuf {
        self.directory.join(original.to_string())
    }

    fn write_draft(&self, bytes: &[u8]) -> Result<Draft> {
        let create = |path: &Path| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(path)
        };
        let name = u64::from_le_bytes(random()?);
        let path = self.directory.join(format!("{DRAFT}{name:016x}"));
        let mut file = create(&path).or_else(|_| {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&self.directory)?;
            create(&path)
        })?;
        let draft = Draft {
            path,
            bytes: bytes.len() as u64,
        };
        file.write_all(bytes)?;
        Ok(draft)
    }

    /// Starts a sweep if `added_bytes` is large, or if this is the first copy that this process
    /// adds and there was no recent sweep.
    fn sweep_if_due(&self, added_bytes: u64) {
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        let swept = fs::metadata(self.directory.join(SWEPT)).and_then(|marker| marker.modified());
        let is_due = is_first && swept.map_or(true, |swept| age(swept) > SWEEP_AGE);
        if is_due || added_bytes >= self.limit_bytes() / SWEEP_SHARE {
            self.added_bytes.store(0, Ordering::Relaxed);
            self.sweep();
        }
    }

    /// Deletes the least recently used copies if the limit is exceeded. Files that another process
    /// deleted meanwhile are ignored.
    fn sweep(&self) {
        let _ = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NOFOLLOW)
            .open(self.directory.join(SWEPT))
            .and_then(|marker| marker.set_modified(SystemTime::now()));
        let mut copies = self.copies();
        let mut all_bytes: u64 = copies.iter().map(|copy| copy.1).sum();
        if all_bytes <= self.limit_bytes() {
            return;
        }
        copies.sort();
        let left_bytes = self.limit_bytes() / 8 * LEFT_EIGHTHS;
        for (_, bytes, path) in copies {
            if all_bytes <= left_bytes {
                break;
            }
            let _ = fs::remove_file(path);
            all_bytes -= bytes;
        }
    }

    /// Lists the copies with the time of their last use and the size that they count as. Old drafts
    /// are deleted, because no process will name them. Links and foreign files are skipped.
    fn copies(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        let mut copies = Vec::new();
        for entry in entries.flatten() {
            let Some(metadata) = entry.metadata().ok().filter(|found| found.is_file()) else {
                continue;
            };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_draft = name
                .strip_prefix(DRAFT)
                .is_some_and(|name| is_hex(name, 16));
            if is_draft && age(used) > DRAFT_AGE {
                let _ = fs::remove_file(entry.path());
            } else if is_of_copy(name) {
                copies.push((used, counted(metadata.len()), entry.path()));
            }
        }
        copies
    }

    /// Maximum size of all copies on this disk.
    fn limit_bytes(&self) -> u64 {
        *self.limit_bytes.get_or_init(|| {
            let disk = rustix::fs::statvfs(&self.directory);
            let disk_bytes =
                disk.map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
            LIMIT_BYTES.min(disk_bytes / DISK_SHARE)
        })
    }
}

/// The size that a copy of `bytes` counts as.
fn counted(bytes: u64) -> u64 {
    bytes.max(COUNTED_BYTES)
}

/// Time since `time`; 0 if it is in the future.
fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn copies(directory: &TempDir, limit_bytes: u64) -> Copies {
        let copies = Copies::new(directory.path().join("new/copies"));
        copies.limit_bytes.set(limit_bytes).unwrap();
        copies
    }

    fn block(number: u32) -> Original {
        Original::Block(Id([7; 32]), number)
    }

    fn set_age(copies: &Copies, original: Original, age: Duration) {
        let file = File::open(copies.path(original)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn what_is_kept_is_found_by_the_next_process_and_by_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let snapshot = Original::Object(Area::Snapshots, Id([1; 32]));
        let first = copies(&directory, 1 << 20);
        assert_eq!(first.read(snapshot), None);
        first.keep(snapshot, b"sealed");
        drop(first.draft(b"never named"));
        let next = copies(&directory, 1 << 20);
        assert_eq!(next.read(snapshot).unwrap(), b"sealed");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&next.directory), 0o700);
        assert_eq!(mode(&next.path(snapshot)), 0o600);
        assert_eq!(next.copies().len(), 1, "and no draft is left");
        assert!(next.forget(snapshot) && !next.forget(snapshot));
        assert_eq!(next.read(snapshot), None);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let room = copies(&directory, 64 * COUNTED_BYTES);
        for number in 0..40 {
            room.keep(block(number), &[0; 1 << 14]);
            set_age(&room, block(number), HOUR * (100 - number));
        }
        assert_eq!(
            room.read(block(0)).unwrap().len(),
            1 << 14,
            "which renews it"
        );
        for number in 40..80 {
            room.keep(block(number), &[1]);
        }
        assert!(room.copies().len() <= 64, "{}", room.copies().len());
        assert!(room.read(block(0)).is_some() && room.read(block(79)).is_some());
        assert!(room.read(block(1)).is_none() && room.read(block(2)).is_none());
    }

    #[test]
    fn a_process_that_adds_little_sweeps_only_if_nobody_did_lately() {
        let directory = tempfile::tempdir().unwrap();
        let small = || copies(&directory, 1 << 30);
        small().keep(block(1), b"1");
        let place = small().directory.clone();
        let lost = place.join("draft-0123456789abcdef");
        let foreign = ["letter.txt", "draft-letter", "index-1", "block-2"];
        let foreign = foreign.map(|name| place.join(name));
        fs::write(&lost, "of a process that was killed").unwrap();
        let link = place.join(Original::Object(Area::Index, Id([3; 32])).to_string());
        std::os::unix::fs::symlink(&foreign[0], &link).unwrap();
        let age = |path: &Path, age: Duration| {
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        age(&lost, HOUR * 25);
        for path in &foreign {
            fs::write(path, "of the user").unwrap();
            age(path, HOUR * 25);
        }
        small().keep(block(2), b"2");
        assert!(lost.exists(), "swept an instant ago");
        age(&small().directory.join(SWEPT), HOUR * 2);
        small().keep(block(3), b"3");
        assert!(!lost.exists() && link.is_symlink());
        assert!(foreign.iter().all(|path| path.exists()));
        assert_eq!(small().copies().len(), 3);
        let linked = small().read(Original::Object(Area::Index, Id([3; 32])));
        assert_eq!(linked, None, "no link is followed");
    }

    #[test]
    fn where_nothing_can_be_written_nothing_fails() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("new"), "no directory").unwrap();
        let copies = copies(&directory, 1 << 20);
        copies.keep(block(1), b"1");
        assert!(copies.is_given_up.load(Ordering::Relaxed));
        assert!(copies.draft(b"2").is_none() && copies.read(block(1)).is_none());
    }
}
