//! Finds the items to back up: the first stage of a backup.
//!
//! The walk is depth first, names in ascending order, from the root of the source along the [`Plan`]
//! to the places, and everywhere inside them. The open directories are a stack of [`Frame`]s instead
//! of a recursion, so that the memory for nested directories is bounded. Every directory is walked in
//! parallel with its version in the base. Unchanged items are passed on complete. For all others,
//! details are read here or, for files, by the readers.

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

/// An open directory.
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
    /// The path of the current item.
    path: Vec<u8>,
    /// Files with several names of which one was found.
    linked: &'a Linked,
    /// Number of places that may still be backed up, or were backed up.
    places_left: usize,
    summary: Summary,
}

impl<'a> Walker<'a> {
    /// A walker that sends items to `out`.
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

    /// Walks everything, and returns the counts.
    ///
    /// # Errors
    /// Errors that prevent the backup: no place exists, or an interrupt.
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

    /// Processes one name of the current directory.
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

    /// Enters a directory, or records why this failed.
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

    /// Makes the open directory `dir` the current one.
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

    /// Passes a file on. It is read unless its contents are known.
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

    /// The old entry, if its contents are those of the current file.
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

    /// The entry of another name of the current file, if that was read and nothing changed since.
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

    /// Passes on a link, FIFO, socket or device.
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

    /// Counts an item that is new or has changed.
    fn count_changed(&mut self, entry: &Entry, was_there: bool) {
        match was_there {
            true => self.summary.files_changed += 1,
            false => self.summary.files_new += 1,
        }
        self.tell(if was_there { "changed" } else { "new" }, entry);
    }

    /// Passes on an entry that is complete.
    fn ready(&mut self, entry: Entry) -> Result<()> {
        self.out.push(Find::Ready(Box::new(entry)), 0)
    }

    /// Passes on the known metadata of an item that could not be read.
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

    /// Skips an item without any metadata. Counts a failure, unless the item was listed and no longer
    /// exists: then there is nothing to back up.
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
    /// Fails if no place is left: then there is nothing to back up.
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

    /// Reads the attributes of a directory. If this fails, the failure is counted, but the contents
    /// of the directory are backed up.
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

    /// Copies the attributes of the item from the last snapshot.
    fn reuse_details(&self, entry: &mut Entry, old: &Entry) {
        reuse_details(entry, old, &self.path, self.options, self.failures);
    }

    /// Whether the recorded item is unchanged, as far as `lstat` shows.
    fn is_same(&self, old: &Entry, new: &Metadata) -> bool {
        has_details(old, self.options)
            && self
                .options
                .compare
                .is_some_and(|compare| compare.same(&old.metadata, new))
    }

    /// Counts an item that is not a directory, and returns its entry.
    fn count(&mut self, name: Vec<u8>, metadata: Metadata) -> Entry {
        add(&self.kloset.observer().counters().files, 1);
        let entry = self.entry(name, metadata);
        self.summary.totals.add(entry.totals());
        entry
    }

    /// An entry with the metadata of `lstat`.
    fn entry(&self, name: Vec<u8>, metadata: Metadata) -> Entry {
        let user = self.source.user_name(metadata.uid);
        let group = self.source.group_name(metadata.gid);
        Entry {
            user,
            group,
            ..Entry::new(name, metadata)
        }
    }

    /// Reports to the observer what is done with the current item.
    fn tell(&self, action: &str, entry: &Entry) {
        let size_bytes = entry.metadata.size_bytes;
        self.kloset.observer().event(&Event::Path {
            path: &self.path,
            action,
            size_bytes,
        });
    }

    /// The current directory.
    fn frame(&self) -> &Frame<'a> {
        self.frames.last().expect("we are in a directory")
    }
}
