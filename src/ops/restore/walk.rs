//! The two walks of a restore: the first creates directories and tasks, the second sets the
//! attributes of directories.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::links::{Link, Met, Names};
use super::work::{Files, Item, LargeFile, Piece, Task, length_of};
use super::{Action, Context, Existing, Mode, attributes, not_backed_up, stops};
use crate::connector::{DestinationDir, FileKind, Made};
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::content::push::as_damage;
use crate::kloset::pipeline::{lock, send};
use crate::kloset::progress::add;
use crate::kloset::tree::{DEPTH_LIMIT, TreeReader, each_chunk};

/// Bytes of contents in one task: several blocks, so that few blocks are needed by two workers.
const TASK_BYTES: u64 = 4 << 20;
/// Maximum number of items in one task.
const TASK_ITEMS: usize = 512;
/// Maximum number of directories in one task. Each needs a descriptor until its items are done.
/// Together with the tasks that wait and those in progress, the total must stay well below 1,024, or
/// even 256, the default limits of open files per process.
const TASK_DIRECTORIES: usize = 16;
/// Files of at least this size are restored by several workers concurrently.
const LARGE_BYTES: u64 = 16 << 20;

/// An open directory.
struct Frame<'a> {
    dir: Arc<dyn DestinationDir>,
    made: Made,
    entry: Entry,
    entries: TreeReader<'a>,
}

/// The walk that creates directories and tasks.
struct Walk<'a> {
    context: &'a Context<'a>,
    tasks: SyncSender<Task>,
    frames: Vec<Frame<'a>>,
    /// The names of the open directories, without the root.
    names: Vec<Vec<u8>>,
    files: Files,
    /// The names of files with several names.
    linked: Names,
    told: Told,
}

/// The paths of directories that could not be read completely. The second walk gets the same errors
/// and need not report them again.
pub(super) type Told = HashSet<Vec<u8>>;

/// Restores everything except further names of files and attributes of directories. Returns the
/// names, and the directories that failed.
pub(super) fn contents<'a>(
    context: &'a Context<'a>,
    entry: &Entry,
    root: Arc<dyn DestinationDir>,
    made: Made,
    tasks: SyncSender<Task>,
) -> Result<(Vec<Link>, Told)> {
    let mut walk = Walk {
        context,
        tasks,
        frames: Vec::new(),
        names: Vec::new(),
        files: Files::default(),
        linked: Names::default(),
        told: Told::new(),
    };
    match entry.is_dir() {
        true => walk.enter(root, made, entry.clone()),
        false => walk.leaf(&root, made, entry.clone())?,
    }
    walk.run()?;
    walk.flush()?;
    Ok((walk.linked.into_links(), walk.told))
}

impl<'a> Walk<'a> {
    /// Walks all directories.
    fn run(&mut self) -> Result<()> {
        while let Some(frame) = self.frames.last_mut() {
            self.context.trouble.check()?;
            let next = frame.entries.try_next().map_err(as_damage);
            let path = self.path();
            match self.context.item(&path, next)? {
                Some(Some(entry)) => self.visit(entry)?,
                // The end, or a damaged chunk of the tree: later chunks may be intact.
                Some(None) => {
                    self.frames.pop();
                    self.names.pop();
                }
                None => drop(self.told.insert(path)),
            }
        }
        Ok(())
    }

    /// Processes one entry of the current directory.
    fn visit(&mut self, entry: Entry) -> Result<()> {
        let frame = self.frames.last().expect("we are in a directory");
        let (dir, made) = (frame.dir.clone(), frame.made);
        if !entry.is_dir() {
            return self.leaf(&dir, made, entry);
        }
        self.names.push(entry.name.clone());
        let entered =
            check_depth(self.frames.len()).and_then(|()| self.open_or_make(&*dir, &entry));
        let path = self.path();
        match self.context.item(&path, entered)? {
            Some((dir, made)) => self.enter(dir, made, entry),
            None => {
                lock(&self.context.refused).insert(path);
                self.names.pop();
            }
        }
        Ok(())
    }

    /// Opens the directory `entry` in `dir`, and creates it if it does not exist.
    fn open_or_make(
        &self,
        dir: &dyn DestinationDir,
        entry: &Entry,
    ) -> Result<(Arc<dyn DestinationDir>, Made)> {
        let context = self.context;
        if context.options.existing == Existing::Keep {
            let there = dir.stat(&entry.name)?;
            if there.is_some_and(|there| there.kind == FileKind::Directory) {
                lock(&context.kept_directories).insert(self.path());
                return Ok((dir.open(&entry.name)?, Made::Existed));
            }
        }
        let permissions = context.options.permissions;
        let (dir, made) = dir.enter(&entry.name, &attributes(entry), permissions)?;
        if let Some(identity) = dir.exposed_identity() {
            lock(&context.exposed).insert(self.path(), identity);
        }
        if context.options.mode == Mode::DryRun && made == Made::New {
            context.tell(&self.path(), Action::Restored, 0);
        }
        Ok((dir, made))
    }

    /// Makes `dir` the current directory.
    fn enter(&mut self, dir: Arc<dyn DestinationDir>, made: Made, entry: Entry) {
        if let Some(error) = not_backed_up(&entry) {
            self.context.failures.add(&self.path(), &error);
        }
        self.context
            .directories
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        add(&self.context.kloset.observer().counters().directories, 1);
        self.frames.push(frame(self.context, dir, made, entry));
    }

    /// Processes an entry that is not a directory.
    fn leaf(&mut self, dir: &Arc<dyn DestinationDir>, made: Made, entry: Entry) -> Result<()> {
        let relative = self.relative_path_of(&entry);
        let path = self.context.path(&relative);
        if let Some(error) = not_backed_up(&entry) {
            self.context.failures.add(&path, &error);
            return Ok(());
        }
        let mut item = Item {
            dir: dir.clone(),
            made,
            path,
            entry,
            first: None,
        };
        let metadata = &item.entry.metadata;
        if item.entry.is_file() && metadata.links > 1 && metadata.inode != 0 {
            match self.linked.meet(&item.entry, relative.into_boxed_slice()) {
                Met::First(first) => item.first = Some(first),
                Met::Further => return Ok(()),
            }
        }
        let is_large = item.entry.is_file() && item.entry.metadata.size_bytes >= LARGE_BYTES;
        if is_large && self.context.options.mode == Mode::Write {
            return self.large(item);
        }
        self.files.push(item);
        let is_full = self.files.bytes >= TASK_BYTES
            || self.files.len() >= TASK_ITEMS
            || self.files.directories >= TASK_DIRECTORIES;
        match is_full {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Passes a large file to the workers in pieces.
    fn large(&mut self, item: Item) -> Result<()> {
        let context = self.context;
        let Some(file) = LargeFile::start(context, item)? else {
            return Ok(());
        };
        let file = Arc::new(file);
        let mut piece = Piece::new(file.clone(), 0);
        let mut length = length_of(&file.item.entry);
        let outcome = each_chunk(context.blobs, &file.item.entry.content, &mut |id| {
            context.trouble.check()?;
            file.check()?;
            let chunk_bytes = context.blobs.length(&id)?.ok_or_else(|| {
                Error::new(Kind::Corrupt, format!("chunk {} is lost", id.short()))
            })?;
            length.add(chunk_bytes.into())?;
            piece.chunks.push(id);
            piece.end = length.found_bytes();
            if piece.end - piece.position < TASK_BYTES {
                return Ok(());
            }
            let next = Piece::new(file.clone(), piece.end);
            let full = std::mem::replace(&mut piece, next);
            send(&self.tasks, Task::Piece(full))
        });
        let outcome = outcome.map_err(as_damage).and_then(|()| length.end());
        send(&self.tasks, Task::Piece(piece))?;
        file.all_pieces_are_out(context, outcome)
    }

    /// Passes the open task to the workers.
    fn flush(&mut self) -> Result<()> {
        let files = std::mem::take(&mut self.files);
        match files.len() {
            0 => Ok(()),
            _ => send(&self.tasks, Task::Files(files)),
        }
    }

    /// The path of the current directory in the snapshot.
    fn path(&self) -> Vec<u8> {
        self.context.path(&self.names.join(&b'/'))
    }

    /// The path of an entry of the current directory, relative to the root.
    fn relative_path_of(&self, entry: &Entry) -> Vec<u8> {
        let mut path = self.names.join(&b'/');
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        path
    }
}

/// # Errors
/// [`Kind::Unsupported`] if another directory below `depth` open ones would be too many.
fn check_depth(depth: usize) -> Result<()> {
    match depth < DEPTH_LIMIT {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Unsupported,
            format!("more than {DEPTH_LIMIT} directories deep"),
        )),
    }
}

/// The directory `dir`, with all of its entries still to be processed.
fn frame<'a>(
    context: &'a Context<'a>,
    dir: Arc<dyn DestinationDir>,
    made: Made,
    entry: Entry,
) -> Frame<'a> {
    let entries = TreeReader::new(context.blobs, &entry);
    Frame {
        dir,
        made,
        entry,
        entries,
    }
}

/// Sets the attributes of every directory, deepest first, and creates none. The root of the
/// destination keeps its attributes if it existed before: restoring into a home directory must not
/// lock out its owner. Errors in `told` are not reported again.
pub(super) fn directories(
    context: &Context<'_>,
    entry: &Entry,
    root: Arc<dyn DestinationDir>,
    made: Made,
    told: &Told,
) -> Result<()> {
    if !entry.is_dir() || context.options.mode == Mode::DryRun {
        return Ok(());
    }
    let mut frames = vec![frame(context, root, made, entry.clone())];
    let mut names: Vec<Vec<u8>> = Vec::new();
    while let Some(top) = frames.last_mut() {
        context.trouble.check()?;
        let next = top.entries.try_next().map_err(as_damage);
        let Some(next) = unless_told(context, told, &names, next)? else {
            continue;
        };
        match next {
            Some(entry) if entry.is_dir() => {
                names.push(entry.name.clone());
                if context.is_refused(&context.path(&names.join(&b'/'))) {
                    names.pop();
                    continue;
                }
                let opened = check_depth(names.len())
                    .and_then(|()| open_again(context, &*top.dir, &entry.name, &names));
                match unless_told(context, told, &names, opened)? {
                    Some(dir) => frames.push(frame(context, dir, Made::Existed, entry)),
                    None => drop(names.pop()),
                }
            }
            Some(_) => {}
            None => {
                let Some(done) = frames.pop() else { break };
                if !frames.is_empty() || made == Made::New {
                    finish(context, &done, &names)?;
                }
                names.pop();
            }
        }
    }
    Ok(())
}

/// Sets the attributes of the directory at `names`.
fn finish(context: &Context<'_>, done: &Frame<'_>, names: &[Vec<u8>]) -> Result<()> {
    let path = context.path(&names.join(&b'/'));
    if lock(&context.kept_directories).contains(&path) {
        return Ok(());
    }
    let permissions = context.options.permissions;
    let outcome = done.dir.finish(&attributes(&done.entry), permissions);
    let lost = context.item(&path, outcome)?;
    context.lose(lost.unwrap_or_default());
    Ok(())
}

/// Opens the directory `name` in `dir`, which is at `names`, after it was filled.
///
/// # Errors
/// [`Kind::Failed`] if another user replaced it by another directory.
fn open_again(
    context: &Context<'_>,
    dir: &dyn DestinationDir,
    name: &[u8],
    names: &[Vec<u8>],
) -> Result<Arc<dyn DestinationDir>> {
    let dir = dir.open(name)?;
    let path = context.path(&names.join(&b'/'));
    let entered = lock(&context.exposed).get(&path).copied();
    match entered.is_none() || entered == dir.exposed_identity() {
        true => Ok(dir),
        false => Err(Error::new(
            Kind::Failed,
            "it was replaced by another directory during the restore",
        )),
    }
}

/// Returns the value of `result`, or counts the failure of the directory at `names` unless `told`
/// contains it.
///
/// # Errors
/// Errors that would affect every other item too.
fn unless_told<T>(
    context: &Context<'_>,
    told: &Told,
    names: &[Vec<u8>],
    result: Result<T>,
) -> Result<Option<T>> {
    let Err(error) = result else {
        return result.map(Some);
    };
    let path = context.path(&names.join(&b'/'));
    match told.contains(&path) && !stops(&error) {
        true => Ok(None),
        false => context.item(&path, Err(error)),
    }
}
