//! Tests accounts that are restricted to a directory, or to reading.

use std::fs;

use crate::command::sandbox;
use crate::connector::{assert_same_contents, listed, tree};
use crate::server::Server;

#[test]
fn in_a_jail_paths_begin_at_its_door() {
    let Some(server) = Server::jail() else {
        return;
    };
    let sandbox = sandbox("sftp_jail", &server);
    tree(&sandbox.path("d"));
    for store in ["sftp://nas/a/st", "sftp://nas/~/relative"] {
        sandbox.run(&["at", store, "create"]).ended(0);
        sandbox.run(&["at", store, "backup", "d"]).ended(0);
        sandbox.run(&["at", store, "check"]).ended(0);
    }
    for config in ["a/st/CONFIG", "relative/CONFIG"] {
        assert!(server.path("srv").join(config).exists(), "{config}");
    }
    // Restores to the server, and backs up from it.
    for (to, place) in [("sftp://nas/b/back", "b/back"), ("sftp://nas/~/c", "c")] {
        let at = ["at", "sftp://nas/a/st"];
        sandbox
            .run(&[&at[..], &["restore", "-to", to, "latest"]].concat())
            .ended(0);
        let place = server.path("srv").join(place);
        assert_same_contents(&sandbox.path("d"), &place);
        assert_eq!(listed(&sandbox.path("d")), listed(&place));
        let label = ["-tag", "source"];
        sandbox
            .run(&[&at[..], &["backup"], &label, &[to]].concat())
            .ended(0);
        let back = format!("back-{}", to.len());
        sandbox
            .run(&[&at[..], &["restore", "-to", &back, "-tag", "source"]].concat())
            .ended(0);
        assert_same_contents(&sandbox.path("d"), &sandbox.path(&back));
    }
    sandbox
        .run(&["at", "sftp://nas/a/st", "ls", "-latest"])
        .ended(0)
        .prints(" /c\n");
}

#[test]
fn an_account_that_may_only_read_is_told_so() {
    let mut server = Server::new();
    let sandbox = sandbox("sftp_read_only", &server);
    let store = server.location("st");
    sandbox.run(&["at", &store, "create"]).ended(0);
    sandbox.write("d/a", b"a");
    sandbox.backup(&store, "d");
    server.kill();
    let reader = Server::with("Subsystem sftp internal-sftp -R\n");
    fs::rename(server.path("srv/st"), reader.path("srv/st")).unwrap();
    let home = reader.path("home").display().to_string();
    let sandbox = sandbox.with("HOME", &home);
    let store = reader.location("st");
    sandbox.run(&["at", &store, "ls"]).ended(0).prints("/d");
    sandbox
        .run(&["at", &store, "check"])
        .ended(0)
        .says_nothing();
    sandbox
        .run(&["at", &store, "restore", "-to", "back", "latest"])
        .ended(0);
    assert_eq!(sandbox.read("back/a"), b"a");
    sandbox.write("d/b", b"b");
    let here = sandbox.path("d").display().to_string();
    sandbox.run(&["at", "copy", "create"]).ended(0);
    let other = reader.location("other");
    let refused: [&[&str]; 4] = [
        &["at", &store, "backup", &here],
        &["at", &store, "rm", "-apply", "latest"],
        &["at", &other, "create"],
        &["at", &store, "key", "add"],
    ];
    let sandbox = sandbox.with("PLAKAR_NEW_PASSPHRASE", "a heron on the roof");
    for words in refused {
        let run = sandbox.run(words).ended(77).says("permission denied");
        assert_eq!(run.stderr().lines().count(), 1, "{}", run.stderr());
    }
    // The store can be read and copied.
    sandbox.run(&["at", &store, "sync", "to", "copy"]).ended(0);
    sandbox
        .run(&["at", "copy", "backup", &reader.location("st")])
        .ended(0);
    let restored = ["at", "copy", "restore", "-to", &other, "latest"];
    sandbox.run(&restored).ended(77).says("permission denied");
}
