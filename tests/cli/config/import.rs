//! Tests importing names from files of plakar and of other programs.

use super::*;

#[test]
fn names_are_imported_from_toml_and_json() {
    let sandbox = Sandbox::new("config_import");
    let toml = b"default = 'a'\n[a]\nlocation = '/a'\npassphrase = 'x'\n[b]\nlocation = 's3://b'\n[c]\nlocation = '/c'\n";
    sandbox.write("in.toml", toml);
    let run = sandbox
        .run(&["store", "import", "-config", "in.toml"])
        .ended(3);
    run.says("b: no store speaks s3://").prints_nothing();
    sandbox
        .run(&["store", "list"])
        .ended(0)
        .prints_just("a  /a\nc  /c\n");
    let again = sandbox
        .run(&["store", "import", "-config", "in.toml", "a", "c:d"])
        .ended(3);
    again.says("a: there is one of that name already (-overwrite replaces it)");
    let json = br#"{"a": {"location": "/new"}, "z": {"location": "sftp://h", "port": 22}}"#;
    piped(
        &sandbox,
        &["store", "import", "-overwrite", "-config", "-"],
        json,
    )
    .ended(0)
    .silent();
    let expected = "[a]\nlocation = \"/new\"\n\n[c]\nlocation = \"/c\"\n\n[d]\nlocation = \"/c\"\n\n\
                    [z]\nlocation = \"sftp://h\"\nport = 22\n";
    sandbox
        .run(&["store", "show", "-secrets"])
        .ended(0)
        .prints_just(expected);
    sandbox
        .run(&["store", "import", "-config", "in.toml", "a:x", "cc"])
        .ended(66)
        .says("no section cc");
    sandbox
        .run(&["store", "import", "-config", "in.toml", "a:x y"])
        .ended(3)
        .says("SECTION:NEW gives it another name");
    piped(&sandbox, &["store", "import"], b"{")
        .ended(78)
        .says("standard input: line 1");
    sandbox
        .run(&["store", "import", "-config", "nothing"])
        .ended(66)
        .says("nothing: no such file");
}

#[test]
fn what_show_prints_can_be_imported() {
    let sandbox = Sandbox::new("config_exported");
    sandbox
        .run(&["store", "add", "a", "/a", "passphrase=owl"])
        .ended(0);
    sandbox.run(&["store", "add", "b", "/b"]).ended(0);
    for (number, flags) in [["-secrets"].as_slice(), &["-secrets", "-json"]]
        .iter()
        .enumerate()
    {
        let shown = sandbox
            .run(&[&["store", "show"], *flags].concat())
            .ended(0)
            .stdout();
        let dir = format!("conf{number}");
        piped(
            &sandbox,
            &["-configdir", &dir, "store", "import"],
            shown.as_bytes(),
        )
        .ended(0)
        .silent();
        assert_eq!(
            sandbox.read(&format!("{dir}/stores.toml")),
            sandbox.read(STORES)
        );
    }
    let hidden = sandbox.run(&["store", "show"]).ended(0).stdout();
    let run = piped(
        &sandbox,
        &["-configdir", "other", "store", "import"],
        hidden.as_bytes(),
    )
    .ended(3);
    run.says("a: its passphrase is hidden: export it with show -secrets");
    sandbox
        .run(&["-configdir", "other", "store", "list"])
        .ended(0)
        .prints_just("b  /b\n");
}

#[test]
fn the_remotes_of_rclone_that_we_can_serve_are_imported() {
    let sandbox = Sandbox::new("config_rclone");
    let conf = "[nas]\ntype = sftp\nhost = nas.lan\nuser = bob\npass = obscured\nkey_file = ~/.ssh/id\n\n\
                [disk]\ntype = alias\nremote = /mnt/disk\n\n[cloud]\ntype = drive\n\n[my files]\ntype = alias\nremote = nas:music\n";
    sandbox.write("home/.config/rclone/rclone.conf", conf.as_bytes());
    let run = sandbox.run(&["source", "import", "-rclone"]).ended(3);
    let run = run
        .says("cloud: no connector for drive of rclone")
        .says("\"my files\" is not a valid name");
    let run = run.says("warning: nas: pass is left out").prints_nothing();
    assert!(!run.stderr().contains("obscured"));
    sandbox
        .run(&["source", "import", "-rclone", "my files:music"])
        .ended(0)
        .silent();
    let listed = sandbox.run(&["source", "list"]).ended(0);
    listed.prints_just(
        "nas    sftp://bob@nas.lan\ndisk   /mnt/disk\nmusic  sftp://bob@nas.lan/~/music\n",
    );
    assert!(!text(&sandbox, "home/.config/plakar/sources.toml").contains("obscured"));
}
