//! A survey of a store: which packs are condemned, which chunks are live, which packs exist. The rest
//! of collection relies on it.
//!
//! The order matters. Condemnations are read before packs are listed: a program that deletes packs
//! removes their condemnation after them. So a pack that is listed, and whose condemnation was not
//! read, was not condemned when condemnations were read. Then the time of the store is determined,
//! and only then are snapshots listed: a condemnation that is old enough by that time was published a
//! grace period before this listing. Index objects and packs are read after snapshots: a writer
//! publishes these before the snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Options;
use super::marks::{Bits, Marker, Marks};
use crate::error::{During, Error, Kind, Result};
use crate::format::object;
use crate::format::seal::Part;
use crate::kloset::condemned::{self, Condemnation};
use crate::kloset::index::Index;
use crate::kloset::progress::Event;
use crate::kloset::snapshot::{self, Snapshot};
use crate::kloset::{Kloset, bad_packs};
use crate::store::{Area, Object};
use crate::util::Id;
use crate::util::clock::now_ns;

/// The result of a survey.
pub(super) struct Look<'a> {
    kloset: &'a Kloset,
    options: &'a Options,
    /// The time by the store's clock when the survey was taken, or an earlier time.
    now_ns: i64,
    /// All condemnations in the store.
    pub(super) condemnations: Vec<Condemnation>,
    /// The places of chunks. Condemned and damaged packs are hidden.
    pub(super) index: &'a Index,
    /// Packs that the last check on this machine found damaged, except for the condemned ones.
    damaged: HashSet<Id>,
    /// The marks of live chunks.
    pub(super) marks: Marks<'a>,
    /// Packs in the store, by their numbers in the index, intact or not.
    listed: Bits,
    /// Publication times of the packs younger than the grace period, by the store's clock.
    young: HashMap<u32, i64>,
    /// Packs that are proved to be deleted: known before a listing began that did not find them, or
    /// deleted by this run. A pack that is neither listed nor gone is newer than the listing.
    gone: Bits,
    /// Number of snapshots that were traversed.
    pub(super) snapshots: u64,
    /// The snapshot objects that were listed.
    pub(super) seen: HashSet<Id>,
}

/// A snapshot whose references are unknown.
struct Unread {
    /// What the user can do about it.
    wayout: String,
    error: Error,
}

impl<'a> Look<'a> {
    /// Surveys the store.
    ///
    /// # Errors
    /// Any error that prevents finding out which chunks are live.
    pub(super) fn take(kloset: &'a Kloset, options: &'a Options) -> Result<Look<'a>> {
        let condemnations = condemned::list(kloset)?;
        let now_ns = time_of(kloset, options)?;
        let mut snapshots = kloset.names(Area::Snapshots)?;
        let index = refreshed(kloset)?;
        let mut damaged: HashSet<Id> = bad_packs::read(kloset).into_iter().collect();
        for pack in condemnations.iter().flat_map(|each| &each.packs) {
            damaged.remove(pack);
        }
        let mut look = Look {
            kloset,
            options,
            now_ns,
            condemnations,
            index,
            damaged,
            marks: Marks::new(index)?,
            listed: Bits::default(),
            young: HashMap::new(),
            gone: Bits::default(),
            snapshots: 0,
            seen: HashSet::new(),
        };
        look.packs()?;
        look.hide();
        let mut unread = look.mark(&snapshots)?;
        unread.extend(look.catch_up(&mut snapshots)?);
        if look.marks.lost > 0 {
            unread = look.start_over_from_footers(&snapshots)?;
        }
        look.refuse(unread)?;
        look.seen = snapshots;
        Ok(look)
    }

    /// Total size of the condemned packs that exist, and when the last of them may be deleted, in
    /// nanoseconds since 1970 by the store's clock.
    pub(super) fn waiting(&self) -> (u64, Option<i64>) {
        let (mut bytes, mut until, mut seen) = (0, None, HashSet::new());
        let grace_ns = i64::try_from(self.options.grace.as_nanos()).unwrap_or(i64::MAX);
        for condemnation in &self.condemnations {
            for pack in &condemnation.packs {
                let number = self.index.number_of(pack);
                let Some(number) = number.filter(|number| self.is_listed(*number)) else {
                    continue;
                };
                if seen.insert(number) {
                    bytes += self.index.pack_at(number).map_or(0, |pack| pack.size_bytes);
                    until = until.max(Some(condemnation.since_ns.saturating_add(grace_ns)));
                }
            }
        }
        (bytes, until)
    }

    /// Whether the grace period of a condemnation was over when snapshots were listed.
    pub(super) fn is_over(&self, condemnation: &Condemnation) -> bool {
        self.is_old(condemnation.since_ns)
    }

    /// Whether the pack with this number is in the store.
    pub(super) fn is_listed(&self, number: u32) -> bool {
        self.listed.is_set(number.into())
    }

    /// Whether it is proved that the pack was deleted. Absence from the listing is no proof: the pack
    /// may have been published after the listing, by another writer or by this run.
    pub(super) fn is_gone_for_good(&self, pack: &Id) -> bool {
        let number = self.index.number_of(pack);
        number.is_some_and(|number| self.gone.is_set(number.into()))
    }

    /// Notes that `packs` were deleted.
    pub(super) fn forget(&mut self, packs: &HashSet<Id>) {
        let index = self.index;
        for number in packs.iter().filter_map(|pack| index.number_of(pack)) {
            self.listed.clear(number.into());
            self.set_gone(number);
        }
    }

    /// Notes that the pack with this number was deleted.
    fn set_gone(&mut self, number: u32) {
        self.gone.grow(u64::from(number) + 1);
        self.gone.set(number.into());
    }

    /// # Errors
    /// [`Kind::Interrupted`] if the user requested a stop.
    pub(super) fn interrupt_check(&self) -> Result<()> {
        self.options.interrupt.check()
    }

    /// Whether the pack was found damaged, and is not condemned.
    pub(super) fn is_damaged(&self, pack: &Id) -> bool {
        self.damaged.contains(pack)
    }

    /// The time until which the pack with this number is younger than the grace period; `None` if it
    /// is older.
    pub(super) fn young_until_ns(&self, number: u32) -> Option<i64> {
        let grace_ns = i64::try_from(self.options.grace.as_nanos()).unwrap_or(i64::MAX);
        let since_ns = self.young.get(&number)?;
        Some(since_ns.saturating_add(grace_ns))
    }

    /// Whether an object published at `since_ns` was older than the grace period.
    fn is_old(&self, since_ns: i64) -> bool {
        let age_ns = i128::from(self.now_ns) - i128::from(since_ns);
        // With a grace period of zero, a time in the future is old too: the clock of the store may
        // have been set back.
        self.options.grace.is_zero() || age_ns >= nanoseconds(self.options.grace)
    }

    /// Lists packs, and reads the footers of those that no index object mentions.
    ///
    /// A pack that the index knows now was published before this listing begins, because an index
    /// object is published after its packs. If the listing does not find the pack, it was deleted.
    fn packs(&mut self) -> Result<()> {
        let numbers = self.index.pack_numbers();
        (self.listed, self.gone) = (Bits::new(numbers.into()), Bits::new(numbers.into()));
        self.young.clear();
        for number in 0..numbers {
            if self.index.pack_at(number).is_some() {
                self.gone.set(number.into());
            }
        }
        self.index.presume_absent();
        let mut unknown = Vec::new();
        let listed = self.kloset.store().list(Area::Packs, &mut |pack| {
            match self.index.number_of(&pack.id) {
                Some(number) => self.note(number, &pack),
                None => unknown.push(pack),
            }
            Ok(())
        });
        listed.during(|| "list packs")?;
        let footers = unknown.iter().map(|pack| &pack.id);
        self.kloset.add_footers(self.index, footers)?;
        self.kloset.footers_read.store(true, Ordering::Release);
        for pack in unknown {
            if let Some(number) = self.index.number_of(&pack.id) {
                self.note(number, &pack);
            }
        }
        self.marks.extend()
    }

    /// Notes that a pack exists.
    fn note(&mut self, number: u32, pack: &Object) {
        self.index.mark_present(&pack.id, pack.size_bytes);
        if !self.is_old(pack.modified_ns) {
            self.young.insert(number, pack.modified_ns);
        }
        let number = u64::from(number);
        self.listed.grow(number + 1);
        self.listed.set(number);
        self.gone.clear(number);
    }

    /// Hides condemned packs, because nothing may rely on them. Hides damaged packs too: if a backup
    /// has stored a chunk again, only the new copy is marked, and the damaged pack can be deleted.
    fn hide(&self) {
        let packs = self.condemnations.iter().flat_map(|each| &each.packs);
        self.index.exclude_packs(&packs.copied().collect());
        self.index.exclude_packs(&self.damaged);
    }

    /// Marks the chunks that `snapshots` reference, and returns the snapshots that could not be read.
    fn mark(&mut self, snapshots: &HashSet<Id>) -> Result<Vec<Unread>> {
        let mut unread = Vec::new();
        for object in snapshots {
            self.options.interrupt.check()?;
            let (wayout, marked) = match self.read(*object) {
                Ok(None) => continue,
                Ok(Some(snapshot)) => {
                    let id = snapshot.id.short();
                    let marked = self.follow(&snapshot);
                    let marked = marked.during(|| format!("snapshot {id}"));
                    let wayout = format!(
                        "repair -apply copies what is left, rm -apply {id} gives up the rest"
                    );
                    (wayout, marked)
                }
                Err(error) => (format!("rm -apply {object} gives it up"), Err(error)),
            };
            match marked {
                Ok(()) => self.snapshots += 1,
                Err(error) if !error.is_of_one_object() => return Err(error),
                Err(_) if self.is_gone(*object)? => {}
                Err(error) => unread.push(Unread { wayout, error }),
            }
        }
        self.marks.check()?;
        Ok(unread)
    }

    /// # Errors
    /// If there are any `unread` snapshots, because they could reference any chunk. The first becomes
    /// the error, the others become warnings, so that one run reports them all.
    fn refuse(&self, unread: Vec<Unread>) -> Result<()> {
        let mut all = unread.into_iter().map(|Unread { wayout, error }| {
            // A chunk that is in no pack is damage too, not a snapshot that does not exist.
            let is_missing = error.kind() == Kind::NotFound;
            let error = if is_missing {
                Error::corrupt(error.to_string())
            } else {
                error
            };
            error.during(wayout)
        });
        let Some(first) = all.next() else {
            return Ok(());
        };
        all.for_each(|error| self.kloset.observer().event(&Event::Warning(&error)));
        Err(first.during("nothing is deleted unless all is known that is needed"))
    }

    fn follow(&mut self, snapshot: &Snapshot) -> Result<()> {
        Marker::new(self.kloset, &mut self.marks, &self.options.interrupt)?.snapshot(&snapshot.root)
    }

    /// The snapshot in `object`; `None` if it is gone or was not sealed with the key.
    fn read(&self, object: Id) -> Result<Option<Snapshot>> {
        let doing = || format!("read snapshot object {object}");
        let bytes = match self.kloset.store().get(Area::Snapshots, object) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            bytes => bytes
                .and_then(|bytes| object::check_name(object, bytes))
                .during(doing)?,
        };
        match object::decode(self.kloset.sealer(), Part::Snapshot, object, bytes.clone()) {
            Err(error) if error.kind() == Kind::Corrupt => {
                let error = error.during("skipped: not created with the key of this store");
                self.kloset
                    .observer()
                    .event(&Event::Warning(&error.during(doing())));
                Ok(None)
            }
            Err(error) => Err(error.during(doing())),
            Ok(_) => snapshot::parse(self.kloset, object, bytes).map(Some),
        }
    }

    /// Whether a snapshot object was removed since it was listed.
    fn is_gone(&self, object: Id) -> Result<bool> {
        match self.kloset.store().stat(Area::Snapshots, object) {
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            outcome => outcome.map(|_| false),
        }
    }

    /// Reads the footers of all packs, and marks everything again. A chunk that the index does not
    /// have may be in a pack that some index object describes incorrectly.
    ///
    /// Index objects are read after that, so that they add only packs that the listing did not find.
    /// Such a pack was deleted, or it was published after the listing. A second listing decides
    /// which: it begins after the index objects were read, so it finds every pack that they mention
    /// and that still exists. New packs stay hidden, because an index object may be wrong.
    fn start_over_from_footers(&mut self, snapshots: &HashSet<Id>) -> Result<Vec<Unread>> {
        let error = Error::corrupt("the index does not list every chunk")
            .during("reading the footers of all packs");
        self.kloset.observer().event(&Event::Warning(&error));
        self.index.clear();
        self.marks = Marks::new(self.index)?;
        self.snapshots = 0;
        self.packs()?;
        self.hide();
        let unread = self.mark(snapshots)?;
        refreshed(self.kloset)?;
        let present = self.kloset.names(Area::Packs)?;
        for number in 0..self.index.pack_numbers() {
            let Some(pack) = self.index.pack_at(number).map(|pack| pack.id) else {
                continue;
            };
            if !self.is_listed(number) {
                self.index.mark_absent(&pack);
                if !present.contains(&pack) {
                    self.set_gone(number);
                }
            }
        }
        self.marks.extend()?;
        Ok(unread)
    }

    /// Marks the chunks of snapshots that were published since the first listing, with the packs that
    /// came with them.
    ///
    /// A snapshot that was published before the listing can be missed only because a listing is not
    /// atomic: a snapshot was copied, and the original removed, both while the listing ran.
    fn catch_up(&mut self, seen: &mut HashSet<Id>) -> Result<Vec<Unread>> {
        let mut new = self.kloset.names(Area::Snapshots)?;
        new.retain(|object| !seen.contains(object));
        if new.is_empty() {
            return Ok(Vec::new());
        }
        seen.extend(&new);
        refreshed(self.kloset)?;
        self.packs()?;
        self.mark(&new)
    }
}

/// The index, updated with the current index objects.
fn refreshed(kloset: &Kloset) -> Result<&Index> {
    match kloset.index.get() {
        Some(index) => kloset
            .fill(index)
            .map(|()| index)
            .during(|| "load the index"),
        None => kloset.index(),
    }
}

/// The time by the store's clock, or slightly earlier.
///
/// If there is no space to determine it, the time of the newest object is used: it has passed. A dry
/// run does not change the store and uses the clock of this machine: it deletes nothing.
fn time_of(kloset: &Kloset, options: &Options) -> Result<i64> {
    if options.is_dry {
        return Ok(now_ns());
    }
    if options.grace.is_zero() {
        return Ok(0);
    }
    match condemned::store_now_ns(kloset) {
        // The store is full, or another maintenance run removed the probe as left over.
        Err(error) if matches!(error.kind(), Kind::NoSpace | Kind::NotFound) => newest_ns(kloset),
        now => now,
    }
}

/// When the newest object was published.
fn newest_ns(kloset: &Kloset) -> Result<i64> {
    let mut newest = i64::MIN;
    for area in Area::ALL {
        kloset.store().list(area, &mut |object| {
            newest = newest.max(object.modified_ns);
            Ok(())
        })?;
    }
    Ok(newest)
}

/// The objects of `area`.
pub(super) fn listed(kloset: &Kloset, area: Area) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let listed = kloset.store().list(area, &mut |object| {
        objects.push(object);
        Ok(())
    });
    listed.during(|| format!("list {}", area.name()))?;
    Ok(objects)
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}
