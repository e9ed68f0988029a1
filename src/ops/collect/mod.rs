//! Garbage collection: deletes data that no snapshot references. No other part of `plakar` deletes
//! data.
//!
//! There are no locks. Any number of backups, syncs, snapshot removals, label changes, copies,
//! restores and maintenance runs can use one store concurrently, on any machines with any clocks. Any
//! of them can stop at any point and never resume. This documentation argues why no chunk that a
//! snapshot references is ever lost nevertheless.
//!
//! # Terms
//!
//! A pack is *condemned* if a condemnation, an object in `condemned/`, names it. The *grace period*
//! is the time from the publication of a condemnation until its packs may be deleted. A *writer* is
//! any program that publishes snapshots. A chunk is *live* if a snapshot references it.
//!
//! # Assumptions
//!
//! *The store.* An object exists either completely or not at all. A name that has been used is never
//! used again for other bytes. An object that was stored and not deleted appears in every listing
//! that begins later. A listing is not atomic: an object that is stored or deleted while the listing
//! runs may or may not appear in it. The times of objects come from a single clock, the clock of the
//! store. Collection never compares them with any other clock; [`confirm_clock`] does, but only to
//! refuse removal by age.
//!
//! *A writer*
//! 1. reads `condemned/`, then lists packs. It relies on no pack that is condemned or missing;
//! 2. publishes packs, then index objects;
//! 3. reads `condemned/` again. It copies what it needs from newly condemned packs to new packs, and
//!    reads `condemned/` again, until a check finds no new condemnation. If its last check was 30
//!    seconds ago or more, a condemnation may have been published and deleted since, so it also lists
//!    packs again;
//! 4. publishes the snapshot immediately after such a check (or after the check of step 1, if that
//!    was seconds ago); and
//! 5. checks once more. If data that the snapshot needs was deleted in the meantime, the writer
//!    removes the snapshot.
//!
//! *Maintenance* ([`run`])
//! 1. reads `condemned/`, and then determines the time of the store's clock by publishing a small
//!    object and deleting it;
//! 2. lists snapshots, then index objects, then packs, and marks every chunk that a snapshot
//!    references. If any tree is unreadable, it stops here;
//! 3. deletes packs whose condemnation was older than the grace period at the time just determined.
//!    A pack is deleted only if every marked chunk in it was read successfully from another pack that
//!    is not condemned. A chunk without such a copy is first copied to a new pack. Immediately before
//!    each deletion, maintenance reads `condemned/` again: the condemnation of the pack must still
//!    exist, and no condemnation may name a pack that holds one of the copies. After that, it checks
//!    that the packs with the copies exist;
//! 4. publishes new condemnations of packs without marked chunks, and of packs whose marked chunks
//!    were all copied to other packs. It condemns no pack that is younger than the grace period;
//! 5. replaces index objects that mention deleted packs, and adds the packs that no index object
//!    covers; and
//! 6. removes condemnations whose packs are all deleted. Each is replaced by a condemnation that
//!    records the deletion and stays for one more grace period.
//!
//! # Why no live data is lost
//!
//! **A condemnation is final.** A program that has read a condemnation never again relies on the
//! packs that it names, and no pack is ever removed from a condemnation. Therefore no pack that
//! maintenance relies on when it deletes (the copies of step 3), and no pack that a new snapshot
//! relies on, was condemned when the program last read `condemned/`.
//!
//! **A snapshot against a deletion.** Let a snapshot rely on pack P. Its writer last checked at time
//! L, when P was not condemned, and the snapshot is visible from time V. Let another program delete
//! P. P was condemned at time C, which is later than L. That condemnation was older than the grace
//! period when the deleting program listed snapshots, at time S. So S is later than L by more than a
//! grace period. If V is before S, the deleting program has seen the snapshot and has kept a copy of
//! the data that it needs. V can be after S only if V is more than a grace period after L. So the gap
//! from L to V is the one gap that must stay short: it lies between a check that finds nothing and
//! the visibility of the snapshot, and contains one listing of a small area and the upload of one
//! small object. Safety does not rest on the assumption alone that this gap is short: in step 5, the
//! writer checks whether any pack was condemned in the gap, and if so, whether all its data still
//! exists. If a machine sleeps for a month in the gap, or the clock of the store is set forward by a
//! year, the backup fails with an error and leaves no snapshot with missing data.
//!
//! **A deletion against a deletion.** Let a program delete pack X and rely, for a live chunk, on the
//! copy in pack R(X). Immediately before, at time L, it read that R(X) was not condemned, and after
//! that it found that R(X) exists. If R(X) is deleted too, some condemnation names it. That
//! condemnation did not exist at L. It was not published and removed before L either: a condemnation
//! is removed after its packs, and R(X) existed after L. So it was published after L, whereas the
//! condemnation of X existed at L. So R(X) was condemned later than X, and R(R(X)) later than R(X).
//! The number of packs is finite, so this sequence ends at a copy that is never deleted. This
//! argument uses no clock and no grace period. Two maintenance runs may condemn the two copies of a
//! chunk, each relying on the other copy. Then neither copy may be relied on, and step 3 creates a
//! third copy before either is deleted.
//!
//! **Condemning** is therefore never dangerous, even if it is based on information that is old or
//! wrong: it only makes other programs copy data. An attacker who has the key and may write to the
//! store but not delete from it can do no more than that. Such an attacker can condemn every pack,
//! claim in index objects or packs to have chunks that do not exist, or publish snapshots that
//! reference everything. But a copy counts only after it was read, the contents of a pack are taken
//! from the footer of that pack, and a chunk that was traversed in one role is still traversed in its
//! other roles ([`marks`]). Snapshots that cannot be read stop maintenance until they are removed;
//! they only cost space. An attacker without the key can do less: objects that do not open are
//! skipped.
//!
//! **A damaged condemnation** stops every program, since it may name any pack. `repair` removes it,
//! and from then on it condemns nothing. A maintenance run that read it while it was intact checks
//! immediately before each deletion that the condemnation still exists. So here, too, safety rests on
//! a short gap alone.
//!
//! **Removing** snapshots needs no special care. A snapshot that does not appear in a listing is not
//! needed, unless it was copied (`dup`) to a name that the listing had already passed. So snapshots
//! are listed a second time before any deletion, and new ones are marked. A label change leaves the
//! first object of a snapshot in place.
//!
//! **Unfinished backups** have packs that no snapshot references. Packs younger than the grace period
//! are not condemned. This is not needed for safety: it saves such a backup from copying its packs. A
//! backup that takes longer finds its packs condemned, and copies them.
//!
//! **A sync** that copies objects verbatim can reuse a name that was deleted from this store before,
//! and that another program may be about to delete again. It never uses a name that is condemned, a
//! name stays condemned for a grace period after its pack is deleted (step 6), and maintenance checks
//! immediately before each deletion that the condemnation on which it acts still exists. So
//! maintenance can delete a pack that a sync stored only if a whole grace period passes between that
//! check and the deletion that follows it. This is the only other case in which safety rests on a
//! short gap alone, and only if such a sync takes place.
//!
//! # Why index objects stay complete
//!
//! Index objects are copies of facts in the footers of packs, so no data depends on them. But a pack
//! that an index object once covered stays covered until the pack is deleted:
//!
//! - An index object is deleted only after its replacement was published. The replacement mentions
//!   every pack of the old object except the packs that are proved to be deleted.
//! - There are two proofs: this run deleted the pack, or the pack was known before a listing of packs
//!   began and that listing did not find it. A writer publishes an index object after its packs, so
//!   every pack in an index object that was read before the listing was published before the listing.
//!   Absence from a listing alone proves nothing, because this run and other writers publish packs
//!   after it.
//! - If the index lacks a chunk, footers are read first, and index objects after them. In this case,
//!   a second listing of packs begins after the index objects were read, and decides ([`survey`]).
//!
//! A stop between publishing a pack and publishing its index object leaves the pack uncovered. The
//! next maintenance adds it. `tests/collecting/indexes.rs` checks this exhaustively, as
//! `tests/collecting` does for the argument above.
//!
//! # What an interrupted run leaves
//!
//! | stopped after | left |
//! |---|---|
//! | determining the time | a condemnation that names no pack, which the next run removes |
//! | copying | new packs that duplicate old ones, possibly in no index object |
//! | condemning | packs that wait for deletion; nothing relies on them |
//! | deleting some packs | the other packs, still condemned |
//! | deleting all packs | a condemnation of packs that no longer exist |
//! | publishing an index object | packs that two index objects mention |
//! | deleting old index objects | nothing |
//!
//! After a stop while copying, the next run finds the copies, condemns the old packs immediately, and
//! adds the new packs to the index.
//!
//! # A full disk
//!
//! Maintenance deletes everything it may delete before its first necessary write. (The object that
//! determines the time is stored earlier, but a full store may refuse it: see [`survey`].)
//! A condemnation needs a few hundred bytes, which the removal of a snapshot has freed. If there is
//! no space even for that, and the user requests it explicitly ([`Options::is_exclusive`]), packs are
//! deleted one by one without a condemnation until a condemnation of all of them can be published.
//! Such a pack holds no chunk that a snapshot references. No other maintenance run relies on it,
//! because maintenance relies on copies of live chunks only. A backup or sync may rely on it if it
//! started earlier and has not published its snapshot yet. It notices the deletion only if it checks
//! after the condemnation was published. If its last check was before that, its snapshot lacks data.
//! So the user must guarantee that there is no such writer. A snapshot that was published after the
//! snapshots were listed disproves the guarantee: then nothing is deleted in this way.
//!
//! # Memory
//!
//! Three bits per chunk and at most about 50 bytes per pack, in addition to the index. Snapshots are
//! processed one at a time. One pass over the records of the index classifies the packs.

mod condemn;
mod delete;
mod indexes;
mod last_copy;
mod marks;
mod survey;

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::condemned::{self, store_now_ns};
use crate::kloset::progress::Event;
use crate::ops::query::trust::TOLERANCE_NS;
use crate::util::interrupt::Interrupt;

use crate::ops::collect::survey::Look;

/// The default grace period: one week.
pub const USUAL_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest grace period with which other programs may use the store at the same time. Two gaps
/// must stay below half of it: the gap of a writer between its last check and its snapshot, and the
/// gap of maintenance between a check and a deletion.
pub const SHORTEST_SHARED_GRACE: Duration = Duration::from_secs(60);

/// Options of [`run`].
pub struct Options {
    /// How long packs stay condemned before they are deleted. Zero deletes them immediately.
    pub grace: Duration,
    /// Whether to report only what would be done, without changing the store.
    pub is_dry: bool,
    /// Whether the user guarantees that no other program uses the store. Then unreferenced packs may
    /// be deleted without a condemnation if there is no space for one ([`delete`]). Requires a grace
    /// period of zero.
    pub is_exclusive: bool,
    /// The number of bytes that may be copied out of packs that are mostly unreferenced. `None` means
    /// no limit.
    pub max_repack_bytes: Option<u64>,
    /// Set when the user requests a stop.
    pub interrupt: Interrupt,
}

/// What a run did, or what a dry run would do.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Snapshot objects whose trees were read completely.
    pub snapshots: u64,
    /// Chunks that snapshots reference and that are in no pack.
    pub lost_chunks: u64,
    /// Deleted packs.
    pub freed_packs: u64,
    /// Total size of the deleted packs.
    pub freed_bytes: u64,
    /// Packs that this run condemned.
    pub condemned_packs: u64,
    /// Total size of the packs that this run condemned.
    pub condemned_bytes: u64,
    /// Total size of all condemned packs that still exist.
    pub waiting_bytes: u64,
    /// When the last of the condemned packs may be deleted, by the store's clock, in nanoseconds
    /// since 1970.
    pub waiting_until_ns: Option<i64>,
    /// Total size of the unreferenced packs that are too young to condemn: a backup may still be
    /// using them.
    pub young_bytes: u64,
    /// When the last of the young packs may be condemned, by the store's clock, in nanoseconds since
    /// 1970.
    pub young_until_ns: Option<i64>,
    /// Uncompressed bytes that were copied out of packs.
    pub repacked_bytes: u64,
    /// Number of index objects that were replaced.
    pub merged_indexes: u64,
    /// Packs that no index object covered before.
    pub indexed_packs: u64,
    /// Elapsed time of the run.
    pub duration: Duration,
}

/// Deletes packs whose grace period is over and condemns unreferenced ones. It can be repeated after
/// any error.
///
/// # Errors
/// Any error that prevents a survey from finding out which chunks are live; after such a survey, no
/// pack is deleted or condemned. Any error that prevents continuing. [`Kind::Denied`] if the store does
/// not permit deletion.
pub fn run(kloset: &Kloset, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let mut summary = Summary::default();
    if !options.is_dry {
        condemned::ask_to_delete(kloset).map_err(as_refused)?;
    }
    once(kloset, options, &mut summary)?;
    // Without a grace period, a second survey can delete what was condemned just now. After exclusive
    // use, a condemnation of packs that are already deleted may be left.
    let is_more = summary.condemned_packs > 0 || options.is_exclusive;
    if options.grace.is_zero() && is_more && !options.is_dry {
        once(kloset, options, &mut summary)?;
    }
    kloset.save_index();
    summary.duration = started.elapsed();
    Ok(summary)
}

/// Surveys the store once, then deletes, condemns and merges index objects.
fn once(kloset: &Kloset, options: &Options, summary: &mut Summary) -> Result<()> {
    let mut look = Look::take(kloset, options)?;
    summary.snapshots = look.snapshots;
    summary.lost_chunks = look.marks.lost;
    if look.marks.lost > 0 {
        let lost = Error::corrupt(format!("{} chunks are in no pack", look.marks.lost));
        let lost = lost
            .during("data that snapshots reference is missing; check reports the affected files");
        kloset.observer().event(&Event::Warning(&lost));
    }
    (summary.waiting_bytes, summary.waiting_until_ns) = (0, None);
    let deleted = delete::expired(kloset, options, &look, summary).map_err(as_refused)?;
    look.forget(&deleted);
    (summary.waiting_bytes, summary.waiting_until_ns) = look.waiting();
    let before = summary.condemned_bytes;
    let deleted = condemn::wasteful(kloset, options, &look, summary).map_err(as_refused)?;
    look.forget(&deleted);
    summary.waiting_bytes += summary.condemned_bytes - before;
    let merged = indexes::merge(kloset, options, &look, summary).map_err(as_refused)?;
    match merged {
        true => delete::condemnations(kloset, options, &look).map_err(as_refused),
        false => Ok(()),
    }
}

/// The error of a store that does not permit deletion.
fn as_refused(error: Error) -> Error {
    match error.kind() {
        Kind::Denied => {
            error.during("this store does not permit deletion, so no space can be freed")
        }
        _ => error,
    }
}

impl Summary {
    /// Notes that packs were condemned at `since_ns`.
    fn condemned(&mut self, since_ns: i64, grace: Duration) {
        let grace_ns = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        self.waiting_until_ns = self
            .waiting_until_ns
            .max(Some(since_ns.saturating_add(grace_ns)));
    }
}

/// Verifies that `now_ns`, which decides the age of what is removed, agrees with the store's clock to
/// within a day: a machine whose clock is a year ahead would consider everything old. If the store is
/// full, its time cannot be determined, and `now_ns` is accepted.
///
/// # Errors
/// [`Kind::Failed`] if the clocks disagree; [`Kind::Denied`] if the store does not permit deletion.
pub fn confirm_clock(kloset: &Kloset, now_ns: i64) -> Result<()> {
    let store_ns = match store_now_ns(kloset) {
        Err(error) if matches!(error.kind(), Kind::NoSpace | Kind::NotFound) => return Ok(()),
        store_ns => store_ns?,
    };
    let apart_ns = now_ns.abs_diff(store_ns);
    match apart_ns <= TOLERANCE_NS.unsigned_abs() {
        true => Ok(()),
        false => {
            let days = apart_ns / TOLERANCE_NS.unsigned_abs();
            let message =
                format!("the clocks of this machine and of the store are {days} days apart");
            Err(Error::new(Kind::Failed, message).during("nothing is removed by age"))
        }
    }
}
