//! A [`Running`] binary: watched from outside, signalled and killed at a moment that
//! can be seen, such as when a store or a target has grown.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Run, Sandbox, describe};

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something happened.
const GLANCE: Duration = Duration::from_micros(500);

/// A process, ended at the latest when this is dropped. Its output goes to files, so
/// that it never waits for a reader.
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
    /// Waits until `happened`, or until the process has ended. Tells whether it still runs.
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

    /// Sends `signal`. One that has ended takes it as well as any.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // A child that was not waited for keeps its number, so this hits nobody else.
        let _ = kill_process(pid, signal);
    }

    /// Waits for the end.
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

    /// Ends it as a power cut would, but for what the kernel remembers.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// How many bytes it has read so far, from wherever. An ordinary user cannot see that of a
    /// process that forbids core dumps; then it is estimated from the processor time, at 1 MiB
    /// for each hundredth of a second.
    pub(crate) fn read_bytes(&self) -> u64 {
        let Ok(told) = fs::read_to_string(format!("/proc/{}/io", self.child.id())) else {
            return self.ticks() << 20;
        };
        let number = told.lines().find_map(|line| line.strip_prefix("rchar: "));
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The memory that it occupies, in KiB.
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
        // Both fail if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes in all files below `path`, half-written ones included.
pub(crate) fn weight(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    // What goes away meanwhile weighs nothing.
    let weigh = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => weight(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(weigh).sum()
}
