//! What the workers of a restore do: decode, write, put attributes on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::links::First;
use super::{Action, Context, attributes, stops};
use crate::connector::{DestinationDir, FileKind, Made, NewFile};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::format::holes::{Layout, content_bytes};
use crate::kloset::pipeline::{Shared, lock};
use crate::kloset::tree::each_chunk;
use crate::util::Id;

/// Something to restore.
pub(super) enum Task {
    /// Small files, and what has no contents.
    Files(Files),
    /// Part of a large file.
    Piece(Piece),
}

/// Neighbours in the walk.
#[derive(Default)]
pub(super) struct Files {
    items: Vec<Item>,
    /// Contents of all of them.
    pub(super) bytes: u64,
    /// How often an item is in another directory than the one before it: no fewer than
    /// there are directories.
    pub(super) directories: usize,
}

/// One file, link or device.
pub(super) struct Item {
    /// The directory it goes into.
    pub(super) dir: Arc<dyn DestinationDir>,
    /// Whether that is new.
    pub(super) made: Made,
    /// Where it is in the snapshot.
    pub(super) path: Vec<u8>,
    /// What it is to become.
    pub(super) entry: Entry,
    /// Set if it is a file with further names.
    pub(super) first: Option<Arc<First>>,
}

impl Item {
    /// An item that goes into a directory which may have held it before.
    pub(super) fn existing(dir: Arc<dyn DestinationDir>, path: Vec<u8>, entry: Entry) -> Item {
        Item {
            dir,
            made: Made::Existed,
            path,
            entry,
            first: None,
        }
    }

    /// Takes the value of `outcome`, or counts the failure of the item.
    ///
    /// # Errors
    /// Those that no other item would be spared.
    fn settle<T>(&self, context: &Context<'_>, outcome: Result<T>) -> Result<Option<T>> {
        if let (Err(error), Some(first)) = (&outcome, &self.first) {
            first.fail(&self.entry, error);
        }
        context.item(&self.path, outcome)
    }

    /// Counts the item, whose restore is complete.
    fn done(&self, context: &Context<'_>, action: Action) {
        if let Some(first) = &self.first {
            first.complete();
        }
        context.done(&self.path, self.entry.metadata.size_bytes, action);
    }
}

impl Files {
    /// Adds an item.
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

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

/// A run of chunks of a large file.
pub(super) struct Piece {
    file: Arc<LargeFile>,
    /// Where in the content it begins.
    pub(super) position: u64,
    /// Where it ends, if the index tells the truth about lengths.
    pub(super) end: u64,
    /// Its chunks.
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

/// A file that several workers write to.
pub(super) struct LargeFile {
    /// What it is to become.
    pub(super) item: Item,
    file: Arc<dyn NewFile>,
    layout: Layout,
    /// Pieces that are not written, and one for whoever makes pieces.
    unfinished: AtomicUsize,
    failed: Mutex<Option<Error>>,
}

impl LargeFile {
    /// Starts the file, unless it is there already with the same contents, or failed.
    pub(super) fn start(context: &Context<'_>, item: Item) -> Result<Option<LargeFile>> {
        let started = start(context, &item);
        let Some(Some((file, layout))) = item.settle(context, started)? else {
            return Ok(None);
        };
        Ok(Some(LargeFile {
            item,
            file,
            layout,
            unfinished: AtomicUsize::new(1),
            failed: Mutex::default(),
        }))
    }

    /// To be called when all pieces are on their way, with what became of making them.
    pub(super) fn all_pieces_are_out(
        &self,
        context: &Context<'_>,
        outcome: Result<()>,
    ) -> Result<()> {
        self.finished_one(context, outcome)
    }

    /// # Errors
    /// If a piece failed: then the others are not worth writing.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.failed).is_some() {
            true => Err(Error::new(Kind::Failed, "another part of it failed")),
            false => Ok(()),
        }
    }

    /// Notes that a piece is written, or failed. Whoever notes the last one finishes the file.
    ///
    /// # Errors
    /// Those that no other item would be spared, at once.
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
            self.item.done(context, Action::Restored);
        }
        Ok(())
    }
}

/// One worker: does tasks until there are no more. In trouble, throws them away; a large file
/// that misses a piece then never gets its name.
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

/// Restores neighbours, one after the other.
fn write_files(context: &Context<'_>, files: Files) -> Result<()> {
    for item in files.items {
        context.trouble.check()?;
        let outcome = write_item(context, &item);
        item.settle(context, outcome)?;
    }
    Ok(())
}

/// Restores what is not a directory.
pub(super) fn write_item(context: &Context<'_>, item: &Item) -> Result<()> {
    let entry = &item.entry;
    if entry.metadata.kind != FileKind::File {
        let lost = item.dir.make(
            &entry.name,
            &entry.details.target,
            &attributes(entry),
            context.options.permissions,
        )?;
        context.lose(lost);
        item.done(context, Action::Restored);
        return Ok(());
    }
    let Some((file, layout)) = start(context, item)? else {
        return Ok(());
    };
    let mut position = 0;
    each_chunk(context.blobs, &entry.content, &mut |id| {
        context.trouble.check()?;
        position += write_chunk(context, &*file, &layout, &id, position)?;
        check_room(entry, position)
    })?;
    check_length(entry, position)?;
    context.lose(file.finish(&attributes(entry), context.options.permissions)?);
    item.done(context, Action::Restored);
    Ok(())
}

/// Starts the file `item`, unless it is there already with the same contents: then only its
/// attributes are put right.
fn start(context: &Context<'_>, item: &Item) -> Result<Option<(Arc<dyn NewFile>, Layout)>> {
    if is_in_place(context, item)? {
        adjust(context, item)?;
        return Ok(None);
    }
    let size_bytes = item.entry.metadata.size_bytes;
    let file = item.dir.create(&item.entry.name, size_bytes)?;
    Ok(Some((file, Layout::new(&item.entry.holes, size_bytes))))
}

/// Writes part of a large file.
fn write_piece(context: &Context<'_>, piece: &Piece) -> Result<()> {
    let mut position = piece.position;
    let mut write = || -> Result<()> {
        for id in &piece.chunks {
            context.trouble.check()?;
            piece.file.check()?;
            position += write_chunk(context, &*piece.file.file, &piece.file.layout, id, position)?;
        }
        // Else the next piece was written to the wrong place.
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
        if plain.is_empty() {
            return Err(Error::corrupt("an empty chunk"));
        }
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

/// # Errors
/// [`crate::error::Kind::Corrupt`] if there is more content than the file has room for. Asked after each
/// chunk: lists of chunks can be made to stand for more than any disk holds.
pub(super) fn check_room(entry: &Entry, written_bytes: u64) -> Result<()> {
    match written_bytes <= content_bytes(&entry.holes, entry.metadata.size_bytes) {
        true => Ok(()),
        false => check_length(entry, written_bytes),
    }
}

/// # Errors
/// [`crate::error::Kind::Corrupt`] if the content that was written is not as long as it has to be.
pub(super) fn check_length(entry: &Entry, written_bytes: u64) -> Result<()> {
    let expected = content_bytes(&entry.holes, entry.metadata.size_bytes);
    match written_bytes == expected {
        true => Ok(()),
        false => Err(Error::corrupt(format!(
            "its content has {written_bytes} bytes instead of {expected}"
        ))),
    }
}

/// Puts attributes on a file whose contents are right already.
fn adjust(context: &Context<'_>, item: &Item) -> Result<()> {
    let entry = &item.entry;
    let permissions = context.options.permissions;
    let lost = item
        .dir
        .adjust(&entry.name, &attributes(entry), permissions)?;
    context.lose(lost);
    context.advance(entry.metadata.size_bytes);
    item.done(context, Action::Identical);
    Ok(())
}

/// Whether the file is there with exactly these contents: then nothing needs to be decoded,
/// since the ids of its chunks can be computed from what is there. A file with holes
/// counts as different, so that its holes come back.
fn is_in_place(context: &Context<'_>, item: &Item) -> Result<bool> {
    let Item {
        dir, made, entry, ..
    } = item;
    if *made == Made::New || !entry.holes.is_empty() || entry.changed {
        return Ok(false);
    }
    let same_size = |there: crate::connector::Metadata| {
        there.kind == FileKind::File && there.size_bytes == entry.metadata.size_bytes
    };
    if !dir.stat(&entry.name)?.is_some_and(same_size) {
        return Ok(false);
    }
    // One that cannot be read is replaced.
    let Ok(mut file) = dir.read(&entry.name) else {
        return Ok(false);
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
        Ok(()) => Ok(position == entry.metadata.size_bytes),
        Err(error) if error.kind() == Kind::Exists => Ok(false),
        Err(error) => Err(error),
    }
}
