//! An open local regular file: its contents and its holes.
//!
//! This module does not know how files are found. `source.rs` lists the system calls.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::{Errno, read, retry_on_intr};

use super::details::details_of_open;
use super::open::{Atime, open_keeping_atime};
use super::stat::stat_fd;
use crate::connector::{Details, FileKind, Metadata, SourceFile};
use crate::error::{During, Error, Kind, Result};

/// The maximum number of data ranges reported. Each takes 16 bytes in memory and in the snapshot,
/// so a malicious file of alternating blocks and holes takes one mebibyte and not one gigabyte.
/// Beyond the limit the smallest holes are read as zeros.
const MAX_RUNS: usize = 1 << 16;

/// The smallest hole of common file systems, the start value for merging ranges.
const SMALLEST_HOLE_BYTES: u64 = 4096;

/// A regular file, open for reading.
pub(super) struct LocalFile {
    fd: OwnedFd,
    /// The metadata when it was opened.
    opened: Metadata,
    position: u64,
}

impl LocalFile {
    /// Opens the regular file `name` of `dir` with the guarantees of
    /// [`crate::connector::SourceDir::open_file`]. The second value is the `atime` mode in effect.
    pub(super) fn open(
        dir: BorrowedFd<'_>,
        name: &[u8],
        atime: Atime,
    ) -> Result<(LocalFile, Atime)> {
        // Without O_NONBLOCK, opening a FIFO blocks until another process opens it for writing.
        let (fd, atime) =
            match open_keeping_atime(dir, name, OFlags::NONBLOCK | OFlags::NOCTTY, atime) {
                Err(Errno::LOOP | Errno::NXIO) => return Err(not_a_file()),
                outcome => outcome.during(|| "open")?,
            };
        let opened = stat_fd(&fd).during(|| "stat")?;
        if opened.kind != FileKind::File {
            return Err(not_a_file());
        }
        Ok((
            LocalFile {
                fd,
                opened,
                position: 0,
            },
            atime,
        ))
    }
}

impl SourceFile for LocalFile {
    fn metadata(&self) -> Result<Metadata> {
        stat_fd(&self.fd).during(|| "stat")
    }

    fn details(&self) -> Result<Details> {
        details_of_open(self.fd.as_fd())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let got = retry_on_intr(|| read(&self.fd, &mut buffer[filled..])).during(|| "read")?;
            filled += got;
            self.position += got as u64;
            // A short read up to the original size is the end of the file. This saves a small file
            // the call that would only confirm it. Files in `/proc` have size 0 and are read until
            // a read returns nothing.
            if got == 0 || (filled < buffer.len() && self.position == self.opened.size_bytes) {
                break;
            }
        }
        Ok(filled)
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        self.position = seek(&self.fd, SeekFrom::Start(offset)).during(|| "seek")?;
        Ok(())
    }

    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>> {
        if size_bytes == 0 {
            return Ok(Vec::new());
        }
        let everything = || std::iter::once(0..size_bytes).collect();
        if self.opened.allocated_bytes >= size_bytes {
            return Ok(everything());
        }
        let runs = find_runs(self.fd.as_fd(), size_bytes);
        // The search for holes has moved the file offset.
        seek(&self.fd, SeekFrom::Start(self.position)).during(|| "seek")?;
        match runs {
            Ok(runs) => Ok(runs),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(everything()),
            Err(cause) => Err(cause).during(|| "look for holes"),
        }
    }
}

/// Returns the data ranges in the first `size_bytes` of `file`, with `lseek(2)`.
fn find_runs(file: BorrowedFd<'_>, size_bytes: u64) -> Result<Vec<Range<u64>>, Errno> {
    let mut runs = Runs::default();
    let mut offset = 0;
    while offset < size_bytes {
        let start = match seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(cause) => return Err(cause),
        };
        if start >= size_bytes {
            break;
        }
        // The file may be truncated or filled meanwhile: continue with any result.
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(size_bytes),
            Ok(_) | Err(Errno::NXIO) => size_bytes,
            Err(cause) => return Err(cause),
        };
        runs.push(start..end);
        offset = end;
    }
    Ok(runs.list)
}

/// Data ranges in order, at most [`MAX_RUNS`].
struct Runs {
    list: Vec<Range<u64>>,
    /// Smaller holes are not kept as holes.
    smallest_hole_bytes: u64,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs {
            list: Vec::new(),
            smallest_hole_bytes: SMALLEST_HOLE_BYTES,
        }
    }
}

impl Runs {
    /// Appends `run`. If there are too many ranges, fills holes, smallest first, until at most half
    /// of the ranges remain.
    fn push(&mut self, run: Range<u64>) {
        self.list.push(run);
        if self.list.len() <= MAX_RUNS {
            return;
        }
        while self.list.len() > MAX_RUNS / 2 {
            self.smallest_hole_bytes = self.smallest_hole_bytes.saturating_mul(2);
            let limit = self.smallest_hole_bytes;
            self.list.dedup_by(|next, kept| {
                let is_near = next.start - kept.end < limit;
                if is_near {
                    kept.end = next.end;
                }
                is_near
            });
        }
    }
}

/// The error for an entry that is no longer a regular file.
fn not_a_file() -> Error {
    Error::new(Kind::Failed, "not a regular file").during("open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_runs_lose_their_smallest_holes_and_no_data() {
        let mut runs = Runs::default();
        let total = MAX_RUNS as u64 + 1;
        // Blocks at a distance of 4 KiB, except for one hole of one gibibyte in the middle.
        let start = |n: u64| n * 8192 + if n < total / 2 { 0 } else { 1 << 30 };
        for n in 0..total {
            runs.push(start(n)..start(n) + 4096);
        }
        assert_eq!(runs.list.len(), 2);
        assert_eq!(runs.list[0].end, start(total / 2 - 1) + 4096);
        assert_eq!(runs.list[1], start(total / 2)..start(total - 1) + 4096);
    }
}
