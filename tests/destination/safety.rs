//! Tests what must never happen: writing outside the target, partial files, replacing a directory.

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

#[test]
fn nothing_is_written_through_links() {
    let (dir, outside) = (sandbox(), sandbox());
    fs::write(outside.path().join("victim"), b"precious").unwrap();
    symlink(outside.path(), dir.path().join("dir")).unwrap();
    symlink(outside.path().join("victim"), dir.path().join("file")).unwrap();
    symlink(outside.path().join("born"), dir.path().join("dangling")).unwrap();
    let root = root_of(dir.path());
    let refused = enter(&*root, b"dir").err().unwrap();
    assert_eq!(refused.kind(), Kind::Exists, "{refused}");
    let refused = root.open(b"dir").err().unwrap();
    assert_eq!(refused.kind(), Kind::Exists, "{refused}");
    let metadata = metadata(FileKind::File, 0o666);
    for name in ["file", "dangling"] {
        assert!(open_old(&*root, name.as_bytes(), &attributes(&metadata)).is_err());
        assert!(adjust(&*root, name.as_bytes(), &attributes(&metadata)).is_err());
        put(&*root, name.as_bytes(), b"restored", &attributes(&metadata));
        assert!(
            fs::symlink_metadata(dir.path().join(name))
                .unwrap()
                .is_file()
        );
    }
    assert_eq!(
        fs::read(outside.path().join("victim")).unwrap(),
        b"precious"
    );
    assert_eq!(names(outside.path()), ["victim"]);
}

#[test]
fn hostile_names_are_refused() {
    let dir = sandbox();
    let inner = dir.path().join("inner");
    let root = root_of(&inner);
    for name in [&b".."[..], b".", b"", b"../out", b"a/b", b"nul\0"] {
        assert_eq!(root.create(name, 1).err().unwrap().kind(), Kind::Corrupt);
        assert_eq!(enter(&*root, name).err().unwrap().kind(), Kind::Corrupt);
        assert_eq!(
            root.link(b"x", &*root, name, None).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
    assert_eq!(names(dir.path()), ["inner"]);
}

#[test]
fn opening_makes_no_directory() {
    let dir = sandbox();
    let root = root_of(dir.path());
    assert_eq!(root.open(b"d").err().unwrap().kind(), Kind::NotFound);
    assert_eq!(root.open(b"..").err().unwrap().kind(), Kind::Corrupt);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let (dir, outside) = (sandbox(), sandbox());
    let (real, link) = (dir.path().join("d"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(outside.path(), &link).unwrap();
    let stop = AtomicBool::new(false);
    let root = root_of(dir.path());
    let metadata = metadata(FileKind::File, 0o644);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut written = 0;
        while written < 3000 {
            match enter(&*root, b"d") {
                Ok((sub, _)) => {
                    let name = format!("f{written}");
                    put(&*sub, name.as_bytes(), b"secret", &attributes(&metadata));
                    written += 1;
                }
                Err(error) => assert_eq!(error.kind(), Kind::Exists),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(outside.path()), [""; 0]);
}

#[test]
fn an_existing_file_is_replaced_in_one_step() {
    let dir = sandbox();
    let path = dir.path().join("f");
    fs::write(&path, b"old").unwrap();
    let mut reader = File::open(&path).unwrap();
    let root = root_of(dir.path());
    let file = root.create(b"f", 3).unwrap();
    file.write_at(b"ne", 0).unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        b"old",
        "nothing half-written under the name"
    );
    drop(file);
    assert_eq!(names(dir.path()), ["f"], "an unfinished file goes away");
    let metadata = metadata(FileKind::File, 0o600);
    put(&*root, b"f", b"new", &attributes(&metadata));
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(
        (seen.as_str(), fs::read(&path).unwrap().as_slice()),
        ("old", &b"new"[..])
    );
}

#[test]
fn a_directory_is_never_replaced() {
    let dir = sandbox();
    fs::create_dir(dir.path().join("d")).unwrap();
    let root = root_of(dir.path());
    let fifo = metadata(FileKind::Fifo, 0o600);
    put(&*root, b"f", b"x", &attributes(&fifo));
    assert_eq!(root.create(b"d", 1).err().unwrap().kind(), Kind::Exists);
    assert_eq!(
        root.create(b"d", 1 << 30).err().unwrap().kind(),
        Kind::Exists
    );
    assert_eq!(
        root.make(b"d", b"", &attributes(&fifo), Permissions::Restore)
            .unwrap_err()
            .kind(),
        Kind::Exists
    );
    assert_eq!(
        root.link(b"d", &*root, b"f", None).unwrap_err().kind(),
        Kind::Exists
    );
    assert_eq!(names(dir.path()), ["d", "f"]);
}

#[test]
fn hard_links_are_made_across_directories_and_again() {
    let dir = sandbox();
    let root = root_of(dir.path());
    put(
        &*root,
        b"f",
        b"x",
        &attributes(&metadata(FileKind::File, 0o600)),
    );
    let (sub, _) = enter(&*root, b"d").unwrap();
    fs::write(dir.path().join("d/other"), b"y").unwrap();
    for made in [Made::New, Made::Existed] {
        for name in [b"g".as_slice(), b"other"] {
            assert_eq!(sub.link(name, &*root, b"f", None).unwrap().0, made);
        }
    }
    assert_eq!(fs::metadata(dir.path().join("f")).unwrap().nlink(), 3);
    assert_eq!(names(&dir.path().join("d")), ["g", "other"]);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let dir = sandbox();
    if !has_mounted(dir.path(), "size=1m") {
        return;
    }
    let root = root_of(dir.path());
    let kinds: Vec<_> = [1 << 20, 8 << 20]
        .map(|size| {
            let file = root.create(b"f", size).unwrap();
            (0..4u64)
                .find_map(|part| file.write_at(&[1; 1 << 20], part << 20).err())
                .map(|error| error.kind())
        })
        .into();
    let left = names(dir.path());
    drop(root);
    let unmounted = Command::new("umount").arg(dir.path()).status().unwrap();
    assert_eq!(kinds, [Some(Kind::NoSpace), Some(Kind::NoSpace)]);
    assert_eq!(left, [""; 0]);
    assert!(unmounted.success());
}
