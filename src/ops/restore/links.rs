//! Files with several names (hard links): the first name is restored like any file, further names are
//! linked when all files are in place.
//!
//! Each path is stored as one byte string relative to the root, since there may be millions. Names
//! contain no `/`, so joining them with `/` loses nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::work::{Item, write_item};
use super::{Action, Context, Existing};
use crate::connector::{DestinationDir, Identity, Made};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::pipeline::lock;
use crate::util::printable::printable;

/// The name under which a file with several names is restored.
pub(super) struct First {
    /// Path relative to the root.
    path: Box<[u8]>,
    size_bytes: u64,
    fate: Mutex<Fate>,
}

/// The state of a first name.
#[derive(Clone)]
enum Fate {
    /// It is not restored, or not yet. A file with this name is not the restored file.
    Missing,
    /// Restoring it failed because of its name; another name may succeed.
    Blocked(Arc<Entry>),
    /// It is restored. Contains the identity of the file if the destination provides it.
    Restored(Option<Identity>),
    /// The file is restored under this path instead, which was a further name.
    Moved(Arc<[u8]>, Option<Identity>),
}

impl First {
    /// A file of `size_bytes` that is not restored yet.
    fn new(path: Box<[u8]>, size_bytes: u64) -> First {
        First {
            path,
            size_bytes,
            fate: Mutex::new(Fate::Missing),
        }
    }

    /// Must be called when the file is complete and has its name.
    pub(super) fn complete(&self, file: Option<Identity>) {
        *lock(&self.fate) = Fate::Restored(file);
    }

    /// Must be called when another file with the name exists and is kept.
    pub(super) fn block(&self, entry: &Entry) {
        *lock(&self.fate) = Fate::Blocked(Arc::new(entry.clone()));
    }

    /// Must be called when restoring the file as `entry` failed with `error`.
    pub(super) fn fail(&self, entry: &Entry, error: &Error) {
        if matches!(error.kind(), Kind::Exists | Kind::Denied) {
            self.block(entry);
        }
    }
}

/// A further name of a file that is restored under its first name.
pub(super) struct Link {
    /// Path relative to the root.
    path: Box<[u8]>,
    first: Arc<First>,
}

/// The role of a name of a file with several names.
pub(super) enum Met {
    /// The first name.
    First(Arc<First>),
    /// A further name, which was recorded.
    Further,
}

/// The names of files with several names, as the walk finds them.
#[derive(Default)]
pub(super) struct Names {
    /// First names by device and inode, and the number of names that are still expected. A file
    /// without expected names is dropped.
    open: HashMap<(u64, u64), (Arc<First>, u64)>,
    links: Vec<Link>,
}

impl Names {
    /// Records that the file `entry` has the name `path`.
    pub(super) fn meet(&mut self, entry: &Entry, path: Box<[u8]>) -> Met {
        let file = (entry.metadata.device, entry.metadata.inode);
        let Some((first, to_come)) = self.open.get_mut(&file) else {
            let first = Arc::new(First::new(path, entry.metadata.size_bytes));
            let to_come = entry.metadata.links.saturating_sub(1);
            self.open.insert(file, (first.clone(), to_come));
            return Met::First(first);
        };
        let first = first.clone();
        *to_come -= 1;
        if *to_come == 0 {
            self.open.remove(&file);
        }
        self.links.push(Link { path, first });
        Met::Further
    }

    /// The further names, in the order of the walk.
    pub(super) fn into_links(self) -> Vec<Link> {
        self.links
    }
}

/// Creates `links` below `root`. All files must be in place or have failed.
pub(super) fn make_all(
    context: &Context<'_>,
    root: &Arc<dyn DestinationDir>,
    links: Vec<Link>,
) -> Result<()> {
    for link in links {
        context.trouble.check()?;
        let path = context.path(&link.path);
        if context.is_refused(&path) {
            continue;
        }
        let outcome = make(context, root, &link, &path);
        context.item(&path, outcome)?;
    }
    Ok(())
}

/// Creates `link`, which is at `path` in the snapshot.
fn make(
    context: &Context<'_>,
    root: &Arc<dyn DestinationDir>,
    link: &Link,
    path: &[u8],
) -> Result<()> {
    let first = &*link.first;
    let (dir, name) = open_parent(root, &link.path)?;
    let is_there = dir.stat(name)?.is_some();
    if is_there && context.options.existing == Existing::Keep {
        context.advance(first.size_bytes);
        context.done(path, first.size_bytes, Action::Kept);
        return Ok(());
    }
    let fate = lock(&first.fate).clone();
    let (existing, file) = match &fate {
        Fate::Missing => {
            let first = context.path(&first.path);
            let cause = format!(
                "its other name, {}, could not be restored",
                printable(&first)
            );
            return Err(Error::new(Kind::Failed, cause));
        }
        Fate::Blocked(entry) => {
            let mut entry = Entry::clone(entry);
            entry.name = name.to_vec();
            let moved = First::new(link.path.clone(), first.size_bytes);
            let item = Item::existing(dir, path.to_vec(), entry, Arc::new(moved));
            let file = write_item(context, &item)?;
            *lock(&first.fate) = Fate::Moved(link.path.as_ref().into(), file);
            return Ok(());
        }
        Fate::Restored(file) => (&*first.path, *file),
        Fate::Moved(path, file) => (&**path, *file),
    };
    let (from, existing_name) = open_parent(root, existing)?;
    let (made, lost) = dir
        .link(name, &*from, existing_name, file)
        .during(|| format!("link to {}", printable(existing)))?;
    context.lose(lost);
    context.advance(first.size_bytes);
    let action = match made {
        Made::New if is_there => Action::Replaced,
        Made::New => Action::Restored,
        Made::Existed => Action::Identical,
    };
    context.done(path, first.size_bytes, action);
    Ok(())
}

/// The parent directory of `path` below `root`, and the last name of `path`.
fn open_parent<'a>(
    root: &Arc<dyn DestinationDir>,
    path: &'a [u8],
) -> Result<(Arc<dyn DestinationDir>, &'a [u8])> {
    let mut dir = root.clone();
    let mut name = path;
    while let Some(slash) = name.iter().position(|byte| *byte == b'/') {
        dir = dir.open(&name[..slash])?;
        name = &name[slash + 1..];
    }
    Ok((dir, name))
}
