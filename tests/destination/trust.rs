//! Tests that root does not take over files at a destination that other users can write to.

use std::os::unix::fs::{chown, lchown};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::*;
use crate::common::prerequisite::has_root;
use crate::common::user::USER;

/// A directory that any user can enter.
fn open_sandbox() -> TempDir {
    let dir = sandbox();
    set_mode(dir.path(), 0o755);
    dir
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether root keeps the file `f` after `prepare` has modified it, its directory, or the wanted
/// metadata.
fn keeps(prepare: impl Fn(&Path, &mut Metadata)) -> bool {
    let dir = open_sandbox();
    let file = dir.path().join("f");
    fs::write(&file, b"same").unwrap();
    set_mode(&file, 0o644);
    let mut wanted = metadata(FileKind::File, 0o755);
    prepare(dir.path(), &mut wanted);
    open_old(&*root_of(dir.path()), b"f", &attributes(&wanted)).is_ok()
}

#[test]
fn root_keeps_a_file_only_if_no_other_user_controls_it() {
    if !has_root() {
        return;
    }
    assert!(keeps(|_, _| {}));
    assert!(keeps(|dir, wanted| {
        chown(dir.join("f"), Some(USER), Some(USER)).unwrap();
        (wanted.uid, wanted.gid) = (USER, USER);
    }));
    // The owner of a home directory also owns the file in it.
    assert!(keeps(|dir, wanted| {
        chown(dir, Some(USER), None).unwrap();
        chown(dir.join("f"), Some(USER), Some(USER)).unwrap();
        (wanted.uid, wanted.gid) = (USER, USER);
    }));
    assert!(!keeps(
        |dir, _| chown(dir.join("f"), Some(USER), None).unwrap()
    ));
    assert!(!keeps(
        |dir, _| chown(dir.join("f"), None, Some(USER)).unwrap()
    ));
    assert!(!keeps(|dir, _| set_mode(&dir.join("f"), 0o664)));
    assert!(!keeps(|dir, _| set_mode(&dir.join("f"), 0o646)));
    assert!(!keeps(|dir, _| set_mode(dir, 0o775)));
    assert!(!keeps(|dir, _| set_mode(dir, 0o1777)));
    assert!(!keeps(|dir, _| chown(dir, Some(USER), None).unwrap()));
    assert!(!keeps(
        |dir, _| fs::hard_link(dir.join("f"), dir.join("g")).unwrap()
    ));
    for mode in [0o4755, 0o2755] {
        assert!(!keeps(|dir, wanted| {
            wanted.mode = mode;
            set_mode(&dir.join("f"), mode);
        }));
    }
    assert!(!keeps(|dir, _| {
        let path = dir.join("f");
        setxattr(
            &path,
            "system.posix_acl_access",
            &acl(),
            XattrFlags::empty(),
        )
        .unwrap();
    }));
}

#[test]
fn a_file_gets_no_capability_unless_it_is_new() {
    if !has_root() {
        return;
    }
    let dir = open_sandbox();
    fs::write(dir.path().join("f"), b"same").unwrap();
    let wanted = metadata(FileKind::File, 0o755);
    let xattrs = [(b"security.capability".to_vec(), CAPABILITY.to_vec())];
    let attributes = Attributes {
        xattrs: &xattrs,
        ..attributes(&wanted)
    };
    let refused = open_old(&*root_of(dir.path()), b"f", &attributes).err();
    assert_eq!(refused.unwrap().kind(), Kind::Exists);
}

#[test]
fn a_file_that_gets_another_name_while_it_is_compared_is_not_adjusted() {
    if !has_root() {
        return;
    }
    let dir = open_sandbox();
    let path = dir.path().join("f");
    fs::write(&path, b"same").unwrap();
    set_mode(&path, 0o644);
    let wanted = metadata(FileKind::File, 0o600);
    let mut old = open_old(&*root_of(dir.path()), b"f", &attributes(&wanted)).unwrap();
    fs::hard_link(&path, dir.path().join("g")).unwrap();
    assert!(
        old.adjust(&attributes(&wanted), Permissions::Restore)
            .is_err()
    );
    assert_eq!(mode(&path), 0o644);
}

/// After the comparison the name refers to a different file. The compared file gets the attributes,
/// regardless of the file that now has its name.
#[test]
fn a_file_swapped_after_it_was_compared_gets_nothing() {
    let dir = open_sandbox();
    let (path, other) = (dir.path().join("f"), dir.path().join("other"));
    fs::write(&path, b"same").unwrap();
    fs::write(&other, b"same").unwrap();
    set_mode(&path, 0o644);
    set_mode(&other, 0o600);
    let wanted = metadata(FileKind::File, 0o755);
    let mut old = open_old(&*root_of(dir.path()), b"f", &attributes(&wanted)).unwrap();
    renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).unwrap();
    old.adjust(&attributes(&wanted), Permissions::Restore)
        .unwrap();
    assert_eq!((mode(&path), mode(&other)), (0o600, 0o755));
}

#[test]
fn a_directory_of_another_user_is_not_taken_over() {
    if !has_root() {
        return;
    }
    let dir = open_sandbox();
    let path = dir.path().join("d");
    fs::create_dir(&path).unwrap();
    chown(&path, Some(USER), Some(USER)).unwrap();
    let root = root_of(dir.path());
    let refused = enter(&*root, b"d").err().unwrap();
    assert_eq!(refused.kind(), Kind::Exists, "{refused}");
    assert!(refused.to_string().contains("user 65534"), "{refused}");
    // The file belongs to its rightful owner.
    let theirs = Metadata {
        uid: USER,
        gid: USER,
        ..metadata(FileKind::Directory, 0o755)
    };
    root.enter(b"d", &attributes(&theirs), Permissions::Restore)
        .unwrap();
    // Another directory was renamed to its name after it was entered.
    let ours = metadata(FileKind::Directory, 0o755);
    let opened = root.open(b"d").unwrap();
    assert!(
        opened
            .finish(&attributes(&ours), Permissions::Restore)
            .is_err()
    );
    assert_eq!(fs::metadata(&path).unwrap().uid(), USER);
    assert_eq!(names(&path), [""; 0], "nothing is left of a probe");
}

#[test]
fn a_directory_that_others_write_to_is_closed_before_it_is_filled() {
    if !has_root() {
        return;
    }
    for (found, wanted, then) in [
        (0o777, 0o755, 0o755),
        (0o1777, 0o755, 0o1755),
        (0o1777, 0o1777, 0o1777),
        (0o775, 0o775, 0o775),
    ] {
        let dir = open_sandbox();
        let path = dir.path().join("d");
        fs::create_dir(&path).unwrap();
        set_mode(&path, found);
        let wanted = metadata(FileKind::Directory, wanted);
        let root = root_of(dir.path());
        let entered = root.enter(b"d", &attributes(&wanted), Permissions::Restore);
        entered.unwrap();
        assert_eq!(mode(&path), then, "{found:o}");
    }
}

#[test]
fn root_follows_only_its_own_links_to_the_target() {
    let (dir, outside) = (open_sandbox(), open_sandbox());
    symlink(outside.path(), dir.path().join("link")).unwrap();
    symlink("link", dir.path().join("second")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    let deep = dir.path().join("second/a/b");
    let (_, made) = LocalDestination::new(&deep).root().unwrap();
    assert_eq!(made, Made::New);
    assert_eq!(names(&outside.path().join("a")), ["b"]);
    let (_, made) = LocalDestination::new(deep.join("../b/.")).root().unwrap();
    assert_eq!(made, Made::Existed);
    assert!(
        LocalDestination::new(dir.path().join("loop/a"))
            .root()
            .is_err()
    );
    let descriptor = File::open(outside.path()).unwrap();
    let path = format!(
        "/proc/self/fd/{}/c",
        std::os::fd::AsRawFd::as_raw_fd(&descriptor)
    );
    LocalDestination::new(path).root().unwrap();
    assert_eq!(names(outside.path()), ["a", "c"]);
    if !is_root() {
        return;
    }
    lchown(dir.path().join("link"), Some(USER), None).unwrap();
    for path in ["link", "link/new", "second/new"] {
        let error = LocalDestination::new(dir.path().join(path))
            .root()
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("symbolic link of user 65534"),
            "{error}"
        );
    }
    assert_eq!(names(outside.path()), ["a", "c"]);
    again_as_ordinary_user("trust::root_follows_only_its_own_links_to_the_target");
}

#[test]
fn who_else_controls_the_target_is_known() {
    if !has_root() {
        return;
    }
    let dir = open_sandbox();
    let holder = |path: &Path| root_of(path).other_holder().map(str::to_owned);
    assert_eq!(holder(dir.path()), None);
    set_mode(dir.path(), 0o1777);
    assert_eq!(holder(dir.path()), None, "sticky");
    set_mode(dir.path(), 0o777);
    assert_eq!(holder(dir.path()), Some("users other than root".to_owned()));
    chown(dir.path(), Some(USER), None).unwrap();
    assert_eq!(
        holder(&dir.path().join("new")),
        Some("user 65534".to_owned())
    );
}

#[test]
fn a_further_name_leads_to_the_file_that_was_restored() {
    let dir = open_sandbox();
    let root = root_of(dir.path());
    let wanted = metadata(FileKind::File, 0o600);
    let file = root.create(b"f", 0).unwrap();
    file.finish(&attributes(&wanted), Permissions::Restore)
        .unwrap();
    let restored = file.identity();
    assert!(restored.is_some());
    fs::remove_file(dir.path().join("f")).unwrap();
    fs::write(dir.path().join("f"), b"planted").unwrap();
    fs::write(dir.path().join("old"), b"old").unwrap();
    for name in [b"new".as_slice(), b"old"] {
        let error = root.link(name, &*root, b"f", restored).unwrap_err();
        assert!(
            error.to_string().contains("replaced during the restore"),
            "{error}"
        );
    }
    assert_eq!(names(dir.path()), ["f", "old"]);
    assert_eq!(fs::read(dir.path().join("old")).unwrap(), b"old");
}

/// Another user replaces the FIFO that root creates by a different one.
#[test]
fn a_fifo_swapped_while_it_is_created_is_not_taken_over() {
    if !has_root() {
        return;
    }
    let dir = open_sandbox();
    let planted = dir.path().join("planted");
    mknodat(CWD, &planted, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    chown(&planted, Some(USER), Some(USER)).unwrap();
    let root = root_of(dir.path());
    let wanted = metadata(FileKind::Fifo, 0o600);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let made = dir.path().join("fifo");
                let _ = renameat_with(CWD, &planted, CWD, &made, RenameFlags::EXCHANGE);
            }
        });
        for _ in 0..2000 {
            let made = root.make(b"fifo", b"", &attributes(&wanted), Permissions::Restore);
            if let Err(error) = made {
                assert!(error.to_string().contains("replaced while"), "{error}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Whatever its name is now, the planted FIFO was never given to root.
    let owners = names(dir.path()).into_iter().map(|name| {
        let found = fs::symlink_metadata(dir.path().join(name)).unwrap();
        (found.uid(), found.mode() & 0o7777)
    });
    for (uid, mode) in owners {
        assert!(uid == USER || mode == 0o600, "{uid} {mode:o}");
    }
}

#[test]
fn without_permissions_a_fifo_is_for_its_owner_only() {
    let dir = open_sandbox();
    let root = root_of(dir.path());
    for kind in [FileKind::Fifo, FileKind::Socket] {
        let wanted = metadata(kind, 0o666);
        root.make(b"node", b"", &attributes(&wanted), Permissions::Skip)
            .unwrap();
        assert_eq!(mode(&dir.path().join("node")) & !0o600, 0);
    }
}
