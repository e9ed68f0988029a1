//! The directory of a store: what is where, and how it gets there.
//!
//! The layout is drawn one level up. This file knows paths, the order in which
//! things are made durable, and nothing of what messages call an object.

use std::fs::{self, DirBuilder, DirEntry, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::handles::Handles;
use super::object;
use super::temporary::{Temporary, sync_directory};
use crate::error::{During, Error, Kind, Result};
use crate::store::layout::{
    self, CONFIG, DIRECTORY_MODE, FURNITURE, STALE, TEMPORARY, UPLOADS_PER_SWEEP,
};
use crate::store::{Area, Object};
use crate::util::Id;
use crate::util::printable::{printable, printable_path};

/// The directory, shared by the store and its uploads.
pub(super) struct Place {
    location: String,
    root: PathBuf,
    handles: Handles,
    /// How many uploads were started, to sweep now and then.
    uploads: AtomicU64,
}

impl Place {
    /// The directory at `root`, which need not exist yet.
    pub(super) fn new(root: &str) -> Place {
        Place {
            location: root.to_owned(),
            root: PathBuf::from(root),
            handles: Handles::default(),
            uploads: AtomicU64::new(0),
        }
    }

    /// What the user called it.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// What is being done with `object`. Named with the place, since what goes wrong most
    /// often here is that its disk is full.
    pub(super) fn storing(&self, object: &str) -> String {
        format!("store {object} in {}", self.location)
    }

    /// Where CONFIG is.
    pub(super) fn config(&self) -> PathBuf {
        self.root.join(CONFIG)
    }

    /// Where the objects of `area` are.
    pub(super) fn directory(&self, area: Area) -> PathBuf {
        layout::directory(&self.root, area)
    }

    /// Where an object is, or would be.
    pub(super) fn path(&self, area: Area, id: Id) -> PathBuf {
        layout::path(&self.root, area, id)
    }

    /// The error of a place without a CONFIG.
    pub(super) fn no_store(&self) -> Error {
        Error::new(Kind::NotFound, "there is no store here").during(self.location.clone())
    }

    /// As [`crate::store::Store::prepare`].
    pub(super) fn prepare(&self) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.root)?;
        for entry in fs::read_dir(&self.root)? {
            self.tolerate(&entry?)?;
        }
        for name in Area::ALL.map(Area::name).into_iter().chain([TEMPORARY]) {
            make_directory(&self.root.join(name))?;
        }
        sync_directory(&self.root)?;
        // The directory above may be closed to us; we tried.
        let _ = sync_directory(&self.root.join(".."));
        Ok(())
    }

    /// Whether a store may be created beside `entry`: what an interrupted
    /// creation left, yes. Objects without a CONFIG are a store that lost it, and
    /// a new one in its place would in time sweep them away.
    fn tolerate(&self, entry: &DirEntry) -> Result<()> {
        let name = entry.file_name();
        let is = |known: &str| name == known;
        if is(CONFIG) {
            return Err(exists("there is a store already"));
        }
        if FURNITURE.into_iter().any(is) {
            return Ok(());
        }
        let area = Area::ALL.into_iter().find(|area| is(area.name()));
        if !entry.file_type()?.is_dir() || (area.is_none() && !is(TEMPORARY)) {
            return Err(exists(format!(
                "{} is there already",
                printable(name.as_encoded_bytes())
            )));
        }
        match area {
            None | Some(Area::Keys) => Ok(()),
            Some(Area::Packs) => {
                self.list_packs(None, &mut |_| Err(exists("there are packs already")))
            }
            Some(area) => self.list_directory(area, &entry.path(), None, &mut |_| {
                Err(exists(format!("{} is not empty", area.name())))
            }),
        }
    }

    /// As [`crate::store::Store::put_config`].
    pub(super) fn put_config(&self, bytes: &[u8]) -> Result<()> {
        let path = self.config();
        if fs::symlink_metadata(&path).is_ok() {
            return Err(exists("there is one already"));
        }
        let mut temporary = self.temporary()?;
        temporary.write(bytes)?;
        temporary.sync()?;
        temporary.publish(&path)?;
        Ok(sync_directory(&self.root)?)
    }

    /// A new file in `tmp/`.
    pub(super) fn temporary(&self) -> Result<Temporary> {
        let directory = self.root.join(TEMPORARY);
        let temporary = match Temporary::create(&directory) {
            Err(cause) if is_missing(&cause) => {
                self.restore_directory(&directory)?;
                Temporary::create(&directory)?
            }
            created => created?,
        };
        let uploads = self.uploads.fetch_add(1, Ordering::Relaxed);
        if uploads.is_multiple_of(UPLOADS_PER_SWEEP) {
            // Housekeeping: that it failed is no reason not to store.
            let _ = sweep(&directory, &temporary);
        }
        Ok(temporary)
    }

    /// Makes a directory of the layout that is missing.
    ///
    /// Not when CONFIG is missing too: the disk was then taken away, and what we
    /// wrote below its mount point would be found by nobody.
    fn restore_directory(&self, directory: &Path) -> Result<()> {
        let above = directory.parent().unwrap_or(&self.root);
        if above == self.root {
            fs::symlink_metadata(self.config()).map_err(|_| self.no_store())?;
        } else if !above.exists() {
            self.restore_directory(above)?;
        }
        make_directory(directory)?;
        Ok(sync_directory(above)?)
    }

    /// Names an object that was written, unless there is one already.
    pub(super) fn publish(
        &self,
        temporary: &Temporary,
        path: &Path,
        size_bytes: u64,
    ) -> Result<()> {
        if self.holds(path, size_bytes)? {
            return Ok(());
        }
        temporary.sync()?;
        let directory = path.parent().unwrap_or(&self.root);
        let mut outcome = temporary.publish(path);
        if outcome.as_ref().is_err_and(is_missing) {
            self.restore_directory(directory)?;
            outcome = temporary.publish(path);
        }
        match outcome {
            // Another thread or machine stored the same object meanwhile.
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                self.holds(path, size_bytes).map(|_| ())
            }
            outcome => Ok(outcome.and_then(|()| sync_directory(directory))?),
        }
    }

    /// Whether the object is there, durable and of this size.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is there in another size.
    pub(super) fn holds(&self, path: &Path, size_bytes: u64) -> Result<bool> {
        let metadata = match fs::symlink_metadata(path) {
            Err(cause) if is_missing(&cause) => return Ok(false),
            found => found?,
        };
        object::regular(&metadata)?;
        if metadata.len() != size_bytes {
            let there = metadata.len();
            return Err(Error::corrupt(format!(
                "the one already there has {there} bytes instead of {size_bytes}"
            )));
        }
        // Its writer may be about to sync the directory; our caller must not
        // rely on that.
        sync_directory(path.parent().unwrap_or(&self.root))?;
        Ok(true)
    }

    /// As [`crate::store::Store::read_at`].
    pub(super) fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let file = self.handle(area, id)?;
        let end = offset.saturating_add(buffer.len() as u64);
        let short = || Error::corrupt(format!("it ends before byte {end}"));
        if buffer.is_empty() {
            return Ok(());
        }
        // Also keeps offsets below what the system call can express.
        if end > area.limit_bytes() {
            return Err(short());
        }
        match file.read_exact_at(buffer, offset) {
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => Err(short()),
            outcome => Ok(outcome?),
        }
    }

    /// The object, open. Packs stay open for a while.
    fn handle(&self, area: Area, id: Id) -> Result<Arc<File>> {
        if let (Area::Packs, Some(file)) = (area, self.handles.get(id)) {
            return Ok(file);
        }
        let file = Arc::new(object::open(&self.path(area, id))?);
        if area == Area::Packs {
            self.handles.keep(id, file.clone());
        }
        Ok(file)
    }

    /// The packs above `after`, directory by directory.
    pub(super) fn list_packs(
        &self,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        let mut fans = Vec::new();
        self.each_entry(Area::Packs, &self.directory(Area::Packs), &mut |entry| {
            if is_fan(&entry) {
                fans.push(entry.path());
            }
            Ok(())
        })?;
        fans.sort();
        // A directory whose last possible id is not above `after` need not be read.
        let first = after.map(|after| self.directory(Area::Packs).join(&after.to_string()[..2]));
        fans.iter()
            .filter(|fan| first.as_ref().is_none_or(|first| *fan >= first))
            .try_for_each(|fan| self.list_directory(Area::Packs, fan, after, each))
    }

    /// The objects of `area` above `after` in one of its directories.
    pub(super) fn list_directory(
        &self,
        area: Area,
        directory: &Path,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        let mut ids: Vec<Id> = Vec::new();
        self.each_entry(area, directory, &mut |entry| {
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            // A pack in the directory of another prefix would not be found by its id.
            let is_found = |id: &Id| entry.path() == self.path(area, *id);
            ids.extend(id.filter(|id| is_found(id) && after.is_none_or(|after| *id > after)));
            Ok(())
        })?;
        ids.sort();
        for id in ids {
            match fs::symlink_metadata(self.path(area, id)) {
                Ok(metadata) if metadata.is_file() => each(object::describe(id, &metadata))?,
                Err(cause) if !is_missing(&cause) => {
                    return Err(cause).during(|| format!("list {}", area.name()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every entry of a directory of `area`. One that is missing is empty, as
    /// long as there is a store at all.
    fn each_entry(
        &self,
        area: Area,
        directory: &Path,
        each: &mut dyn FnMut(DirEntry) -> Result<()>,
    ) -> Result<()> {
        let doing = || format!("list {}", area.name());
        let entries = match fs::read_dir(directory) {
            Err(cause) if is_missing(&cause) => {
                let config = fs::symlink_metadata(self.config());
                return config.map(|_| ()).map_err(|_| self.no_store());
            }
            entries => entries.during(doing)?,
        };
        for entry in entries {
            each(entry.during(doing)?)?;
        }
        Ok(())
    }

    /// Removes an object. A passphrase that was taken away must not come back
    /// with a power cut, so the directory is synced; not for packs, which go by
    /// the thousand and would merely be deleted once more.
    pub(super) fn delete(&self, area: Area, id: Id) -> Result<()> {
        let outcome = fs::remove_file(self.path(area, id));
        self.handles.forget(id);
        match outcome {
            Err(cause) if is_missing(&cause) => return Ok(()),
            outcome => outcome?,
        }
        match area {
            Area::Packs => Ok(()),
            _ => Ok(sync_directory(&self.directory(area))?),
        }
    }
}

/// Whether `entry` is one of the directories packs fan out to.
fn is_fan(entry: &DirEntry) -> bool {
    layout::is_fan(entry.file_name().as_encoded_bytes()) && entry.path().is_dir()
}

/// Removes what was not written to for long, by the clock that dated `newest`.
/// What cannot be removed, or was by another, is left to a later sweep.
fn sweep(directory: &Path, newest: &Temporary) -> io::Result<()> {
    let now = newest.metadata()?.modified()?;
    for entry in fs::read_dir(directory)?.flatten() {
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        if written.is_ok_and(|written| now.duration_since(written).is_ok_and(|age| age > STALE)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Makes a directory, or finds it made.
fn make_directory(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome.during(|| format!("make {}", printable_path(path))),
    }
}

fn exists(what: impl Into<String>) -> Error {
    Error::new(Kind::Exists, what)
}

/// No such file, or a path through something that is not a directory.
fn is_missing(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
