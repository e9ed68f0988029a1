//! An open regular file of this machine: its bytes, and where its holes are.
//!
//! It must not know how files are found. See `source.rs` for the system calls it makes.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::{Errno, read, retry_on_intr};

use super::details::details_of_open;
use super::open::{Atime, open_keeping_atime};
use super::stat::stat_fd;
use crate::connector::{Details, FileKind, Metadata, SourceFile};
use crate::error::{During, Error, Kind, Result};

/// The most runs of data we report. Each costs 16 bytes of memory and as much in the
/// snapshot, so a hostile file of alternating blocks and holes costs a mebibyte, not
/// a gigabyte. Beyond it the smallest holes are read as the zeros they stand for.
const MAX_RUNS: usize = 1 << 16;

/// The smallest hole that file systems make: where merging runs begins.
const SMALLEST_HOLE_BYTES: u64 = 4096;

/// A regular file, open for reading.
pub(super) struct LocalFile {
    fd: OwnedFd,
    /// What it was when it was opened.
    opened: Metadata,
    position: u64,
}

impl LocalFile {
    /// Opens the regular file `name` of `dir`, as [`crate::connector::SourceDir::open_file`]
    /// promises. The second value tells what became of `atime`.
    pub(super) fn open(
        dir: BorrowedFd<'_>,
        name: &[u8],
        atime: Atime,
    ) -> Result<(LocalFile, Atime)> {
        // Without O_NONBLOCK opening a FIFO waits for somebody to write to it.
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
            // A short read up to the size it was opened with is the end of it: a small
            // file is spared the call that would only say so again. Files of `/proc`
            // have size 0 and are read until there is no more.
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
        // Looking for holes moved the file's position.
        seek(&self.fd, SeekFrom::Start(self.position)).during(|| "seek")?;
        match runs {
            Ok(runs) => Ok(runs),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(everything()),
            Err(cause) => Err(cause).during(|| "look for holes"),
        }
    }
}

/// The runs of data in the first `size_bytes` of `file`, with `lseek(2)`.
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
        // The file may shrink or fill up as we look: whatever the kernel says, go on.
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

/// Runs of data in order, never more than [`MAX_RUNS`].
struct Runs {
    list: Vec<Range<u64>>,
    /// Holes below this are not worth a run of their own.
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
    /// Appends `run`. When there are too many, holes are filled in, smallest first,
    /// until half of the runs are left.
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

/// What was listed as a regular file is something else by now.
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
        // Blocks 4 KiB apart, but for one hole of a gibibyte half way.
        let start = |n: u64| n * 8192 + if n < total / 2 { 0 } else { 1 << 30 };
        for n in 0..total {
            runs.push(start(n)..start(n) + 4096);
        }
        assert_eq!(runs.list.len(), 2);
        assert_eq!(runs.list[0].end, start(total / 2 - 1) + 4096);
        assert_eq!(runs.list[1], start(total / 2)..start(total - 1) + 4096);
    }
}
