//! Tests storing objects: atomically, once, and only if the name matches the contents.

use std::thread;

use plakar::util::Id;

use crate::harness::Sandbox;
use crate::mounted::Mounted;
use crate::served::{Served, bytes, object, until};
use crate::wire::put_head;

#[test]
fn an_object_that_is_there_stays_as_it_is() {
    let served = Served::new("there", &[]);
    let kept = bytes(1, 50_000);
    let target = object("packs", &kept);
    let mut wire = served.connect();
    assert_eq!(wire.put(&target, &kept).status, 201);
    assert_eq!(wire.put(&target, &kept).status, 200);
    // Arbitrary bytes of the same length.
    assert_eq!(wire.put(&target, &bytes(2, 50_000)).status, 200);
    let answer = wire.put(&target, b"short");
    assert_eq!(
        (answer.status, answer.field("kloset-error")),
        (409, Some("corrupt"))
    );
    let mut wire = served.connect();
    assert!(wire.ask("GET", &target, "").body == kept);
    let unless = "If-None-Match: *\r\nContent-Length: 0\r\n";
    assert_eq!(wire.ask("PUT", &target, unless).status, 412);
}

#[test]
fn what_is_not_what_its_name_says_leaves_nothing() {
    let served = Served::new("wrong_hash", &[]);
    let (named, sent) = (bytes(1, 300_000), bytes(2, 300_000));
    for target in [object("packs", &named), object("keys", &bytes(1, 10))] {
        let sent = if target.contains("keys") {
            &sent[..10]
        } else {
            &sent
        };
        let answer = served.connect().put(&target, sent);
        assert_eq!(
            (answer.status, answer.field("kloset-error")),
            (422, Some("corrupt"))
        );
        assert_eq!(served.ask("GET", &target).status, 404);
    }
    assert!(served.files("tmp").is_empty());
}

#[test]
fn chunked_uploads_are_stored() {
    let served = Served::new("chunked", &[]);
    let sent = bytes(1, 100_000);
    let mut wire = served.connect();
    let target = object("packs", &sent);
    wire.send(format!(
        "PUT {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    for piece in sent.chunks(7777) {
        wire.send(format!("{:x};ext\r\n", piece.len()));
        wire.send(piece);
        wire.send("\r\n");
    }
    wire.send("0\r\nTrailer: x\r\n\r\n");
    assert_eq!(wire.answer("PUT").status, 201);
    assert!(wire.ask("GET", &target, "").body == sent);
}

#[test]
fn a_client_that_waits_for_our_word_is_told_at_once() {
    let served = Served::new("expect", &[]);
    let sent = bytes(1, 2 << 20);
    let target = object("packs", &sent);
    let head =
        put_head(&target, sent.len()).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let mut wire = served.connect();
    wire.send(&head);
    assert_eq!(wire.answer("PUT").status, 100);
    wire.send(&sent);
    assert_eq!(wire.answer("PUT").status, 201);
    assert_eq!(wire.ask("GET", "/healthz", "").status, 200);
    for (head, status) in [
        (head.clone(), 200),
        (head.replace("2097152", "2097151"), 409),
        (head.replace("2097152", "2000000000"), 413),
        (head.replace("packs", "nothing"), 404),
    ] {
        let mut wire = served.connect();
        wire.send(&head);
        let answer = wire.answer("PUT");
        assert_eq!(
            (answer.status, answer.field("connection")),
            (status, Some("close"))
        );
        wire.is_over();
    }
}

#[test]
fn of_racing_uploads_one_is_kept_whole() {
    let served = Served::new("racing", &[]);
    for round in 0..5 {
        let sent = bytes(round, 1 << 20);
        let target = object("packs", &sent);
        let (served, sent, target) = (&served, &sent, &target);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let upload = || scope.spawn(move || served.connect().put(target, sent).status);
            let racers: Vec<_> = (0..8).map(|_| upload()).collect();
            racers
                .into_iter()
                .map(|racer| racer.join().expect("it ends"))
                .collect()
        });
        assert!(
            statuses.iter().all(|status| [200, 201].contains(status)),
            "{statuses:?}"
        );
        assert!(statuses.contains(&201), "{statuses:?}");
        assert!(served.ask("GET", target).body == *sent);
    }
    assert!(served.files("tmp").is_empty());
}

#[test]
fn a_server_that_is_killed_leaves_no_part_of_an_object() {
    let mut served = Served::new("killed", &[]);
    let sent = bytes(1, 8 << 20);
    let mut wire = served.connect();
    wire.send(put_head(&object("packs", &sent), sent.len()));
    wire.send(&sent[..6 << 20]);
    until("something is written", || {
        let weigh = |path: &std::path::PathBuf| path.metadata().map_or(0, |told| told.len());
        served.files("tmp").iter().map(weigh).sum::<u64>() > 1 << 20
    });
    served.kill();
    let Served { sandbox, .. } = &served;
    let fan = format!("packs/{}", &Id::of(&sent).to_string()[..2]);
    assert!(served.files(&fan).is_empty());
    sandbox.run(&["at", "st", "check"]).ended(0);
}

#[test]
fn a_client_that_goes_leaves_nothing() {
    let served = Served::new("gone", &[]);
    let sent = bytes(1, 1 << 20);
    let mut wire = served.connect();
    wire.send(put_head(&object("packs", &sent), sent.len()));
    wire.send(&sent[..500_000]);
    until("it is begun", || !served.files("tmp").is_empty());
    drop(wire);
    until("it is given up", || served.files("tmp").is_empty());
    assert_eq!(served.ask("GET", &object("packs", &sent)).status, 404);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let sandbox = Sandbox::new("server_full");
    let Some(disk) = Mounted::tmpfs(&sandbox, "st", 8 << 20) else {
        return;
    };
    sandbox.run(&["at", "st", "create", "-plaintext"]).ended(0);
    let served = Served::of(sandbox, &[]);
    let kept = bytes(1, 1 << 20);
    assert_eq!(served.put("packs", &kept).status, 201);
    let large = bytes(2, 16 << 20);
    let answer = served.put("packs", &large);
    assert_eq!(
        (answer.status, answer.field("kloset-error")),
        (507, Some("no-space"))
    );
    assert!(!answer.text().contains("server_full"), "{}", answer.text());
    assert!(served.files("tmp").is_empty());
    disk.fill();
    assert_eq!(served.put("keys", &bytes(3, 50_000)).status, 507);
    assert!(served.ask("GET", &object("packs", &kept)).body == kept);
    disk.empty();
    assert_eq!(served.put("keys", &bytes(3, 50_000)).status, 201);
    drop(served);
}
