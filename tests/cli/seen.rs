//! Reads a directory tree with separate system calls, so that the comparison of two trees does not
//! depend on code of the binary.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, OFlags, SeekFrom, ioctl_getflags, seek};

/// Flags that a user can set. The others describe how the file system stores the file.
const FLAGS: IFlags = IFlags::NODUMP
    .union(IFlags::NOATIME)
    .union(IFlags::IMMUTABLE)
    .union(IFlags::APPEND);

/// All properties of one entry that a backup must preserve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) device: u64,
    pub(crate) size_bytes: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) flags: u32,
    pub(crate) target: Vec<u8>,
    pub(crate) contents: Vec<u8>,
    pub(crate) data: Vec<Range<u64>>,
    /// The first path with the same inode.
    pub(crate) first_name: Vec<u8>,
}

/// Entries by path. The path of the root is empty.
pub(crate) type Tree = BTreeMap<Vec<u8>, Seen>;

/// Reads `root` and everything below it.
pub(crate) fn tree(root: &Path) -> Tree {
    let mut walk = Walk::default();
    walk.visit(root, Vec::new());
    walk.tree
}

/// The paths that differ between the trees, with the differences.
pub(crate) fn differences(one: &Tree, other: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = |path: &&&Vec<u8>| one.get(**path) != other.get(**path);
    let told = |path: &Vec<u8>| {
        let tell = |tree: &Tree| tree.get(path).map(|seen| format!("{:?}", short(seen)));
        format!(
            "{}\n  {:?}\n  {:?}",
            path.escape_ascii(),
            tell(one),
            tell(other)
        )
    };
    paths.iter().filter(differ).map(|path| told(path)).collect()
}

/// A copy with the contents shortened to a readable length.
fn short(seen: &Seen) -> Seen {
    let contents = seen.contents.iter().copied().take(32).collect();
    Seen {
        contents,
        ..seen.clone()
    }
}

#[derive(Default)]
struct Walk {
    tree: Tree,
    first_names: BTreeMap<(u64, u64), Vec<u8>>,
}

impl Walk {
    /// Reads `path`, whose path from the root is `name`. Directories below are opened relative to
    /// their parents, because paths can exceed the limit of the kernel.
    fn visit(&mut self, path: &Path, name: Vec<u8>) {
        let metadata = fs::symlink_metadata(path)
            .unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
        let mut seen = Seen {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            xattrs: xattrs(path),
            ..Seen::default()
        };
        let kind = metadata.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            seen.device = metadata.rdev();
        }
        if kind.is_symlink() {
            let target = fs::read_link(path).expect("it is a link");
            seen.target = target.into_os_string().into_vec();
        } else {
            let inode = (metadata.dev(), metadata.ino());
            let first = self.first_names.entry(inode);
            seen.first_name = first.or_insert_with(|| name.clone()).clone();
        }
        if kind.is_file() {
            seen.size_bytes = metadata.len();
            let file = File::open(path).expect("root may read everything");
            seen.data = data(file.as_fd(), metadata.len());
            seen.contents = fs::read(path).expect("root may read everything");
            seen.flags = flags(file.as_fd());
        }
        if kind.is_dir() {
            self.visit_below(path, &name, &mut seen);
        }
        self.tree.insert(name, seen);
    }

    fn visit_below(&mut self, path: &Path, name: &[u8], seen: &mut Seen) {
        let how = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
        let mut options = File::options();
        let options = options.read(true).custom_flags(how as i32);
        let dir = options.open(path).expect("root may open everything");
        seen.flags = flags(dir.as_fd());
        let through = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let entries = fs::read_dir(&through).expect("root may list everything");
        let mut names: Vec<OsString> = entries
            .map(|entry| entry.expect("it can be listed").file_name())
            .collect();
        names.sort();
        for child in names {
            let below = [name, b"/", child.as_bytes()].concat();
            self.visit(&through.join(&child), below);
        }
    }
}

fn flags(file: BorrowedFd<'_>) -> u32 {
    ioctl_getflags(file).map_or(0, |flags| (flags & FLAGS).bits())
}

/// The extended attributes of `path`, without following links.
fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0);
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("it was listed");
        value.truncate(length);
        (name.to_vec(), value)
    };
    names.filter(|name| !name.is_empty()).map(value).collect()
}

/// The ranges of a file that are not holes.
fn data(file: BorrowedFd<'_>, size_bytes: u64) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let Ok(start) = seek(file, SeekFrom::Data(at)) else {
            break;
        };
        at = seek(file, SeekFrom::Hole(start)).expect("every file ends with a hole");
        found.push(start..at);
    }
    found
}
