//! Writes a snapshot, or a part of one, as an archive that other programs can read.
//!
//! ```text
//! walk the trees -> members, one after the other -> tar or zip -> gzip -> sink
//! ```
//!
//! An archive is a stream: it is written sequentially without seeking, and the memory used does not
//! depend on the size of files or directories. The same snapshot always results in the same bytes.
//!
//! The length of a member precedes its contents. If a part of the contents turns out to be lost,
//! zeros take its place, and the file is reported and counted as failed. So the rest of the archive
//! stays readable. Files that were never backed up are left out.
//!
//! Data that the format cannot represent is counted in [`Missing`]. This is not an error.

mod links;
mod out;
mod pax;
mod tar;
mod zip;

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::select;
use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::format::holes::content_bytes;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::content::push::{self, Sink};
use crate::kloset::failures::Failures;
use crate::kloset::progress::{Event, add};
use crate::kloset::snapshot::Snapshot;
use crate::kloset::tree::{Reach, TreeWalk};
use crate::util::interrupt::Interrupt;

use links::Firsts;
use out::Out;
use tar::Tar;
use zip::Zip;

/// Size of the cache of decoded blocks: consecutive entries share them.
const CACHE_BYTES: usize = 16 << 20;

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tar, in the pax interchange format of POSIX.1-2001.
    Tar,
    /// The same, compressed with gzip (RFC 1952).
    Tarball,
    /// Zip, with ZIP64 where necessary.
    Zip,
}

/// The directory to which the names of members are relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The root of the snapshot; names have no leading slash.
    FromRoot,
    /// The archived directory, which is not a member itself.
    FromPath,
}

/// Options of [`run`].
pub struct Options {
    /// The format of the archive.
    pub format: Format,
    /// The names of members.
    pub names: Names,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
}

/// Counts of data that the format cannot represent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Sockets that are left out.
    pub sockets: u64,
    /// FIFOs that are left out.
    pub fifos: u64,
    /// Devices that are left out.
    pub devices: u64,
    /// Further names of files, which are archived as copies.
    pub links: u64,
    /// Entries whose extended attributes are left out.
    pub xattrs: u64,
    /// Entries whose inode flags are left out.
    pub flags: u64,
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Files, links and other members except directories.
    pub files: u64,
    /// Directories in the archive.
    pub directories: u64,
    /// Bytes of contents.
    pub bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Items that are missing in the archive or differ from the original.
    pub errors: u64,
    /// Whether any of the errors is damage.
    pub is_damaged: bool,
    /// Data that the format cannot represent.
    pub missing: Missing,
    /// Elapsed time of the run.
    pub duration: Duration,
}

/// The representation of the holes of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holes {
    /// Zeros in the contents.
    Zeros,
    /// A map in the member; its contents are only the data between the holes.
    Told,
}

/// An archive that is being written. Names are raw bytes without a leading or trailing slash.
trait Members {
    /// Whether the format supports `kind`. Every format supports files and directories.
    fn takes(&self, kind: FileKind) -> bool;

    /// Counts data of a member that the format cannot represent.
    fn miss(&self, entry: &Entry, missing: &mut Missing);

    /// Whether a file can have further names.
    fn has_links(&self) -> bool;

    /// Adds a directory, link or other node without contents.
    fn node(&mut self, name: &[u8], entry: &Entry) -> Result<()>;

    /// Adds a further name of the file whose member has the name `first`.
    fn link(&mut self, name: &[u8], entry: &Entry, first: &[u8]) -> Result<()>;

    /// Begins a file. The caller passes its contents, with exactly the announced length, to
    /// [`Members::data`].
    fn file(&mut self, name: &[u8], entry: &Entry) -> Result<Holes>;

    /// Appends to the contents of the file.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;

    fn end(&mut self) -> Result<()>;

    /// Ends the archive, and returns its length in bytes.
    fn finish(&mut self) -> Result<u64>;
}

/// Writes the entry at `path` in `snapshot` to `sink`, in parts of any length.
///
/// # Errors
/// Any error that prevents the archive from being complete, including errors of `sink`. Items that
/// fail are reported to the observer and counted.
pub fn run(
    kloset: &Kloset,
    snapshot: &Snapshot,
    path: &[u8],
    options: &Options,
    sink: Sink<'_>,
) -> Result<Summary> {
    let started = Instant::now();
    let blobs = BlobReader::new(kloset, CACHE_BYTES)?;
    let entry = select::entry(&blobs, snapshot, path)?;
    let counters = kloset.observer().counters();
    add(&counters.expected_files, entry.totals().files);
    add(&counters.expected_bytes, entry.totals().bytes);
    let is_broken = Cell::new(false);
    let mut sink = |bytes: &[u8]| sink(bytes).inspect_err(|_| is_broken.set(true));
    let members: Box<dyn Members> = match options.format {
        Format::Tar => Box::new(Tar::new(Out::plain(&mut sink))),
        Format::Tarball => Box::new(Tar::new(Out::gzip(&mut sink))),
        Format::Zip => Box::new(Zip::new(Out::plain(&mut sink))),
    };
    let mut archive = Archive {
        kloset,
        blobs: &blobs,
        interrupt: &options.interrupt,
        failures: Failures::new(kloset.observer()),
        members,
        is_broken: &is_broken,
        firsts: Firsts::default(),
        summary: Summary::default(),
        name_at: name_at(path, &entry, options.names),
    };
    archive.walk(path, &entry)?;
    archive.summary.archive_bytes = archive.members.finish()?;
    let (errors, _) = archive.failures.into_list();
    Ok(Summary {
        errors,
        duration: started.elapsed(),
        ..archive.summary
    })
}

/// Number of leading bytes of an entry's path that are not part of the name of its member.
fn name_at(path: &[u8], entry: &Entry, names: Names) -> usize {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match names {
        Names::FromRoot => 1,
        Names::FromPath if entry.is_dir() => path.len() + 1,
        Names::FromPath => path.len() - entry.name.len(),
    }
}

/// The state of an archive that is being written.
struct Archive<'a> {
    kloset: &'a Kloset,
    blobs: &'a BlobReader<'a>,
    interrupt: &'a Interrupt,
    failures: Failures<'a>,
    members: Box<dyn Members + 'a>,
    /// Whether the sink has failed.
    is_broken: &'a Cell<bool>,
    firsts: Firsts,
    summary: Summary,
    name_at: usize,
}

impl Archive<'_> {
    /// Adds `entry`, which is at `path`, and everything below it.
    fn walk(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        self.add(path, entry)?;
        if !entry.is_dir() {
            return Ok(());
        }
        let mut walk = TreeWalk::new(self.blobs, path, entry, Reach::All);
        loop {
            self.interrupt.check()?;
            match walk.try_next() {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => self.add(walk.path(), &entry)?,
                Err(error) => self.fail(walk.path(), error)?,
            }
        }
    }

    /// Adds one entry, or counts it as failed.
    fn add(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        if let Some(problem) = &entry.problem {
            let cause = format!("could not be backed up at the time: {problem}");
            self.fail(path, Error::new(Kind::Failed, cause))?;
        }
        let name = path.get(self.name_at..).unwrap_or_default();
        let is_lost = entry.problem.is_some() && !entry.is_dir();
        if name.is_empty() || is_lost {
            return Ok(());
        }
        if !self.members.takes(entry.metadata.kind) {
            self.summary.missing.leave_out(entry.metadata.kind);
            return Ok(());
        }
        let added = match entry.is_file() {
            true => self.file(path, name, entry),
            false => self.members.node(name, entry),
        };
        match added {
            Ok(()) => self.count(path, entry),
            Err(error) => self.fail(path, error)?,
        }
        Ok(())
    }

    /// Counts an entry that is a member.
    fn count(&mut self, path: &[u8], entry: &Entry) {
        let observer = self.kloset.observer();
        let counters = observer.counters();
        self.members.miss(entry, &mut self.summary.missing);
        if entry.is_dir() {
            self.summary.directories += 1;
            return add(&counters.directories, 1);
        }
        self.summary.files += 1;
        add(&counters.files, 1);
        observer.event(&Event::Path {
            path,
            action: "archived",
            size_bytes: entry.metadata.size_bytes,
        });
    }

    /// Counts the failure of the item at `path`.
    ///
    /// # Errors
    /// Errors that would affect other items too.
    fn fail(&mut self, path: &[u8], error: Error) -> Result<()> {
        if self.is_broken.get() || !error.is_of_one_object() {
            return Err(error);
        }
        self.summary.is_damaged |= error.kind() == Kind::Corrupt;
        self.failures.add(path, &error);
        Ok(())
    }

    /// Adds a file, or another name of one.
    fn file(&mut self, path: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        if entry.changed {
            let cause = "changed while it was backed up: its contents may be mixed";
            self.failures.warn(path, &Error::new(Kind::Failed, cause));
        }
        let first = self.firsts.of(entry);
        match (first, self.members.has_links()) {
            (Some(first), true) => {
                add(
                    &self.kloset.observer().counters().bytes,
                    entry.metadata.size_bytes,
                );
                return self.members.link(name, entry, &first);
            }
            (Some(_), false) => self.summary.missing.links += 1,
            (None, _) => {}
        }
        self.contents(name, entry)?;
        self.firsts.keep(name, entry);
        Ok(())
    }

    /// Adds a file with its contents. Lost parts are replaced by zeros.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if a part is lost. The archive remains valid.
    fn contents(&mut self, name: &[u8], entry: &Entry) -> Result<()> {
        let holes = self.members.file(name, entry)?;
        let size_bytes = entry.metadata.size_bytes;
        let left = Cell::new(match holes {
            Holes::Zeros => size_bytes,
            Holes::Told => content_bytes(&entry.holes, size_bytes),
        });
        let bytes_done = &self.kloset.observer().counters().bytes;
        let (members, interrupt) = (&mut self.members, self.interrupt);
        let mut take = |bytes: &[u8]| {
            interrupt.check()?;
            // Contents never exceed the announced length, so this limits the zeros at the end.
            let fitting = left.get().min(bytes.len() as u64);
            left.set(left.get() - fitting);
            add(bytes_done, fitting);
            members.data(&bytes[..fitting as usize])
        };
        let read = match holes {
            Holes::Zeros => push::read(self.blobs, entry, &mut take),
            Holes::Told => push::data(self.blobs, entry, &mut take),
        };
        if let Err(error) = &read
            && (self.is_broken.get() || !error.is_of_one_object())
        {
            return Err(error.clone());
        }
        while left.get() > 0 {
            take(&push::ZEROS)?;
        }
        self.members.end()?;
        self.summary.bytes += size_bytes;
        read.map_err(|error| error.during("its contents are lost, zeros stand for them"))
    }
}

impl Missing {
    /// Counts an entry of `kind`, which the format does not support.
    fn leave_out(&mut self, kind: FileKind) {
        match kind {
            FileKind::Socket => self.sockets += 1,
            FileKind::Fifo => self.fifos += 1,
            FileKind::CharDevice | FileKind::BlockDevice => self.devices += 1,
            FileKind::File | FileKind::Directory | FileKind::Symlink => {}
        }
    }
}
