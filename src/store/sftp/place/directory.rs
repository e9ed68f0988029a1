//! Creation, maintenance and listing of the directory of a store.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use super::super::object;
use super::Place;
use crate::error::{During, Error, Kind, Result};
use crate::net::ssh::sftp::{Connection, File, Stat, is_failure, joined};
use crate::store::layout::{self, CONFIG, DIRECTORY_MODE, FURNITURE, STALE, TEMPORARY};
use crate::store::{Area, Object, words};
use crate::util::Id;
use crate::util::printable::{printable, printable_path};

/// The maximum number of packs in one directory: four times its share of the maximum for the area.
/// Ids are uniformly distributed.
const FAN_LIMIT: usize = (1 << 24) / 64;
/// The maximum number of entries in a directory without objects.
const ENTRIES_LIMIT: usize = 100_000;

impl Place {
    /// See [`crate::store::Store::prepare`].
    pub(in super::super) fn prepare(&self) -> Result<()> {
        self.pool.run(|connection| {
            if self.make_root(connection)? == Made::Existed {
                let mut entries = Vec::new();
                connection.read_dir(&self.root, ENTRIES_LIMIT, &mut |name, stat| {
                    entries.push((name.to_owned(), stat));
                })?;
                for (name, stat) in entries {
                    self.tolerate(connection, &name, &stat)?;
                }
            }
            for name in Area::ALL.map(Area::name).into_iter().chain([TEMPORARY]) {
                make_directory(connection, &self.root.join(name))?;
            }
            Ok(())
        })
    }

    /// Creates the root directory and its missing parents.
    fn make_root(&self, connection: &mut Connection) -> Result<Made> {
        let mut missing = vec![self.root.as_path()];
        let mut made = Made::Existed;
        while let Some(path) = missing.last() {
            match make_directory(connection, path) {
                Ok(outcome) => {
                    made = outcome;
                    missing.pop();
                }
                Err(cause) if cause.kind() == Kind::NotFound => match path.parent() {
                    Some(above) if above != Path::new("") => missing.push(above),
                    _ => return Err(cause),
                },
                Err(cause) => return Err(cause),
            }
        }
        Ok(made)
    }

    /// Checks whether a store may be created in a directory with the entry `name`. The remains of
    /// an interrupted creation are accepted. Objects without a CONFIG are not: they belong to a
    /// store that has lost its CONFIG, and a new store would eventually delete them as garbage.
    fn tolerate(&self, connection: &mut Connection, name: &[u8], stat: &Stat) -> Result<()> {
        let is = |known: &str| name == known.as_bytes();
        if is(CONFIG) {
            return Err(exists("there is a store already"));
        }
        if FURNITURE.into_iter().any(is) {
            return Ok(());
        }
        let area = Area::ALL.into_iter().find(|area| is(area.name()));
        if !stat.is_dir() || (area.is_none() && !is(TEMPORARY)) {
            let name = printable(name);
            return Err(exists(format!("{name} is there already")));
        }
        let Some(area) = area.filter(|area| *area != Area::Keys) else {
            return Ok(());
        };
        let directories = match area {
            Area::Packs => fans(connection, &self.area(area))?,
            _ => vec![self.area(area)],
        };
        for directory in directories {
            if !self.objects(connection, area, &directory, None)?.is_empty() {
                return Err(exists(match area {
                    Area::Packs => "there are packs already".to_owned(),
                    area => format!("{} is not empty", area.name()),
                }));
            }
        }
        Ok(())
    }

    /// Creates a missing directory of the layout.
    ///
    /// A directory in the root is not created if CONFIG is missing as well: the disk was then
    /// unmounted, and objects written below its mount point would be lost.
    pub(super) fn restore_directory(
        &self,
        connection: &mut Connection,
        directory: &Path,
    ) -> Result<()> {
        let above = directory.parent().unwrap_or(&self.root);
        if above == self.root {
            self.must_be_store(connection)?;
        }
        match make_directory(connection, directory) {
            Err(cause) if cause.kind() == Kind::NotFound && above != self.root => {
                self.restore_directory(connection, above)?;
                make_directory(connection, directory).map(|_| ())
            }
            made => made.map(|_| ()),
        }
    }

    /// Checks that CONFIG exists.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if this is not a store.
    fn must_be_store(&self, connection: &mut Connection) -> Result<()> {
        match connection.lstat(&self.config()) {
            Err(cause) if cause.kind() == Kind::NotFound => Err(self.no_store()),
            found => found.map(|_| ()),
        }
    }

    fn area(&self, area: Area) -> PathBuf {
        layout::directory(&self.root, area)
    }

    /// Lists the objects of `area` above `after`. Not for packs, which are distributed over several
    /// directories.
    pub(in super::super) fn list_area(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        let directory = self.area(area);
        let listed =
            (self.pool).run(|connection| self.objects(connection, area, &directory, after));
        let doing = || format!("list {}", area.name());
        listed.during(doing)?.into_iter().try_for_each(each)
    }

    /// Lists the packs above `after`. Reading a directory takes four round trips, so as many
    /// directories as there are connections are read concurrently.
    pub(in super::super) fn list_packs(
        &self,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        let doing = || format!("list {}", Area::Packs.name());
        let packs = self.area(Area::Packs);
        let fans = self.pool.run(|connection| match fans(connection, &packs) {
            Err(cause) if cause.kind() == Kind::NotFound => {
                let there = self.must_be_store(connection).map(|()| Vec::new());
                there.during(|| self.location.clone())
            }
            fans => fans,
        });
        let mut fans = fans.during(doing)?;
        fans.sort();
        // Directories with only ids up to `after` are skipped.
        let first = after.map(|after| packs.join(&after.to_string()[..2]));
        fans.retain(|fan| first.as_ref().is_none_or(|first| fan >= first));
        let (mut count, limit) = (0, Area::Packs.limit_objects());
        for some in fans.chunks(self.connections()) {
            for listed in self.list_at_once(some, after) {
                let listed = listed.during(doing)?;
                count += listed.len();
                if count > limit {
                    return Err(Error::corrupt(words::too_many(limit)).during(doing()));
                }
                listed.into_iter().try_for_each(&mut *each)?;
            }
        }
        Ok(())
    }

    /// Lists the directories `fans` concurrently. Returns the results in the same order.
    fn list_at_once(&self, fans: &[PathBuf], after: Option<Id>) -> Vec<Result<Vec<Object>>> {
        let list = |fan: &PathBuf| {
            let run =
                |connection: &mut Connection| self.objects(connection, Area::Packs, fan, after);
            self.pool.run(run)
        };
        if let [fan] = fans {
            return vec![list(fan)];
        }
        thread::scope(|scope| {
            let listing: Vec<_> = fans.iter().map(|fan| scope.spawn(|| list(fan))).collect();
            let panicked = |_| Err(Error::new(Kind::Failed, "a listing thread panicked"));
            listing
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(panicked))
                .collect()
        })
    }

    /// Lists the objects of `area` above `after` in one directory, in ascending order. A missing
    /// directory counts as empty, provided that the store exists.
    fn objects(
        &self,
        connection: &mut Connection,
        area: Area,
        directory: &Path,
        after: Option<Id>,
    ) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        let limit = match area {
            Area::Packs => FAN_LIMIT,
            area => area.limit_objects(),
        };
        let read = connection.read_dir(directory, limit, &mut |name, stat| {
            let id: Option<Id> = std::str::from_utf8(name)
                .ok()
                .and_then(|name| name.parse().ok());
            let path = joined(directory, name);
            // A pack in the directory of another prefix could not be found by its id.
            let is_found = |id: &Id| stat.is_file() && path == layout::path(&self.root, area, *id);
            let wanted = id.filter(|id| is_found(id) && after.is_none_or(|after| *id > after));
            objects.extend(wanted.map(|id| object::describe(id, &stat)));
        });
        match read {
            Err(cause) if cause.kind() == Kind::NotFound => {
                let there = self.must_be_store(connection);
                there.during(|| self.location.clone())?
            }
            read => read?,
        }
        objects.sort_by_key(|object| object.id);
        Ok(objects)
    }

    /// Removes the remains of killed writers: regular files with a name that plakar generates and
    /// that were not modified for a long time, according to the clock that set the time of
    /// `newest`. Files that cannot be removed are left to a later sweep.
    ///
    /// The protocol has no call that rejects symbolic links in the middle of a path, so `tmp` is
    /// checked before. If it is a symbolic link, nothing is removed.
    pub(super) fn sweep(&self, connection: &mut Connection, newest: &mut File) -> Result<()> {
        let now = u64::from(connection.stat_open(newest)?.mtime_seconds);
        let directory = self.root.join(TEMPORARY);
        if !connection.lstat(&directory)?.is_dir() {
            return Ok(());
        }
        let mut stale = Vec::new();
        connection.read_dir(&directory, ENTRIES_LIMIT, &mut |name, stat| {
            let age_seconds = now.saturating_sub(u64::from(stat.mtime_seconds));
            let is_leftover = stat.is_file() && layout::is_temporary(name);
            if is_leftover && age_seconds > STALE.as_secs() {
                stale.push(directory.join(OsStr::from_bytes(name)));
            }
        })?;
        for path in stale {
            let _ = connection.remove(&path);
        }
        Ok(())
    }
}

/// Whether a directory existed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    New,
    Existed,
}

/// Returns the directories over which packs are distributed.
fn fans(connection: &mut Connection, packs: &Path) -> Result<Vec<PathBuf>> {
    let mut fans = Vec::new();
    connection.read_dir(packs, ENTRIES_LIMIT, &mut |name, stat| {
        if stat.is_dir() && layout::is_fan(name) {
            fans.push(joined(packs, name));
        }
    })?;
    Ok(fans)
}

/// Creates a directory unless it exists.
fn make_directory(connection: &mut Connection, path: &Path) -> Result<Made> {
    let cause = match connection.mkdir(path, DIRECTORY_MODE) {
        Ok(()) => return Ok(Made::New),
        Err(cause) => cause,
    };
    // For a read-only account the error may be `permission denied` even if the directory exists.
    let may_exist = is_failure(&cause) || matches!(cause.kind(), Kind::Exists | Kind::Denied);
    if may_exist && connection.stat(path).is_ok_and(|stat| stat.is_dir()) {
        return Ok(Made::Existed);
    }
    Err(cause).during(|| format!("make {}", printable_path(path)))
}

fn exists(what: impl Into<String>) -> Error {
    Error::new(Kind::Exists, what)
}
