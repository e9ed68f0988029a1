//! Standard output that does not keep us when we are asked to stop.
//!
//! A write into a pipe that nobody reads waits for ever, and the flag that a signal sets
//! would not be looked at meanwhile. So it is waited for room in short turns, and no more
//! is written at once than is sure to fit then (POSIX: `PIPE_BUF` bytes).

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::util::interrupt::Interrupt;

/// Linux has this; POSIX asks for 512 at least.
const PIPE_BUF_BYTES: usize = 4096;
/// How long we wait for room without looking whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Standard output, unbuffered.
pub(super) struct Stdout {
    file: File,
    interrupt: Interrupt,
}

/// The cause of an [`io::Error`]: we were asked to stop while nobody read.
#[derive(Debug)]
pub(super) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl StdError for Stopped {}

impl Stopped {
    /// Whether this is the cause of `error`.
    pub(super) fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Stopped>())
    }
}

impl Stdout {
    /// Standard output, given up once `interrupt` is set and nobody reads.
    pub(super) fn new(interrupt: &Interrupt) -> io::Result<Stdout> {
        Ok(Stdout {
            file: File::from(io::stdout().as_fd().try_clone_to_owned()?),
            interrupt: interrupt.clone(),
        })
    }

    /// Waits until something can be written, or until there is an error to be told by that.
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
