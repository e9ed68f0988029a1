//! Tests stores that are damaged while they are served.

use std::fs;

use plakar::util::Id;

use crate::served::{Served, bytes, object};

#[test]
fn an_object_that_cannot_be_read_to_its_end_is_seen_to_be_short() {
    let served = Served::new("short", &[]);
    // More than the buffers of two sockets can hold.
    let kept = bytes(1, 48 << 20);
    served.put("index", &kept);
    let path = format!("st/index/{}", Id::of(&kept));
    let mut wire = served.connect();
    let target = object("index", &kept);
    // The object is read before it is truncated: the head contains the original length.
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ));
    let mut byte = [0];
    std::io::Read::read_exact(&mut wire.tcp(), &mut byte).expect("it answers");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(served.sandbox.path(&path));
    file.and_then(|file| file.set_len(1000))
        .expect("it can be cut");
    let rest = wire.rest();
    assert!(rest.starts_with(b"TTP/1.1 200 OK\r\n"));
    assert!(rest.len() < kept.len(), "{}", rest.len());
    served.lives();
}

#[test]
fn what_is_no_object_is_not_served() {
    let served = Served::new("strange", &[]);
    let secret = served.sandbox.path("secret");
    fs::write(&secret, "secret").expect("it can be written");
    let (link, directory) = (bytes(1, 9), bytes(2, 9));
    let place = |bytes: &[u8]| served.sandbox.path(&format!("st/keys/{}", Id::of(bytes)));
    std::os::unix::fs::symlink(&secret, place(&link)).expect("it can be linked");
    fs::create_dir(place(&directory)).expect("it can be made");
    for object_bytes in [&link, &directory] {
        let target = object("keys", object_bytes);
        for verb in ["GET", "PUT"] {
            let answer = served.connect().ask(verb, &target, "Content-Length: 0\r\n");
            assert_eq!(answer.field("kloset-error"), Some("corrupt"), "{answer:?}");
            assert!(matches!(answer.status, 409 | 500), "{answer:?}");
            assert!(!answer.text().contains("secret"));
        }
    }
    assert_eq!(served.ask("GET", "/resources/keys").text(), "");
    served.lives();
}
