//! Several connections to one server: as many as are wanted at once, and kept for the next.
//!
//! A connection that broke is let go of, with all that wait unused, since what broke one has
//! mostly broken them all; the work is then done again over a new one, as [`retry`] has it. A
//! server that lets fewer in than we would like is asked for no more than it does.
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

/// Connections where nobody says how many: at 20 ms of delay four read half as fast as six, and
/// eight no faster. Servers let ten knock at once (`MaxStartups` of sshd_config(5)).
pub const CONNECTIONS: usize = 6;

/// Connections to one server.
pub struct Pool {
    endpoint: Endpoint,
    retry: Retry,
    /// As many connections as are wanted.
    wanted: usize,
    state: Mutex<State>,
    freed: Condvar,
    is_given_up: AtomicBool,
}

/// Whether a connection was lost, or could not be had.
fn is_lost<T>(outcome: &Result<T>) -> bool {
    (outcome.as_ref()).is_err_and(|cause| cause.kind() == Kind::Unavailable)
}

struct State {
    /// The one used last at the end.
    idle: Vec<Connection>,
    /// Connections there are, idle ones included.
    open: usize,
    /// As many as there may be now.
    limit: usize,
}

impl State {
    /// The idle connection that has `near` open, else the one used last.
    fn idle_one(&mut self, near: Option<&Path>) -> Option<Connection> {
        let has_it = |connection: &Connection| near.is_some_and(|path| connection.keeps(path));
        match self.idle.iter().position(has_it) {
            Some(position) => Some(self.idle.remove(position)),
            None => self.idle.pop(),
        }
    }
}

impl Pool {
    /// At most `limit` connections to `endpoint`, none of them made yet. What is lost is made
    /// again with `patience`.
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

    /// How many connections are worth using at once.
    pub fn connections(&self) -> usize {
        self.wanted
    }

    /// Does `work` over a connection, and again over another if that is lost: work that is
    /// repeated must find what it did before to be as good as done.
    pub fn run<T>(&self, work: impl FnMut(&mut Connection) -> Result<T>) -> Result<T> {
        self.run_near(None, work)
    }

    /// As [`Pool::run`], over a connection that has `file` open if one is idle.
    pub fn run_near<T>(
        &self,
        file: Option<&Path>,
        mut work: impl FnMut(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.again(|| work(&mut *self.lease(file)?))
    }

    /// Does work that leases connections itself, and again when one is lost.
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

    /// Whether the server stayed away for longer than is waited.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// A connection for as long as the lease lasts: an idle one, a new one, or, when there
    /// are as many as there may be, the next that is given back. Of those that are idle, one
    /// that has `near` open.
    fn lease(&self, near: Option<&Path>) -> Result<Lease<&Pool>> {
        Ok(Lease::of(self, self.take(near)?))
    }

    /// The same for whoever holds the pool with others.
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

    /// Goes on with the connections there are, if there are any: the server may let in no
    /// more at once. If it is gone, they break, and there are none.
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

    /// Lets go of the connections that nobody uses, and begins anew.
    fn forget_idle(&self) {
        let idle = {
            let mut state = self.lock();
            state.open -= state.idle.len();
            state.limit = self.wanted;
            std::mem::take(&mut state.idle)
        };
        // Outside of the lock: each says farewell.
        drop(idle);
    }

    /// What it holds is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, given back when this is dropped.
pub struct Lease<P: Deref<Target = Pool>> {
    pool: P,
    /// There until then.
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
