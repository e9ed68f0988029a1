//! Tests that every type of entry is restored, with any name, size and time.

use super::*;

#[test]
fn a_plain_file_comes_back_with_mode_and_time() {
    let dir = sandbox();
    let root = root_of(dir.path());
    for (name, mtime) in [
        ("old", -12_345_678_901),
        ("new", 2_500_000_000_987_654_321),
        ("zero", 0),
    ] {
        let metadata = Metadata {
            mtime_ns: mtime,
            ..metadata(FileKind::File, 0o640)
        };
        assert_eq!(
            put(&*root, name.as_bytes(), b"hello", &attributes(&metadata)),
            []
        );
        assert_eq!(mtime_ns(&dir.path().join(name)), mtime, "{name}");
        assert_eq!(mode(&dir.path().join(name)), 0o640);
    }
    assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"hello");
    assert_eq!(names(dir.path()), ["new", "old", "zero"]);
    again_as_ordinary_user("entries::a_plain_file_comes_back_with_mode_and_time");
}

#[test]
fn every_other_kind_comes_back() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let kinds = [
        (FileKind::Symlink, "link"),
        (FileKind::Fifo, "fifo"),
        (FileKind::Socket, "socket"),
        (FileKind::CharDevice, "null"),
    ];
    for round in ["made", "replaced"] {
        for (kind, name) in kinds {
            let metadata = Metadata {
                rdev: 0x103,
                ..metadata(kind, 0o604)
            };
            let outcome = root.make(
                name.as_bytes(),
                b"no/where",
                &attributes(&metadata),
                Permissions::Restore,
            );
            if kind == FileKind::CharDevice && !is_root() {
                assert_eq!(
                    outcome.unwrap_err().to_string(),
                    "only root may make device nodes"
                );
                continue;
            }
            assert_eq!(outcome.unwrap(), [], "{name} {round}");
            assert_eq!(
                mtime_ns(&dir.path().join(name)),
                1_234_567_890_123_456_789,
                "{name} {round}"
            );
            assert!(
                kind == FileKind::Symlink || mode(&dir.path().join(name)) == 0o604,
                "{name}"
            );
        }
    }
    let found = |name| fs::symlink_metadata(dir.path().join(name)).unwrap();
    assert_eq!(
        fs::read_link(dir.path().join("link")).unwrap(),
        Path::new("no/where")
    );
    assert!(found("fifo").file_type().is_fifo() && found("socket").file_type().is_socket());
    assert_eq!(is_root(), dir.path().join("null").exists());
    if is_root() {
        assert_eq!(found("null").rdev(), 0x103);
    }
    assert_eq!(
        names(dir.path())
            .iter()
            .filter(|name| name.contains("plakar"))
            .count(),
        0
    );
    again_as_ordinary_user("entries::every_other_kind_comes_back");
}

#[test]
fn holes_stay_holes() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let size = 64 << 20;
    let file = root.create(b"sparse", size).unwrap();
    file.write_at(b"middle", 32 << 20).unwrap();
    let metadata = metadata(FileKind::File, 0o644);
    file.finish(&attributes(&metadata), Permissions::Restore)
        .unwrap();
    let found = fs::metadata(dir.path().join("sparse")).unwrap();
    assert_eq!(found.len(), size);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    let bytes = fs::read(dir.path().join("sparse")).unwrap();
    assert_eq!(&bytes[32 << 20..(32 << 20) + 6], b"middle");
    assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 6);
}

#[test]
fn parts_may_be_written_by_several_threads() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let file = root.create(b"f", 8 * 65536).unwrap();
    std::thread::scope(|scope| {
        for part in 0..8u8 {
            let file = &file;
            scope.spawn(move || {
                file.write_at(&[part + 1; 65536], u64::from(part) * 65536)
                    .unwrap()
            });
        }
    });
    let metadata = metadata(FileKind::File, 0o644);
    file.finish(&attributes(&metadata), Permissions::Restore)
        .unwrap();
    let bytes = fs::read(dir.path().join("f")).unwrap();
    assert!(
        bytes
            .chunks(65536)
            .enumerate()
            .all(|(part, chunk)| chunk.iter().all(|&byte| usize::from(byte) == part + 1))
    );
}

#[test]
fn odd_names_and_paths_longer_than_4096() {
    let dir = sandbox();
    let mut here = root_of(dir.path());
    let name = [0xffu8; 255];
    let metadata = metadata(FileKind::File, 0o644);
    for _ in 0..20 {
        put(&*here, b"new\nline", b"x", &attributes(&metadata));
        let (sub, made) = enter(&*here, &name).unwrap();
        assert_eq!(made, Made::New);
        here = sub;
    }
    let long = [b'n'; 255];
    put(&*here, &long, b"deep", &attributes(&metadata));
    assert_eq!(here.stat(&long).unwrap().unwrap().mode, 0o644);
    assert!(
        fs::symlink_metadata(
            dir.path()
                .join(std::ffi::OsStr::from_bytes(&name))
                .join("new\nline")
        )
        .is_ok()
    );
}

#[test]
fn a_closed_directory_is_filled_and_closed_again() {
    for closed in [0o500, 0o000, 0o300] {
        let dir = sandbox();
        let path = dir.path().join("d");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(closed)).unwrap();
        let root = root_of(dir.path());
        let (sub, made) = enter(&*root, b"d").unwrap();
        assert_eq!(made, Made::Existed);
        let (file, folder) = (
            metadata(FileKind::File, 0o400),
            metadata(FileKind::Directory, 0o511),
        );
        put(&*sub, b"f", b"x", &attributes(&file));
        drop(sub);
        assert_eq!(
            mode(&path),
            closed,
            "an unfinished directory is closed again"
        );
        let (sub, _) = enter(&*root, b"d").unwrap();
        assert_eq!(
            sub.finish(&attributes(&folder), Permissions::Restore)
                .unwrap(),
            []
        );
        drop(sub);
        assert_eq!((mode(&path), mtime_ns(&path)), (0o511, folder.mtime_ns));
    }
    again_as_ordinary_user("entries::a_closed_directory_is_filled_and_closed_again");
}

#[test]
fn the_target_is_made_with_its_parents_and_an_existing_one_left_alone() {
    let dir = sandbox();
    let path = dir.path().join("a/b");
    assert_eq!(LocalDestination::new(&path).root().unwrap().1, Made::New);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1751)).unwrap();
    symlink("a/b", dir.path().join("way")).unwrap();
    let (root, made) = LocalDestination::new(dir.path().join("way"))
        .root()
        .unwrap();
    put(
        &*root,
        b"f",
        b"x",
        &attributes(&metadata(FileKind::File, 0o600)),
    );
    assert_eq!((made, mode(&path)), (Made::Existed, 0o1751));
    assert_eq!(names(&path), ["f"]);
}
