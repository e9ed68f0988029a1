//! The output of an archive: standard output, or a new file that gets its name only when it is
//! complete.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{IsTerminal, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use crate::cli::Globals;
use crate::cli::escape::printable_path;
use crate::cli::output::Format;
use crate::error::{During, Error, Kind, Result};

/// Readable by the owner only: the archive combines files with different permissions.
const FILE_MODE: u32 = 0o600;

/// The output of an archive. An unfinished file is removed when dropped.
pub(super) enum Target<'a> {
    /// Standard output.
    StandardOutput(&'a Globals),
    /// A file that is being written.
    File(NewFile),
}

/// A file with a temporary name.
pub(super) struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

/// Whether `path` is `-`, which means standard output.
pub(super) fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl<'a> Target<'a> {
    /// Creates the target `path`.
    ///
    /// # Errors
    /// [`Kind::Exists`] if the file exists, which is kept; [`Kind::Usage`] for standard output if
    /// it is a terminal or also used for other output, and for a path that is not a valid file
    /// name.
    pub(super) fn open(globals: &'a Globals, path: &Path) -> Result<Target<'a>> {
        if !is_standard_output(path) {
            let name = || format!("-output {}", printable_path(path));
            return NewFile::create(path).map(Target::File).during(name);
        }
        let refused = match globals.out.format() {
            Format::Json => "-json wants standard output too",
            Format::Lines => "-stdio wants standard output too",
            Format::Human if stdout().is_terminal() => {
                "standard output is a terminal: give a FILE, or pipe it somewhere"
            }
            Format::Human => return Ok(Target::StandardOutput(globals)),
        };
        Err(Error::usage(refused)).during(|| "-output -")
    }

    /// Appends `bytes` to the archive.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Target::StandardOutput(globals) => globals.out.stream(bytes),
            Target::File(file) => {
                let written = file.file.write_all(bytes);
                written.during(|| format!("write {}", printable_path(&file.path)))
            }
        }
    }

    /// Makes the file durable and renames it to its final name.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Target::StandardOutput(globals) => globals.out.flush(),
            Target::File(file) => {
                let finished = file.finish();
                finished.during(|| format!("write {}", printable_path(&file.path)))
            }
        }
    }
}

impl NewFile {
    fn create(path: &Path) -> Result<NewFile> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Err(is_directory()),
            Ok(_) => return Err(exists()),
            Err(_) if !names_a_file(path) => return Err(Error::usage("this names no file")),
            Err(_) => {}
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|cause| Error::new(Kind::Failed, cause.to_string()))?;
        let name = format!(".plakar-{:016x}.part", u64::from_ne_bytes(random));
        let temporary = path.with_file_name(name);
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(FILE_MODE);
        Ok(NewFile {
            file: options.open(&temporary)?,
            temporary,
            path: path.to_owned(),
        })
    }

    fn finish(&self) -> Result<()> {
        self.file.sync_all()?;
        let (from, to) = (&self.temporary, &self.path);
        let renamed = rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
        match renamed {
            // NFS and many FUSE file systems do not support rename without replacement, but link.
            // The temporary name is removed on drop.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            }
            Err(Errno::EXIST) => return Err(exists()),
            outcome => outcome?,
        }
        let parent = to.parent().filter(|parent| *parent != OsStr::new(""));
        let parent = File::open(parent.unwrap_or(Path::new(".")))?;
        // Some file systems (SMB) do not support this, and do not guarantee more to any program.
        let _ = parent.sync_all();
        Ok(())
    }
}

/// Whether `path` is a valid name of a file.
fn names_a_file(path: &Path) -> bool {
    path.file_name().is_some() && !path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn is_directory() -> Error {
    Error::new(Kind::Exists, "this is a directory: name a file in it")
}

fn exists() -> Error {
    Error::new(Kind::Exists, "there is something of this name already")
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a rename the temporary name does not exist. This error is ignored.
        let _ = fs::remove_file(&self.temporary);
    }
}
