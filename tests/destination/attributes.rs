//! Tests owner, mode, extended attributes and flags: they are set in the correct order, and
//! reported as lost if they are refused.

use super::*;

#[test]
fn a_link_gets_owner_and_attributes_not_its_target() {
    if !has_root() {
        return;
    }
    let dir = sandbox();
    let root = root_of(dir.path());
    fs::write(dir.path().join("target"), b"x").unwrap();
    let metadata = Metadata {
        uid: 4242,
        gid: 4243,
        ..metadata(FileKind::Symlink, 0o777)
    };
    let xattrs = [(b"trusted.t".to_vec(), b"1".to_vec())];
    let attributes = Attributes {
        xattrs: &xattrs,
        ..attributes(&metadata)
    };
    assert_eq!(
        root.make(b"link", b"target", &attributes, Permissions::Restore)
            .unwrap(),
        []
    );
    let link = fs::symlink_metadata(dir.path().join("link")).unwrap();
    assert_eq!((link.uid(), link.gid()), (4242, 4243));
    assert_eq!(xattr(&dir.path().join("link"), "trusted.t").unwrap(), b"1");
    assert_eq!(fs::metadata(dir.path().join("target")).unwrap().uid(), 0);
    assert_eq!(xattr(&dir.path().join("target"), "trusted.t"), None);
}

#[test]
fn setuid_and_capabilities_survive_the_change_of_owner() {
    if !has_root() {
        return;
    }
    let dir = sandbox();
    let root = root_of(dir.path());
    let metadata = Metadata {
        uid: 4242,
        gid: 4243,
        ..metadata(FileKind::File, 0o6755)
    };
    let xattrs = [
        (b"security.capability".to_vec(), CAPABILITY.to_vec()),
        (b"user.\xff".to_vec(), vec![0; 2000]),
    ];
    let attributes = Attributes {
        xattrs: &xattrs,
        flags: NODUMP,
        ..attributes(&metadata)
    };
    assert_eq!(put(&*root, b"ping", b"elf", &attributes), []);
    let path = dir.path().join("ping");
    assert_eq!(mode(&path), 0o6755);
    assert_eq!(fs::metadata(&path).unwrap().uid(), 4242);
    assert_eq!(xattr(&path, "security.capability").unwrap(), CAPABILITY);
}

#[test]
fn an_owner_that_cannot_be_given_takes_setuid_along() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let stranger = if is_root() { u32::MAX } else { 0 };
    let metadata = Metadata {
        uid: stranger,
        gid: stranger,
        ..metadata(FileKind::File, 0o6755)
    };
    assert_eq!(
        put(&*root, b"su", b"elf", &attributes(&metadata)),
        [Lost::Owner, Lost::Mode]
    );
    assert_eq!(mode(&dir.path().join("su")), 0o755);
    let ours = self::metadata(FileKind::File, 0o6711);
    assert_eq!(put(&*root, b"ours", b"elf", &attributes(&ours)), []);
    assert_eq!(mode(&dir.path().join("ours")), 0o6711);
    again_as_ordinary_user("attributes::an_owner_that_cannot_be_given_takes_setuid_along");
}

#[test]
fn acls_and_attributes_come_back_on_a_read_only_file() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let xattrs = [
        (b"system.posix_acl_access".to_vec(), acl()),
        (b"user.note".to_vec(), b"a\0b".to_vec()),
    ];
    let file = metadata(FileKind::File, 0o460);
    let lost = put(
        &*root,
        b"f",
        b"x",
        &Attributes {
            xattrs: &xattrs,
            ..attributes(&file)
        },
    );
    assert_eq!(lost, []);
    assert_eq!(mode(&dir.path().join("f")), 0o460);
    assert_eq!(xattr(&dir.path().join("f"), "user.note").unwrap(), b"a\0b");
    let kept = xattr(&dir.path().join("f"), "system.posix_acl_access").unwrap();
    assert_eq!(
        kept[12..],
        acl()[12..],
        "all but the owner's entry, which follows the mode"
    );
    again_as_ordinary_user("attributes::acls_and_attributes_come_back_on_a_read_only_file");
}

#[test]
fn an_acl_that_is_refused_does_not_widen_the_group() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let mut broken = acl();
    broken[0] = 9;
    let xattrs = [(b"system.posix_acl_access".to_vec(), broken)];
    let file = metadata(FileKind::File, 0o660);
    let lost = put(
        &*root,
        b"f",
        b"x",
        &Attributes {
            xattrs: &xattrs,
            ..attributes(&file)
        },
    );
    assert_eq!(lost, [Lost::Xattr, Lost::Mode]);
    assert_eq!(mode(&dir.path().join("f")), 0o600);
}

#[test]
fn a_default_acl_of_the_target_is_not_inherited() {
    let dir = sandbox();
    setxattr(
        dir.path(),
        "system.posix_acl_default",
        &acl(),
        XattrFlags::empty(),
    )
    .unwrap();
    let root = root_of(dir.path());
    let (file, folder) = (
        metadata(FileKind::File, 0o644),
        metadata(FileKind::Directory, 0o755),
    );
    put(&*root, b"f", b"x", &attributes(&file));
    let (sub, _) = enter(&*root, b"d").unwrap();
    put(&*sub, b"f", b"x", &attributes(&file));
    sub.finish(&attributes(&folder), Permissions::Restore)
        .unwrap();
    for path in ["f", "d", "d/f"] {
        assert_eq!(
            xattr(&dir.path().join(path), "system.posix_acl_access"),
            None,
            "{path}"
        );
    }
    assert_eq!(
        xattr(&dir.path().join("d"), "system.posix_acl_default"),
        None
    );
    assert_eq!(
        (mode(&dir.path().join("d")), mode(&dir.path().join("d/f"))),
        (0o755, 0o644)
    );
}

#[test]
fn an_attribute_too_large_is_lost_and_no_error() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let xattrs = [
        (b"user.big".to_vec(), vec![7; 65536]),
        (b"nonsense.name".to_vec(), vec![1]),
    ];
    let file = metadata(FileKind::File, 0o600);
    assert_eq!(
        put(
            &*root,
            b"f",
            b"x",
            &Attributes {
                xattrs: &xattrs,
                ..attributes(&file)
            }
        ),
        [Lost::Xattr]
    );
}

#[test]
fn an_immutable_file_can_be_linked_replaced_and_adjusted() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let file = metadata(FileKind::File, 0o600);
    let locked = Attributes {
        flags: IMMUTABLE,
        ..attributes(&file)
    };
    let lost = put(&*root, b"a", b"one", &locked);
    if !has_root() {
        assert_eq!(lost, [Lost::Flags]);
        return;
    }
    if lost == [Lost::Flags] {
        return skip("the file system has no inode flags");
    }
    assert_eq!(
        fs::write(dir.path().join("a"), b"x").unwrap_err().kind(),
        std::io::ErrorKind::PermissionDenied
    );
    root.link(b"b", &*root, b"a", None).unwrap();
    assert_eq!(put(&*root, b"a", b"two", &locked), []);
    assert!(
        fs::write(dir.path().join("b"), b"x").is_err(),
        "the other name stays immutable"
    );
    for name in [b"a", b"b"] {
        assert_eq!(adjust(&*root, name, &attributes(&file)).unwrap(), []);
    }
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"two");
    fs::write(dir.path().join("b"), b"free").unwrap();
    again_as_ordinary_user("attributes::an_immutable_file_can_be_linked_replaced_and_adjusted");
}

#[test]
fn without_permissions_the_umask_decides_and_times_stay() {
    let dir = sandbox();
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("f"), b"").unwrap();
    let root = root_of(dir.path());
    let (sub, _) = enter(&*root, b"d").unwrap();
    let metadata = Metadata {
        uid: 4242,
        ..metadata(FileKind::File, 0o4711)
    };
    let xattrs = [(b"user.a".to_vec(), vec![1])];
    let attributes = Attributes {
        xattrs: &xattrs,
        flags: NODUMP,
        ..attributes(&metadata)
    };
    let file = sub.create(b"f", 0).unwrap();
    assert_eq!(file.finish(&attributes, Permissions::Skip).unwrap(), []);
    assert_eq!(sub.finish(&attributes, Permissions::Skip).unwrap(), []);
    let (file, folder): (PathBuf, PathBuf) = (dir.path().join("d/f"), dir.path().join("d"));
    assert_eq!(
        (mode(&file), mode(&folder)),
        (mode(&plain.join("f")), mode(&plain))
    );
    assert_eq!(
        (mtime_ns(&file), mtime_ns(&folder)),
        (metadata.mtime_ns, metadata.mtime_ns)
    );
    assert_eq!(xattr(&file, "user.a"), None);
    again_as_ordinary_user("attributes::without_permissions_the_umask_decides_and_times_stay");
}

#[test]
fn an_existing_file_is_adjusted_in_place() {
    let dir = sandbox();
    let path = dir.path().join("f");
    fs::write(&path, b"same").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let mut acl = acl();
    (acl[14], acl[30]) = (4, 4); // The named user may only read, or the file would be replaced.
    setxattr(&path, "system.posix_acl_access", &acl, XattrFlags::empty()).unwrap();
    setxattr(&path, "user.stray", b"1", XattrFlags::empty()).unwrap();
    let root = root_of(dir.path());
    let file = metadata(FileKind::File, 0o640);
    let xattrs = [(b"user.ours".to_vec(), vec![1])];
    let attributes = Attributes {
        xattrs: &xattrs,
        ..attributes(&file)
    };
    assert_eq!(adjust(&*root, b"f", &attributes).unwrap(), []);
    assert_eq!((mode(&path), mtime_ns(&path)), (0o640, file.mtime_ns));
    assert_eq!(xattr(&path, "system.posix_acl_access"), None);
    assert_eq!(
        (xattr(&path, "user.stray"), xattr(&path, "user.ours")),
        (None, Some(vec![1]))
    );
    assert_eq!(
        (
            fs::metadata(&path).unwrap().ino(),
            fs::read(&path).unwrap().as_slice()
        ),
        (inode, &b"same"[..])
    );
    again_as_ordinary_user("attributes::an_existing_file_is_adjusted_in_place");
}

#[test]
fn a_directory_gets_owner_mode_and_default_acl() {
    let dir = sandbox();
    let root = root_of(dir.path());
    let (sub, _) = enter(&*root, b"d").unwrap();
    let folder = metadata(FileKind::Directory, 0o3750);
    let folder = if is_root() {
        Metadata {
            uid: 4242,
            gid: 4243,
            ..folder
        }
    } else {
        folder
    };
    let xattrs = [(b"system.posix_acl_default".to_vec(), acl())];
    let attributes = Attributes {
        xattrs: &xattrs,
        ..attributes(&folder)
    };
    assert_eq!(sub.finish(&attributes, Permissions::Restore).unwrap(), []);
    let path = dir.path().join("d");
    assert_eq!((mode(&path), mtime_ns(&path)), (0o3750, folder.mtime_ns));
    assert_eq!(fs::metadata(&path).unwrap().uid(), folder.uid);
    assert_eq!(xattr(&path, "system.posix_acl_default").unwrap(), acl());
    again_as_ordinary_user("attributes::a_directory_gets_owner_mode_and_default_acl");
}
