//! Tests trees that change while they are read, and trees without read permission.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use plakar::error::Kind;

use crate::common::prerequisite::has_root;
use crate::common::user;
use crate::{fifo, open, read_all, scratch};

#[test]
fn what_was_a_file_does_not_make_us_wait_or_follow() {
    let tree = scratch();
    let at = |name: &str| tree.path().join(name);
    fs::write(at("real"), "secret").unwrap();
    fs::create_dir(at("dir")).unwrap();
    fifo(&at("fifo"));
    symlink("real", at("link")).unwrap();
    symlink("dir", at("link to dir")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    let dir = open(tree.path());
    for name in ["fifo", "link", "socket", "dir", "link to dir"] {
        let error = dir.open_file(name.as_bytes()).err().expect(name);
        assert_eq!(error.to_string(), "open: not a regular file", "{name}");
    }
    for name in ["link to dir", "real", "fifo"] {
        let error = dir.open_dir(name.as_bytes()).err().expect(name);
        assert_eq!(
            error.to_string(),
            "open: not a directory, or a symbolic link to one",
            "{name}"
        );
    }
    for name in ["", ".", "..", "dir/..", "a\0b"] {
        assert!(dir.open_dir(name.as_bytes()).is_err(), "{name:?}");
        assert!(dir.open_file(name.as_bytes()).is_err(), "{name:?}");
        assert!(dir.stat(name.as_bytes()).is_err(), "{name:?}");
    }
}

#[test]
fn an_open_directory_stays_itself_when_its_name_is_swapped() {
    let tree = scratch();
    let at = |name: &str| tree.path().join(name);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/file"), "mine").unwrap();
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/file"), "theirs").unwrap();
    let dir = open(&at("dir"));
    fs::rename(at("dir"), at("moved")).unwrap();
    symlink("other", at("dir")).unwrap();
    assert_eq!(
        read_all(dir.open_file(b"file").unwrap().as_mut(), 64),
        b"mine"
    );
}

#[test]
fn vanishing_is_told_as_such() {
    let tree = scratch();
    fs::write(tree.path().join("file"), "still here").unwrap();
    fs::create_dir(tree.path().join("dir")).unwrap();
    let (top, dir) = (open(tree.path()), open(&tree.path().join("dir")));
    let mut file = top.open_file(b"file").unwrap();
    fs::remove_file(tree.path().join("file")).unwrap();
    fs::remove_dir(tree.path().join("dir")).unwrap();
    assert_eq!(read_all(file.as_mut(), 4), b"still here");
    assert_eq!(file.metadata().unwrap().links, 0);
    assert_eq!(top.stat(b"file").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(
        top.open_file(b"file").err().map(|error| error.kind()),
        Some(Kind::NotFound)
    );
    assert_eq!(
        top.open_dir(b"dir").err().map(|error| error.kind()),
        Some(Kind::NotFound)
    );
    assert_eq!(
        dir.items().err().map(|error| error.kind()),
        Some(Kind::NotFound)
    );
}

#[test]
fn files_that_come_and_go_leave_the_others_listed() {
    let tree = scratch();
    for n in 0..500 {
        fs::write(tree.path().join(format!("stays {n}")), "").unwrap();
    }
    let dir = open(tree.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(order) {
                (0..50).for_each(|n| fs::write(tree.path().join(format!("goes {n}")), "").unwrap());
                (0..50)
                    .for_each(|n| fs::remove_file(tree.path().join(format!("goes {n}"))).unwrap());
            }
        });
        let seen = (0..20).map(|_| {
            let items = dir.items().unwrap();
            assert!(items.iter().all(|item| item.metadata.is_ok()));
            items
                .iter()
                .filter(|item| item.name.starts_with(b"stays"))
                .count()
        });
        let seen: Vec<usize> = seen.collect();
        stop.store(true, order);
        assert_eq!(seen, [500; 20]);
    });
}

#[test]
fn one_directory_can_be_listed_by_many_threads() {
    let tree = scratch();
    (0..2000).for_each(|n| fs::write(tree.path().join(n.to_string()), "").unwrap());
    let dir = open(tree.path());
    std::thread::scope(|scope| {
        let lists = [0; 4].map(|_| scope.spawn(|| dir.items().unwrap().len()));
        assert_eq!(lists.map(|list| list.join().unwrap()), [2000; 4]);
    });
}

#[test]
fn a_file_that_grows_is_seen_to_have_changed() {
    let tree = scratch();
    let path = tree.path().join("file");
    fs::write(&path, "before").unwrap();
    let mut file = open(tree.path()).open_file(b"file").unwrap();
    let before = file.metadata().unwrap();
    fs::write(&path, "before and after").unwrap();
    assert_eq!(read_all(file.as_mut(), 64), b"before and after");
    assert_ne!(file.metadata().unwrap(), before);
}

/// The environment variable with the tree for [`the_ordinary_users_part`].
const TREE: &str = "PLAKAR_TEST_TREE";

#[test]
fn an_ordinary_user_reads_what_he_may() {
    if !has_root() {
        return;
    }
    let tree = user::directory();
    let at = |name: &str| tree.path().join(name);
    let mode =
        |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    let program = user::copy(&std::env::current_exe().unwrap(), tree.path());
    fs::create_dir(at("pass")).unwrap();
    for name in ["private", "public", "pass/public"] {
        fs::write(at(name), "words").unwrap();
    }
    for (name, bits) in [
        ("", 0o755),
        ("private", 0o600),
        ("public", 0o644),
        ("pass", 0o711),
    ] {
        mode(name, bits);
    }
    let mut child = user::command(&program);
    child.args(["--exact", "adverse::the_ordinary_users_part", "--ignored"]);
    let output = child.env(TREE, tree.path()).current_dir("/").output();
    let output = output.expect("setpriv can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{child:?}: {}: {said}",
        output.status
    );
}

#[test]
#[ignore = "run by an_ordinary_user_reads_what_he_may"]
fn the_ordinary_users_part() {
    let dir = open(Path::new(&std::env::var_os(TREE).unwrap()));
    let error = dir.open_file(b"private").err().unwrap();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Denied, "open: permission denied")
    );
    // The files belong to another user, so access times cannot be preserved. Two files are read,
    // because this is not tried again for the second one.
    for _ in 0..2 {
        assert_eq!(
            read_all(dir.open_file(b"public").unwrap().as_mut(), 10),
            b"words"
        );
    }
    let pass = dir.open_dir(b"pass").unwrap();
    assert_eq!(
        pass.items().err().map(|error| error.kind()),
        Some(Kind::Denied)
    );
    assert!(pass.own_details().is_ok());
    assert_eq!(pass.stat(b"public").unwrap().size_bytes, 5);
    assert_eq!(
        read_all(pass.open_file(b"public").unwrap().as_mut(), 10),
        b"words"
    );
}
