//! Standard output that does not block after an interrupt.
//!
//! A write to a pipe that no process reads blocks forever, and the interrupt flag would not be
//! checked meanwhile. Therefore this module polls for free space with a short timeout, and writes
//! at most as much as is guaranteed to fit (POSIX: `PIPE_BUF` bytes).

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::util::interrupt::Interrupt;

/// The value on Linux. POSIX requires at least 512.
const PIPE_BUF_BYTES: usize = 4096;
/// The interval between two checks of the interrupt flag while waiting for free space.
const PATIENCE: Duration = Duration::from_millis(100);

/// Standard output, unbuffered.
pub(super) struct Stdout {
    file: File,
    interrupt: Interrupt,
}

/// The cause of an [`io::Error`]: the command was interrupted while the pipe was full.
#[derive(Debug)]
pub(super) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl StdError for Stopped {}

impl Stopped {
    /// Whether `error` was caused by an interrupt.
    pub(super) fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Stopped>())
    }
}

impl Stdout {
    /// Standard output. A blocked write fails once `interrupt` is set.
    pub(super) fn new(interrupt: &Interrupt) -> io::Result<Stdout> {
        Ok(Stdout {
            file: File::from(io::stdout().as_fd().try_clone_to_owned()?),
            interrupt: interrupt.clone(),
        })
    }

    /// Waits until a write is possible, or until a write would report an error.
    fn wait(&self) -> io::Result<()> {
        let timeout = Timespec::try_from(PATIENCE).ok();
        loop {
            let mut waited = [PollFd::new(&self.file, PollFlags::OUT)];
            match poll(&mut waited, timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) if self.interrupt.is_set() => {
                    return Err(io::Error::other(Stopped));
                }
                Ok(0) | Err(Errno::INTR) => {}
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait()?;
        self.file.write(&bytes[..bytes.len().min(PIPE_BUF_BYTES)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
