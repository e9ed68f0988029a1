//! Tests that the local source reports exactly the existing files, even if they change meanwhile.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod adverse;
#[path = "../common/mod.rs"]
mod common;

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use plakar::connector::{FileKind, LocalSource, Metadata, Source, SourceDir, SourceFile};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat,
};

use common::prerequisite::skip;

/// Opens `path` from the root of the source, one component at a time.
fn open(path: &Path) -> Arc<dyn SourceDir> {
    let (mut dir, _) = LocalSource::new().unwrap().root().unwrap();
    let path = path.canonicalize().unwrap().into_os_string().into_vec();
    for name in path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        dir = dir.open_dir(name).unwrap();
    }
    dir
}

/// A directory on a disk, because `/tmp` may be a memory file system without attributes.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Reads all of `file` with a buffer of `step` bytes.
fn read_all(file: &mut dyn SourceFile, step: usize) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; step]);
    loop {
        let got = file.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..got]);
        if got < step {
            return bytes;
        }
    }
}

/// Compares the metadata with that of the standard library.
fn assert_same(ours: &Metadata, path: &Path) {
    let theirs = path.symlink_metadata().unwrap();
    let ns = |seconds: i64, ns: i64| seconds * 1_000_000_000 + ns;
    assert_eq!(ours.mode, theirs.mode() & 0o7777);
    assert_eq!((ours.uid, ours.gid), (theirs.uid(), theirs.gid()));
    assert_eq!(ours.mtime_ns, ns(theirs.mtime(), theirs.mtime_nsec()));
    assert_eq!(ours.ctime_ns, ns(theirs.ctime(), theirs.ctime_nsec()));
    assert_eq!((ours.inode, ours.device), (theirs.ino(), theirs.dev()));
    assert_eq!((ours.links, ours.rdev), (theirs.nlink(), theirs.rdev()));
    assert_eq!(ours.allocated_bytes, theirs.blocks() * 512);
    let btime = theirs
        .created()
        .ok()
        .map(|time| time.duration_since(UNIX_EPOCH).unwrap());
    assert_eq!(
        ours.btime_ns,
        btime.map(|age| i64::try_from(age.as_nanos()).unwrap())
    );
    if theirs.is_file() || theirs.is_symlink() {
        assert_eq!(ours.size_bytes, theirs.size());
    }
}

#[test]
fn metadata_is_exactly_what_the_kernel_says() {
    let tree = scratch();
    let at = |name: &str| tree.path().join(name);
    fs::write(at("file"), b"hello").unwrap();
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(at("file"), at("again")).unwrap();
    fs::create_dir(at("dir")).unwrap();
    symlink("nowhere", at("link")).unwrap();
    fifo(&at("fifo"));
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for (name, second) in [
        ("file", -1_000_000_001),
        ("dir", 4_500_000_000),
        ("link", 0),
    ] {
        let time = Timespec {
            tv_sec: second,
            tv_nsec: 123_456_789,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    let mut kinds = Vec::new();
    for item in open(tree.path()).items().unwrap() {
        let metadata = item.metadata.unwrap();
        assert_same(&metadata, &tree.path().join(OsStr::from_bytes(&item.name)));
        kinds.push((String::from_utf8(item.name).unwrap(), metadata.kind));
    }
    kinds.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = kinds.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["again", "dir", "fifo", "file", "link", "socket"]);
    use FileKind as K;
    let kinds: Vec<K> = kinds.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(
        kinds,
        [
            K::File,
            K::Directory,
            K::Fifo,
            K::File,
            K::Symlink,
            K::Socket
        ]
    );
}

#[test]
fn device_nodes_tell_their_numbers() {
    let null = open(Path::new("/dev")).stat(b"null").unwrap();
    assert_eq!(null.kind, FileKind::CharDevice);
    assert_same(&null, Path::new("/dev/null"));
}

/// Sets an attribute. If this is not possible, the test is skipped.
fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    let outcome = rustix::fs::lsetxattr(path, name, value, XattrFlags::empty());
    if let Err(cause) = outcome {
        skip(format!("set {name} to {} bytes: {cause}", value.len()));
    }
    outcome.is_ok()
}

#[test]
fn attributes_come_back_sorted_and_bit_by_bit() {
    let tree = scratch();
    let file = tree.path().join("file");
    fs::write(&file, "").unwrap();
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255,
        255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
    ];
    let binary: Vec<u8> = (0..3000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut expected = Vec::new();
    for (name, value) in [
        ("user.z", &binary[..]),
        ("user.empty", b""),
        ("user.a\n\u{e9}", b"\0\xff"),
        ("system.posix_acl_access", &acl),
    ] {
        if set(&file, name, value) {
            expected.push((name.as_bytes().to_vec(), value.to_vec()));
        }
    }
    expected.sort();
    let dir = open(tree.path());
    let xattrs = dir.open_file(b"file").unwrap().details().unwrap().xattrs;
    assert_eq!(xattrs, expected);
    assert_eq!(
        dir.details(b"file", FileKind::File).unwrap().xattrs,
        expected
    );
}

#[test]
fn an_attribute_of_60_kib_comes_back() {
    let value: Vec<u8> = (0..60_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    // ext4 supports such large attributes only with ea_inode, and tmpfs on recent kernels.
    let parents = [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"];
    let trees = parents.map(tempfile::tempdir_in).into_iter().flatten();
    let takes = |tree: &tempfile::TempDir| {
        let file = tree.path().join("file");
        fs::write(&file, "").unwrap();
        rustix::fs::lsetxattr(&file, "user.big", &value, XattrFlags::empty()).is_ok()
    };
    let trees: Vec<_> = trees.filter(takes).collect();
    if trees.is_empty() {
        return skip("neither target/tmp nor /dev/shm takes an attribute of 60 kB");
    }
    for tree in trees {
        let file = open(tree.path()).open_file(b"file").unwrap();
        let details = file.details().unwrap();
        assert_eq!(details.xattrs, [(b"user.big".to_vec(), value.clone())]);
    }
}

#[test]
fn what_is_not_opened_has_attributes_all_the_same() {
    let tree = scratch();
    let at = |name: &str| tree.path().join(name);
    symlink(OsStr::from_bytes(b"../to\xff\n"), at("link")).unwrap();
    fifo(&at("fifo"));
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("target"), "").unwrap();
    symlink("target", at("to target")).unwrap();
    set(&at("target"), "user.of_the_target", b"no");
    let dir = open(tree.path());
    let link = dir.details(b"link", FileKind::Symlink).unwrap();
    assert_eq!(link.target, b"../to\xff\n");
    assert!(link.xattrs.is_empty() && link.flags == 0);
    assert!(
        dir.details(b"to target", FileKind::Symlink)
            .unwrap()
            .xattrs
            .is_empty()
    );
    for (name, kind) in [("link", FileKind::Symlink), ("fifo", FileKind::Fifo)] {
        if set(&at(name), "trusted.t", b"\0x") {
            let xattrs = dir.details(name.as_bytes(), kind).unwrap().xattrs;
            assert_eq!(xattrs, [(b"trusted.t".to_vec(), b"\0x".to_vec())], "{name}");
        }
    }
    if set(&at("dir"), "user.d", b"1") {
        let expected = [(b"user.d".to_vec(), b"1".to_vec())];
        assert_eq!(
            dir.details(b"dir", FileKind::Directory).unwrap().xattrs,
            expected
        );
        assert_eq!(
            dir.open_dir(b"dir").unwrap().own_details().unwrap().xattrs,
            expected
        );
    }
}

#[test]
fn flags_are_those_that_can_be_set_again() {
    let tree = scratch();
    let path = tree.path().join("file");
    fs::write(&path, "x").unwrap();
    let file = File::open(&path).unwrap();
    let nodump = rustix::fs::IFlags::NODUMP | rustix::fs::IFlags::NOATIME;
    let Ok(before) = rustix::fs::ioctl_getflags(&file) else {
        return skip("the file system has no inode flags");
    };
    rustix::fs::ioctl_setflags(&file, before | nodump).unwrap();
    let details = open(tree.path())
        .open_file(b"file")
        .unwrap()
        .details()
        .unwrap();
    // The flag for extents, which ext4 sets on every file, is not included.
    assert_eq!(details.flags, 0x40 | 0x80);
}

#[test]
fn names_are_bytes() {
    let tree = scratch();
    let mut names: Vec<Vec<u8>> = vec![
        b"new\nline".to_vec(),
        b"\xff\xfe".to_vec(),
        vec![b'x'; 255],
        b" ".to_vec(),
        b"...".to_vec(),
    ];
    for name in &names {
        fs::write(tree.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let dir = open(tree.path());
    let mut listed: Vec<Vec<u8>> = dir
        .items()
        .unwrap()
        .into_iter()
        .map(|item| item.name)
        .collect();
    listed.sort();
    names.sort();
    assert_eq!(listed, names);
    for name in &names {
        assert_eq!(read_all(dir.open_file(name).unwrap().as_mut(), 100), *name);
    }
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_walked() {
    let tree = scratch();
    let name = CString::new(vec![b'd'; 200]).unwrap();
    let directory = rustix::fs::OFlags::DIRECTORY;
    let mut below = rustix::fs::openat(CWD, tree.path(), directory, Mode::empty()).unwrap();
    for _ in 0..30 {
        rustix::fs::mkdirat(&below, &*name, Mode::RWXU).unwrap();
        below = rustix::fs::openat(&below, &*name, directory, Mode::empty()).unwrap();
    }
    let mut dir = open(tree.path());
    for _ in 0..30 {
        assert_eq!(dir.items().unwrap().len(), 1);
        dir = dir.open_dir(name.as_bytes()).unwrap();
    }
    assert!(dir.items().unwrap().is_empty());
}

#[test]
fn reading_fills_the_buffer_until_the_end() {
    let tree = scratch();
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::write(tree.path().join("file"), &bytes).unwrap();
    let dir = open(tree.path());
    for step in [1000, 99_999, 100_000, 100_001, 1 << 20] {
        assert_eq!(
            read_all(dir.open_file(b"file").unwrap().as_mut(), step),
            bytes,
            "{step}"
        );
    }
    let mut file = dir.open_file(b"file").unwrap();
    file.seek(99_990).unwrap();
    assert_eq!(read_all(file.as_mut(), 4), bytes[99_990..]);
    file.seek(0).unwrap();
    assert_eq!(read_all(file.as_mut(), 1 << 17), bytes);
}

#[test]
fn a_file_of_proc_is_read_though_its_size_is_0() {
    let dir = open(Path::new("/proc"));
    let mut file = dir.open_file(b"cpuinfo").unwrap();
    assert_eq!(file.metadata().unwrap().size_bytes, 0);
    let bytes = read_all(file.as_mut(), 1 << 20);
    assert!(bytes.len() > 100);
}

#[test]
fn holes_are_told_exactly() {
    let tree = scratch();
    let path = tree.path().join("file");
    let file = File::create(&path).unwrap();
    file.write_all_at(&[1; 4096], 1 << 20).unwrap();
    file.write_all_at(&[2; 8192], 4 << 20).unwrap();
    file.set_len(1 << 40).unwrap();
    file.sync_all().unwrap();
    let dir = open(tree.path());
    let mut ours = dir.open_file(b"file").unwrap();
    let mib = 1_u64 << 20;
    if ours.metadata().unwrap().allocated_bytes > mib {
        return skip("the file system has no holes");
    }
    ours.seek(mib).unwrap();
    assert_eq!(
        ours.data_runs(1 << 40).unwrap(),
        [mib..mib + 4096, 4 * mib..4 * mib + 8192]
    );
    assert_eq!(
        ours.data_runs(4 * mib + 10).unwrap(),
        [mib..mib + 4096, 4 * mib..4 * mib + 10]
    );
    assert_eq!(ours.data_runs(mib).unwrap(), []);
    let mut start = [0; 2];
    assert_eq!(ours.read(&mut start).unwrap(), 2);
    assert_eq!(start, [1, 1], "looking for holes moved the position");
    File::create(&path).unwrap().set_len(mib).unwrap();
    assert_eq!(dir.open_file(b"file").unwrap().data_runs(mib).unwrap(), []);
    fs::write(&path, [3; 5000]).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    #[allow(clippy::single_range_in_vec_init)]
    let everything = [0..5000_u64];
    assert_eq!(
        dir.open_file(b"file").unwrap().data_runs(5000).unwrap(),
        everything
    );
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let tree = scratch();
    let path = tree.path().join("file");
    fs::write(&path, "x").unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1);
    let times = fs::FileTimes::new().set_accessed(old);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_times(times)
        .unwrap();
    read_all(open(tree.path()).open_file(b"file").unwrap().as_mut(), 10);
    assert_eq!(path.metadata().unwrap().accessed().unwrap(), old);
}

#[test]
fn the_machine_has_a_name_and_a_root() {
    let source = LocalSource::new().unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(source.origin(), host.trim_end());
    assert_eq!(source.kind(), "fs");
    assert_eq!(source.user_name(0).as_deref(), Some("root"));
    assert_same(&source.root().unwrap().1, Path::new("/"));
}
