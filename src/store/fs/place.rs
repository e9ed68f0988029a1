//! The directory of a store: storing, reading, listing and deleting objects.
//!
//! The module above documents the layout. This file handles names and the order of writes and
//! syncs; it does not know how messages name an object.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FileType;

use super::directory::{Directory, not_a_directory};
use super::handles::Handles;
use super::object;
use super::owner::Alarm;
use super::temporary::Temporary;
use crate::error::{During, Error, Kind, Result};
use crate::store::layout::{self, CONFIG, DIRECTORY_MODE, FURNITURE, TEMPORARY, UPLOADS_PER_SWEEP};
use crate::store::settings::Notice;
use crate::store::{Area, CONFIG_LIMIT_BYTES, Object};
use crate::util::Id;
use crate::util::printable::printable;

/// The directory, shared by the store and its uploads.
pub(super) struct Place {
    location: String,
    root: PathBuf,
    handles: Handles,
    /// The number of uploads started, which determines when to sweep.
    uploads: AtomicU64,
    alarm: Arc<Alarm>,
    /// Held while a directory is made and given to the owner of the store.
    making: Mutex<()>,
}

impl Place {
    /// Creates the place for the directory `root`, which may not exist yet.
    pub(super) fn new(root: &str, notice: Notice) -> Place {
        Place {
            location: root.to_owned(),
            root: PathBuf::from(root),
            handles: Handles::default(),
            uploads: AtomicU64::new(0),
            alarm: Arc::new(Alarm::new(root, notice)),
            making: Mutex::new(()),
        }
    }

    /// The location as the user specified it.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// The context of errors while storing `object`. Includes the location, because the most
    /// frequent error is a full disk.
    pub(super) fn storing(&self, object: &str) -> String {
        format!("store {object} in {}", self.location)
    }

    /// The error for a directory without CONFIG.
    fn no_store(&self) -> Error {
        Error::new(Kind::NotFound, "there is no store here").during(self.location.clone())
    }

    /// Opens the root. This is repeated for each call, so that a disk mounted later is found.
    fn root(&self) -> Result<Directory> {
        Directory::root(&self.root, &self.alarm)
    }

    /// Opens the root, which must contain CONFIG.
    fn store(&self) -> Result<Directory> {
        let root = self.existing_root()?;
        root.facts(CONFIG).map_err(|_| self.no_store())?;
        Ok(root)
    }

    /// Opens the root, which may lack CONFIG while the store is being created.
    fn existing_root(&self) -> Result<Directory> {
        match self.root() {
            Err(cause) if cause.kind() == Kind::NotFound => Err(self.no_store()),
            root => root,
        }
    }

    /// Opens the directory of an object, whether or not the object exists.
    fn directory(&self, area: Area, id: Id) -> Result<Directory> {
        let root = self.root()?;
        let mut names = layout::directories(area, id).into_iter();
        names.try_fold(root, |above, name| above.enter(&name))
    }

    /// Opens the directories `names` of the layout, each in the previous one, to write to the last
    /// one. Creates missing ones.
    ///
    /// A directory in the root is not created if CONFIG is missing as well: the disk was then
    /// unmounted, and objects written below its mount point would be lost.
    fn writable(&self, names: &[String]) -> Result<Directory> {
        let root = self.existing_root()?;
        // A new directory changes its owner only while it is empty, so no other thread may use it
        // before.
        let making = || self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let _making = root.is_of_another_user().then(making);
        let mut directory = root;
        for (depth, name) in names.iter().enumerate() {
            directory = match directory.enter(name) {
                Err(cause) if cause.kind() == Kind::NotFound => {
                    if depth == 0 {
                        self.store()?;
                    }
                    let made = directory.make(name)?;
                    directory.sync()?;
                    made
                }
                opened => opened?,
            };
            directory.check_owner(&names[..=depth].join("/"))?;
        }
        Ok(directory)
    }

    /// See [`crate::store::Store::prepare`].
    pub(super) fn prepare(&self) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.root)?;
        let root = self.root()?;
        for name in root.names()? {
            self.tolerate(&root, &name?)?;
        }
        for name in Area::ALL.map(Area::name).into_iter().chain([TEMPORARY]) {
            root.make(name)?;
        }
        root.sync()?;
        // The process may lack permission for the parent directory, so errors are ignored.
        let _ = Directory::root(&self.root.join(".."), &self.alarm).map(|above| above.sync());
        Ok(())
    }

    /// Checks whether a store may be created in a directory with the entry `name`. The remains of
    /// an interrupted creation are accepted. Objects without a CONFIG are not: they belong to a
    /// store that has lost its CONFIG, and a new store would eventually delete them as garbage.
    fn tolerate(&self, root: &Directory, name: &OsStr) -> Result<()> {
        let shown = printable(name.as_encoded_bytes());
        // A name that is not UTF-8 is foreign.
        let name = name.to_str().unwrap_or_default();
        if name == CONFIG {
            return Err(exists("there is a store already"));
        }
        if FURNITURE.contains(&name) {
            return Ok(());
        }
        let area = Area::ALL.into_iter().find(|area| name == area.name());
        let is_directory = |facts: super::directory::Facts| facts.kind == FileType::Directory;
        if !root.facts(name).is_ok_and(is_directory) || (area.is_none() && name != TEMPORARY) {
            return Err(exists(format!("{shown} is there already")));
        }
        match area {
            None | Some(Area::Keys) => Ok(()),
            Some(Area::Packs) => {
                list_packs(root, None, &mut |_| Err(exists("there are packs already")))
            }
            Some(area) => list_area(root, area, None, &mut |_| {
                Err(exists(format!("{} is not empty", area.name())))
            }),
        }
    }

    /// See [`crate::store::Store::get_config`].
    pub(super) fn get_config(&self) -> Result<Vec<u8>> {
        let opened = self.root().and_then(|root| object::open(&root, CONFIG));
        match opened {
            Err(cause) if cause.kind() == Kind::NotFound => Err(self.no_store()),
            opened => opened
                .and_then(|file| object::read_all(&file, CONFIG_LIMIT_BYTES))
                .during(|| format!("read {CONFIG}")),
        }
    }

    /// See [`crate::store::Store::put_config`].
    pub(super) fn put_config(&self, bytes: &[u8]) -> Result<()> {
        let root = self.root()?;
        if root.facts(CONFIG).is_ok() {
            return Err(exists("there is one already"));
        }
        let mut temporary = self.temporary()?;
        temporary.write(bytes)?;
        temporary.sync()?;
        temporary.publish(&root, CONFIG)?;
        Ok(root.sync()?)
    }

    /// Creates a file in `tmp/`.
    pub(super) fn temporary(&self) -> Result<Temporary> {
        let directory = self.writable(&[TEMPORARY.to_owned()])?;
        let temporary = Temporary::create(directory)?;
        let uploads = self.uploads.fetch_add(1, Ordering::Relaxed);
        if uploads.is_multiple_of(UPLOADS_PER_SWEEP) {
            // Maintenance: its failure must not prevent storing the object.
            let _ = temporary.sweep();
        }
        Ok(temporary)
    }

    /// Renames a written object to its final name, unless the object exists.
    pub(super) fn publish(
        &self,
        temporary: &Temporary,
        area: Area,
        id: Id,
        size_bytes: u64,
    ) -> Result<()> {
        if self.holds(area, id, size_bytes)? {
            return Ok(());
        }
        temporary.sync()?;
        let directory = self.writable(&layout::directories(area, id))?;
        match temporary.publish(&directory, &id.to_string()) {
            // Another thread or host has stored the same object meanwhile.
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                self.holds(area, id, size_bytes).map(|_| ())
            }
            outcome => Ok(outcome.and_then(|()| directory.sync())?),
        }
    }

    /// Whether the object exists with this size. If it does, it is durable on return.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it exists with another size.
    pub(super) fn holds(&self, area: Area, id: Id, size_bytes: u64) -> Result<bool> {
        let found = self.directory(area, id).and_then(|directory| {
            let facts = directory.facts(&id.to_string())?;
            Ok((directory, facts))
        });
        let (directory, facts) = match found {
            Err(cause) if cause.kind() == Kind::NotFound => return Ok(false),
            found => found?,
        };
        object::regular(&facts)?;
        if facts.size_bytes != size_bytes {
            let there = facts.size_bytes;
            return Err(Error::corrupt(format!(
                "the one already there has {there} bytes instead of {size_bytes}"
            )));
        }
        // Its writer may not have synced the directory yet, but the caller relies on durability.
        directory.sync()?;
        Ok(true)
    }

    /// See [`crate::store::Store::get`].
    pub(super) fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        object::read_all(&self.open(area, id)?, area.limit_bytes())
    }

    fn open(&self, area: Area, id: Id) -> Result<File> {
        object::open(&self.directory(area, id)?, &id.to_string())
    }

    /// See [`crate::store::Store::stat`].
    pub(super) fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let facts = self.directory(area, id)?.facts(&id.to_string())?;
        object::regular(&facts)?;
        Ok(object::describe(id, &facts))
    }

    /// See [`crate::store::Store::read_at`].
    pub(super) fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let file = self.handle(area, id)?;
        let end = offset.saturating_add(buffer.len() as u64);
        let short = || Error::corrupt(format!("it ends before byte {end}"));
        if buffer.is_empty() {
            return Ok(());
        }
        // Also limits offsets to the range of the system call.
        if end > area.limit_bytes() {
            return Err(short());
        }
        match file.read_exact_at(buffer, offset) {
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => Err(short()),
            outcome => Ok(outcome?),
        }
    }

    /// Opens an object. Packs stay open for some time.
    fn handle(&self, area: Area, id: Id) -> Result<Arc<File>> {
        if let (Area::Packs, Some(file)) = (area, self.handles.get(id)) {
            return Ok(file);
        }
        let file = Arc::new(self.open(area, id)?);
        if area == Area::Packs {
            self.handles.keep(id, file.clone());
        }
        Ok(file)
    }

    /// Lists the objects of `area` above `after`.
    pub(super) fn list(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        let root = self.existing_root()?;
        // A missing directory counts as empty, provided that the store exists.
        if root.facts(area.name()).is_err() {
            self.store()?;
        }
        match area {
            Area::Packs => list_packs(&root, after, each),
            area => list_area(&root, area, after, each),
        }
    }

    /// Removes an object. A removed passphrase must not reappear after a power failure, so the
    /// directory is synced. It is not synced for packs, which are deleted by the thousand and would
    /// merely be deleted again.
    pub(super) fn delete(&self, area: Area, id: Id) -> Result<()> {
        let removed = self.directory(area, id).and_then(|directory| {
            directory.remove(&id.to_string())?;
            Ok(directory)
        });
        self.handles.forget(id);
        match removed {
            Err(cause) if cause.kind() == Kind::NotFound => Ok(()),
            removed if area == Area::Packs => removed.map(drop),
            removed => Ok(removed?.sync()?),
        }
    }
}

/// Lists the packs above `after`, one directory after another.
fn list_packs(
    root: &Directory,
    after: Option<Id>,
    each: &mut dyn FnMut(Object) -> Result<()>,
) -> Result<()> {
    let doing = || format!("list {}", Area::Packs.name());
    let Some(packs) = there(root.enter(Area::Packs.name())).during(doing)? else {
        return Ok(());
    };
    let mut fans = Vec::new();
    for name in packs.names().during(doing)? {
        let name = name.during(doing)?.into_string();
        fans.extend(
            name.into_iter()
                .filter(|name| layout::is_fan(name.as_bytes())),
        );
    }
    fans.sort();
    // Directories with only ids up to `after` are skipped.
    let first = after.map(|after| after.to_string()[..2].to_owned());
    fans.retain(|fan| first.as_ref().is_none_or(|first| fan >= first));
    for fan in fans {
        match packs.facts(&fan).map(|facts| facts.kind) {
            Ok(FileType::Directory) => {}
            // Skipping the link would make the packs behind it appear deleted.
            Ok(FileType::Symlink) => {
                return Err(not_a_directory(&format!("packs/{fan}"))).during(doing);
            }
            // Foreign, or removed meanwhile.
            _ => continue,
        }
        if let Some(directory) = there(packs.enter(&fan)).during(doing)? {
            // A pack in the directory of another prefix could not be found by its id.
            let is_found = |id: &Id| id.to_string().starts_with(&fan);
            list_objects(&directory, after, &is_found, doing, each)?;
        }
    }
    Ok(())
}

/// Lists the objects above `after` of an area with a single directory.
fn list_area(
    root: &Directory,
    area: Area,
    after: Option<Id>,
    each: &mut dyn FnMut(Object) -> Result<()>,
) -> Result<()> {
    let doing = || format!("list {}", area.name());
    match there(root.enter(area.name())).during(doing)? {
        Some(directory) => list_objects(&directory, after, &|_| true, doing, each),
        None => Ok(()),
    }
}

/// Lists the objects above `after` in `directory`.
fn list_objects(
    directory: &Directory,
    after: Option<Id>,
    is_found: &dyn Fn(&Id) -> bool,
    doing: impl Fn() -> String,
    each: &mut dyn FnMut(Object) -> Result<()>,
) -> Result<()> {
    let wanted = |id: &Id| is_found(id) && after.is_none_or(|after| *id > after);
    let mut ids: Vec<Id> = Vec::new();
    for name in directory.names().during(&doing)? {
        let name = name.during(&doing)?;
        let id = name.to_str().and_then(|name| name.parse().ok());
        ids.extend(id.filter(wanted));
    }
    ids.sort();
    for id in ids {
        match directory.facts(&id.to_string()) {
            Ok(facts) if facts.kind == FileType::RegularFile => each(object::describe(id, &facts))?,
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(cause).during(&doing);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns `None` if the directory is missing: it is created when needed.
fn there(opened: Result<Directory>) -> Result<Option<Directory>> {
    match opened {
        Err(cause) if cause.kind() == Kind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn exists(what: impl Into<String>) -> Error {
    Error::new(Kind::Exists, what)
}
