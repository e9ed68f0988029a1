//! The workers of a restore: they decode, write and set attributes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::links::First;
use super::{Action, Context, Existing, Mode, attributes, stops};
use crate::connector::{
    DestinationDir, FileKind, Identity, Lost, Made, Metadata, NewFile, OldFile, Permissions,
};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::format::holes::{ContentLength, Layout};
use crate::kloset::content::push::as_damage;
use crate::kloset::pipeline::{Shared, lock};
use crate::kloset::tree::each_chunk;
use crate::util::Id;

/// A unit of work for a worker.
pub(super) enum Task {
    /// Small files, and items without contents.
    Files(Files),
    /// Part of a large file.
    Piece(Piece),
}

/// Consecutive items of the walk.
#[derive(Default)]
pub(super) struct Files {
    items: Vec<Item>,
    /// Total size of their contents.
    pub(super) bytes: u64,
    /// Number of items whose directory differs from that of the item before: at least the number of
    /// directories.
    pub(super) directories: usize,
}

/// One file, link or device.
pub(super) struct Item {
    /// The parent directory in the destination.
    pub(super) dir: Arc<dyn DestinationDir>,
    /// Whether the parent directory is new.
    pub(super) made: Made,
    /// The path in the snapshot.
    pub(super) path: Vec<u8>,
    /// The entry to restore.
    pub(super) entry: Entry,
    /// Set for the first name of a file with several names.
    pub(super) first: Option<Arc<First>>,
}

impl Item {
    /// An item in a directory that may already contain it.
    pub(super) fn existing(
        dir: Arc<dyn DestinationDir>,
        path: Vec<u8>,
        entry: Entry,
        first: Arc<First>,
    ) -> Item {
        Item {
            dir,
            made: Made::Existed,
            path,
            entry,
            first: Some(first),
        }
    }

    /// The metadata of an existing file with its name.
    fn there(&self) -> Result<Option<Metadata>> {
        match self.made {
            Made::New => Ok(None),
            Made::Existed => self.dir.stat(&self.entry.name),
        }
    }

    /// The action that restores the item if `there` exists under its name. `None` if the existing
    /// file is kept; then counts it.
    fn action(&self, context: &Context<'_>, there: Option<&Metadata>) -> Option<Action> {
        if there.is_none() {
            return Some(Action::Restored);
        }
        if context.options.existing == Existing::Replace {
            return Some(Action::Replaced);
        }
        if let Some(first) = &self.first {
            first.block(&self.entry);
        }
        let size_bytes = self.entry.metadata.size_bytes;
        if self.entry.is_file() {
            context.advance(size_bytes);
        }
        context.done(&self.path, size_bytes, Action::Kept);
        None
    }

    /// The identity of its file, if further names need it.
    fn identity(&self, of: impl FnOnce() -> Option<Identity>) -> Option<Identity> {
        self.first.is_some().then(of).flatten()
    }

    /// Returns the value of `outcome`, or counts the failure of the item.
    ///
    /// # Errors
    /// Errors that would affect every other item too.
    fn settle<T>(&self, context: &Context<'_>, outcome: Result<T>) -> Result<Option<T>> {
        if let (Err(error), Some(first)) = (&outcome, &self.first) {
            first.fail(&self.entry, error);
        }
        context.item(&self.path, outcome)
    }

    /// Counts the item, whose restore is complete. `file` is its identity, if known.
    fn done(&self, context: &Context<'_>, action: Action, file: Option<Identity>) {
        if let Some(first) = &self.first {
            first.complete(file);
        }
        context.done(&self.path, self.entry.metadata.size_bytes, action);
    }
}

impl Files {
    pub(super) fn push(&mut self, item: Item) {
        let last = self.items.last();
        if !last.is_some_and(|last| Arc::ptr_eq(&last.dir, &item.dir)) {
            self.directories += 1;
        }
        if item.entry.is_file() {
            let size_bytes = item.entry.metadata.size_bytes;
            self.bytes = self.bytes.saturating_add(size_bytes);
        }
        self.items.push(item);
    }

    /// Number of items.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// A run of chunks of a large file.
pub(super) struct Piece {
    file: Arc<LargeFile>,
    /// Offset in the content at which the piece begins.
    pub(super) position: u64,
    /// Offset at which it ends, if the lengths in the index are correct.
    pub(super) end: u64,
    /// The ids of its chunks.
    pub(super) chunks: Vec<Id>,
}

impl Piece {
    /// A piece of `file` that begins at `position` of its content.
    pub(super) fn new(file: Arc<LargeFile>, position: u64) -> Piece {
        file.unfinished.fetch_add(1, Ordering::Relaxed);
        Piece {
            file,
            position,
            end: position,
            chunks: Vec::new(),
        }
    }
}

/// A file to which several workers write.
pub(super) struct LargeFile {
    /// The item to restore.
    pub(super) item: Item,
    action: Action,
    file: Arc<dyn NewFile>,
    layout: Layout,
    /// Number of pieces that are not written, plus one for the thread that creates pieces.
    unfinished: AtomicUsize,
    failed: Mutex<Option<Error>>,
}

impl LargeFile {
    /// Starts the file. Returns `None` if it exists with the same contents, or failed.
    pub(super) fn start(context: &Context<'_>, item: Item) -> Result<Option<LargeFile>> {
        let started = start(context, &item);
        let Some(Started::New(action, file, layout)) = item.settle(context, started)? else {
            return Ok(None);
        };
        Ok(Some(LargeFile {
            item,
            action,
            file,
            layout,
            unfinished: AtomicUsize::new(1),
            failed: Mutex::default(),
        }))
    }

    /// Must be called when all pieces were sent, with the outcome of creating them.
    pub(super) fn all_pieces_are_out(
        &self,
        context: &Context<'_>,
        outcome: Result<()>,
    ) -> Result<()> {
        self.finished_one(context, outcome)
    }

    /// # Errors
    /// Fails if a piece failed: then the other pieces need not be written.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.failed).is_some() {
            true => Err(Error::new(Kind::Failed, "another part of it failed")),
            false => Ok(()),
        }
    }

    /// Notes that a piece is written, or failed. The thread that notes the last one finishes the
    /// file.
    ///
    /// # Errors
    /// Errors that would affect every other item too, immediately.
    fn finished_one(&self, context: &Context<'_>, outcome: Result<()>) -> Result<()> {
        let mut stop = Ok(());
        if let Err(error) = outcome {
            if stops(&error) {
                stop = context
                    .item::<()>(&self.item.path, Err(error.clone()))
                    .map(drop);
            }
            lock(&self.failed).get_or_insert(error);
        }
        if self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish(context)?;
        }
        stop
    }

    /// Gives the file its attributes and its name, if all of its pieces are written.
    fn finish(&self, context: &Context<'_>) -> Result<()> {
        let failed = lock(&self.failed).take();
        let outcome = match failed {
            Some(error) => Err(error),
            None => self
                .file
                .finish(&attributes(&self.item.entry), context.options.permissions),
        };
        if let Some(lost) = self.item.settle(context, outcome)? {
            context.lose(lost);
            let file = self.item.identity(|| self.file.identity());
            self.item.done(context, self.action, file);
        }
        Ok(())
    }
}

/// Runs one worker: processes tasks until there are no more. After an error, discards them; a large
/// file that lacks a piece then never gets its name.
pub(super) fn run(context: &Context<'_>, tasks: &Shared<Task>) {
    while let Some(task) = tasks.next() {
        if context.trouble.check().is_ok() {
            context.trouble.note(match task {
                Task::Files(files) => write_files(context, files),
                Task::Piece(piece) => write_piece(context, &piece),
            });
        }
    }
}

/// Restores consecutive items, one after the other.
fn write_files(context: &Context<'_>, files: Files) -> Result<()> {
    for item in files.items {
        context.trouble.check()?;
        let outcome = write_item(context, &item);
        item.settle(context, outcome)?;
    }
    Ok(())
}

/// Restores an item that is not a directory. Returns the identity of its file, if it is known and
/// further names need it.
pub(super) fn write_item(context: &Context<'_>, item: &Item) -> Result<Option<Identity>> {
    let entry = &item.entry;
    if entry.metadata.is_device() && context.options.permissions == Permissions::Skip {
        context.lose(vec![Lost::Device]);
        return Ok(None);
    }
    if entry.metadata.kind != FileKind::File {
        let Some(action) = item.action(context, item.there()?.as_ref()) else {
            return Ok(None);
        };
        let lost = item.dir.make(
            &entry.name,
            &entry.details.target,
            &attributes(entry),
            context.options.permissions,
        )?;
        context.lose(lost);
        item.done(context, action, None);
        return Ok(None);
    }
    let (action, file, layout) = match start(context, item)? {
        Started::New(action, file, layout) => (action, file, layout),
        Started::Kept(file) => return Ok(file),
    };
    if context.options.mode == Mode::DryRun {
        let size_bytes = entry.metadata.size_bytes;
        context.bytes.fetch_add(size_bytes, Ordering::Relaxed);
        item.done(context, action, None);
        return Ok(None);
    }
    let mut length = length_of(entry);
    each_chunk(context.blobs, &entry.content, &mut |id| {
        context.trouble.check()?;
        let written_bytes = write_chunk(context, &*file, &layout, &id, length.found_bytes())?;
        length.add(written_bytes)
    })
    .map_err(as_damage)?;
    length.end()?;
    context.lose(file.finish(&attributes(entry), context.options.permissions)?);
    let file = item.identity(|| file.identity());
    item.done(context, action, file);
    Ok(file)
}

/// A file whose restore has begun.
enum Started {
    /// It must be written.
    New(Action, Arc<dyn NewFile>, Layout),
    /// It existed, and is complete or kept.
    Kept(Option<Identity>),
}

/// Starts the file `item`, unless it exists with the same contents: then only its attributes are
/// corrected.
fn start(context: &Context<'_>, item: &Item) -> Result<Started> {
    let there = item.there()?;
    let Some(action) = item.action(context, there.as_ref()) else {
        return Ok(Started::Kept(None));
    };
    if let Some(mut file) = in_place(context, item, there.as_ref())? {
        return adjust(context, item, &mut *file).map(Started::Kept);
    }
    let size_bytes = item.entry.metadata.size_bytes;
    let file = item.dir.create(&item.entry.name, size_bytes)?;
    let layout = Layout::new(&item.entry.holes, size_bytes);
    Ok(Started::New(action, file, layout))
}

/// Writes part of a large file.
fn write_piece(context: &Context<'_>, piece: &Piece) -> Result<()> {
    let mut position = piece.position;
    let mut write = || -> Result<()> {
        for id in &piece.chunks {
            context.trouble.check()?;
            piece.file.check()?;
            let file = &piece.file;
            let written = write_chunk(context, &*file.file, &file.layout, id, position);
            position += written.map_err(as_damage)?;
        }
        // Otherwise the next piece was written to the wrong place.
        match position == piece.end {
            true => Ok(()),
            false => Err(Error::corrupt(
                "the index lies about the lengths of its chunks",
            )),
        }
    };
    let outcome = write();
    piece.file.finished_one(context, outcome)
}

/// Writes the chunk `id`, which is at `position` of the content, and returns its length.
fn write_chunk(
    context: &Context<'_>,
    file: &dyn NewFile,
    layout: &Layout,
    id: &Id,
    position: u64,
) -> Result<u64> {
    context.blobs.with(id, |plain| {
        for (offset, part) in layout.parts(position, plain.len() as u64) {
            file.write_at(&plain[part], offset).during(|| "write")?;
        }
        context
            .bytes
            .fetch_add(plain.len() as u64, Ordering::Relaxed);
        context.advance(plain.len() as u64);
        Ok(plain.len() as u64)
    })
}

/// Computes the expected length of the contents of `entry`.
pub(super) fn length_of(entry: &Entry) -> ContentLength {
    ContentLength::new(&entry.holes, entry.metadata.size_bytes)
}

/// Sets the attributes of `file`, whose contents are correct.
fn adjust(context: &Context<'_>, item: &Item, file: &mut dyn OldFile) -> Result<Option<Identity>> {
    let entry = &item.entry;
    let lost = file.adjust(&attributes(entry), context.options.permissions)?;
    context.lose(lost);
    context.advance(entry.metadata.size_bytes);
    let file = item.identity(|| file.identity());
    item.done(context, Action::Identical, file);
    Ok(file)
}

/// The existing file, if it may be kept and has exactly these contents. Nothing needs to be decoded
/// to find out, since the ids of its chunks can be computed from the existing contents. A file with
/// holes counts as different, so that its holes are restored.
fn in_place(
    context: &Context<'_>,
    item: &Item,
    there: Option<&Metadata>,
) -> Result<Option<Box<dyn OldFile>>> {
    let Item { dir, entry, .. } = item;
    let same_size = |there: &Metadata| {
        there.kind == FileKind::File && there.size_bytes == entry.metadata.size_bytes
    };
    if !there.is_some_and(same_size) || !entry.holes.is_empty() || entry.changed {
        return Ok(None);
    }
    // A file that is unreadable, or that another user controls, is replaced.
    let permissions = context.options.permissions;
    let Ok(mut file) = dir.read(&entry.name, &attributes(entry), permissions) else {
        return Ok(None);
    };
    let mut buffer = Vec::new();
    let mut position = 0;
    let differs = || Error::new(Kind::Exists, "it is there with other contents");
    let compared = each_chunk(context.blobs, &entry.content, &mut |id| {
        context.trouble.check()?;
        let length = context
            .blobs
            .length(&id)?
            .filter(|length| *length > 0)
            .ok_or_else(differs)?;
        position += u64::from(length);
        buffer.resize(length as usize, 0);
        let same = file.read(&mut buffer).is_ok_and(|got| got == buffer.len())
            && context.kloset.chunk_id(&buffer) == id;
        if same { Ok(()) } else { Err(differs()) }
    });
    match compared {
        Ok(()) => Ok((position == entry.metadata.size_bytes).then_some(file)),
        Err(error) if error.kind() == Kind::Exists => Ok(None),
        Err(error) => Err(error),
    }
}
