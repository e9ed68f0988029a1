use super::*;
use std::net::TcpListener;

/// Returns a census in which a waiting connection can be closed immediately, and a TCP connection
/// used for all seats.
fn census(total: usize, address: usize) -> (Arc<Census>, Arc<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let limits = Limits {
        total,
        unknown: total,
        address,
    };
    let census = Census {
        fair: Duration::ZERO,
        ..Census::new(limits)
    };
    (Arc::new(census), Arc::new(tcp))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Whether a request on `seat` is admitted, which requires that the connection is open.
fn is_admitted(seat: &Seat) -> bool {
    let is_open = seat.is_to_serve();
    seat.set_authorized(is_open);
    is_open
}

#[test]
fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
    let (census, tcp) = census(3, 2);
    let admit = |text| census.admit(address(text), &tcp);
    let busy = admit("192.0.2.1").unwrap();
    assert!(is_admitted(&busy));
    let first = admit("192.0.2.1").unwrap();
    let second = admit("192.0.2.1").unwrap();
    // The share is two, so the first connection was closed.
    assert!(!first.is_to_wait() && !first.is_to_serve());
    assert!(second.is_to_wait());
    let third = admit("192.0.2.2").unwrap();
    assert_eq!(census.count(), 3);
    assert!(is_admitted(&third) && third.is_to_wait());
    // The limit is three: the unauthorized connection was closed, although another one is waiting.
    let fourth = admit("192.0.2.3").unwrap();
    assert!(is_admitted(&fourth));
    assert!(!second.is_to_wait() && third.is_to_wait());
    let fifth = admit("192.0.2.4").unwrap();
    assert!(is_admitted(&fifth) && !third.is_to_wait());
    assert_eq!(admit("192.0.2.5").err(), Some(Full::Total));
    assert!(busy.is_to_wait());
    drop(fourth);
    assert!(is_admitted(&admit("192.0.2.5").unwrap()));
    assert_eq!(census.count(), 2);
}

#[test]
fn the_oldest_of_the_largest_crowd_goes_first() {
    let (census, tcp) = census(4, 4);
    let admit = |text| census.admit(address(text), &tcp).unwrap();
    let alone = admit("192.0.2.1");
    let crowd = [(); 3].map(|()| admit("192.0.2.2"));
    let other = admit("192.0.2.3");
    assert!(alone.is_to_wait() && other.is_to_wait());
    assert_eq!(crowd.each_ref().map(Seat::is_to_wait), [false, true, true]);
}

#[test]
fn known_addresses_keep_their_share_during_a_flood() {
    let (census, tcp) = census(8, 8);
    let census = Arc::new(Census {
        limits: Limits::of(8),
        fair: census.fair,
        state: Mutex::default(),
        left: Condvar::new(),
    });
    let admit = |text: &str| census.admit(address(text), &tcp);
    let known = admit("192.0.2.1").unwrap();
    assert!(is_admitted(&known));
    let fresh = admit("192.0.2.1").unwrap();
    // As with many addresses of one IPv6 network.
    let mut crowd = Vec::new();
    for number in 0..100 {
        crowd.push(admit(&format!("2001:db8:0:{number:x}::1")).unwrap());
        crowd.retain(Seat::is_to_wait);
    }
    assert!(known.is_to_wait() && fresh.is_to_wait());
    assert_eq!((crowd.len(), census.count()), (6, 8));
    let more = [(); 4].map(|()| admit("192.0.2.1").unwrap());
    assert!(fresh.is_to_wait() && more.iter().all(Seat::is_to_wait));
    assert!(known.is_to_wait());
    // Two unknown addresses remain, and one of them is replaced.
    crowd.retain(Seat::is_to_wait);
    assert_eq!(crowd.len(), 2);
    let unknown = admit("2001:db8:1::1").unwrap();
    assert!(unknown.is_to_wait() && fresh.is_to_wait());
}

#[test]
fn an_ipv6_network_is_one_address_and_ipv4_counts_once() {
    for (text, expected) in [
        ("2001:db8::ffff:1", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("2002:c000:201:5::1", "192.0.2.1"),
        ("127.1.2.3", "127.0.0.1"),
        ("::1", "127.0.0.1"),
        ("::ffff:127.0.0.2", "127.0.0.1"),
    ] {
        assert_eq!(household(address(text)), address(expected), "{text}");
    }
    let (census, tcp) = census(10, 1);
    let admit = |text| {
        census
            .admit(address(text), &tcp)
            .map(|seat| (is_admitted(&seat), seat))
    };
    let seats = [admit("2001:db8::1").unwrap(), admit("192.0.2.1").unwrap()];
    assert!(seats.iter().all(|(is_admitted, _)| *is_admitted));
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
