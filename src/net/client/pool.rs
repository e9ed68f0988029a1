//! Connections: how many there are at once, and those that wait for a next request.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Wire;

/// Servers and routers forget connections on which nothing happens. This is below what any of
/// them is known to take for that.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// The connections to one server.
pub(super) struct Pool {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    in_use: usize,
    /// Those that wait, and since when; the last one was used last.
    idle: Vec<(Instant, Wire)>,
}

/// The right to have one connection.
pub(super) struct Lease<'a>(&'a Pool);

impl Pool {
    /// At most `most` connections at once, at least one.
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

    /// Waits until there may be another connection. Whoever has one gives it back before it
    /// asks for a second, or everybody could wait for each other.
    pub(super) fn lease(&self) -> Lease<'_> {
        let is_full = |state: &mut State| state.in_use >= self.most;
        let state = self.freed.wait_while(self.lock(), is_full);
        state.unwrap_or_else(PoisonError::into_inner).in_use += 1;
        Lease(self)
    }

    /// Whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// A connection that was kept, if there is one that seems to live.
    pub(super) fn idle(&mut self) -> Option<Wire> {
        let mut state = self.0.lock();
        state.idle.retain(|(since, _)| since.elapsed() < IDLE_LIMIT);
        while let Some((_, mut wire)) = state.idle.pop() {
            // Nothing is due on it: what lies there is its end.
            if !wire.has_more() && !wire.stream().is_stirring() {
                return Some(wire);
            }
        }
        None
    }

    /// Keeps `wire`, on which all was read, for a next request.
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
