//! Tests many clients, slow clients, and clients that send too much.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::served::{Served, bytes, object, sandbox, until};
use crate::wire::{Wire, put_head};

/// The maximum memory of a server, whatever its clients do.
const MEMORY_KIB: u64 = 48 << 10;
/// The maximum waiting time of a client: ten times the specified value, for machines under load.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn slow_clients_keep_nobody_out() {
    let served = Served::new("slow", &["-max-connections", "100"]);
    let slow = |number: usize| {
        let mut wire = served.connect();
        // The client sends nothing, half a head, or a head without its body.
        let _ = match number % 3 {
            0 => Ok(()),
            1 => wire.try_send("GET / HTTP/1.1\r\nHos"),
            _ => wire.try_send(put_head(&object("packs", b"x"), 100)),
        };
        wire
    };
    let crowd: Vec<Wire> = (0..150).map(slow).collect();
    until("they are forgotten in favour of others", || {
        let mut wire = served.connect();
        wire.try_send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .is_ok()
            && wire
                .answer_or_end("GET")
                .is_some_and(|answer| answer.status == 200)
    });
    let begun = Instant::now();
    served.lives();
    assert!(begun.elapsed() < SOON);
    drop(crowd);
}

#[test]
fn three_hundred_slow_clients_are_borne_at_once() {
    let served = Served::new("three_hundred", &[]);
    let mut crowd: Vec<Wire> = (0..300).map(|_| served.connect()).collect();
    for wire in &mut crowd {
        wire.send("GET / HTTP/1.1\r\n");
    }
    for _ in 0..20 {
        let begun = Instant::now();
        served.lives();
        assert_eq!(served.put("keys", &bytes(1, 1000)).status / 100, 2);
        assert!(begun.elapsed() < SOON);
    }
    // These clients are served too, once their requests are complete.
    for wire in &mut crowd {
        wire.send("Host: localhost\r\n\r\n");
        assert_eq!(wire.answer("GET").status, 200);
    }
    assert!(served.figure("VmHWM") < MEMORY_KIB);
}

#[test]
fn when_all_are_busy_others_are_told_to_come_back() {
    let served = Served::new("busy", &["-max-connections", "4"]);
    // One address may use three quarters of the connections.
    let busy = || {
        let mut wire = served.connect();
        wire.send(put_head(&object("packs", b"x"), 100));
        wire
    };
    let crowd: Vec<Wire> = (0..3).map(|_| busy()).collect();
    until("they are being served", || served.files("tmp").len() == 3);
    let mut wire = served.connect();
    let answer = wire.answer("GET");
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (429, Some("2"))
    );
    assert_eq!(answer.field("connection"), Some("close"));
    wire.is_over();
    drop(crowd);
    until("there is room", || {
        let mut wire = served.connect();
        let _ = wire.try_send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire.answer_or_end("GET")
            .is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn more_connections_than_descriptors_are_answered_or_refused() {
    let sandbox = sandbox("descriptors");
    let plakar = sandbox.command::<&str>(&[]).get_program().to_owned();
    let mut command = Command::new("/bin/sh");
    let line = "ulimit -n 256; exec \"$0\" at st -json server -listen 127.0.0.1:0";
    command
        .args(["-c", line])
        .arg(plakar)
        .current_dir(sandbox.path("."));
    command.env_clear().env("HOME", sandbox.path("home"));
    let served = Served::started(sandbox, command);
    for round in 0..2 {
        let mut crowd: Vec<Wire> = (0..400).map(|_| served.connect()).collect();
        for wire in &mut crowd {
            let _ = wire.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        let mut answered = 0;
        for wire in &mut crowd {
            match wire.answer_or_end("GET").map(|answer| answer.status) {
                Some(200) => answered += 1,
                Some(status) => assert!([429, 503].contains(&status), "{status}"),
                // A connection that was idle for too long was closed to make room.
                None => {}
            }
        }
        assert!(answered > 20, "{answered}");
        drop(crowd);
        until(&format!("round {round}: it is itself again"), || {
            let mut wire = served.connect();
            let _ = wire.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            wire.answer_or_end("GET")
                .is_some_and(|answer| answer.status == 200)
        });
    }
}

#[test]
fn heads_without_end_are_not_kept() {
    let served = Served::new("endless", &[]);
    let mut wire = served.connect();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n");
    let line = "X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(20_000);
    // 200 MiB. The connection is closed long before.
    for _ in 0..200 {
        if wire.try_send(&line).is_err() {
            break;
        }
    }
    let mut line = served.connect();
    let _ = line.try_send(vec![b'x'; 100 << 20]);
    served.lives();
    assert!(served.figure("VmHWM") < MEMORY_KIB);
}

#[test]
fn a_client_that_reads_no_answers_is_held_back() {
    let served = Served::new("unread", &[]);
    let kept = bytes(1, 1 << 20);
    let target = object("packs", &kept);
    served.put("packs", &kept);
    let wire = served.connect();
    wire.tcp().set_nonblocking(true).expect("it is a socket");
    let requests = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(1000);
    let mut sent = 0;
    // Sends as many requests as possible, until the socket buffers are full.
    let mut idle = 0;
    while sent < 1 << 30 && idle < 100 {
        match std::io::Write::write(&mut wire.tcp(), requests.as_bytes()) {
            Ok(length) => (sent, idle) = (sent + length, 0),
            Err(_) => {
                idle += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    assert!(sent < 1 << 28, "{sent} bytes of requests were taken");
    served.lives();
    assert!(served.figure("VmHWM") < MEMORY_KIB);
}

#[test]
fn sixty_four_uploads_of_packs_take_little_memory() {
    let served = Served::new("memory", &[]);
    let sent = bytes(1, 32 << 20);
    let id = plakar::util::Id::of(&sent);
    let wrong = plakar::util::Id([7; 32]);
    let (served, sent) = (&served, &sent);
    thread::scope(|scope| {
        for number in 0..64 {
            // Most uploads fail at the end, which uses as much memory but no disk space.
            let id = if number < 2 { id } else { wrong };
            scope.spawn(move || {
                let mut wire = served.connect();
                let answer = wire.put(&format!("/resources/packs/{id}"), sent);
                let expected: &[u16] = if number < 2 { &[200, 201] } else { &[422] };
                assert!(expected.contains(&answer.status), "{answer:?}");
            });
        }
    });
    let peak = served.figure("VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    let (mut wires, target) = (Vec::new(), object("packs", sent));
    for _ in 0..64 {
        let mut wire = served.connect();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        wires.push(wire);
    }
    for wire in &mut wires {
        assert!(wire.answer("GET").body == *sent);
    }
    let peak = served.figure("VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    assert!(served.files("tmp").is_empty());
    std::fs::remove_dir_all(served.sandbox.path("st/packs")).expect("it can be removed");
}

#[test]
fn sixty_four_listings_that_nobody_reads_take_little_memory() {
    let served = Served::new("listings", &[]);
    let index = served.sandbox.path("st/index");
    for number in 0..10_000_u64 {
        let id = plakar::util::Id::of(&number.to_le_bytes());
        std::fs::write(index.join(id.to_string()), b"").expect("it can be written");
    }
    let mut wires: Vec<Wire> = (0..64).map(|_| served.connect()).collect();
    for wire in &mut wires {
        wire.send("GET /resources/index HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let mut shortest = usize::MAX;
    for wire in &mut wires {
        let page = wire.answer("GET");
        let lines = page.text().lines().count();
        assert_eq!(page.field("link").is_some(), lines < 10_000);
        shortest = shortest.min(lines);
    }
    assert!(shortest >= 100, "{shortest}");
    let peak = served.figure("VmHWM");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    until("there is room for all of it again", || {
        let page = served.ask("GET", "/resources/index");
        page.text().lines().count() == 10_000
    });
    std::fs::remove_dir_all(index).expect("it can be removed");
}
