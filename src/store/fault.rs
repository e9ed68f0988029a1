//! Fault injection: a wrapper for any store that fails on purpose.
//!
//! It counts the calls that change the store (`prepare`, `put_config`, `put`, commit of an upload,
//! `delete`) and lets a given number of them pass. The next one fails as specified by a [`Fault`].
//! A crash test repeats the same operation with 0, 1, 2, ... changes allowed until it succeeds, so
//! that it fails once at every possible point:
//!
//! ```text
//! for changes in 0.. {
//!     let outcome = backup(&FaultStore::new(&store, changes), &source);
//!     assert_every_older_snapshot_restores(&store);
//!     if outcome.is_ok() { return }
//! }
//! ```
//!
//! It also counts calls by kind, so that a test can limit the number of requests of an operation.
//! It can also report that it is remote, since callers use remote stores differently.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Area, Distance, Manner, Object, Store, Upload};
use crate::error::{Error, Kind, Result};
use crate::util::Id;

/// How a change fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is lost before the change: [`Kind::Unavailable`].
    Unavailable,
    /// The change takes effect, but its response is lost: [`Kind::Unavailable`].
    Late,
    /// The disk is full and nothing is changed: [`Kind::NoSpace`].
    Full,
    /// The permission is missing and nothing is changed: [`Kind::Denied`].
    Denied,
}

/// How a read fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// No response: [`Kind::Unavailable`].
    Unavailable,
    /// The second half is missing. `get` and `get_config` cannot detect this and return the first
    /// half; `read_at` returns [`Kind::Corrupt`].
    Short,
}

/// How long a fault persists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// One call fails and the next succeeds, as seen by a retry.
    Once,
    /// All further calls fail, as after a crash.
    ForEver,
}

/// The kinds of calls that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Store::prepare`].
    Prepare,
    /// [`Store::put_config`].
    PutConfig,
    /// [`Store::get_config`].
    GetConfig,
    /// [`Store::put`].
    Put,
    /// [`Store::upload`].
    Upload,
    /// [`Upload::commit`].
    Commit,
    /// [`Store::get`].
    Get,
    /// [`Store::read_at`].
    ReadAt,
    /// [`Store::stat`].
    Stat,
    /// [`Store::list`].
    List,
    /// [`Store::delete`].
    Delete,
}

const CALLS: usize = Call::Delete as usize + 1;

/// A store that fails on purpose.
pub struct FaultStore {
    inner: Arc<dyn Store>,
    state: Arc<State>,
    manner: Manner,
}

/// Shared with uploads, which outlive the call that started them.
struct State {
    calls: [AtomicU64; CALLS],
    changes: Plan<Fault>,
    reads: Plan<ReadFault>,
}

/// Which calls of a series fail, and how.
struct Plan<F> {
    seen: AtomicU64,
    /// The number of calls that pass.
    after: u64,
    fault: F,
    lasting: Lasting,
}

impl FaultStore {
    /// Lets `changes` changes pass and fails all later ones. Reads succeed.
    pub fn new(store: &Arc<dyn Store>, changes: u64) -> FaultStore {
        FaultStore::with(store, changes, Fault::Unavailable, Lasting::ForEver)
    }

    /// Lets `changes` changes pass, then fails with `fault`.
    pub fn with(
        store: &Arc<dyn Store>,
        changes: u64,
        fault: Fault,
        lasting: Lasting,
    ) -> FaultStore {
        FaultStore::planned(
            store,
            Plan::new(changes, fault, lasting),
            Plan::never(ReadFault::Unavailable),
        )
    }

    /// Lets `reads` reads pass (`get_config`, `get`, `read_at`, `stat`, `list`), then fails with
    /// `fault`. Changes succeed.
    pub fn with_reads(
        store: &Arc<dyn Store>,
        reads: u64,
        fault: ReadFault,
        lasting: Lasting,
    ) -> FaultStore {
        FaultStore::planned(
            store,
            Plan::never(Fault::Unavailable),
            Plan::new(reads, fault, lasting),
        )
    }

    /// Injects no faults; only counts.
    pub fn counting(store: &Arc<dyn Store>) -> FaultStore {
        FaultStore::planned(
            store,
            Plan::never(Fault::Unavailable),
            Plan::never(ReadFault::Unavailable),
        )
    }

    fn planned(store: &Arc<dyn Store>, changes: Plan<Fault>, reads: Plan<ReadFault>) -> FaultStore {
        let calls = [const { AtomicU64::new(0) }; CALLS];
        FaultStore {
            inner: store.clone(),
            manner: store.manner(),
            state: Arc::new(State {
                calls,
                changes,
                reads,
            }),
        }
    }

    /// Reports to be a remote store with `connections` connections.
    pub fn remote(self, connections: usize) -> FaultStore {
        let distance = Distance::Remote;
        FaultStore {
            manner: Manner {
                distance,
                connections,
            },
            ..self
        }
    }

    /// The number of requests to a remote store: one per call, and one per upload, at its commit.
    pub fn requests(&self) -> u64 {
        let calls = self.state.calls.iter();
        let all: u64 = calls.map(|calls| calls.load(Ordering::SeqCst)).sum();
        all - self.calls(Call::Upload)
    }

    /// The number of calls of this kind, including failed ones.
    pub fn calls(&self, call: Call) -> u64 {
        self.state.calls[call as usize].load(Ordering::SeqCst)
    }

    /// The number of attempted changes, including failed ones.
    pub fn changes(&self) -> u64 {
        self.state.changes.seen.load(Ordering::SeqCst)
    }
}

impl<F: Copy> Plan<F> {
    fn new(after: u64, fault: F, lasting: Lasting) -> Plan<F> {
        Plan {
            seen: AtomicU64::new(0),
            after,
            fault,
            lasting,
        }
    }

    fn never(fault: F) -> Plan<F> {
        Plan::new(u64::MAX, fault, Lasting::ForEver)
    }

    /// The fault of the next call, if any.
    fn next(&self) -> Option<F> {
        let nth = self.seen.fetch_add(1, Ordering::SeqCst);
        let fails = match self.lasting {
            Lasting::Once => nth == self.after,
            Lasting::ForEver => nth >= self.after,
        };
        fails.then_some(self.fault)
    }
}

impl State {
    fn count(&self, call: Call) {
        self.calls[call as usize].fetch_add(1, Ordering::SeqCst);
    }

    fn change(&self, call: Call, change: impl FnOnce() -> Result<()>) -> Result<()> {
        self.count(call);
        match self.changes.next() {
            None => change(),
            Some(Fault::Unavailable) => Err(unavailable()),
            Some(Fault::Full) => Err(Error::new(Kind::NoSpace, "no space left, on purpose")),
            Some(Fault::Denied) => Err(Error::new(Kind::Denied, "not allowed, on purpose")),
            Some(Fault::Late) => change().and_then(|()| Err(unavailable())),
        }
    }

    /// The fault of the next read, if it only affects the result. Returns an error if the read
    /// fails.
    fn read(&self, call: Call) -> Result<Option<ReadFault>> {
        self.count(call);
        match self.reads.next() {
            Some(ReadFault::Unavailable) => Err(unavailable()),
            other => Ok(other),
        }
    }

    fn read_bytes(&self, call: Call, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let fault = self.read(call)?;
        let mut bytes = read()?;
        if fault == Some(ReadFault::Short) {
            bytes.truncate(bytes.len() / 2);
        }
        Ok(bytes)
    }
}

impl Store for FaultStore {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn prepare(&self) -> Result<()> {
        self.state.change(Call::Prepare, || self.inner.prepare())
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        self.state
            .change(Call::PutConfig, || self.inner.put_config(bytes))
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.state
            .read_bytes(Call::GetConfig, || self.inner.get_config())
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        self.state
            .change(Call::Put, || self.inner.put(area, id, bytes))
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        self.state.count(Call::Upload);
        let inner = self.inner.upload(area)?;
        Ok(Box::new(FaultUpload {
            inner,
            state: self.state.clone(),
        }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        self.state
            .read_bytes(Call::Get, || self.inner.get(area, id))
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match self.state.read(Call::ReadAt)? {
            Some(_) => Err(Error::corrupt("it ends early, on purpose")),
            None => self.inner.read_at(area, id, offset, buffer),
        }
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        self.state.read(Call::Stat)?;
        self.inner.stat(area, id)
    }

    fn manner(&self) -> Manner {
        self.manner
    }

    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        self.state.read(Call::List)?;
        self.inner.list_after(area, after, each)
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        self.state
            .change(Call::Delete, || self.inner.delete(area, id))
    }
}

struct FaultUpload {
    inner: Box<dyn Upload>,
    state: Arc<State>,
}

impl Upload for FaultUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        let FaultUpload { inner, state } = *self;
        state.change(Call::Commit, || inner.commit(id))
    }
}

fn unavailable() -> Error {
    Error::new(Kind::Unavailable, "connection lost, on purpose")
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    fn prepared() -> Arc<dyn Store> {
        let store = MemoryStore::new();
        store.prepare().unwrap();
        Arc::new(store)
    }

    fn put(store: &dyn Store, bytes: &[u8]) -> Result<()> {
        store.put(Area::Packs, Id::of(bytes), bytes)
    }

    #[test]
    fn changes_fail_from_the_nth_on_and_change_nothing() {
        for (fault, kind) in [
            (Fault::Unavailable, Kind::Unavailable),
            (Fault::Full, Kind::NoSpace),
            (Fault::Denied, Kind::Denied),
        ] {
            let store = prepared();
            let faulty = FaultStore::with(&store, 1, fault, Lasting::ForEver);
            put(&faulty, b"1").unwrap();
            assert_eq!(put(&faulty, b"2").unwrap_err().kind(), kind);
            let mut upload = faulty.upload(Area::Packs).unwrap();
            upload.write(b"3").unwrap();
            assert_eq!(upload.commit(Id::of(b"3")).unwrap_err().kind(), kind);
            assert_eq!(
                faulty.delete(Area::Packs, Id::of(b"1")).unwrap_err().kind(),
                kind
            );
            let there = |bytes: &[u8]| store.stat(Area::Packs, Id::of(bytes)).is_ok();
            assert_eq!(
                [there(b"1"), there(b"2"), there(b"3")],
                [true, false, false]
            );
            assert_eq!(
                (
                    faulty.changes(),
                    faulty.calls(Call::Put),
                    faulty.calls(Call::Commit)
                ),
                (4, 2, 1)
            );
        }
    }

    #[test]
    fn a_late_success_took_effect_and_once_is_once() {
        let store = prepared();
        let faulty = FaultStore::with(&store, 0, Fault::Late, Lasting::Once);
        assert_eq!(put(&faulty, b"1").unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(store.get(Area::Packs, Id::of(b"1")).unwrap(), b"1");
        put(&faulty, b"2").unwrap();
    }

    #[test]
    fn short_reads_are_short() {
        let store = prepared();
        put(&*store, b"1234").unwrap();
        let faulty = FaultStore::with_reads(&store, 1, ReadFault::Short, Lasting::ForEver);
        let id = Id::of(b"1234");
        assert_eq!(faulty.get(Area::Packs, id).unwrap(), b"1234");
        assert_eq!(faulty.get(Area::Packs, id).unwrap(), b"12");
        assert_eq!(
            faulty
                .read_at(Area::Packs, id, 0, &mut [0; 4])
                .unwrap_err()
                .kind(),
            Kind::Corrupt
        );
    }
}
