//! Long text for a person at a terminal, a screen at a time.
//!
//! The pager takes the place of this process: what is typed and every signal are then its
//! own, and there is nothing for us to wait for. It reads from memory, since nobody is left
//! who could fill a pipe.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal, Seek, Write};
use std::os::unix::process::CommandExt;

use rustix::fs::{MemfdFlags, memfd_create};

use super::environment::Environment;
use crate::error::Result;
use crate::util::child;

/// Tried in this order where the environment names no pager.
const USUAL: &[&str] = &["less", "more"];

/// Whether a person reads standard output, who can turn pages.
pub(super) fn is_wanted(environment: &Environment) -> bool {
    let is_dumb = environment.terminal.as_deref() == Some(OsStr::new("dumb"));
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !is_dumb
}

/// Lets a pager show `text`, and comes back only if there is none.
///
/// # Errors
/// When the text cannot be handed over.
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
