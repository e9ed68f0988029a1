//! Tests copying between every pair of store types: a directory, a plakar server, and an OpenSSH
//! server; in both directions, with the same key and with different keys.

use crate::command::sandbox;
use crate::harness::{Sandbox, noise, served};
use crate::server::Server;

const KINDS: [&str; 3] = ["fs", "http", "sftp"];

/// The location of a new store of this type.
fn place(server: &Server, kind: &str, name: &str) -> String {
    match kind {
        "fs" => name.to_owned(),
        "http" => served(&format!("pairs_{name}")),
        _ => server.location(name),
    }
}

/// Asserts that the store contains the complete snapshot, and no damage.
fn has(sandbox: &Sandbox, store: &str, id: &str, expected: &[u8]) {
    let words = ["at", store, "cat", &format!("{id}:a")];
    let found = sandbox.run(&words).ended(0).says_nothing().stdout();
    assert!(found.as_bytes() == expected, "{store}: {id}");
    sandbox.run(&["at", store, "check"]).ended(0).says_nothing();
}

/// Copies a snapshot from a store of one type to one of another type, and one back.
fn there_and_back(server: &Server, sandbox: &Sandbox, kinds: (&str, &str), is_sibling: bool) {
    let kin = if is_sibling { "sibling" } else { "stranger" };
    let name = |end: &str| format!("{}_{}_{kin}_{end}", kinds.0, kinds.1);
    let here = place(server, kinds.0, &name("here"));
    let there = place(server, kinds.1, &name("there"));
    let create = ["at", &here, "create", "-plaintext"];
    sandbox.run(&create).ended(0);
    let create = ["at", &there, "create", "-plaintext", "-from", &here];
    let words = if is_sibling {
        &create[..]
    } else {
        &create[..4]
    };
    sandbox.run(words).ended(0);
    let (large, small) = (noise(3 << 20), b"small".to_vec());
    let text: Vec<u8> = large.iter().map(|byte| b'a' + byte % 26).collect();
    sandbox.write(&format!("{}/a", name("d")), &text);
    let id = sandbox.backup(&here, &name("d"));
    let sync = ["at", &here, "sync", "to", &there];
    sandbox
        .run(&sync)
        .ended(0)
        .says_nothing()
        .prints("1 snapshot copied");
    has(sandbox, &there, &id, &text);
    sandbox.write(&format!("{}/a", name("e")), &small);
    let other = sandbox.backup(&there, &name("e"));
    let sync = ["at", &here, "sync", "from", &there];
    let run = sandbox.run(&sync).ended(0).says_nothing();
    run.prints("1 snapshot copied, 1 there already");
    has(sandbox, &here, &other, &small);
    has(sandbox, &here, &id, &text);
    let again = ["at", &here, "sync", "with", &there];
    let run = sandbox.run(&again).ended(0).says_nothing();
    run.prints("0 snapshots copied, 4 there already; stored 0 B");
}

#[test]
fn every_kind_of_store_takes_copies_from_every_other_of_its_key() {
    let server = Server::new();
    let sandbox = sandbox("pairs_siblings", &server).without("PLAKAR_PASSPHRASE");
    for from in KINDS {
        for to in KINDS {
            there_and_back(&server, &sandbox, (from, to), true);
        }
    }
}

#[test]
fn every_kind_of_store_takes_copies_from_every_other_of_another_key() {
    let server = Server::new();
    let sandbox = sandbox("pairs_strangers", &server).without("PLAKAR_PASSPHRASE");
    for from in KINDS {
        for to in KINDS {
            there_and_back(&server, &sandbox, (from, to), false);
        }
    }
}
