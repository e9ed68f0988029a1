//! Tests two servers with a store on each.

use crate::command::sandbox;
use crate::harness::{PASSPHRASE, Sandbox, noise};
use crate::server::{Server, files_below};

const OTHER: &str = "a heron on the roof";

/// Two servers, a sandbox in which the second one is called `other`, and the locations of a store
/// on each. The first store contains a snapshot.
struct Pair {
    one: Server,
    other: Server,
    sandbox: Sandbox,
    stores: [String; 2],
}

fn pair(name: &str) -> Pair {
    let (one, other) = (Server::new(), Server::new());
    one.configure(&other.as_other());
    let sandbox = sandbox(name, &one);
    let there = format!("sftp://other{}", other.path("srv/copy").display());
    let stores = [one.location("st"), there];
    sandbox.run(&["at", &stores[0], "create"]).ended(0);
    sandbox.write("d/a", b"hello");
    sandbox.write("d/sub/b", &noise(3 << 20));
    sandbox.backup(&stores[0], "d");
    Pair {
        one,
        other,
        sandbox,
        stores,
    }
}

fn assert_holds(sandbox: &Sandbox, store: &str, target: &str) {
    sandbox.run(&["at", store, "check"]).ended(0);
    sandbox
        .run(&["at", store, "restore", "-to", target, "latest"])
        .ended(0);
    assert_eq!(sandbox.read(&format!("{target}/a")), b"hello");
    assert_eq!(sandbox.read(&format!("{target}/sub/b")), noise(3 << 20));
}

#[test]
fn a_sibling_on_another_server_gets_the_objects_as_they_are() {
    let Pair {
        one,
        other,
        sandbox,
        stores: [st, copy],
    } = pair("sftp_sync_sibling");
    sandbox.run(&["at", &copy, "create", "-from", &st]).ended(0);
    sandbox
        .run(&["at", &st, "sync", "to", &copy])
        .ended(0)
        .says_nothing()
        .prints("sync: 1 snapshot copied, 0 there already");
    let packs = |server: &Server, store: &str| files_below(&server.path(store).join("packs"));
    assert_eq!(packs(&one, "srv/st"), packs(&other, "srv/copy"));
    assert!(!packs(&one, "srv/st").is_empty());
    assert_holds(&sandbox, &copy, "back");
    sandbox
        .run(&["at", &copy, "sync", "from", &st])
        .ended(0)
        .prints("0 snapshots copied, 1 there already");
}

#[test]
fn a_stranger_on_another_server_gets_them_sealed_anew() {
    let Pair {
        one,
        other,
        sandbox,
        stores: [st, copy],
    } = pair("sftp_sync_stranger");
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", OTHER);
    sandbox.run(&["at", &copy, "create"]).ended(0);
    let sandbox = sandbox
        .with("PLAKAR_PASSPHRASE", PASSPHRASE)
        .with("PLAKAR_PEER_PASSPHRASE", OTHER);
    sandbox
        .run(&["at", &st, "sync", "to", &copy])
        .ended(0)
        .says_nothing()
        .prints("1 snapshot copied");
    let packs = |server: &Server, store: &str| files_below(&server.path(store).join("packs"));
    let there = packs(&other, "srv/copy");
    let is_new = |pack: &String| !there.contains(pack);
    assert!(packs(&one, "srv/st").iter().all(is_new) && !there.is_empty());
    let sandbox = sandbox.with("PLAKAR_PASSPHRASE", OTHER);
    assert_holds(&sandbox, &copy, "back");
}
