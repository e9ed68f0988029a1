//! Tests every cipher that plakar offers to SSH servers, with packets of all lengths.

use plakar::store::Area;
use plakar::util::Id;

use crate::harness::noise;
use crate::server::Server;

/// Ciphers with the MACs for those that need one: encrypt-then-MAC and encrypt-and-MAC.
const WAYS: [(&str, &str); 9] = [
    ("aes128-gcm@openssh.com", "hmac-sha2-256"),
    ("aes256-gcm@openssh.com", "hmac-sha2-256"),
    ("chacha20-poly1305@openssh.com", "hmac-sha2-256"),
    ("aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
    ("aes128-ctr", "hmac-sha2-256"),
    ("aes192-ctr", "hmac-sha2-512-etm@openssh.com"),
    ("aes192-ctr", "hmac-sha2-512"),
    ("aes256-ctr", "hmac-sha2-256-etm@openssh.com"),
    ("aes256-ctr", "hmac-sha2-512"),
];
/// Lengths for packets of every number of bytes modulo the block size, at several sizes; for a
/// message of more than one packet; and for many of them.
const LENGTHS: [std::ops::Range<usize>; 4] =
    [1..70, 992..1060, 32_700..32_800, 3_000_000..3_000_003];

#[test]
fn packets_of_every_length_go_both_ways_by_every_cipher() {
    std::thread::scope(|scope| {
        for (cipher, mac) in WAYS {
            scope.spawn(move || there_and_back(cipher, mac));
        }
    });
}

fn there_and_back(cipher: &str, mac: &str) {
    // Keys are exchanged again in between, which must work with every cipher.
    let server = Server::with(&format!(
        "Subsystem sftp internal-sftp\nCiphers {cipher}\nMACs {mac}\nRekeyLimit 4M\n"
    ));
    let store = server.store("st");
    store.prepare().unwrap();
    let noise = noise(3_100_000);
    for length in LENGTHS.into_iter().flatten() {
        let bytes = &noise[length % 7..][..length];
        let id = Id::of(bytes);
        store.put(Area::Packs, id, bytes).unwrap();
        let back = store.get(Area::Packs, id).unwrap();
        assert!(back == bytes, "{cipher}, {mac}: {length} bytes");
    }
}
