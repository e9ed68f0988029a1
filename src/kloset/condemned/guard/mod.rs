//! How whoever makes a snapshot keeps off condemned packs.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use super::{objects, read_listed};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::{Content, Entry};
use crate::format::pack_table::PackKind;
use crate::kloset::Kloset;
use crate::kloset::repack::{Copier, copying};
use crate::kloset::snapshot::{self, Snapshot};
use crate::kloset::tree::{self, decode_list};
use crate::kloset::visited::Followed;
use crate::util::Id;
use crate::util::clock::Stopwatch;
use crate::util::interrupt::Interrupt;

/// How often packs may be condemned while those that were condemned before are left.
const ROUNDS: usize = 16;

/// A look that is older than this may have missed condemnations that came and went: half of the
/// shortest grace with which anybody may use a store that others use.
const LOOK_AGE: Duration = Duration::from_secs(30);

/// A look that is younger than this is as good as one made now: the gap up to the snapshot stays
/// far below half of any grace, and a backup of what did not change is spared a round trip.
const FRESH_AGE: Duration = Duration::from_secs(5);

/// The condemnations that are known to whoever makes a snapshot.
pub struct Condemned {
    objects: HashSet<Id>,
    packs: HashSet<Id>,
    /// Since the last look.
    looked: Stopwatch,
}

impl Condemned {
    /// Reads every condemnation in the store, and hides the packs from the index.
    ///
    /// # Errors
    /// If one is damaged, or cannot be read: nobody can tell which packs it means.
    pub fn hide(kloset: &Kloset) -> Result<Condemned> {
        let mut condemned = Condemned {
            objects: HashSet::new(),
            packs: HashSet::new(),
            looked: Stopwatch::start(),
        };
        condemned.look(kloset)?;
        Ok(condemned)
    }

    /// The packs that are condemned.
    pub fn packs(&self) -> &HashSet<Id> {
        &self.packs
    }

    /// Publishes `snapshot`, all of whose chunks are stored, and returns the size of its object.
    ///
    /// 1. Packs that were condemned since the last look are hidden, and what the snapshot needs of
    ///    them is copied to new ones; until a look finds nothing new. Unless the last look was
    ///    [just now](FRESH_AGE).
    /// 2. The snapshot is published. Whoever lists snapshots from now on sees what it needs.
    /// 3. Another look: what was condemned in between may have been deleted by somebody whose
    ///    grace is short, or whose clock was set. Then the snapshot is taken back.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if something it needs was deleted meanwhile: made again, it is
    /// stored anew.
    pub fn publish(
        &mut self,
        kloset: &Kloset,
        snapshot: &Snapshot,
        interrupt: &Interrupt,
    ) -> Result<u64> {
        if self.looked.elapsed() >= FRESH_AGE {
            let left = self.leave(kloset, &snapshot.root, interrupt);
            left.map_err(as_deleted)?;
        }
        let published_bytes = snapshot::publish(kloset, snapshot)?;
        match self.leave(kloset, &snapshot.root, interrupt) {
            Err(error) if error.is_of_one_object() => {
                snapshot::take_back(kloset, snapshot.id).and(Err(as_deleted(error)))
            }
            outcome => outcome.map(|()| published_bytes),
        }
    }

    /// Looks, and copies what the tree of `root` needs of packs that are condemned, until there is
    /// nothing new.
    fn leave(&mut self, kloset: &Kloset, root: &Entry, interrupt: &Interrupt) -> Result<()> {
        for _ in 0..ROUNDS {
            let is_old = self.looked.elapsed() >= LOOK_AGE;
            let is_new = self.look(kloset)?;
            // In this order: who deletes packs takes their condemnation away after them.
            let is_less = is_old && self.look_for_packs(kloset)?;
            if !is_new && !is_less {
                return Ok(());
            }
            copying(kloset, interrupt, |copier| {
                let mut leaver = Leaver {
                    copier,
                    followed: Followed::new(),
                    waiting: Vec::new(),
                };
                leaver.all(root, interrupt)
            })
            .during(|| "copy what was needed of condemned packs")?;
        }
        Err(Error::new(
            Kind::Unavailable,
            "packs are condemned all the time; run it again when maintenance is through",
        ))
    }

    /// Hides the packs that are no longer there. False if all are that were relied on.
    fn look_for_packs(&self, kloset: &Kloset) -> Result<bool> {
        let index = kloset.index()?;
        let before = index.numbers_in_use();
        // What lived in those that went has been copied to others. Index objects that told of them
        // may have gone with them, so it does not do to count before and after.
        kloset.take_in(index)?;
        kloset.hide_absent_packs(index)?;
        let after = index.numbers_in_use();
        let is_missed = |number: &u32| after.binary_search(number).is_err();
        Ok(before.iter().any(is_missed))
    }

    /// Reads the condemnations that are new, and hides their packs. False if they name none.
    fn look(&mut self, kloset: &Kloset) -> Result<bool> {
        self.looked = Stopwatch::start();
        let mut new = HashSet::new();
        for object in objects(kloset)? {
            if self.objects.insert(object.id)
                && let Some(condemnation) = read_listed(kloset, object)?
            {
                new.extend(condemnation.packs);
            }
        }
        kloset.index()?.exclude_packs(&new);
        self.packs.extend(&new);
        Ok(!new.is_empty())
    }
}

/// The error of a snapshot that needs what is no longer there.
fn as_deleted(error: Error) -> Error {
    match error.is_of_one_object() {
        true => Error::new(Kind::Unavailable, error.to_string())
            .during("maintenance deleted what it needs; run it again"),
        false => error,
    }
}

/// Copies what one snapshot needs of packs that are hidden.
struct Leaver<'a, 'b> {
    copier: &'b mut Copier<'a>,
    /// Pieces of trees whose entries were seen to.
    followed: Followed,
    /// Pieces of trees that are still to come.
    waiting: Vec<Id>,
}

impl Leaver<'_, '_> {
    /// Everything below `root`.
    fn all(&mut self, root: &Entry, interrupt: &Interrupt) -> Result<()> {
        self.entry(root)?;
        while let Some(piece) = self.waiting.pop() {
            interrupt.check()?;
            if !self.followed.note(&piece) {
                self.copier.keep(&piece, PackKind::Tree)?;
                for entry in tree::decode_all(&self.copier.read(&piece)?)? {
                    self.entry(&entry)?;
                }
            }
        }
        Ok(())
    }

    /// The contents of one entry; the pieces of its tree wait.
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.content(&entry.content, &mut |leaver, id| {
            leaver.copier.keep(&id, PackKind::Data)
        })?;
        self.content(&entry.tree, &mut |leaver, id| {
            leaver.waiting.push(id);
            Ok(())
        })
    }

    /// The lists that `content` consists of, and `each` of what they list.
    fn content(
        &mut self,
        content: &Content,
        each: &mut dyn FnMut(&mut Self, Id) -> Result<()>,
    ) -> Result<()> {
        for id in &content.ids {
            if content.depth == 0 {
                each(self, *id)?;
                continue;
            }
            self.copier.keep(id, PackKind::Tree)?;
            let below = Content {
                ids: decode_list(&self.copier.read(id)?)?,
                depth: content.depth - 1,
            };
            self.content(&below, each)?;
        }
        Ok(())
    }
}
