//! Who is connected, and who has to go when there are too many.
//!
//! A connection is *waiting* until the whole head of a request has come: it is idle, or slow.
//! When all seats are taken, the one that has waited longest makes room. So however many
//! connect and say nothing, somebody who has something to say is let in; and somebody who is
//! being served is never thrown out.
//!
//! One address has but a share of the seats, and makes room for itself first.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who has waited no longer than this has not had the time to say anything.
const FAIR: Duration = Duration::from_millis(250);
/// At most so many that were shut may still be on their way out, each with a thread and a
/// descriptor, before anybody else is let in.
const LEAVING_LIMIT: usize = 32;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All seats are taken by those who are being served.
    Total,
    /// This address has its share.
    Share,
}

/// Every connection there is.
pub(super) struct Census {
    limit: usize,
    share: usize,
    fair: Duration,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    seats: HashMap<u64, Seated>,
    next: u64,
    is_closing: bool,
}

/// One connection.
struct Seated {
    address: IpAddr,
    tcp: Arc<TcpStream>,
    /// Since when it has been waiting, unless it is being served.
    waiting: Option<Instant>,
    is_shut: bool,
}

/// A connection's place, given back when dropped.
pub(super) struct Seat {
    census: Arc<Census>,
    number: u64,
}

impl Census {
    /// A census of `limit` seats, `share` of which one address may have.
    pub(super) fn new(limit: usize, share: usize) -> Census {
        Census {
            limit,
            share,
            fair: FAIR,
            state: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Lets `tcp` in, and somebody else out if it must be.
    pub(super) fn admit(
        self: &Arc<Census>,
        address: IpAddr,
        tcp: &Arc<TcpStream>,
    ) -> Result<Seat, Full> {
        let address = household(address);
        let mut state = self.lock();
        let full = state.full(self, address);
        if let Some(full) = full
            && !(state.leaving() < LEAVING_LIMIT && state.make_room(address, full, self.fair))
        {
            return Err(full);
        }
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        let seated = Seated {
            address,
            tcp: tcp.clone(),
            waiting: Some(Instant::now()),
            is_shut: false,
        };
        state.seats.insert(number, seated);
        Ok(Seat {
            census: self.clone(),
            number,
        })
    }

    /// How many are connected.
    pub(super) fn count(&self) -> usize {
        self.lock().staying().count()
    }

    /// Shuts the one that has waited longest, whoever it is: descriptors have run out.
    pub(super) fn make_room(&self) {
        self.lock()
            .make_room(IpAddr::V6(Ipv6Addr::UNSPECIFIED), Full::Total, self.fair);
    }

    /// Shuts those who are waiting, now and from now on, and gives the others `time` to end.
    /// Then these are shut, too, and have as long as `mercy` to clean up.
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

    /// Every statement leaves it whole, so a thread that ended while holding it does no harm.
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

    /// What keeps `address` out, if anything does.
    fn full(&self, census: &Census, address: IpAddr) -> Option<Full> {
        let theirs = self.staying().filter(|seated| seated.address == address);
        if theirs.count() >= census.share {
            return Some(Full::Share);
        }
        (self.staying().count() >= census.limit).then_some(Full::Total)
    }

    /// Shuts the one that has waited longest, and at least `fair`: one of `address` if there
    /// is any, or must be.
    fn make_room(&mut self, address: IpAddr, full: Full, fair: Duration) -> bool {
        let now = Instant::now();
        let waiting = self.seats.values_mut().filter(|seated| !seated.is_shut);
        let mut waiting: Vec<(bool, Instant, &mut Seated)> = waiting
            .filter_map(|seated| Some((seated.address != address, seated.waiting?, seated)))
            .filter(|(is_other, since, _)| {
                let is_due = now.saturating_duration_since(*since) >= fair;
                is_due && !(*is_other && full == Full::Share)
            })
            .collect();
        let longest = waiting
            .iter_mut()
            .min_by_key(|(is_other, since, _)| (*is_other, *since));
        match longest {
            Some((.., seated)) => {
                seated.shut();
                true
            }
            None => false,
        }
    }

    fn shut(&mut self, is_meant: impl Fn(&Seated) -> bool) {
        let seats = self.seats.values_mut();
        seats
            .filter(|seated| is_meant(seated))
            .for_each(Seated::shut);
    }
}

impl Seated {
    /// Ends the connection, which its thread will notice.
    fn shut(&mut self) {
        self.is_shut = true;
        // It may have ended by itself.
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

impl Seat {
    /// Says that a request is awaited. False if there is to be none.
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

    /// Says that a request has come. False if it comes too late.
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

    /// Whether this is the last request that is served.
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

/// Whom an address stands for: somebody who has one address of IPv6 has all those with the
/// same first half.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A census in which whoever waits can be thrown out at once, and a connection for all.
    fn census(limit: usize, share: usize) -> (Arc<Census>, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let census = Census {
            fair: Duration::ZERO,
            ..Census::new(limit, share)
        };
        (Arc::new(census), Arc::new(tcp))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_waits_makes_room_and_who_is_served_does_not() {
        let (census, tcp) = census(3, 2);
        let admit = |text| census.admit(address(text), &tcp);
        let served = admit("192.0.2.1").unwrap();
        assert!(served.is_to_serve());
        let first = admit("192.0.2.1").unwrap();
        let second = admit("192.0.2.1").unwrap();
        // A share is two: the first had to go.
        assert!(!first.is_to_wait() && !first.is_to_serve());
        assert!(second.is_to_wait());
        let third = admit("192.0.2.2").unwrap();
        assert_eq!(census.count(), 3);
        // There are three: the one that has waited longest had to go, whoever it was.
        let fourth = admit("192.0.2.3").unwrap();
        assert!(!second.is_to_wait() && third.is_to_wait());
        assert!(third.is_to_serve() && fourth.is_to_serve());
        assert_eq!(admit("192.0.2.4").err(), Some(Full::Total));
        assert!(served.is_to_wait());
        let fifth = admit("192.0.2.4").unwrap();
        assert!(!served.is_to_wait());
        assert!(fifth.is_to_serve());
        drop(third);
        assert!(admit("192.0.2.4").unwrap().is_to_serve());
        assert_eq!(census.count(), 2);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_ipv4_is_what_it_is() {
        let (census, tcp) = census(10, 1);
        let admit = |text| {
            census
                .admit(address(text), &tcp)
                .map(|seat| (seat.is_to_serve(), seat))
        };
        let seats = [admit("2001:db8::1").unwrap(), admit("192.0.2.1").unwrap()];
        assert!(seats.iter().all(|(is_served, _)| *is_served));
        assert_eq!(admit("2001:db8::ffff:1").err(), Some(Full::Share));
        assert_eq!(admit("::ffff:192.0.2.1").err(), Some(Full::Share));
        assert!(admit("2001:db8:0:1::1").is_ok() && admit("192.0.2.2").is_ok());
    }

    #[test]
    fn nobody_waits_once_it_is_closing() {
        let (census, tcp) = census(10, 10);
        let seat = census.admit(address("192.0.2.1"), &tcp).unwrap();
        census.close(Duration::ZERO, Duration::ZERO);
        assert!(!seat.is_to_wait() && !seat.is_to_serve() && seat.is_last());
    }
}
