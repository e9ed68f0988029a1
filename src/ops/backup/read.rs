//! Reads and cuts files: the second stage of a backup.
//!
//! A reader takes a batch and fills buffers with the contents of its files, without gaps, and notes
//! where each chunk begins and ends. A file that does not fit in the rest of a buffer continues in
//! the next one, into which the bytes after its last cut are copied. So cuts never depend on the
//! sizes of reads.
//!
//! A stream has no known length and cannot be read twice. It is read until it ends, and the backup
//! fails if the producer did not succeed, since there is nothing else in the backup.
//!
//! A file that changed while it was read is read once more. If it changes again, it is marked as
//! changed during the backup: its recorded contents may then be a mixture.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::Options;
use super::attributes::trim_xattrs;
use super::racy;
use super::source_gone;
use super::steps::{Batch, Buffer, Buffers, End, Find, Job, Step};
use crate::connector::{Metadata, Source, SourceDir, SourceFile, Stream};
use crate::error::{Error, Kind, Result};
use crate::format::chunker::Chunker;
use crate::format::entry::Entry;
use crate::kloset::failures::Failures;
use crate::kloset::pipeline::{Shared, Trouble, send};
use crate::kloset::progress::{Counters, add};
use crate::util::clock::now_ns;

/// One run of data without an end.
const EVERYTHING: Range<u64> = 0..u64::MAX;
/// Bytes requested at a time. More is not faster, and files below /proc/sys refuse it.
const READ_BYTES: usize = 1 << 20;
/// How often a file that keeps changing is read.
const ATTEMPTS: u32 = 2;
/// How long to wait for data of a stream before checking for an interrupt.
const PATIENCE: Duration = Duration::from_millis(100);

/// The shared state of readers.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) options: &'a Options,
    pub(super) chunker: &'a Chunker,
    pub(super) buffers: &'a Buffers,
    pub(super) failures: &'a Failures<'a>,
    pub(super) counters: &'a Counters,
    pub(super) trouble: &'a Trouble,
}

/// One reading thread.
pub(super) struct Reader<'a> {
    context: Context<'a>,
    jobs: SyncSender<Job>,
    batch: u64,
    part: u32,
    buffer: Buffer,
    steps: Vec<Step<Range<usize>>>,
}

/// Why a file could not be read, and whether the backup continues.
enum Failure {
    /// The failure concerns only this file.
    Item(Error),
    /// The backup stops.
    Backup(Error),
}

impl<'a> Reader<'a> {
    /// A reader that sends contents to `jobs`.
    pub(super) fn new(context: Context<'a>, jobs: SyncSender<Job>) -> Reader<'a> {
        Reader {
            context,
            jobs,
            batch: 0,
            part: 0,
            buffer: context.buffers.take(),
            steps: Vec::new(),
        }
    }

    /// Reads batches until there are no more. After an error, discards them.
    pub(super) fn run(mut self, batches: &Shared<Batch>) {
        while let Some(batch) = batches.next() {
            if self.context.trouble.check().is_ok() {
                let outcome = self.read_batch(batch);
                self.context.trouble.note(outcome);
            }
        }
    }

    /// Reads one batch, in its order.
    fn read_batch(&mut self, batch: Batch) -> Result<()> {
        (self.batch, self.part) = (batch.number, 0);
        for find in &batch.finds {
            if let Find::Read(dir, _, entry) = find {
                dir.expect_file(&entry.name, &entry.metadata);
            }
        }
        for find in batch.finds {
            match find {
                Find::Enter(entry) => self.steps.push(Step::Enter(entry)),
                Find::Leave => self.steps.push(Step::Leave),
                Find::Ready(entry) => self.steps.push(Step::Ready(entry)),
                Find::Read(dir, path, entry) => self.read_item(&dir, &path, entry)?,
            }
        }
        self.ship(End::Batch, 0)
    }

    /// Reads one file, or records why it cannot be read.
    fn read_item(
        &mut self,
        dir: &Arc<dyn SourceDir>,
        path: &[u8],
        mut entry: Box<Entry>,
    ) -> Result<()> {
        self.context.trouble.check()?;
        let stream = dir.open_stream(&entry.name);
        let read = match stream.map_err(Failure::Backup) {
            Ok(Some(mut stream)) => self.read_stream(&mut *stream, &mut entry),
            Ok(None) => self.read_file(dir, &mut entry),
            Err(failure) => Err(failure),
        };
        match read {
            Ok(chunks) => {
                if entry.changed {
                    let error = Error::new(
                        Kind::Failed,
                        "changed while it was read: its contents may be mixed",
                    );
                    self.context.failures.warn(path, &error);
                }
                trim_xattrs(
                    &mut entry,
                    path,
                    self.context.options,
                    self.context.failures,
                );
                self.steps.push(Step::File(entry, chunks));
            }
            Err(Failure::Backup(error)) => return Err(error),
            Err(Failure::Item(error)) if self.may_vanish(path, &error) => {
                self.context
                    .failures
                    .warn(path, &error.during("vanished while backing up"));
                self.steps.push(Step::Restart);
            }
            Err(Failure::Item(error)) => {
                let error = source_gone::of_item(self.context.source, error)?;
                self.context.failures.add(path, &error);
                self.steps.push(Step::Restart);
                entry.set_problem(&error.to_string());
                self.steps.push(Step::File(entry, Vec::new()));
            }
        }
        Ok(())
    }

    /// Whether it is acceptable that the item at `path` no longer exists: the user did not name it
    /// explicitly.
    fn may_vanish(&self, path: &[u8], error: &Error) -> bool {
        let places = &self.context.options.places;
        error.kind() == Kind::NotFound && !places.iter().any(|place| place == path)
    }

    /// Reads the file until it does not change during a read, and returns the chunks in the open
    /// buffer.
    fn read_file(
        &mut self,
        dir: &Arc<dyn SourceDir>,
        entry: &mut Entry,
    ) -> Result<Vec<Range<usize>>, Failure> {
        let item = |error: Error| Failure::Item(error);
        let mut file = dir.open_file(&entry.name).map_err(item)?;
        for attempt in 1.. {
            entry.recent = racy::settle(&entry.metadata);
            let (chunks, size_bytes) = self.read_contents(&mut *file, entry)?;
            let now = file.metadata().map_err(item)?;
            let held_still = is_same_moment(&entry.metadata, &now);
            (entry.changed, entry.metadata) = (!held_still, now);
            if held_still || attempt == ATTEMPTS {
                // The size of lstat can differ from the number of readable bytes: below /proc it is
                // 0.
                entry.metadata.size_bytes = size_bytes;
                entry.details = file.details().map_err(item)?;
                return Ok(chunks);
            }
            file.seek(0).map_err(item)?;
            self.steps.push(Step::Restart);
        }
        unreachable!("the last attempt returns")
    }

    /// Reads the stream to its end, and returns the chunks in the open buffer. The file gets the
    /// length of the stream, and the time of its end as modification time.
    fn read_stream(
        &mut self,
        stream: &mut dyn Stream,
        entry: &mut Entry,
    ) -> Result<Vec<Range<usize>>, Failure> {
        let largest = self.context.chunker.parameters().max_bytes as usize;
        let mut cutting = Cutting {
            start: self.buffer.used(),
            chunks: Vec::new(),
        };
        let mut read_bytes = 0;
        loop {
            // The interrupt of the user may also have ended the producer of the stream.
            let taken = self.take(stream, &mut cutting);
            self.context.trouble.check().map_err(Failure::Backup)?;
            match taken.map_err(Failure::Backup)? {
                None => {}
                Some(0) => break,
                Some(got) => {
                    read_bytes += got as u64;
                    cutting.cut(self.context.chunker, self.buffer.filled(), largest);
                }
            }
        }
        cutting.cut(self.context.chunker, self.buffer.filled(), 0);
        let now_ns = now_ns();
        entry.metadata.size_bytes = read_bytes;
        (entry.metadata.mtime_ns, entry.metadata.ctime_ns) = (now_ns, now_ns);
        Ok(cutting.chunks)
    }

    /// Copies available bytes of the stream into the buffer. Returns `None` if there are none yet.
    fn take(&mut self, stream: &mut dyn Stream, cutting: &mut Cutting) -> Result<Option<usize>> {
        if self.buffer.room().is_empty() {
            self.make_room(cutting)?;
        }
        let room = self.buffer.room();
        let asked = room.len().min(READ_BYTES);
        let taken = stream.take(&mut room[..asked], PATIENCE)?;
        let got = taken.unwrap_or(0);
        self.buffer.advance(got);
        add(&self.context.counters.bytes, got as u64);
        add(&self.context.counters.read_bytes, got as u64);
        Ok(taken)
    }

    /// Reads and cuts everything except holes. Returns the chunks, and the size of the file as it was
    /// read, including holes.
    fn read_contents(
        &mut self,
        file: &mut dyn SourceFile,
        entry: &mut Entry,
    ) -> Result<(Vec<Range<usize>>, u64), Failure> {
        let size_bytes = entry.metadata.size_bytes;
        let mut runs = Vec::from([EVERYTHING]);
        if entry.metadata.allocated_bytes < size_bytes {
            let found = file.data_runs(size_bytes).map_err(Failure::Item)?;
            if !holes_between(&found, size_bytes).is_empty() {
                runs = found;
            }
        }
        let (chunks, read_bytes) = self.read_runs(file, &runs, size_bytes)?;
        let (holes, size_bytes) = what_was_read(&runs, size_bytes, read_bytes);
        entry.holes = holes;
        Ok((chunks, size_bytes))
    }

    /// Reads these runs as if they were one file of about `expected_bytes`.
    fn read_runs(
        &mut self,
        file: &mut dyn SourceFile,
        runs: &[Range<u64>],
        expected_bytes: u64,
    ) -> Result<(Vec<Range<usize>>, u64), Failure> {
        let largest = self.context.chunker.parameters().max_bytes as usize;
        let wanted = usize::try_from(expected_bytes)
            .unwrap_or(largest)
            .saturating_add(1)
            .min(largest);
        if self.buffer.room().len() < wanted {
            self.ship(End::More, 0).map_err(Failure::Backup)?;
        }
        let mut cutting = Cutting {
            start: self.buffer.used(),
            chunks: Vec::new(),
        };
        let mut read_bytes = 0;
        for run in runs {
            if run.start > 0 {
                file.seek(run.start).map_err(Failure::Item)?;
            }
            let got = self.read_run(file, run.end - run.start, &mut cutting)?;
            read_bytes += got;
            if got < run.end - run.start {
                break;
            }
        }
        cutting.cut(self.context.chunker, self.buffer.filled(), 0);
        Ok((cutting.chunks, read_bytes))
    }

    /// Reads up to `length` bytes, and makes the cuts that do not depend on later bytes. Returns the
    /// number of bytes read.
    fn read_run(
        &mut self,
        file: &mut dyn SourceFile,
        length: u64,
        cutting: &mut Cutting,
    ) -> Result<u64, Failure> {
        let largest = self.context.chunker.parameters().max_bytes as usize;
        let mut left = length;
        while left > 0 {
            if self.buffer.room().is_empty() {
                self.make_room(cutting).map_err(Failure::Backup)?;
            }
            let room = self.buffer.room();
            let room_bytes = room.len().min(READ_BYTES);
            let asked = usize::try_from(left).unwrap_or(usize::MAX).min(room_bytes);
            let got = file.read(&mut room[..asked]).map_err(Failure::Item)?;
            self.buffer.advance(got);
            add(&self.context.counters.bytes, got as u64);
            add(&self.context.counters.read_bytes, got as u64);
            cutting.cut(self.context.chunker, self.buffer.filled(), largest);
            left -= got as u64;
            if got < asked {
                break;
            }
        }
        Ok(length - left)
    }

    /// Sends the chunks so far, and moves the rest of the file to the beginning of the next buffer.
    fn make_room(&mut self, cutting: &mut Cutting) -> Result<()> {
        self.context.trouble.check()?;
        self.steps
            .push(Step::Chunks(std::mem::take(&mut cutting.chunks)));
        let rest = self.buffer.used() - cutting.start;
        cutting.start = 0;
        self.ship(End::More, rest)
    }

    /// Sends the open buffer except its last `keep` bytes, which begin the next buffer.
    fn ship(&mut self, end: End, keep: usize) -> Result<()> {
        let mut next = self.context.buffers.take();
        let cut = self.buffer.used() - keep;
        next.fill(&self.buffer.filled()[cut..]);
        let buffer = std::mem::replace(&mut self.buffer, next);
        let steps = std::mem::take(&mut self.steps);
        send(
            &self.jobs,
            Job {
                batch: self.batch,
                part: self.part,
                end,
                buffer,
                steps,
            },
        )?;
        self.part += 1;
        Ok(())
    }
}

/// The progress of cutting a file.
struct Cutting {
    /// Offset of the next chunk in the buffer.
    start: usize,
    /// Chunks in the buffer.
    chunks: Vec<Range<usize>>,
}

impl Cutting {
    /// Cuts chunks off `bytes` while at least `enough` are left. If `enough` is less than the maximum
    /// chunk size, the end of `bytes` must be the end of the file.
    fn cut(&mut self, chunker: &Chunker, bytes: &[u8], enough: usize) {
        while bytes.len() - self.start >= enough.max(1) {
            let length = chunker.cut(&bytes[self.start..]);
            self.chunks.push(self.start..self.start + length);
            self.start += length;
        }
    }
}

/// Whether a file was not written to between two reads of its metadata.
fn is_same_moment(before: &Metadata, after: &Metadata) -> bool {
    before.inode == after.inode
        && before.size_bytes == after.size_bytes
        && before.mtime_ns == after.mtime_ns
        && before.ctime_ns == after.ctime_ns
}

/// The holes and the size of a file if `read_bytes` of its `runs` could be read. The file ends where
/// reading ended, so that size, holes and content always agree.
fn what_was_read(runs: &[Range<u64>], size_bytes: u64, read_bytes: u64) -> (Vec<Range<u64>>, u64) {
    let mut left = read_bytes;
    for (number, run) in runs.iter().enumerate() {
        let run_bytes = run.end - run.start;
        if left < run_bytes {
            let end = run.start + left;
            return (holes_between(&runs[..number], run.start.min(end)), end);
        }
        left -= run_bytes;
    }
    (holes_between(runs, size_bytes), size_bytes)
}

/// The holes between runs of data, up to the end of the file.
fn holes_between(runs: &[Range<u64>], size_bytes: u64) -> Vec<Range<u64>> {
    let ends = std::iter::once(0).chain(runs.iter().map(|run| run.end));
    let starts = runs
        .iter()
        .map(|run| run.start)
        .chain(std::iter::once(size_bytes));
    ends.zip(starts)
        .filter(|(end, start)| end < start)
        .map(|(end, start)| end..start)
        .collect()
}
