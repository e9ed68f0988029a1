//! A connection pool: limits the number of connections and keeps idle ones for reuse.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Wire;

/// The maximum idle time of a connection. Servers and routers drop idle connections; no common one
/// does so earlier than this.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// The connections to one server.
pub(super) struct Pool {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    in_use: usize,
    /// Idle connections with the start of their idle time, the most recently used one last.
    idle: Vec<(Instant, Wire)>,
}

/// The right to use one connection.
pub(super) struct Lease<'a>(&'a Pool);

impl Pool {
    /// Creates a pool of at most `most` connections. 0 is treated as 1.
    pub(super) fn new(most: usize) -> Pool {
        Pool {
            most: most.max(1),
            state: Mutex::new(State {
                in_use: 0,
                idle: Vec::new(),
            }),
            freed: Condvar::new(),
        }
    }

    /// Waits until another connection is allowed. A thread must return its lease before it requests
    /// a second one; otherwise threads could wait for each other.
    pub(super) fn lease(&self) -> Lease<'_> {
        let is_full = |state: &mut State| state.in_use >= self.most;
        let state = self.freed.wait_while(self.lock(), is_full);
        state.unwrap_or_else(PoisonError::into_inner).in_use += 1;
        Lease(self)
    }

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// Takes an idle connection that appears to be alive.
    pub(super) fn idle(&mut self) -> Option<Wire> {
        let mut state = self.0.lock();
        state.idle.retain(|(since, _)| since.elapsed() < IDLE_LIMIT);
        while let Some((_, mut wire)) = state.idle.pop() {
            // No response is pending, so any available bytes mean that the connection has ended.
            if !wire.has_more() && !wire.stream().is_stirring() {
                return Some(wire);
            }
        }
        None
    }

    /// Keeps `wire` for a later request. Its last response must have been read completely.
    pub(super) fn keep(&mut self, wire: Wire) {
        let mut state = self.0.lock();
        state.idle.retain(|(since, _)| since.elapsed() < IDLE_LIMIT);
        if state.idle.len() < self.0.most {
            state.idle.push((Instant::now(), wire));
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.lock().in_use -= 1;
        self.0.freed.notify_one();
    }
}
