//! A write session: starts writing, stores packs, and publishes the index.
//!
//! [`write_session`] is the only way to write chunks. It starts threads that publish finished packs
//! and runs the caller's work, which fills packs through [`WriteSession::packer`]. It then waits
//! until every pack is published, and publishes an index object for the packs that no index object
//! lists yet. Stored chunks are indexed even if the work fails, so the next run finds them.
//!
//! The [`Ledger`] records the packs that no index object lists yet. An index object is published
//! when the ledger holds a gibibyte, or many chunks, or is five minutes old. Therefore an
//! interrupted run leaves at most that much data for the next run to store again.

mod ledger;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::mpsc::SyncSender;
use std::thread;

use super::Kloset;
use super::blob::{Outgoing, Packer};
use super::cache::Original;
use super::index::Index;
use super::index_object;
use super::pack::read_table;
use super::pipeline::{Shared, Trouble, each_at_once, lock, shared_channel};
use super::progress::{Counters, add};
use crate::error::Result;
use crate::format::pack_table::{PackKind, PackTable};
use crate::util::Id;

use ledger::Ledger;

/// Number of locks for the pending chunks. With many locks, workers rarely wait for each other.
const SHARDS: usize = 64;

/// A write session that accepts chunks. The storing threads run until it and its packers are
/// dropped.
pub struct WriteSession<'a> {
    writing: &'a Writing<'a>,
    finished: SyncSender<Outgoing>,
}

impl<'a> WriteSession<'a> {
    /// Creates a packer for one thread that fills packs of this `kind`.
    pub fn packer(&self, kind: PackKind) -> Result<Packer<'a>> {
        Packer::new(self.writing, kind, self.finished.clone())
    }

    /// The state shared by all threads of the session.
    pub fn writing(&self) -> &'a Writing<'a> {
        self.writing
    }
}

/// Runs `work` with a session that writes to `kloset` and compresses at `level`. At most
/// `packs_waiting` finished packs wait for a storing thread; beyond that, packers block.
///
/// On return, every pack is published and listed by an index object. Errors of the storing threads
/// and of publishing the index are recorded in `trouble`. `work` must check `trouble` before it
/// waits for other threads.
///
/// # Errors
/// Those of loading the index; in this case `work` was not called.
pub fn write_session<T>(
    kloset: &Kloset,
    level: i32,
    packs_waiting: usize,
    trouble: &Trouble,
    work: impl FnOnce(WriteSession<'_>) -> T,
) -> Result<T> {
    let writing = Writing::new(kloset, level)?;
    let (finished, packs) = shared_channel(packs_waiting);
    let outcome = thread::scope(|scope| {
        for _ in 0..kloset.connections() {
            scope.spawn(|| store_packs(&writing, &packs, trouble));
        }
        work(WriteSession {
            writing: &writing,
            finished,
        })
    });
    trouble.note(writing.publish_index());
    Ok(outcome)
}

/// Publishes index objects for `packs`, which an interrupted writer published without one.
pub fn adopt_packs(kloset: &Kloset, packs: &HashSet<Id>) -> Result<()> {
    let writing = Writing::new(kloset, kloset.config().compression)?;
    writing.adopt(packs)?;
    writing.publish_index()
}

/// The main loop of a storing thread: publishes packs until there are no more. After a failure, it
/// discards them.
fn store_packs(writing: &Writing<'_>, packs: &Shared<Outgoing>, trouble: &Trouble) {
    while let Some(pack) = packs.next() {
        if !trouble.has_failed() {
            trouble.note(writing.store(pack));
        }
    }
}

/// The state that all threads of one write session share: pending chunks, and packs that no index
/// object lists yet.
pub struct Writing<'a> {
    pub(super) kloset: &'a Kloset,
    index: &'a Index,
    pub(super) level: i32,
    /// Chunks in blocks and packs that are not published yet.
    pending: [Mutex<HashSet<Id>>; SHARDS],
    ledger: Mutex<Ledger>,
    counters: &'a Counters,
}

impl<'a> Writing<'a> {
    /// Creates the state of a session that writes to `kloset` and compresses at `level`.
    fn new(kloset: &'a Kloset, level: i32) -> Result<Writing<'a>> {
        Ok(Writing {
            kloset,
            index: kloset.index()?,
            level,
            pending: std::array::from_fn(|_| Mutex::default()),
            ledger: Mutex::new(Ledger::new()),
            counters: kloset.observer().counters(),
        })
    }

    /// Publishes a pack; afterwards its chunks can be found. Storing threads call this
    /// concurrently.
    fn store(&self, Outgoing { pack, drafts }: Outgoing) -> Result<()> {
        let table = pack.publish()?;
        add(&self.counters.stored_bytes, table.size_bytes);
        if let Some(copies) = self.kloset.copies() {
            for (offset, draft) in drafts {
                copies.name(draft, Original::Block(table.pack, offset));
            }
        }
        self.index.insert(&table)?;
        for chunk in table.blocks.iter().flat_map(|block| &block.chunks) {
            lock(self.shard(&chunk.id)).remove(&chunk.id);
        }
        self.enter(table)
    }

    /// Adds packs of a writer that was killed before it published an index object.
    pub fn adopt(&self, packs: &HashSet<Id>) -> Result<()> {
        let packs: Vec<Id> = packs.iter().copied().collect();
        each_at_once(&packs, self.kloset.connections(), |pack| {
            match read_table(self.kloset.store(), self.kloset.sealer(), *pack) {
                Ok(table) => self.admit(table),
                // An unreadable pack is useless, and check reports it.
                Err(error) if error.is_of_one_object() => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    /// Adds a pack that was just published unchanged, not created by a packer of this session.
    pub fn admit(&self, table: PackTable) -> Result<()> {
        self.index.insert(&table)?;
        self.enter(table)
    }

    /// Publishes an index object for the packs that no other index object lists yet.
    fn publish_index(&self) -> Result<()> {
        let ledger = lock(&self.ledger).take();
        self.publish_ledger(ledger)
    }

    /// Whether the chunk is stored or pending.
    pub fn is_known(&self, id: &Id) -> Result<bool> {
        Ok(lock(self.shard(id)).contains(id) || self.kloset.look_up(|index| index.contains(id))?)
    }

    /// Records a published pack, and publishes an index object if one is due.
    fn enter(&self, table: PackTable) -> Result<()> {
        let due = lock(&self.ledger).enter(table);
        due.map_or(Ok(()), |due| self.publish_ledger(due))
    }

    /// Publishes the contents of `ledger` as one index object. If that fails, its packs are put
    /// back into the ledger, and the end of the session tries again.
    fn publish_ledger(&self, ledger: Ledger) -> Result<()> {
        if ledger.tables.is_empty() {
            return Ok(());
        }
        let (object, size_bytes) = match index_object::publish(self.kloset, &ledger.tables) {
            Ok(published) => published,
            Err(error) => {
                lock(&self.ledger).tables.extend(ledger.tables);
                return Err(error);
            }
        };
        add(&self.counters.stored_bytes, size_bytes);
        let packs: Vec<Id> = ledger.tables.iter().map(|table| table.pack).collect();
        self.index.cover(object, &packs);
        Ok(())
    }

    /// Claims the chunk for the caller to store. Returns false if it is stored or pending already.
    pub(super) fn claim(&self, id: Id) -> Result<bool> {
        if self.kloset.look_up(|index| index.contains(&id))? {
            return Ok(false);
        }
        Ok(lock(self.shard(&id)).insert(id))
    }

    /// The lock that guards the pending state of `id`.
    fn shard(&self, id: &Id) -> &Mutex<HashSet<Id>> {
        &self.pending[usize::from(id.0[31]) % SHARDS]
    }
}
