//! Displays long text on a terminal through a pager.
//!
//! The pager replaces this process: it handles keys and signals itself, and plakar does not have to
//! wait for it. It reads from a memory file, because no process remains that could write to a pipe.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal, Seek, Write};
use std::os::unix::process::CommandExt;

use rustix::fs::{MemfdFlags, memfd_create};

use super::environment::Environment;
use crate::error::Result;
use crate::util::child;

/// Tried in this order if the environment names no pager.
const USUAL: &[&str] = &["less", "more"];

/// Whether input and output are a terminal that can run a pager.
pub(super) fn is_wanted(environment: &Environment) -> bool {
    let is_dumb = environment.terminal.as_deref() == Some(OsStr::new("dumb"));
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !is_dumb
}

/// Replaces this process by a pager that shows `text`. Returns only if no pager can be started.
///
/// # Errors
/// If the memory file cannot be created or written.
pub(super) fn show(text: &str, environment: &Environment) -> Result<()> {
    let mut file = File::from(memfd_create("manual", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    if let Some(line) = &environment.pager {
        file.rewind()?;
        let mut shell = child::command("/bin/sh");
        let _ = shell.arg("-c").arg(line).stdin(file.try_clone()?).exec();
    }
    for name in USUAL {
        file.rewind()?;
        let _ = child::command(name).stdin(file.try_clone()?).exec();
    }
    Ok(())
}
