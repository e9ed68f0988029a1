//! Taking away what no snapshot needs: the one part of this program that deletes data.
//!
//! There are no locks. Any number of backups, syncs, removals, changes of labels, copies,
//! restores and maintenances, on any machines with any clocks, may be at work on one store at once,
//! and any of them may stop anywhere for good. This is why no chunk that a snapshot needs is
//! ever lost all the same.
//!
//! # What is relied on
//!
//! *The store.* An object is there whole or not at all; a name that was given is not given again to
//! other bytes; what was put and not deleted is found by every listing that begins later. Listings
//! are not of one moment: what comes or goes while one runs may be in it or not.
//! Times of objects come from one clock, the store's. No other clock is compared with it, ever.
//!
//! *Whoever makes a snapshot*
//!  1. reads `condemned/`, then lists packs, and relies on no pack that is condemned or not there;
//!  2. publishes packs, then index objects;
//!  3. reads `condemned/` again. What it needs of packs that were condemned since it copies to new ones,
//!     and reads again, until a look finds nothing new. If its last look was half a minute ago, in which a
//!     condemnation may have come and gone, it lists packs again as well;
//!  4. publishes the snapshot, right after such a look (or after that of step 1, if that was
//!     seconds ago); and
//!  5. looks once more. If something that it needs was deleted in between, the snapshot goes.
//!
//! *Maintenance* ([`run`])
//!  1. reads `condemned/`, and then asks the store for its time, by a small object that it publishes and
//!     takes away;
//!  2. lists snapshots, then index objects, then packs, and marks every chunk that a snapshot
//!     needs. If any tree cannot be read it stops here;
//!  3. deletes packs whose condemnation was a grace old at the time asked for, each only if every marked
//!     chunk in it was read from another pack that no condemnation names; what has no such copy is
//!     copied to a new pack first. Right before each deletion it reads `condemned/` again: the
//!     condemnation of the pack must still be there, and none name those it relies on; and then it
//!     looks whether these are there;
//!  4. publishes new condemnations: of packs in which nothing is marked, and of packs of which
//!     everything that is marked was copied out. None that is younger than the grace is among them;
//!  5. replaces index objects that mention deleted packs, and adds the packs that no index object
//!     covers; and
//!  6. takes away condemnations of which no pack is there. Another, that says so, takes the place of each
//!     for one more grace.
//!
//! # Why nothing live is lost
//!
//! **Condemned is final.** Nobody who has seen a condemnation relies on what it names any more, and no
//! pack is ever taken out of one. So whatever a maintenance relies on when it deletes (the copies
//! of step 3), and whatever a new snapshot relies on, was condemned by nobody at the time of the look.
//!
//! **A snapshot against a deletion.** Let a snapshot rely on pack P: its maker last looked at time L, when
//! P was not condemned, and the snapshot is visible from time V. Somebody deletes P: P was condemned at
//! C, later than L, and that was a grace old when the deleter listed snapshots, at S: so S is later than L by
//! more than a grace. If V comes before S, the deleter has seen the snapshot, and has kept a
//! copy of what it needs. V comes after S only if it comes more than a grace after L. That is the one gap that must
//! stay short: between a look that finds nothing and the snapshot being visible lie one listing of a
//! small area and one small object. It is not on a promise that this rests alone: step 5 of
//! whoever makes the snapshot looks whether anything was condemned in the gap, and if so whether all is
//! still there. So a machine that slept for a month in the gap, or a store whose clock was put forward
//! by a year, makes a backup fail that says so, and no snapshot with a hole.
//!
//! **A deletion against a deletion.** Let pack X be deleted by somebody who relied, for a live chunk, on the copy in
//! R(X). Right before, at L, they read that R(X) was not condemned, and after that they saw it there. If R(X)
//! is deleted too, some condemnation names it. That was not there at L. It had not come and gone
//! before: it goes after its packs, and R(X) was there after L. So it came after L; and that of
//! X was there at L. So R(X) was condemned later than X, and R(R(X)) later than that. There are finitely many
//! packs: following them one comes to a copy that is never deleted. No clock is in this, and no grace. Two
//! maintenances may both condemn the two copies of a chunk, each for the sake of the other; then neither is
//! a copy to rely on, and step 3 makes a third before either goes.
//!
//! **Condemning** is therefore never dangerous, however old or wrong the look was that led to it: it
//! only makes others copy. That is also all that somebody can do who may write to the store but not
//! delete, and has the key: condemn everything, claim in index objects or packs to have
//! chunks that are not there, publish snapshots that need everything. A copy counts when it was read,
//! what is in a pack is asked of the pack, and a chunk that is followed as one thing may still have to be followed as
//! another ([`marks`]). Snapshots that cannot be read stop maintenance until they are removed; they cost room.
//! Whoever has no key can do less: what does not open is passed over.
//!
//! **A condemnation that is damaged** stops everybody, since it may name anything. A repair takes it away,
//! and then nothing is condemned by it any more. A maintenance that read it when it was whole looks
//! right before each deletion whether it is still there: so here, too, a short gap alone is relied on.
//!
//! **A removal** of snapshots needs no care: what is not seen in a listing is not needed, unless it was
//! copied (`dup`) to a name that the listing had passed. So snapshots are listed a second time before anything
//! is deleted, and what is new is marked. Changing labels leaves the first object of a snapshot in place.
//!
//! **Unfinished backups** have packs that no snapshot needs. That these are not condemned while they
//! are younger than the grace is no matter of safety: it spares such a backup the copying. One that
//! takes longer finds them condemned, and copies.
//!
//! **A sync** that copies objects as they are gives a name again that may have been deleted here, and somebody may
//! be about to delete it once more. It never takes a name that is condemned, and a name stays condemned
//! for a grace after its pack is gone (step 6); and a maintenance looks right before each deletion whether the condemnation
//! by which it deletes is still there. So it hits what a sync put only if a grace passes between that look and the
//! deletion that follows it: this is the one place where a short gap alone is relied on, and only where there is such a sync.
//!
//! # Why index objects stay complete
//!
//! Index objects are copies of facts in the footers of packs, so no data depends on them. But a pack that
//! an index object once covered stays covered until the pack is deleted:
//!
//! - An index object is deleted only after its replacement was published. The replacement mentions
//!   every pack of the old object except the packs that are proved to be deleted.
//! - There are two proofs: this run deleted the pack, or the pack was known before a listing of packs began
//!   and that listing did not find it. A writer publishes an index object after its packs, so every
//!   pack in an index object that was read before the listing was published before the listing.
//!   Not being listed alone proves nothing: this run and other writers publish packs later than that.
//! - If the index misses a chunk, footers are read first, and index objects after them. There, a second
//!   listing of packs begins after the index objects were read, and decides ([`look`]).
//!
//! A stop between publishing a pack and publishing its index object leaves the pack uncovered. The
//! next maintenance adds it. `tests/collecting/indexes.rs` checks this by exhaustion, as
//! `tests/collecting` does for the argument above.
//!
//! # What a stop leaves
//!
//! | stopped after | left |
//! |---|---|
//! | asking for the time | a condemnation of nothing, which the next run takes away |
//! | copying | packs that duplicate others, maybe in no index object; the next run finds their copies, condemns the old packs at once, and adds the new ones to the index |
//! | condemning | packs that wait; nothing relies on them |
//! | deleting some packs | the others, still condemned |
//! | deleting all packs | a condemnation of nothing |
//! | publishing an index object | packs that are told of twice |
//! | deleting old index objects | nothing |
//!
//! # A full disk
//!
//! Nothing is written before everything is deleted that may be. A condemnation needs some hundred bytes,
//! which the removal of a snapshot has freed. If there is no space even for that, and the user requests it by
//! name ([`Options::is_exclusive`]), one pack after another is deleted without a condemnation, until a
//! condemnation of all of them can be published. Such a pack holds no chunk that a snapshot needs.
//! No other maintenance relies on it, since a maintenance relies on copies of live chunks only. A
//! backup or sync may rely on it, if it began before and has not published its snapshot. It notices this
//! only if it looks after the condemnation was published. If it looked last before that, its snapshot has
//! a hole. So the user promises that there is no such writer. A snapshot that was published since
//! the snapshots were listed proves the promise wrong: then nothing is deleted this way.
//!
//! # Memory
//!
//! Three bits a chunk and at most some 50 bytes a pack, besides the index; one snapshot at a time. Packs are sorted out
//! by one pass over the records of the index.

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

/// The grace unless another is asked for: a week.
pub const USUAL_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest grace with which others may use the store at the same time: their gap between a look and a
/// snapshot, and ours between a look and a deletion, must stay below half of it.
pub const SHORTEST_SHARED_GRACE: Duration = Duration::from_secs(60);

/// What to do.
pub struct Options {
    /// How long packs stay condemned before they are deleted. None at all means at once.
    pub grace: Duration,
    /// Whether only to tell what would be done.
    pub is_dry: bool,
    /// Whether no other program uses the store. Then dead packs may be deleted without a condemnation
    /// where there is no space for one ([`delete`]). Needs a grace of zero.
    pub is_exclusive: bool,
    /// Bytes that may be copied out of packs of which much is dead; no limit if none is given.
    pub max_repack_bytes: Option<u64>,
    /// Set when the user wants to stop.
    pub interrupt: Interrupt,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Snapshot objects of which all that they need was found.
    pub snapshots: u64,
    /// Chunks that snapshots need and that are in no pack.
    pub lost_chunks: u64,
    /// Packs that were deleted.
    pub freed_packs: u64,
    /// Their length.
    pub freed_bytes: u64,
    /// Packs that were condemned now.
    pub condemned_packs: u64,
    /// Their length.
    pub condemned_bytes: u64,
    /// Bytes of all packs that are condemned and still there.
    pub waiting_bytes: u64,
    /// When the last of them may be deleted, by the store's clock, nanoseconds since 1970.
    pub waiting_until_ns: Option<i64>,
    /// Packs that nothing needs, but that are too young: a backup may be making them.
    pub young_bytes: u64,
    /// When the last of them may be condemned, by the store's clock, nanoseconds since 1970.
    pub young_until_ns: Option<i64>,
    /// Plain bytes that were copied out of packs.
    pub repacked_bytes: u64,
    /// Index objects that were replaced.
    pub merged_indexes: u64,
    /// Packs that no index object covered before.
    pub indexed_packs: u64,
    /// How long it took.
    pub duration: Duration,
}

/// Deletes what may be deleted, condemns what should be.
///
/// # Errors
/// Whatever keeps it from knowing what is live, and then nothing was changed; or from going on:
/// then it can be run again. [`Kind::Denied`] if the store lets nobody delete.
pub fn run(kloset: &Kloset, options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let mut summary = Summary::default();
    if !options.is_dry {
        condemned::ask_to_delete(kloset).map_err(as_refused)?;
    }
    once(kloset, options, &mut summary)?;
    // Without a grace, what was condemned just now may go by another look. After exclusive use, a
    // condemnation may be left of packs that are gone.
    let is_more = summary.condemned_packs > 0 || options.is_exclusive;
    if options.grace.is_zero() && is_more && !options.is_dry {
        once(kloset, options, &mut summary)?;
    }
    kloset.save_index();
    summary.duration = started.elapsed();
    Ok(summary)
}

/// One look, and what follows from it.
fn once(kloset: &Kloset, options: &Options, summary: &mut Summary) -> Result<()> {
    let mut look = Look::take(kloset, options)?;
    summary.snapshots = look.snapshots;
    summary.lost_chunks = look.marks.lost;
    if look.marks.lost > 0 {
        let lost = Error::corrupt(format!("{} chunks are in no pack", look.marks.lost));
        let lost = lost.during("what snapshots need is not all there; check tells which files");
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

/// The error of a store that lets nobody delete.
fn as_refused(error: Error) -> Error {
    match error.kind() {
        Kind::Denied => error.during("this store lets nobody delete, so nothing can be freed"),
        _ => error,
    }
}

impl Summary {
    /// Notes that packs were condemned at this time.
    fn condemned(&mut self, since_ns: i64, grace: Duration) {
        let grace_ns = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        self.waiting_until_ns = self
            .waiting_until_ns
            .max(Some(since_ns.saturating_add(grace_ns)));
    }
}

/// Makes sure that `now_ns`, by which ages are told that decide what is removed, is the time by the
/// store's clock too, to a day: a machine whose clock is a year ahead would find everything old. A store
/// that is full cannot be asked, and is believed.
///
/// # Errors
/// [`Kind::Failed`] if they disagree; [`Kind::Denied`] if the store lets nobody delete.
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
