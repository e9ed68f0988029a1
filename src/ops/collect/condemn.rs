//! Condemns packs: unreferenced ones, and those whose live chunks are better stored in other packs,
//! because few chunks are live or the pack is small.

use std::collections::HashSet;

use super::last_copy::Mover;
use super::survey::Look;
use super::{Options, Summary, delete};
use crate::error::{During, Error, Kind, Result};
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::condemned::{self, Fate, PACKS_LIMIT};
use crate::kloset::index::NumberedPack;
use crate::kloset::pack::PACK_BYTES;
use crate::kloset::progress::Event;
use crate::kloset::repack::copying;
use crate::util::{Id, human};

/// A pack is repacked if at least one part in this many is unreferenced.
const DEAD_PART: u64 = 2;
/// A pack below this size is small.
const SMALL_BYTES: u64 = PACK_BYTES / 4;
/// Number of small packs of one kind that are worth merging. Each backup leaves two.
const SMALL_MANY: usize = 24;

/// A pack that may be condemned.
#[derive(Clone, Copy)]
struct Candidate {
    pack: Id,
    size_bytes: u64,
    /// Approximate number of live bytes among them.
    live_bytes: u64,
}

/// The packs that may be condemned.
#[derive(Default)]
struct Candidates {
    dead: Vec<Candidate>,
    /// Packs with live chunks, those with the smallest live part first.
    sparse: Vec<Candidate>,
}

/// Condemns unreferenced and sparse packs. Unreferenced packs come first, which needs almost no
/// space. Then live chunks of the other packs are copied, and these packs are condemned once the
/// copies are published. Returns the packs that were deleted because there was no space for a
/// condemnation.
pub(super) fn wasteful(
    kloset: &Kloset,
    options: &Options,
    look: &Look<'_>,
    summary: &mut Summary,
) -> Result<HashSet<Id>> {
    let Candidates { dead, sparse } = candidates(look, summary)?;
    let hidden = |candidates: &[Candidate]| -> HashSet<Id> {
        candidates.iter().map(|candidate| candidate.pack).collect()
    };
    look.index.exclude_packs(&hidden(&dead));
    let mover = Mover::new(kloset, look)?;
    let mut condemner = Condemner {
        kloset,
        options,
        look,
        summary,
        deleted: HashSet::new(),
    };
    let alive = condemner.dead(&mover, &dead)?;
    let chosen = condemner.within_limit(alive.into_iter().chain(sparse));
    look.index.exclude_packs(&hidden(&chosen));
    condemner.sparse(&mover, &chosen)?;
    Ok(condemner.deleted)
}

/// Classifies the packs that were listed, are not condemned, and are not too young. Packs to which
/// this run has just copied chunks were not listed. Damaged packs are to be deleted if possible.
fn candidates(look: &Look<'_>, summary: &mut Summary) -> Result<Candidates> {
    let numbers = look.index.pack_numbers() as usize;
    let (mut live, mut all) = (vec![0_u32; numbers], vec![0_u32; numbers]);
    look.marks.each_record(&mut |pack, length, is_live| {
        let count = |of: &mut [u32]| {
            if let Some(bytes) = of.get_mut(pack as usize) {
                *bytes = bytes.saturating_add(length);
            }
        };
        count(&mut all);
        if is_live {
            count(&mut live);
        }
    })?;
    let mut found = Candidates::default();
    let mut small: [Vec<Candidate>; 2] = Default::default();
    let is_candidate = |pack: &NumberedPack| {
        let may_go = !pack.is_excluded || look.is_damaged(&pack.info.id);
        may_go && look.is_listed(pack.number)
    };
    for pack in look.index.packs_present().filter(is_candidate) {
        let at = pack.number as usize;
        let (live, all) = (u64::from(live[at]), u64::from(all[at]));
        let size_bytes = pack.info.size_bytes;
        let candidate = Candidate {
            pack: pack.info.id,
            size_bytes,
            live_bytes: size_bytes * live / all.max(1),
        };
        if let Some(until_ns) = look.young_until_ns(pack.number) {
            if live == 0 {
                summary.young_bytes += size_bytes;
                summary.young_until_ns = summary.young_until_ns.max(Some(until_ns));
            }
        } else if live == 0 || look.is_damaged(&pack.info.id) {
            found.dead.push(candidate);
        } else if (all - live) * DEAD_PART >= all {
            found.sparse.push(candidate);
        } else if size_bytes < SMALL_BYTES {
            small[usize::from(pack.info.kind == PackKind::Tree)].push(candidate);
        }
    }
    let many = small.into_iter().filter(|small| small.len() >= SMALL_MANY);
    found.sparse.extend(many.flatten());
    let part = |candidate: &Candidate| candidate.live_bytes as f64 / candidate.size_bytes as f64;
    found
        .sparse
        .sort_by(|one, other| part(one).total_cmp(&part(other)));
    Ok(found)
}

struct Condemner<'a, 'b> {
    kloset: &'a Kloset,
    options: &'a Options,
    look: &'a Look<'a>,
    summary: &'b mut Summary,
    /// Packs that were deleted to free space.
    deleted: HashSet<Id>,
}

impl Condemner<'_, '_> {
    /// Condemns the packs of `dead` that are confirmed to hold nothing needed, and returns the
    /// others.
    fn dead(&mut self, mover: &Mover<'_>, dead: &[Candidate]) -> Result<Vec<Candidate>> {
        let (mut condemned, mut alive) = (Vec::new(), Vec::new());
        for candidate in dead {
            match mover.needed(candidate.pack)? {
                Some(needed) if needed.is_nothing() => condemned.push(*candidate),
                Some(needed) => alive.push(Candidate {
                    live_bytes: needed.bytes(),
                    ..*candidate
                }),
                None => {}
            }
        }
        match self.condemn(&condemned) {
            Err(error) if error.kind() == Kind::NoSpace => self.make_room(&condemned, error)?,
            outcome => outcome?,
        }
        Ok(alive)
    }

    /// Condemns `dead` after there was no space for it. If the user guarantees exclusive use, deletes
    /// packs, the largest first, until there is space.
    fn make_room(&mut self, dead: &[Candidate], error: Error) -> Result<()> {
        let mut error = error;
        if !self.options.is_exclusive {
            let bytes = dead.iter().map(|each| each.size_bytes).sum();
            let (size, count) = (human::size(bytes), dead.len());
            return Err(error.during(format!(
                "no space left to mark {count} dead packs ({size}) for deletion; if no other program \
                 uses the store, maintenance -exclusive deletes them without writing first"
            )));
        }
        let mut largest_first = dead.to_vec();
        largest_first.sort_by_key(|candidate| std::cmp::Reverse(candidate.size_bytes));
        for Candidate { pack, .. } in largest_first {
            if !delete::uncondemned(self.kloset, self.options, self.look, pack, self.summary)? {
                continue;
            }
            self.deleted.insert(pack);
            // The deleted packs are condemned too, so that writers that rely on them notice the
            // deletion.
            match self.condemn(dead) {
                Err(cause) if cause.kind() == Kind::NoSpace => error = cause,
                outcome => return outcome,
            }
        }
        Err(error)
    }

    /// The `candidates` whose live bytes fit within the repack limit.
    fn within_limit(&self, candidates: impl Iterator<Item = Candidate>) -> Vec<Candidate> {
        let limit = self.options.max_repack_bytes.unwrap_or(u64::MAX);
        let mut room = limit.saturating_sub(self.summary.repacked_bytes);
        let fits = |candidate: &Candidate| {
            let rest = room.checked_sub(candidate.live_bytes);
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        candidates.filter(fits).collect()
    }

    /// Copies the needed chunks of `candidates`, and condemns these packs.
    fn sparse(&mut self, mover: &Mover<'_>, candidates: &[Candidate]) -> Result<()> {
        if candidates.is_empty() {
            return Ok(());
        }
        if self.options.is_dry {
            self.summary.repacked_bytes +=
                candidates.iter().map(|each| each.live_bytes).sum::<u64>();
            return self.condemn(candidates);
        }
        let moved = copying(self.kloset, &self.options.interrupt, |copier| {
            let mut moved = Vec::new();
            for candidate in candidates {
                if let Some(needed) = mover.needed(candidate.pack)?
                    && mover.copy(&needed, copier)?
                {
                    moved.push(*candidate);
                }
            }
            Ok((moved, copier.copied_bytes))
        });
        match moved {
            Err(error) if error.kind() == Kind::NoSpace => {
                let error = error.during("packs of which much is dead stay as they are");
                self.kloset.observer().event(&Event::Warning(&error));
                Ok(())
            }
            moved => {
                let (moved, copied_bytes) = moved.during(|| "repack")?;
                self.summary.repacked_bytes += copied_bytes;
                self.condemn(&moved)
            }
        }
    }

    /// Publishes condemnations of `candidates`.
    fn condemn(&mut self, candidates: &[Candidate]) -> Result<()> {
        for part in candidates.chunks(PACKS_LIMIT) {
            self.options.interrupt.check()?;
            self.look.marks.check()?;
            let packs: Vec<Id> = part.iter().map(|candidate| candidate.pack).collect();
            if !self.options.is_dry {
                let object = condemned::publish(self.kloset, &packs, Fate::Doomed)?;
                self.summary
                    .condemned(object.modified_ns, self.options.grace);
            }
            let left = part
                .iter()
                .filter(|each| !self.deleted.contains(&each.pack));
            self.summary.condemned_packs += left.clone().count() as u64;
            self.summary.condemned_bytes += left.map(|each| each.size_bytes).sum::<u64>();
        }
        Ok(())
    }
}
