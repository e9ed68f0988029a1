//! Where an archive is written to: a new file, which has no name before it is whole, or
//! standard output.

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

/// Nobody else's business: what was readable by some is now in one file.
const FILE_MODE: u32 = 0o600;

/// What an archive is written to. A file that is dropped unfinished is removed.
pub(super) enum Target<'a> {
    /// Whoever reads our output.
    StandardOutput(&'a Globals),
    /// A file that is on its way to its name.
    File(NewFile),
}

/// A file under another name.
pub(super) struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

/// Whether `path` is the `-` that stands for standard output.
pub(super) fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl<'a> Target<'a> {
    /// Begins to write to `path`.
    ///
    /// # Errors
    /// [`Kind::Exists`] if there is something, which is left alone; [`Kind::Usage`] for a
    /// terminal, if standard output is wanted for other things too, or for what names no file.
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

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Target::StandardOutput(globals) => globals.out.stream(bytes),
            Target::File(file) => {
                let written = file.file.write_all(bytes);
                written.during(|| format!("write {}", printable_path(&file.path)))
            }
        }
    }

    /// Makes what was written durable, and gives it its name.
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
            // NFS and many FUSE file systems only link without replacing. The other name
            // goes when this is dropped.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            }
            Err(Errno::EXIST) => return Err(exists()),
            outcome => outcome?,
        }
        let parent = to.parent().filter(|parent| *parent != OsStr::new(""));
        let parent = File::open(parent.unwrap_or(Path::new(".")))?;
        // Some file systems (SMB) cannot, and promise no less to anyone for it.
        let _ = parent.sync_all();
        Ok(())
    }
}

/// Whether there can be a file of this name.
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
        // Once it has its name there is nothing of the other, and the error says so.
        let _ = fs::remove_file(&self.temporary);
    }
}
