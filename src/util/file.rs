//! The metadata of a file: what sources read, entries record, and destinations restore.

/// The kind of a directory entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// The result of `lstat` for an entry, and no more: one system call on a local file system.
///
/// Times are nanoseconds since 1970, negative before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The kind of entry.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: the lower 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of a file or of a link's target; 0 for anything else.
    pub size_bytes: u64,
    /// Last change of the contents.
    pub mtime_ns: i64,
    /// Last change of the inode.
    pub ctime_ns: i64,
    /// Creation, if the file system records it.
    pub btime_ns: Option<i64>,
    /// Inode number; 0 if there is none.
    pub inode: u64,
    /// Device number of its file system; 0 if there is none.
    pub device: u64,
    /// Number of hard links; 1 if unknown.
    pub links: u64,
    /// The device number of a device node, else 0.
    pub rdev: u64,
    /// Bytes allocated on the medium: a file with fewer than its size may have holes.
    pub allocated_bytes: u64,
}

/// The device and inode number of a file, which identify it while it exists.
pub type Identity = (u64, u64);

impl Metadata {
    /// The identity of the file.
    pub fn identity(&self) -> Identity {
        (self.device, self.inode)
    }

    /// Whether it is a device node.
    pub fn is_device(&self) -> bool {
        matches!(self.kind, FileKind::CharDevice | FileKind::BlockDevice)
    }
}

/// Metadata that takes further system calls; read only for new or changed entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Extended attributes by name, sorted; POSIX ACLs and capabilities are among them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Inode flags as `lsattr` shows them (`FS_IOC_GETFLAGS`), those that can be set again.
    pub flags: u32,
    /// The target of a symbolic link.
    pub target: Vec<u8>,
}
