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

/// The result of `lstat` for an entry and no more: one system call on a local file system.
///
/// Times are nanoseconds since 1970, negative before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The kind of entry.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: the lower 12 bits of `st_mode`.
    pub mode: u32,
    /// The numeric user id of the owner.
    pub uid: u32,
    /// The numeric id of the group.
    pub gid: u32,
    /// The size of a file, or the length of a link target; 0 for anything else.
    pub size_bytes: u64,
    /// The time of the last modification of the contents.
    pub mtime_ns: i64,
    /// The time of the last change of the inode.
    pub ctime_ns: i64,
    /// The creation time, if the file system records it.
    pub btime_ns: Option<i64>,
    /// The inode number, or 0 if there is none.
    pub inode: u64,
    /// The device number of the file system, or 0 if there is none.
    pub device: u64,
    /// The number of hard links, or 1 if unknown.
    pub links: u64,
    /// The device number of a device node, otherwise 0.
    pub rdev: u64,
    /// The bytes allocated on the medium: a file with fewer than its size may have holes.
    pub allocated_bytes: u64,
}

/// The device and inode number of a file, which identify it while it exists.
pub type Identity = (u64, u64);

impl Metadata {
    /// The device and inode number.
    pub fn identity(&self) -> Identity {
        (self.device, self.inode)
    }

    /// Whether it is a device node.
    pub fn is_device(&self) -> bool {
        matches!(self.kind, FileKind::CharDevice | FileKind::BlockDevice)
    }
}

/// Metadata that requires additional system calls. Read only for new or changed entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Extended attributes, sorted by name, including POSIX ACLs and capabilities.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Inode flags as shown by `lsattr` (`FS_IOC_GETFLAGS`), limited to those that can be set
    /// again.
    pub flags: u32,
    /// The target of a symbolic link.
    pub target: Vec<u8>,
}
