//! A pool of connections to one server: opened on demand up to a limit, and reused.
//!
//! When a connection breaks, the pool drops it and all idle connections, because the cause has
//! usually broken them too. The work is then repeated over a new connection according to [`retry`].
//! If the server accepts fewer connections than wanted, the pool lowers its limit to that number.
//!
//! [`retry`]: crate::net::retry

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::sftp::Connection;
use super::{Endpoint, TICK};
use crate::error::{Error, Kind, Result};
use crate::net::retry::{Patience, Retry};

/// The default number of connections. At a round-trip time of 20 ms, four connections read half as
/// fast as six, and eight are no faster. Servers accept ten unauthenticated connections at once
/// (`MaxStartups` in sshd_config(5)).
pub const CONNECTIONS: usize = 6;

/// A pool of connections to one server, shared by several threads.
pub struct Pool {
    endpoint: Endpoint,
    retry: Retry,
    /// The configured number of connections.
    wanted: usize,
    state: Mutex<State>,
    freed: Condvar,
    is_given_up: AtomicBool,
}

/// Whether the connection was lost or could not be opened.
fn is_lost<T>(outcome: &Result<T>) -> bool {
    (outcome.as_ref()).is_err_and(|cause| cause.kind() == Kind::Unavailable)
}

struct State {
    /// Idle connections, the most recently used one last.
    idle: Vec<Connection>,
    /// The number of open connections, including idle ones.
    open: usize,
    /// The current limit on open connections.
    limit: usize,
}

impl State {
    /// An idle connection that keeps the file `near` open; otherwise the most recently used one.
    fn idle_one(&mut self, near: Option<&Path>) -> Option<Connection> {
        let has_it = |connection: &Connection| near.is_some_and(|path| connection.keeps(path));
        match self.idle.iter().position(has_it) {
            Some(position) => Some(self.idle.remove(position)),
            None => self.idle.pop(),
        }
    }
}

impl Pool {
    /// Creates a pool of at most `limit` connections to `endpoint`. Nothing is opened yet. Lost
    /// connections are opened again according to `patience`.
    pub fn new(endpoint: Endpoint, limit: usize, patience: &Patience) -> Pool {
        let (interrupt, notice) = (endpoint.interrupt.clone(), endpoint.notice.clone());
        Pool {
            retry: Retry::new(patience, interrupt, notice),
            endpoint,
            wanted: limit.max(1),
            state: Mutex::new(State {
                idle: Vec::new(),
                open: 0,
                limit: limit.max(1),
            }),
            freed: Condvar::new(),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// The number of connections that can be used concurrently.
    pub fn connections(&self) -> usize {
        self.wanted
    }

    /// Runs `work` with a connection. If the connection is lost, runs it again with another one:
    /// the repeated work must accept the effects of the first attempt as its own.
    pub fn run<T>(&self, work: impl FnMut(&mut Connection) -> Result<T>) -> Result<T> {
        self.run_near(None, work)
    }

    /// Like [`Pool::run`], but prefers an idle connection that keeps `file` open.
    pub fn run_near<T>(
        &self,
        file: Option<&Path>,
        mut work: impl FnMut(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.again(|| work(&mut *self.lease(file)?))
    }

    /// Runs `work`, which leases connections itself, and repeats it if a connection is lost.
    pub fn again<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let done = self.retry.run(|| {
            let outcome = work();
            if is_lost(&outcome) {
                self.forget_idle();
            }
            Ok(outcome?)
        });
        if is_lost(&done) {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
        done
    }

    /// Whether the server was unavailable for longer than the retry limit.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// Leases a connection: an idle one, else a new one, else (at the limit) the next one that is
    /// returned. Prefers an idle connection that keeps the file `near` open.
    fn lease(&self, near: Option<&Path>) -> Result<Lease<&Pool>> {
        Ok(Lease::of(self, self.take(near)?))
    }

    /// Leases a connection, for callers that share ownership of the pool: an idle one, else a new
    /// one, else (at the limit) the next one that is returned.
    pub fn lease_shared(self: &Arc<Pool>) -> Result<Lease<Arc<Pool>>> {
        Ok(Lease::of(self.clone(), self.take(None)?))
    }

    fn take(&self, near: Option<&Path>) -> Result<Connection> {
        let mut state = self.lock();
        loop {
            self.endpoint.interrupt.check()?;
            if let Some(connection) = state.idle_one(near) {
                return Ok(connection);
            }
            if state.open < state.limit {
                state.open += 1;
                drop(state);
                match self.endpoint.connect().and_then(Connection::new) {
                    Ok(connection) => return Ok(connection),
                    Err(cause) => state = self.without(cause)?,
                }
            } else {
                let waited = self.freed.wait_timeout(state, TICK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Continues with the remaining connections, if there are any: the server may accept no more at
    /// once. If the server is gone, the remaining connections break as well, until none is left.
    fn without(&self, cause: Error) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.open -= 1;
        match state.open {
            0 => Err(cause),
            open => {
                state.limit = open;
                Ok(state)
            }
        }
    }

    /// Drops all idle connections and restores the configured limit.
    fn forget_idle(&self) {
        let idle = {
            let mut state = self.lock();
            state.open -= state.idle.len();
            state.limit = self.wanted;
            std::mem::take(&mut state.idle)
        };
        // Outside the lock: each drop sends a disconnect message.
        drop(idle);
    }

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A leased connection. Returns to the pool when the lease is dropped.
pub struct Lease<P: Deref<Target = Pool>> {
    pool: P,
    /// Always `Some` until the drop.
    connection: Option<Connection>,
}

const HELD: &str = "a lease holds its connection until it is dropped";

impl<P: Deref<Target = Pool>> Lease<P> {
    fn of(pool: P, connection: Connection) -> Lease<P> {
        Lease {
            pool,
            connection: Some(connection),
        }
    }
}

impl<P: Deref<Target = Pool>> Deref for Lease<P> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect(HELD)
    }
}

impl<P: Deref<Target = Pool>> DerefMut for Lease<P> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect(HELD)
    }
}

impl<P: Deref<Target = Pool>> Drop for Lease<P> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let mut state = self.pool.lock();
        if connection.is_broken() {
            state.open -= 1;
            drop(state);
            drop(connection);
        } else {
            state.idle.push(connection);
        }
        self.pool.freed.notify_one();
    }
}
