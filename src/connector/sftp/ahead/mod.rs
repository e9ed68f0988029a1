//! Prefetching for a backup, so that it does not wait one round trip per name.
//!
//! One thread with its [own connection](Bulk) lists directories before the walk reaches them, and
//! reads small files before a reader requests them. A caller takes a result that is ready and waits
//! for one in progress. Everything else, including all that failed here, the caller does over the
//! [pool]. Therefore this module reports no errors and retries nothing, and the result of a backup
//! is the same as without it.
//!
//! Directories are listed in the order of the walk, which is the order of paths. Results that the
//! walk has passed are no longer needed. The number of names and bytes kept is limited.
//!
//! A result was correct when it was read. A file that may since have changed invisibly, within the
//! second of its last modification, is not prefetched.
//!
//! [pool]: crate::net::ssh::pool

mod job;
mod state;
mod worker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::state::{Slot, State};
use crate::connector::wanted::Wanted;
use crate::connector::{Item, Metadata};
use crate::net::ssh::Endpoint;

/// How long a caller waits for a result in progress before it uses another connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// The maximum time that a thread sleeps before it checks the state again.
const GLANCE: Duration = Duration::from_millis(200);
/// The maximum size of a prefetched file. Callers read larger files in large pieces.
const SMALL_BYTES: u64 = 512 << 10;

/// The contents of a directory.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) items: Vec<Item>,
    /// The targets of most of the symbolic links, by name.
    pub(super) targets: HashMap<Vec<u8>, Vec<u8>>,
}

/// A small file that was read completely.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    /// The metadata after the read.
    pub(super) metadata: Metadata,
}

/// The prefetched results and the pending work.
pub(super) struct Ahead {
    state: Mutex<State>,
    /// Signaled when work is added.
    wanted: Condvar,
    /// Signaled when a result is ready.
    done: Condvar,
}

impl Ahead {
    /// Starts prefetching for a walk of `wanted`, over a connection to `endpoint`.
    pub(super) fn start(endpoint: Endpoint, wanted: Wanted) -> Arc<Ahead> {
        let ahead = Arc::new(Ahead {
            state: Mutex::new(State::new(wanted)),
            wanted: Condvar::new(),
            done: Condvar::new(),
        });
        let working = ahead.clone();
        // The thread ends with the source. It is not joined, since it may be waiting for the
        // server.
        std::thread::spawn(move || worker::run(&working, &endpoint));
        ahead
    }

    /// Stops prefetching.
    pub(super) fn end(&self) {
        self.lock().end();
        self.wanted.notify_all();
        self.done.notify_all();
    }

    /// Returns the contents of the directory at `path`, which the walk has reached. Returns `None`
    /// if the caller must list it.
    pub(super) fn list(&self, path: &Path) -> Option<Listed> {
        let mut state = self.lock();
        state.pass(path);
        if !state.ask_for_listing(path) {
            return None;
        }
        self.wanted.notify_one();
        self.wait_for(state, |state| state.take_listing(path))
    }

    /// Announces that the regular file at `path` will be requested soon.
    pub(super) fn expect(&self, path: &Path, metadata: &Metadata) {
        if metadata.size_bytes <= SMALL_BYTES && self.lock().expect_file(path, metadata.size_bytes)
        {
            self.wanted.notify_one();
        }
    }

    /// Returns the regular file at `path` if it was announced. Returns `None` if the caller must
    /// read it.
    pub(super) fn file(&self, path: &Path) -> Option<Fetched> {
        self.wait_for(self.lock(), |state| state.take_file(path))
    }

    /// Waits until `take` returns a finished result.
    fn wait_for<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        mut take: impl FnMut(&mut State) -> Option<Slot<T>>,
    ) -> Option<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            match take(&mut state)? {
                Slot::Done(done) => return Some(done),
                _ if Instant::now() > until => {
                    // Otherwise the caller would wait in vain for each further name.
                    state.pause();
                    return None;
                }
                _ => {
                    let waited = self.done.wait_timeout(state, GLANCE);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
