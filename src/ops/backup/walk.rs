//! Finding what there is: the first stage of a backup.
//!
//! Depth first, names in ascending order, from the root of the source along the
//! [`Plan`] to the places, and everywhere inside of them. The directories we are in
//! are a stack of [`Frame`]s, not a recursion, so that depth costs memory that is
//! counted. Beside every directory walks its older self, and what did not change is
//! handed on complete; everything else is asked for its details here or, if it is a
//! file, handed to the readers.

use std::sync::Arc;

use super::attributes::{has_details, reuse_details, trim_xattrs};
use super::batches::{Out, Purpose};
use super::hardlinks::{Known, Linked};
use super::plan::Plan;
use super::previous::{self, OldDirectory};
use super::scope::Scope;
use super::steps::Find;
use super::{Options, Pipeline, Summary, source_gone};
use crate::connector::wanted::Wanted;
use crate::connector::{FileKind, Item, Metadata, Source, SourceDir};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::failures::Failures;
use crate::kloset::progress::{Event, add};
use crate::kloset::snapshot::Snapshot;
use crate::kloset::tree::DEPTH_LIMIT;
use crate::util::printable::printable;

/// Size from which reading a file twice costs more than letting the pipeline run empty.
const LARGE_BYTES: u64 = 256 << 20;

/// A directory we are in.
struct Frame<'a> {
    dir: Arc<dyn SourceDir>,
    items: std::vec::IntoIter<Item>,
    old: OldDirectory<'a>,
    scope: Scope,
    path_bytes: usize,
}

/// Walks a source.
pub(super) struct Walker<'a> {
    source: &'a dyn Source,
    options: &'a Options,
    kloset: &'a Kloset,
    blobs: &'a BlobReader<'a>,
    failures: &'a Failures<'a>,
    out: Out<'a>,
    frames: Vec<Frame<'a>>,
    /// Of the item we are at.
    path: Vec<u8>,
    /// Files with several names of which one was found.
    linked: &'a Linked,
    /// Places that may still be backed up, or were.
    places_left: usize,
    summary: Summary,
}

impl<'a> Walker<'a> {
    /// A walker that sends what it finds to `out`.
    pub(super) fn new(
        pipeline: &Pipeline<'a>,
        failures: &'a Failures<'a>,
        linked: &'a Linked,
        out: Out<'a>,
    ) -> Walker<'a> {
        Walker {
            source: pipeline.source,
            options: pipeline.options,
            kloset: pipeline.kloset,
            blobs: pipeline.blobs,
            failures,
            out,
            frames: Vec::new(),
            path: Vec::new(),
            linked,
            places_left: 0,
            summary: Summary::default(),
        }
    }

    /// Walks everything, and returns what was counted.
    ///
    /// # Errors
    /// What keeps the backup from being made: that no place is there, or an interrupt.
    pub(super) fn run(mut self, previous: Option<Snapshot>) -> Result<Summary> {
        self.source.expect(Wanted {
            places: self.options.places.clone(),
            excludes: self.options.excludes.clone(),
            skip: self.options.skip_paths.clone(),
        });
        self.enter_root(previous)?;
        while let Some(frame) = self.frames.last_mut() {
            self.out.check()?;
            source_gone::expect(self.source)?;
            self.path.truncate(frame.path_bytes);
            match frame.items.next() {
                Some(item) => self.visit(item)?,
                None => {
                    self.frames.pop();
                    self.out.push(Find::Leave, 0)?;
                }
            }
        }
        self.out.flush()?;
        Ok(self.summary)
    }

    /// Starts at the root directory of the source.
    fn enter_root(&mut self, previous: Option<Snapshot>) -> Result<()> {
        let (dir, metadata) = self.source.root().during(|| "open /")?;
        let plan = Plan::new(&self.options.places);
        self.places_left = plan.places();
        let scope = Scope::of_root(plan, &metadata);
        let old = previous.map(|previous| previous.root);
        self.enter(dir, Vec::new(), metadata, old, scope)
    }

    /// Deals with one name of the directory we are in.
    fn visit(&mut self, item: Item) -> Result<()> {
        self.path.push(b'/');
        self.path.extend_from_slice(&item.name);
        let metadata = match item.metadata {
            Ok(metadata) => metadata,
            Err(error) => return self.without(&item.name, error),
        };
        let scope = &self.frame().scope;
        let scope = scope.of_item(&item.name, &self.path, &metadata);
        if scope.leaves_out(self.options, &self.path, &metadata) {
            return Ok(());
        }
        let frame = self.frames.last_mut().expect("we are in a directory");
        let old = frame
            .old
            .take(&item.name)
            .filter(|old| old.metadata.kind == metadata.kind);
        match metadata.kind {
            FileKind::Directory => self.visit_dir(item.name, metadata, old, scope),
            FileKind::File => self.visit_file(item.name, metadata, old),
            _ => self.visit_other(item.name, metadata, old),
        }
    }

    /// Goes into a directory, or records why not.
    fn visit_dir(
        &mut self,
        name: Vec<u8>,
        metadata: Metadata,
        old: Option<Entry>,
        scope: Scope,
    ) -> Result<()> {
        if scope.is_elsewhere(self.options, &metadata) {
            return self.ready(self.entry(name, metadata));
        }
        let opened = match self.frames.len() < DEPTH_LIMIT {
            true => self.frame().dir.open_dir(&name),
            false => Err(Error::new(
                Kind::Unsupported,
                format!("more than {DEPTH_LIMIT} directories deep"),
            )),
        };
        match opened {
            Ok(dir) => self.enter(dir, name, metadata, old, scope),
            Err(error) => self.ready_with_problem(name, metadata, error),
        }
    }

    /// Makes the open directory `dir` the one we are in.
    fn enter(
        &mut self,
        dir: Arc<dyn SourceDir>,
        name: Vec<u8>,
        metadata: Metadata,
        old: Option<Entry>,
        scope: Scope,
    ) -> Result<()> {
        let items = match scope.items(self.options, &*dir) {
            Ok(mut items) => {
                items.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                items
            }
            Err(error) if self.frames.is_empty() => return Err(error),
            Err(error) => return self.ready_with_problem(name, metadata, error),
        };
        let metadata = match (&scope, &old) {
            (Scope::Way(_), Some(old)) => previous::on_the_way(metadata, &old.metadata),
            _ => metadata,
        };
        let mut entry = self.entry(name, metadata);
        let action = match &old {
            Some(old) if self.is_same(old, &entry.metadata) => "unchanged",
            Some(_) => "changed",
            None => "new",
        };
        match &old {
            Some(old) if action == "unchanged" => self.reuse_details(&mut entry, old),
            _ => self.ask_details(&mut entry, &*dir),
        }
        let observer = self.kloset.observer();
        let old = match old {
            Some(old) => OldDirectory::new(self.blobs, &old, observer),
            None => OldDirectory::none(observer),
        };
        add(&observer.counters().directories, 1);
        self.summary.totals.directories += u64::from(!self.frames.is_empty());
        if self.out.purpose() == Purpose::DryRun && !self.frames.is_empty() {
            self.tell(action, &entry);
        }
        self.out.push(Find::Enter(Box::new(entry)), 0)?;
        self.frames.push(Frame {
            dir,
            items: items.into_iter(),
            old,
            scope,
            path_bytes: self.path.len(),
        });
        Ok(())
    }

    /// Hands a file on: to be read, unless it is known.
    fn visit_file(&mut self, name: Vec<u8>, metadata: Metadata, old: Option<Entry>) -> Result<()> {
        let counters = self.kloset.observer().counters();
        let mut entry = self.count(name, metadata);
        if let Some(old) = self.if_reusable(&old, &entry.metadata)? {
            self.tell("unchanged", &entry);
            add(&counters.bytes, entry.metadata.size_bytes);
            self.summary.files_unchanged += 1;
            (entry.holes, entry.content) = (old.holes.clone(), old.content.clone());
            self.reuse_details(&mut entry, old);
            return self.out.push(Find::Ready(Box::new(entry)), 0);
        }
        self.count_changed(&entry, old.is_some());
        if let Some(first) = self.other_name(&entry.metadata)? {
            add(&counters.bytes, entry.metadata.size_bytes);
            let name = entry.name;
            return self.ready(Entry { name, ..*first });
        }
        let size_bytes = entry.metadata.size_bytes;
        let read = Find::Read(self.frame().dir.clone(), self.path.clone(), Box::new(entry));
        self.out.push(read, size_bytes)
    }

    /// The old entry, if its contents can stand for those of what is there now.
    fn if_reusable<'o>(
        &self,
        old: &'o Option<Entry>,
        metadata: &Metadata,
    ) -> Result<Option<&'o Entry>> {
        match old {
            Some(old) if old.is_whole() && !old.recent && self.is_same(old, metadata) => {
                Ok(previous::is_stored(self.kloset, self.blobs, old)?.then_some(old))
            }
            _ => Ok(None),
        }
    }

    /// The entry of another name of the file we are at, if that was read and nothing changed since.
    fn other_name(&mut self, metadata: &Metadata) -> Result<Option<Box<Entry>>> {
        if metadata.links <= 1 || metadata.inode == 0 {
            return Ok(None);
        }
        let mut known = self.linked.look(metadata);
        if matches!(known, Known::OnItsWay) && metadata.size_bytes >= LARGE_BYTES {
            self.out.drain()?;
            known = self.linked.look(metadata);
        }
        self.linked.count(metadata);
        match known {
            Known::Entry(entry) => Ok(Some(entry)),
            Known::OnItsWay | Known::Nothing => Ok(None),
        }
    }

    /// Hands on a link, FIFO, socket or device.
    fn visit_other(&mut self, name: Vec<u8>, metadata: Metadata, old: Option<Entry>) -> Result<()> {
        let mut entry = self.count(name, metadata);
        if let Some(old) = old
            .as_ref()
            .filter(|old| old.is_whole() && self.is_same(old, &entry.metadata))
        {
            self.tell("unchanged", &entry);
            self.summary.files_unchanged += 1;
            self.reuse_details(&mut entry, old);
            return self.ready(entry);
        }
        if self.out.purpose() == Purpose::Backup {
            match self.frame().dir.details(&entry.name, entry.metadata.kind) {
                Ok(details) => entry.details = details,
                Err(error) => return self.ready_with_problem(entry.name, entry.metadata, error),
            }
        }
        self.count_changed(&entry, old.is_some());
        trim_xattrs(&mut entry, &self.path, self.options, self.failures);
        self.ready(entry)
    }

    /// Counts an item that was there before, or not, and is not as it was.
    fn count_changed(&mut self, entry: &Entry, was_there: bool) {
        match was_there {
            true => self.summary.files_changed += 1,
            false => self.summary.files_new += 1,
        }
        self.tell(if was_there { "changed" } else { "new" }, entry);
    }

    /// Hands on an entry that needs nothing more.
    fn ready(&mut self, entry: Entry) -> Result<()> {
        self.out.push(Find::Ready(Box::new(entry)), 0)
    }

    /// Hands on what is known of an item that could not be looked into.
    fn ready_with_problem(
        &mut self,
        name: Vec<u8>,
        metadata: Metadata,
        error: Error,
    ) -> Result<()> {
        if error.kind() == Kind::NotFound {
            return self.without(&name, error);
        }
        let error = source_gone::of_item(self.source, error)?;
        self.failures.add(&self.path, &error);
        self.lose_places(&name, &error)?;
        let mut entry = self.entry(name, metadata);
        entry.set_problem(&error.to_string());
        self.ready(entry)
    }

    /// Passes over an item of which nothing is known. Counts a failure, unless it was listed and
    /// is no longer there: then there is nothing to back up.
    fn without(&mut self, name: &[u8], error: Error) -> Result<()> {
        let error = source_gone::of_item(self.source, error)?;
        let is_listed = matches!(self.frame().scope, Scope::Inside { .. });
        match error.kind() {
            Kind::NotFound if is_listed => self.failures.warn(
                &self.path,
                &error.clone().during("vanished while backing up"),
            ),
            _ => self.failures.add(&self.path, &error),
        }
        self.lose_places(name, &error)
    }

    /// Gives up the places at and below `name`, if there are any.
    ///
    /// # Errors
    /// When no place is left: then there is nothing to make a snapshot of.
    fn lose_places(&mut self, name: &[u8], error: &Error) -> Result<()> {
        if let Scope::Way(plan) = &self.frame().scope {
            let lost = plan.children.get(name).map_or(0, |child| child.places());
            self.places_left -= lost;
            if self.places_left == 0 {
                return Err(error.clone().during(printable(&self.path)));
            }
        }
        Ok(())
    }

    /// Asks for the attributes of a directory. That they cannot be read is a failure, but what is
    /// in the directory is backed up.
    fn ask_details(&self, entry: &mut Entry, dir: &dyn SourceDir) {
        match dir.own_details() {
            Ok(details) => entry.details = details,
            Err(error) => {
                self.failures.add(&self.path, &error);
                entry.details_missing = true;
            }
        }
        trim_xattrs(entry, &self.path, self.options, self.failures);
    }

    /// Takes the attributes of the item as it was in the last snapshot.
    fn reuse_details(&self, entry: &mut Entry, old: &Entry) {
        reuse_details(entry, old, &self.path, self.options, self.failures);
    }

    /// Whether all of what was recorded is as it was, as far as `lstat` tells.
    fn is_same(&self, old: &Entry, new: &Metadata) -> bool {
        has_details(old, self.options)
            && self
                .options
                .compare
                .is_some_and(|compare| compare.same(&old.metadata, new))
    }

    /// An entry of something that is no directory, which is counted.
    fn count(&mut self, name: Vec<u8>, metadata: Metadata) -> Entry {
        add(&self.kloset.observer().counters().files, 1);
        let entry = self.entry(name, metadata);
        self.summary.totals.add(entry.totals());
        entry
    }

    /// An entry with everything that `lstat` told.
    fn entry(&self, name: Vec<u8>, metadata: Metadata) -> Entry {
        let user = self.source.user_name(metadata.uid);
        let group = self.source.group_name(metadata.gid);
        Entry {
            user,
            group,
            ..Entry::new(name, metadata)
        }
    }

    /// Tells the observer what is done with the item we are at.
    fn tell(&self, action: &str, entry: &Entry) {
        let size_bytes = entry.metadata.size_bytes;
        self.kloset.observer().event(&Event::Path {
            path: &self.path,
            action,
            size_bytes,
        });
    }

    /// The directory we are in.
    fn frame(&self) -> &Frame<'a> {
        self.frames.last().expect("we are in a directory")
    }
}
