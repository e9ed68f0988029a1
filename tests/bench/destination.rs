//! Measures the restore of small files to a directory: 50,000 files of 4 KiB, first new, then
//! replaced. The files are in `TMPDIR` or `/tmp`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use plakar::connector::{
    Attributes, Destination, DestinationDir, FileKind, LocalDestination, Metadata, Permissions,
};

const DIRECTORIES: u32 = 2000;
const FILES_PER_DIRECTORY: u32 = 25;
const CONTENTS: [u8; 4096] = [7; 4096];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (root, _) = LocalDestination::new(directory.path()).root()?;
    for round in ["new", "replaced"] {
        let started = Instant::now();
        restore(&*root)?;
        let files = f64::from(DIRECTORIES * FILES_PER_DIRECTORY);
        let microseconds = started.elapsed().as_secs_f64() * 1e6 / files;
        println!("{round:<10} {microseconds:>8.1} us a file");
    }
    Ok(())
}

fn restore(root: &dyn DestinationDir) -> Result<(), Box<dyn Error>> {
    let directory = metadata(FileKind::Directory, 0o755);
    let file = metadata(FileKind::File, 0o644);
    for number in 0..DIRECTORIES {
        let name = format!("d{number}");
        let wanted = attributes(&directory);
        let (below, _) = root.enter(name.as_bytes(), &wanted, Permissions::Restore)?;
        for number in 0..FILES_PER_DIRECTORY {
            let name = format!("file-number-{number}.c");
            let made = below.create(name.as_bytes(), CONTENTS.len() as u64)?;
            made.write_at(&CONTENTS, 0)?;
            made.finish(&attributes(&file), Permissions::Restore)?;
        }
        below.finish(&attributes(&directory), Permissions::Restore)?;
    }
    Ok(())
}

/// Metadata of a file that belongs to the current user.
fn metadata(kind: FileKind, mode: u32) -> Metadata {
    Metadata {
        kind,
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        size_bytes: 0,
        mtime_ns: 1_234_567_890_123_456_789,
        ctime_ns: 0,
        btime_ns: None,
        inode: 0,
        device: 0,
        links: 1,
        rdev: 0,
        allocated_bytes: 0,
    }
}

fn attributes(metadata: &Metadata) -> Attributes<'_> {
    Attributes {
        metadata,
        user: None,
        group: None,
        xattrs: &[],
        flags: 0,
    }
}
