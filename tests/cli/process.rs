//! A [`Running`] binary that is observed from outside. It can be sent signals or killed at an
//! observable moment, for example when a store or a target has grown.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Run, Sandbox, describe};

/// Longer than any operation takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The interval between two checks of a condition.
const GLANCE: Duration = Duration::from_micros(500);

/// A process, killed on drop at the latest. Its output goes to files, so that it never waits for a
/// reader.
pub(crate) struct Running {
    command: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Sandbox {
    /// Starts the binary with `words`.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        self.start_command(&mut self.command(words))
    }

    /// Starts `command`.
    pub(crate) fn start_command(&self, command: &mut Command) -> Running {
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        let create = |path: &Path| File::create(path).expect("a file can be made");
        command.stdout(create(&stdout)).stderr(create(&stderr));
        let child = command.spawn().expect("the binary can be started");
        Running {
            command: describe(command),
            child,
            stdout,
            stderr,
        }
    }
}

impl Running {
    /// Waits until `happened` returns true or the process has ended. Returns whether it is still
    /// running.
    pub(crate) fn until(&mut self, happened: impl Fn(&Running) -> bool) -> bool {
        let began = Instant::now();
        while !happened(self) {
            if self.child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "nothing happens: {}",
                self.command
            );
            sleep(GLANCE);
        }
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Sends `signal`. A process that has already ended is ignored.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // A child that was not waited for keeps its process id, so no other process receives the
        // signal.
        let _ = kill_process(pid, signal);
    }

    /// Waits for the end of the process.
    pub(crate) fn end(mut self) -> Run {
        self.until(|_| false);
        let status = self.child.wait().expect("it is our child");
        let read = |path: &Path| fs::read(path).expect("its output can be read");
        let output = Output {
            status,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        };
        Run::after(self.command.clone(), output)
    }

    /// Kills the process as a power failure would, except that the kernel keeps its caches.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// The number of bytes read so far, from any file. For a process that forbids core dumps, an
    /// ordinary user cannot read this counter. In that case it is estimated from the processor
    /// time, at 1 MiB per hundredth of a second.
    pub(crate) fn read_bytes(&self) -> u64 {
        let Ok(told) = fs::read_to_string(format!("/proc/{}/io", self.child.id())) else {
            return self.ticks() << 20;
        };
        let number = told.lines().find_map(|line| line.strip_prefix("rchar: "));
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or(0)
    }

    /// The processor time so far, in hundredths of a second (proc_pid_stat(5), fields 14 and 15).
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2);
        times.filter_map(|time| time.parse::<u64>().ok()).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both calls fail if the process has ended, which is intended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The total size of all files below `path`, including partially written ones.
pub(crate) fn weight(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    // Files that are deleted in the meantime count as empty.
    let weigh = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => weight(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(weigh).sum()
}
