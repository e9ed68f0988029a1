//! The connections: how many each client may have, and which one is closed when there are too many.
//!
//! A connection is *authorized* once a request on it was admitted: with a valid token, or on a
//! server without tokens. Until then it is expendable, whatever it does. When the limit is reached,
//! unauthorized connections are closed first: the oldest one of the address that has most of them.
//! Next is the authorized connection that has been *waiting* longest for a request. A connection on
//! which an authorized request is being processed is never closed.
//!
//! Two shares keep one client from displacing the others:
//!
//! - One address has at most [`Limits::address`] connections. Beyond this, its own connections are
//!   closed first.
//! - Addresses that are not *known* (no request from them was admitted within [`KNOWN_FOR`])
//!   together have at most [`Limits::unknown`] connections. Therefore many addresses, such as those
//!   of a large IPv6 network, cannot keep out a known client.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An authorized connection may not be closed before it has waited this long, since the client had
/// no time to send a request.
const FAIR: Duration = Duration::from_millis(250);
/// The maximum number of connections that were shut down but have not ended yet, each with a thread
/// and a descriptor. At this limit, no connection is closed in favor of a new one.
const LEAVING_LIMIT: usize = 32;
/// How long a new client waits for one of these to end before it is refused. Their threads only
/// have to notice the shutdown; only a machine without an idle processor delays that.
const LEAVING_PATIENCE: Duration = Duration::from_millis(200);
/// How long an address stays known: more than a week, for clients that back up weekly.
const KNOWN_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// The maximum number of known addresses. Each takes about 40 bytes.
const KNOWN_LIMIT: usize = 4096;

/// Why a client is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All connections are processing requests.
    Total,
    /// The share of unknown addresses is exhausted.
    Unknown,
    /// The share of this address is exhausted.
    Share,
}

/// The limits on connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For all addresses.
    pub(super) total: usize,
    /// For all addresses that are not known.
    pub(super) unknown: usize,
    /// For one address.
    pub(super) address: usize,
}

impl Limits {
    /// Derives the limits of a server with `total` connections. One quarter is reserved for
    /// addresses other than any single one, and one quarter for known addresses.
    pub(super) fn of(total: usize) -> Limits {
        let total = total.max(1);
        let most = (total - total / 4).max(1);
        Limits {
            total,
            unknown: most,
            address: most,
        }
    }
}

/// All open connections.
pub(super) struct Census {
    limits: Limits,
    fair: Duration,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    seats: HashMap<u64, Seated>,
    next: u64,
    /// Addresses of admitted requests, with the time of the most recent one.
    known: HashMap<IpAddr, Instant>,
    is_closing: bool,
}

struct Seated {
    address: IpAddr,
    tcp: Arc<TcpStream>,
    since: Instant,
    /// The time since when it has been waiting for a request; `None` while one is being processed.
    waiting: Option<Instant>,
    is_authorized: bool,
    is_shut: bool,
}

/// The registration of a connection, removed when it is dropped.
pub(super) struct Seat {
    census: Arc<Census>,
    number: u64,
}

impl Census {
    pub(super) fn new(limits: Limits) -> Census {
        Census {
            limits,
            fair: FAIR,
            state: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Admits `tcp`, and closes another connection if necessary. Waits up to [`LEAVING_PATIENCE`]
    /// for connections that were shut down to end.
    pub(super) fn admit(
        self: &Arc<Census>,
        address: IpAddr,
        tcp: &Arc<TcpStream>,
    ) -> Result<Seat, Full> {
        let address = household(address);
        let mut state = self.lock();
        if state.full(self.limits, address).is_some() {
            let is_crowded = |state: &mut State| state.leaving() >= LEAVING_LIMIT;
            let waited = self
                .left
                .wait_timeout_while(state, LEAVING_PATIENCE, is_crowded);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // Connections may have ended meanwhile.
        if let Some(full) = state.full(self.limits, address)
            && (state.leaving() >= LEAVING_LIMIT
                || !state.make_room(Some(address), full, self.fair))
        {
            return Err(full);
        }
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        let now = Instant::now();
        let seated = Seated {
            address,
            tcp: tcp.clone(),
            since: now,
            waiting: Some(now),
            is_authorized: false,
            is_shut: false,
        };
        state.seats.insert(number, seated);
        Ok(Seat {
            census: self.clone(),
            number,
        })
    }

    /// The number of open connections.
    pub(super) fn count(&self) -> usize {
        self.lock().staying().count()
    }

    /// Shuts down the most expendable connection of all, because descriptors have run out.
    pub(super) fn make_room(&self) {
        self.lock().make_room(None, Full::Total, self.fair);
    }

    /// Shuts down waiting connections, now and from now on, and gives the others `time` to end.
    /// Then shuts those down as well, and gives them `mercy` to clean up.
    pub(super) fn close(&self, time: Duration, mercy: Duration) {
        let mut state = self.lock();
        state.is_closing = true;
        state.shut(|seated| seated.waiting.is_some());
        state = self.until_empty(state, time);
        state.shut(|_| true);
        drop(self.until_empty(state, mercy));
    }

    fn until_empty<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Duration,
    ) -> MutexGuard<'a, State> {
        let waited = self
            .left
            .wait_timeout_while(state, time, |state| !state.seats.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// A poisoned lock is usable: the state is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn staying(&self) -> impl Iterator<Item = &Seated> {
        self.seats.values().filter(|seated| !seated.is_shut)
    }

    fn leaving(&self) -> usize {
        self.seats.values().filter(|seated| seated.is_shut).count()
    }

    /// Whether `address` is known.
    fn is_known(&self, address: IpAddr) -> bool {
        let since = self.known.get(&address);
        since.is_some_and(|since| since.elapsed() < KNOWN_FOR)
    }

    /// Records that a request from `address` was admitted.
    fn remember(&mut self, address: IpAddr) {
        self.known.insert(address, Instant::now());
        if self.known.len() > KNOWN_LIMIT {
            let oldest = self.known.iter().min_by_key(|(_, since)| **since);
            let oldest = oldest.map(|(address, _)| *address);
            oldest.map(|address| self.known.remove(&address));
        }
    }

    /// Returns the limit that prevents admission of `address`, if any.
    fn full(&self, limits: Limits, address: IpAddr) -> Option<Full> {
        let count = |is_meant: &dyn Fn(&Seated) -> bool| {
            let meant = self.staying().filter(|seated| is_meant(seated));
            meant.count()
        };
        if count(&|seated| seated.address == address) >= limits.address {
            return Some(Full::Share);
        }
        if !self.is_known(address)
            && count(&|seated| !self.is_known(seated.address)) >= limits.unknown
        {
            return Some(Full::Unknown);
        }
        (count(&|_| true) >= limits.total).then_some(Full::Total)
    }

    /// Shuts down the most expendable connection that a new one of `address` may replace, or of all
    /// connections; see the module documentation. Returns false if there is none.
    fn make_room(&mut self, address: Option<IpAddr>, full: Full, fair: Duration) -> bool {
        let now = Instant::now();
        let mut crowds: HashMap<IpAddr, usize> = HashMap::new();
        for seated in self.staying().filter(|seated| !seated.is_authorized) {
            *crowds.entry(seated.address).or_default() += 1;
        }
        let rank = |seated: &Seated| {
            let is_other = address != Some(seated.address);
            let is_known = self.is_known(seated.address);
            if is_other && (full == Full::Share || full == Full::Unknown && is_known) {
                return None;
            }
            match seated.is_authorized {
                false => {
                    let crowd = crowds.get(&seated.address).copied().unwrap_or(0);
                    Some((false, is_known, Reverse(crowd), seated.since))
                }
                true => {
                    let since = seated.waiting?;
                    let is_due = now.saturating_duration_since(since) >= fair;
                    is_due.then_some((true, is_other, Reverse(0), since))
                }
            }
        };
        let staying = self.seats.iter().filter(|(_, seated)| !seated.is_shut);
        let ranked = staying.filter_map(|(number, seated)| Some((rank(seated)?, *number)));
        let least = ranked.min_by_key(|(rank, _)| *rank);
        let Some(seated) = least.and_then(|(_, number)| self.seats.get_mut(&number)) else {
            return false;
        };
        seated.shut();
        true
    }

    fn shut(&mut self, is_meant: impl Fn(&Seated) -> bool) {
        let seats = self.seats.values_mut();
        seats
            .filter(|seated| is_meant(seated))
            .for_each(Seated::shut);
    }
}

impl Seated {
    /// Shuts down the connection, which its thread will notice.
    fn shut(&mut self) {
        self.is_shut = true;
        // The connection may have ended already.
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

impl Seat {
    /// Records that the connection waits for a request. Returns false if no more requests are
    /// accepted.
    pub(super) fn is_to_wait(&self) -> bool {
        let mut state = self.census.lock();
        let is_closing = state.is_closing;
        match state.seats.get_mut(&self.number) {
            Some(seated) if !seated.is_shut && !is_closing => {
                seated.waiting.get_or_insert_with(Instant::now);
                true
            }
            _ => false,
        }
    }

    /// Records that a request has arrived. Returns false if it is too late.
    pub(super) fn is_to_serve(&self) -> bool {
        let mut state = self.census.lock();
        match state.seats.get_mut(&self.number) {
            Some(seated) if !seated.is_shut => {
                seated.waiting = None;
                true
            }
            _ => false,
        }
    }

    /// Whether the most recent request was admitted.
    pub(super) fn is_authorized(&self) -> bool {
        let state = self.census.lock();
        let seated = state.seats.get(&self.number);
        seated.is_some_and(|seated| seated.is_authorized)
    }

    /// Records whether the current request was admitted.
    pub(super) fn set_authorized(&self, is_authorized: bool) {
        let mut state = self.census.lock();
        let Some(seated) = state.seats.get_mut(&self.number) else {
            return;
        };
        seated.is_authorized = is_authorized;
        let address = seated.address;
        if is_authorized {
            state.remember(address);
        }
    }

    /// Whether no further request is accepted.
    pub(super) fn is_last(&self) -> bool {
        self.census.lock().is_closing
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.lock().seats.remove(&self.number);
        self.census.left.notify_all();
    }
}

/// Maps an address to its host or network, so that no client counts more than once.
///
/// A host with one IPv6 address has all addresses with the same first half. An IPv4 address
/// embedded in an IPv6 address, by a dual-stack socket (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC
/// 3056), counts as that IPv4 address. All loopback addresses are the local host.
fn household(address: IpAddr) -> IpAddr {
    let address = match address.to_canonical() {
        IpAddr::V6(address) => match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() as u32))
            }
            [0x2002, ..] => IpAddr::V4(Ipv4Addr::from_bits((address.to_bits() >> 80) as u32)),
            _ if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
        address => address,
    };
    match address.is_loopback() {
        true => IpAddr::V4(Ipv4Addr::LOCALHOST),
        false => address,
    }
}

#[cfg(test)]
mod tests;
