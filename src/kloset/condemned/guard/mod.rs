//! Prevents new snapshots from relying on condemned packs.

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

/// Maximum number of rounds in which new packs may be condemned while chunks are copied out of
/// those condemned before.
const ROUNDS: usize = 16;

/// If the last check is older than this, condemnations may have been published and removed since.
/// This is half of the shortest grace period that is permitted for a store with several users.
const LOOK_AGE: Duration = Duration::from_secs(30);

/// A check that is younger than this is as good as a new one: the time until the snapshot is
/// published stays far below half of any grace period. This saves a backup of unchanged files a
/// round trip.
const FRESH_AGE: Duration = Duration::from_secs(5);

/// The condemnations known to a writer of snapshots.
pub struct Condemned {
    objects: HashSet<Id>,
    packs: HashSet<Id>,
    /// Time since the last check.
    looked: Stopwatch,
}

impl Condemned {
    /// Reads every condemnation in the store, and hides the listed packs from the index.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if a condemnation is damaged, because it is then unknown which packs it
    /// lists. The errors of the store.
    pub fn hide(kloset: &Kloset) -> Result<Condemned> {
        let mut condemned = Condemned {
            objects: HashSet::new(),
            packs: HashSet::new(),
            looked: Stopwatch::start(),
        };
        condemned.look(kloset)?;
        Ok(condemned)
    }

    /// All condemned packs that this writer knows about.
    pub fn packs(&self) -> &HashSet<Id> {
        &self.packs
    }

    /// Publishes `snapshot`, all of whose chunks are stored. Returns the size of its object.
    ///
    /// 1. Hide the packs that were condemned since the last check, and copy the chunks that the
    ///    snapshot needs from them to new packs. Repeat until a check finds nothing new. This step
    ///    is skipped if the last check is [recent](FRESH_AGE).
    /// 2. Publish the snapshot. Every client that lists snapshots from now on sees which chunks it
    ///    needs.
    /// 3. Check again. Packs that were condemned in between may have been deleted by a client with
    ///    a short grace period or with a changed clock. In this case, the snapshot is deleted
    ///    again.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if data that the snapshot needs was deleted meanwhile. Running the
    /// backup again stores that data again.
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

    /// Checks for new condemnations, and copies the chunks that the tree of `root` needs out of
    /// condemned packs, until a check finds nothing new.
    fn leave(&mut self, kloset: &Kloset, root: &Entry, interrupt: &Interrupt) -> Result<()> {
        for _ in 0..ROUNDS {
            let is_old = self.looked.elapsed() >= LOOK_AGE;
            let is_new = self.look(kloset)?;
            // The order matters: packs are deleted first, and their condemnation afterwards.
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

    /// Hides the packs that are no longer in the store. Returns false if all packs that were in use
    /// are still there.
    fn look_for_packs(&self, kloset: &Kloset) -> Result<bool> {
        let index = kloset.index()?;
        let before = index.numbers_in_use();
        // Referenced chunks of deleted packs were copied to other packs. The index objects that
        // listed the deleted packs may be deleted too, so comparing the number of packs before and
        // after is not enough.
        kloset.take_in(index)?;
        kloset.hide_absent_packs(index)?;
        let after = index.numbers_in_use();
        let is_missed = |number: &u32| after.binary_search(number).is_err();
        Ok(before.iter().any(is_missed))
    }

    /// Reads the new condemnations, and hides their packs. Returns false if they list no packs.
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

/// Converts the error of a snapshot that needs deleted data.
fn as_deleted(error: Error) -> Error {
    match error.is_of_one_object() {
        true => Error::new(Kind::Unavailable, error.to_string())
            .during("maintenance deleted what it needs; run it again"),
        false => error,
    }
}

/// Copies the chunks that one snapshot needs out of hidden packs.
struct Leaver<'a, 'b> {
    copier: &'b mut Copier<'a>,
    /// Tree chunks whose entries are done.
    followed: Followed,
    /// Tree chunks that are not done yet.
    waiting: Vec<Id>,
}

impl Leaver<'_, '_> {
    /// Handles `root` and everything below it.
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

    /// Handles the contents of one entry, and queues the chunks of its tree.
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.content(&entry.content, &mut |leaver, id| {
            leaver.copier.keep(&id, PackKind::Data)
        })?;
        self.content(&entry.tree, &mut |leaver, id| {
            leaver.waiting.push(id);
            Ok(())
        })
    }

    /// Handles the chunk lists of `content`, and calls `each` with every chunk that they list.
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
