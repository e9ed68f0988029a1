//! Reading ahead of a backup, so that it does not wait for a far server once per name.
//!
//! One thread with a [connection of its own](Bulk) lists directories before the walk comes to
//! them and reads small files before a reader asks for them. Whoever asks takes what is there,
//! waits for what is under way, and does everything else itself, over the [pool]: also what
//! failed here, for whatever reason. So nothing is told of what goes wrong here, nothing is
//! tried again here, and a backup comes out as it would without.
//!
//! Directories are listed in the order of the walk, which is that of their paths: what it has
//! passed nobody asks for any more. How much lies here is limited in names and in bytes.
//!
//! What lies here was true when it was read. A file that may have been changed since in a way
//! that does not show, within the second of its last change, is not read ahead.
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

/// How long somebody waits for what is under way before doing it over another connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest that a thread sleeps without looking around.
const GLANCE: Duration = Duration::from_millis(200);
/// Larger files are read by those who want them, in large pieces.
const SMALL_BYTES: u64 = 512 << 10;

/// What is in a directory.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) items: Vec<Item>,
    /// Where links among them point, of most by name.
    pub(super) targets: HashMap<Vec<u8>, Vec<u8>>,
}

/// A small file that was read whole.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    /// What was known of it after that.
    pub(super) metadata: Metadata,
}

/// What is read ahead, and what is to be.
pub(super) struct Ahead {
    state: Mutex<State>,
    /// Somebody wants something.
    wanted: Condvar,
    /// Something is done.
    done: Condvar,
}

impl Ahead {
    /// Looks ahead of a walk of what is `wanted`, over a connection to `endpoint`.
    pub(super) fn start(endpoint: Endpoint, wanted: Wanted) -> Arc<Ahead> {
        let ahead = Arc::new(Ahead {
            state: Mutex::new(State::new(wanted)),
            wanted: Condvar::new(),
            done: Condvar::new(),
        });
        let working = ahead.clone();
        // It ends with the source, and is not waited for: it may be waiting for the server.
        std::thread::spawn(move || worker::run(&working, &endpoint));
        ahead
    }

    /// No more of it is wanted.
    pub(super) fn end(&self) {
        self.lock().end();
        self.wanted.notify_all();
        self.done.notify_all();
    }

    /// What is in the directory at `path`, to which the walk has come. Nothing if that has to
    /// be found out elsewhere.
    pub(super) fn list(&self, path: &Path) -> Option<Listed> {
        let mut state = self.lock();
        state.pass(path);
        if !state.ask_for_listing(path) {
            return None;
        }
        self.wanted.notify_one();
        self.wait_for(state, |state| state.take_listing(path))
    }

    /// Hears that the regular file at `path` will be asked for soon.
    pub(super) fn expect(&self, path: &Path, metadata: &Metadata) {
        if metadata.size_bytes <= SMALL_BYTES && self.lock().expect_file(path, metadata.size_bytes)
        {
            self.wanted.notify_one();
        }
    }

    /// The regular file at `path`, if it was expected. Nothing if it has to be read elsewhere.
    pub(super) fn file(&self, path: &Path) -> Option<Fetched> {
        self.wait_for(self.lock(), |state| state.take_file(path))
    }

    /// What `take` takes, once it is done.
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
                    // Nobody is to wait in vain once for each name.
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

    /// What it holds is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
