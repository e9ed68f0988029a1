//! Copies, on this machine, of what never changes in a store behind a network.
//!
//! A backup of what did not change reads all of the last snapshot's trees, `ls` some of them,
//! and every command the snapshots: from a remote store each is a round trip. What is stored
//! never changes, so a copy is as good as the original for ever:
//!
//! ```text
//! <cache>/<store id>/copies/
//!   block-<pack id>-<offset>   a sealed block of a tree pack; the offset in 8 hex digits
//!   <area>-<object id>         a snapshot or a condemnation, as it is stored
//!   draft-<16 hex digits>      what has no name yet; a backup's trees before their pack has
//!   swept                      empty; its time is that of the last sweep
//! ```
//!
//! **Presence is the store's to tell, contents ours.** Nobody asks for a copy but after a listing
//! or the index of the store told of the original, so what was deleted there is gone here too. Key slots
//! are not copied: whoever locks out a passphrase wants that to last. Nor are contents
//! of files: they are read once, by a restore.
//!
//! **A copy proves nothing.** It is sealed as the original is, and whoever takes one verifies
//! it as if it came from the store. One that is damaged is [forgotten](Copies::forget), and the
//! store asked. `check` never looks here: it is to tell how the store is.
//!
//! **It is only a cache.** Files are written whole and then named, so any number of processes may
//! share it. When it cannot be written, because the disk is full, say, this process gives up
//! adding to it, without a word: nothing is wrong but that the next run takes longer. Nothing
//! is synced: what a power cut leaves half written does not verify.
//!
//! **Bounded:** [`LIMIT_BYTES`], or a [`DISK_SHARE`]th of its disk if that is less. Using a copy
//! renews its time, if that is not recent. A sweep takes away what was used longest ago. It
//! has to look at every file, so it comes at most once an hour, and whenever this process added
//! a [`SWEEP_SHARE`]th of the limit.

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

/// What copies may take at most: the trees of some ten million files.
const LIMIT_BYTES: u64 = 1 << 30;
/// Of a small disk they may take one part in this many.
const DISK_SHARE: u64 = 20;
/// What this process may add between two sweeps: one part of the limit in this many.
const SWEEP_SHARE: u64 = 16;
/// A sweep leaves this many eighths of the limit, so that the next one is not due at once.
const LEFT_EIGHTHS: u64 = 7;
/// What the smallest copy counts for: so there are at most 65,536, which a sweep can hold.
const COUNTED_BYTES: u64 = 16 << 10;
/// Time between two sweeps, of all processes together, as long as none adds much.
const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);
/// A time of use younger than this is good enough.
const USE_AGE: Duration = Duration::from_secs(60 * 60);
/// A draft older than this has lost its process.
const DRAFT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Larger copies are neither made nor read: no sealed block or small object is as large.
const COPY_LIMIT_BYTES: u64 = 16 << 20;

/// No link is followed: the cache may be where others can write.
const NOFOLLOW: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

const DRAFT: &str = "draft-";
const SWEPT: &str = "swept";

/// What there may be a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Original {
    /// A whole object.
    Object(Area, Id),
    /// The sealed block of a pack that begins at an offset.
    Block(Id, u32),
}

/// The name of the copy.
impl fmt::Display for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Original::Object(area, id) => write!(f, "{}-{id}", area.name()),
            Original::Block(pack, offset) => write!(f, "block-{pack}-{offset:08x}"),
        }
    }
}

/// Whether `name` is one that a copy gets. Other files in the directory are foreign and stay.
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

/// Whether `text` is of `digits` hexadecimal digits.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The copies of one store. May be used from several threads.
pub(crate) struct Copies {
    directory: PathBuf,
    limit_bytes: OnceLock<u64>,
    /// Added since the last sweep.
    added_bytes: AtomicU64,
    /// Whether this process has looked when the last sweep was.
    has_begun: AtomicBool,
    /// Whether adding failed, so that it is no longer tried.
    is_given_up: AtomicBool,
}

/// A copy whose original has no name yet. It goes away unless it is [named](Copies::name).
pub(crate) struct Draft {
    path: PathBuf,
    bytes: u64,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It has been renamed, mostly.
        let _ = fs::remove_file(&self.path);
    }
}

impl Copies {
    /// The copies in `directory`, which is made when there is a first one to keep.
    pub(crate) fn new(directory: PathBuf) -> Copies {
        Copies {
            directory,
            limit_bytes: OnceLock::new(),
            added_bytes: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// The copy of `original`, if there is one. It may be damaged.
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

    /// Keeps `bytes` as the copy of `original`, if that is possible.
    pub(crate) fn keep(&self, original: Original, bytes: &[u8]) {
        if let Some(draft) = self.draft(bytes) {
            self.name(draft, original);
        }
    }

    /// Keeps `bytes`, if that is possible, until it is known what they are a copy of.
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

    /// Takes the copy of `original` away, and tells whether there was one.
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

    /// Sweeps when this process has `added` a lot, or now adds its first copy and nobody has
    /// swept lately.
    fn sweep_if_due(&self, added_bytes: u64) {
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        let swept = fs::metadata(self.directory.join(SWEPT)).and_then(|marker| marker.modified());
        let is_due = is_first && swept.map_or(true, |swept| age(swept) > SWEEP_AGE);
        if is_due || added_bytes >= self.limit_bytes() / SWEEP_SHARE {
            self.added_bytes.store(0, Ordering::Relaxed);
            self.sweep();
        }
    }

    /// Takes away what was used longest ago, if all of it is too much. What another process took
    /// away meanwhile is none of our business.
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

    /// When each copy was last used, what it counts for, and where it is. Old drafts, which no
    /// process will name any more, are removed. Links and foreign files are skipped.
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

    /// What copies may take.
    fn limit_bytes(&self) -> u64 {
        *self.limit_bytes.get_or_init(|| {
            let disk = rustix::fs::statvfs(&self.directory);
            let disk_bytes =
                disk.map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
            LIMIT_BYTES.min(disk_bytes / DISK_SHARE)
        })
    }
}

/// What a copy of so many bytes counts for.
fn counted(bytes: u64) -> u64 {
    bytes.max(COUNTED_BYTES)
}

/// How long ago `time` was; one in the future was just now.
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
