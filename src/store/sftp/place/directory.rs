//! How the directory of a store is made, kept, and listed.

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

/// The most packs of one directory, four times its part of all that there may be. Ids are
/// evenly spread.
const FAN_LIMIT: usize = (1 << 24) / 64;
/// The most entries of a directory that is not full of objects.
const ENTRIES_LIMIT: usize = 100_000;

impl Place {
    /// As [`crate::store::Store::prepare`].
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

    /// Makes the root, and what is missing above it.
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

    /// Whether a store may be created beside an entry: what an interrupted creation left,
    /// yes. Objects without a CONFIG are a store that lost it, and a new one in its place
    /// would in time sweep them away.
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

    /// Makes a directory of the layout that is missing.
    ///
    /// Not one in the root when CONFIG is missing too: the disk was then taken away, and what
    /// we wrote below its mount point would be found by nobody.
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

    /// # Errors
    /// [`Kind::NotFound`] if this place is none.
    fn must_be_store(&self, connection: &mut Connection) -> Result<()> {
        match connection.lstat(&self.config()) {
            Err(cause) if cause.kind() == Kind::NotFound => Err(self.no_store()),
            found => found.map(|_| ()),
        }
    }

    fn area(&self, area: Area) -> PathBuf {
        layout::directory(&self.root, area)
    }

    /// The objects of `area`, which is not fanned out, above `after`.
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

    /// The packs above `after`. A directory takes four round trips, so as many are read at
    /// once as there are connections.
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
        // A directory whose last possible id is not above `after` need not be read.
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

    /// What is in each of `fans`, in their order.
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

    /// The objects of `area` above `after` in one of its directories, by ascending ids. One
    /// that is missing is empty, as long as there is a store at all.
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
            // A pack in the directory of another prefix would not be found by its id.
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

    /// Removes the leftovers of killed writers: regular files with a name that plakar generates
    /// and that were not written to for long, by the clock that dated `newest`. Those that cannot
    /// be removed are left to a later sweep.
    ///
    /// The protocol has no call that refuses links in the middle of a path, so `tmp` is checked
    /// before. If it is a link, nothing is removed.
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

/// Whether something was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    New,
    Existed,
}

/// The directories that packs fan out to.
fn fans(connection: &mut Connection, packs: &Path) -> Result<Vec<PathBuf>> {
    let mut fans = Vec::new();
    connection.read_dir(packs, ENTRIES_LIMIT, &mut |name, stat| {
        if stat.is_dir() && layout::is_fan(name) {
            fans.push(joined(packs, name));
        }
    })?;
    Ok(fans)
}

/// Makes a directory, or finds it made.
fn make_directory(connection: &mut Connection, path: &Path) -> Result<Made> {
    let cause = match connection.mkdir(path, DIRECTORY_MODE) {
        Ok(()) => return Ok(Made::New),
        Err(cause) => cause,
    };
    // An account that may only read is told that it may not, though the directory is there.
    let may_exist = is_failure(&cause) || matches!(cause.kind(), Kind::Exists | Kind::Denied);
    if may_exist && connection.stat(path).is_ok_and(|stat| stat.is_dir()) {
        return Ok(Made::Existed);
    }
    Err(cause).during(|| format!("make {}", printable_path(path)))
}

fn exists(what: impl Into<String>) -> Error {
    Error::new(Kind::Exists, what)
}
