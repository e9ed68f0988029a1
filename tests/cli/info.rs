//! The facts of stores and snapshots.

use crate::harness::{Sandbox, store};

#[test]
fn a_store_tells_its_facts_without_a_passphrase() {
    let sandbox = Sandbox::with_store("info");
    let at = store("info");
    sandbox.write("d/a", b"hello");
    sandbox.backup(&at, "d");
    let sandbox = sandbox.without("PLAKAR_PASSPHRASE");
    let run = sandbox.run(&["at", &at, "info"]).ended(0).says_nothing();
    run.prints("encryption:   XChaCha20-Poly1305\n")
        .prints("snapshots:    1\n")
        .prints("argon2id m=32768 KiB t=6 p=1");
    let facts = sandbox
        .run(&["at", &at, "info", "-json"])
        .ended(0)
        .object("store");
    assert_eq!(
        (&facts["is_encrypted"], &facts["snapshots"]),
        (&true.into(), &1.into())
    );
    assert_eq!(facts["areas"].as_array().map(Vec::len), Some(5));
    sandbox
        .run(&["at", "nothing", "info"])
        .ended(66)
        .says("there is no store here");
}

#[test]
fn a_snapshot_tells_all_that_was_recorded() {
    let sandbox = Sandbox::with_store("info_snapshot");
    let at = store("info_snapshot");
    sandbox.write("d/a", b"hello");
    let id = sandbox.backup(&at, "d");
    let run = sandbox
        .run(&["at", &at, "info", &id[..8]])
        .ended(0)
        .says_nothing();
    run.prints(&format!("snapshot:     {id}\n"))
        .prints("files:        1\n")
        .prints("errors:       0");
    let facts = sandbox
        .run(&["at", &at, "info", "-json", "latest"])
        .ended(0)
        .object("snapshot");
    assert_eq!(
        (&facts["snapshot"], &facts["bytes"]),
        (&id.into(), &5.into())
    );
    sandbox
        .run(&["at", &at, "info", "-errors"])
        .ended(0)
        .silent();
}
