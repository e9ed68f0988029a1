//! A source with one file, read from a pipe: standard input or the output of a command.
//!
//! Neither the length nor the arrival of the bytes is known in advance, so the file is read with
//! [`Stream::take`], whose wait is limited. The output of a command is accepted only if the command
//! succeeds: a truncated dump that looks complete is worse than none.
//!
//! This module knows neither where standard input is nor what happens to the bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};

use super::{
    Details, FileKind, Item, LocalSource, Metadata, Source, SourceDir, SourceFile, Stream,
};
use crate::error::{During, Error, Kind, Result};
use crate::util::child;
use crate::util::clock::now_ns;
use crate::util::printable::printable;

/// The mode of the file: only the owner may read data that was piped in.
const FILE_MODE: u32 = 0o600;
/// The mode of the parent directories of the file.
const DIRECTORY_MODE: u32 = 0o755;
/// The maximum length of a file name on Linux. A file with a longer name could not be restored.
const NAME_LIMIT_BYTES: usize = 255;
/// How long a command may take to clean up after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// The interval at which the exit of a command is polled.
const GLANCE: Duration = Duration::from_millis(10);

/// The origin of the bytes.
#[derive(Debug)]
pub enum Feed {
    /// An open pipe or file.
    Input(OwnedFd),
    /// A command and its arguments. It is started at the first read.
    Command(Vec<OsString>),
}

/// A source with one file below `/`, whose contents are read from a pipe.
pub struct StreamSource {
    /// Provides the host name and the users of the local system.
    local: LocalSource,
    kind: &'static str,
    shared: Arc<Shared>,
}

/// The state shared by all parent directories of the file.
struct Shared {
    /// The names of the directories, starting at the root, and of the file.
    names: Vec<Vec<u8>>,
    /// `None` after the file was opened.
    feed: Mutex<Option<Feed>>,
    time_ns: i64,
}

impl StreamSource {
    /// Creates a source with one file at the path `name`, relative to the root.
    ///
    /// # Errors
    /// [`Kind::Usage`] if `name` is not a valid path.
    pub fn new(name: &[u8], feed: Feed) -> Result<StreamSource> {
        let kind = match feed {
            Feed::Input(_) => "stdin",
            Feed::Command(_) => "cmd",
        };
        let shared = Shared {
            names: names_in(name)?,
            feed: Mutex::new(Some(feed)),
            time_ns: now_ns(),
        };
        Ok(StreamSource {
            local: LocalSource::new()?,
            kind,
            shared: Arc::new(shared),
        })
    }

    /// The absolute path of the file.
    pub fn path(&self) -> Vec<u8> {
        let names = self.shared.names.iter();
        names
            .flat_map(|name| [b"/", name.as_slice()].concat())
            .collect()
    }
}

/// Splits `name` into the names of the directories and of the file.
fn names_in(name: &[u8]) -> Result<Vec<Vec<u8>>> {
    let refused = |cause: &str| {
        let name = printable(name);
        Err(Error::usage(format!("\"{name}\": {cause}")))
    };
    if name.is_empty() || name.ends_with(b"/") {
        return refused("the file needs a name");
    }
    let names = name
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty());
    let names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
    if names.iter().any(|name| name == b"." || name == b"..") {
        return refused("a path must not have . or .. in it");
    }
    if names.iter().any(|name| name.len() > NAME_LIMIT_BYTES) {
        return refused("the name is too long");
    }
    Ok(names)
}

impl Source for StreamSource {
    fn kind(&self) -> &str {
        self.kind
    }

    fn origin(&self) -> &str {
        self.local.origin()
    }

    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)> {
        let shared = self.shared.clone();
        let metadata = shared.metadata(FileKind::Directory);
        Ok((Arc::new(StreamDir { shared, depth: 0 }), metadata))
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        self.local.user_name(uid)
    }

    fn group_name(&self, gid: u32) -> Option<Arc<str>> {
        self.local.group_name(gid)
    }
}

impl Shared {
    /// The metadata of a directory, or of the file before it is read.
    fn metadata(&self, kind: FileKind) -> Metadata {
        let mode = match kind {
            FileKind::Directory => DIRECTORY_MODE,
            _ => FILE_MODE,
        };
        Metadata {
            kind,
            mode,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            mtime_ns: self.time_ns,
            ctime_ns: self.time_ns,
            links: 1,
            ..Metadata::default()
        }
    }
}

/// A parent directory of the file, with one entry.
struct StreamDir {
    shared: Arc<Shared>,
    depth: usize,
}

impl StreamDir {
    /// The type of the entry `name`.
    fn kind_of(&self, name: &[u8]) -> Result<FileKind> {
        let names = &self.shared.names;
        match names[self.depth] == name {
            true if self.depth + 1 == names.len() => Ok(FileKind::File),
            true => Ok(FileKind::Directory),
            false => Err(Error::new(Kind::NotFound, "no such file or directory")),
        }
    }
}

impl SourceDir for StreamDir {
    fn items(&self) -> Result<Vec<Item>> {
        let name = self.shared.names[self.depth].clone();
        let metadata = self.stat(&name);
        Ok(vec![Item { name, metadata }])
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        Ok(self.shared.metadata(self.kind_of(name)?))
    }

    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>> {
        match self.kind_of(name)? {
            FileKind::Directory => Ok(Arc::new(StreamDir {
                shared: self.shared.clone(),
                depth: self.depth + 1,
            })),
            _ => Err(Error::new(Kind::Failed, "not a directory")),
        }
    }

    fn open_file(&self, _name: &[u8]) -> Result<Box<dyn SourceFile>> {
        Err(Error::new(
            Kind::Failed,
            "a stream, which no file can be opened for",
        ))
    }

    fn open_stream(&self, name: &[u8]) -> Result<Option<Box<dyn Stream>>> {
        if self.kind_of(name)? != FileKind::File {
            return Ok(None);
        }
        let feed = self
            .shared
            .feed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let feed = feed.ok_or_else(|| Error::new(Kind::Failed, "was read already"))?;
        Ok(Some(match feed {
            Feed::Input(fd) => Box::new(Pipe {
                file: fd.into(),
                what: "standard input",
            }),
            Feed::Command(words) => Box::new(Running::start(&words)?),
        }))
    }

    fn details(&self, _name: &[u8], _kind: FileKind) -> Result<Details> {
        Ok(Details::default())
    }

    fn own_details(&self) -> Result<Details> {
        Ok(Details::default())
    }
}

struct Pipe {
    file: File,
    what: &'static str,
}

impl Stream for Pipe {
    fn take(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>> {
        let timeout = Timespec::try_from(patience).ok();
        let mut waited = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut waited, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            outcome => outcome.during(|| self.what)?,
        };
        match self.file.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(cause) if is_not_yet(cause.kind()) => Ok(None),
            Err(cause) => Err(cause).during(|| self.what),
        }
    }
}

/// Whether no bytes are available at the moment. Another process may have made the pipe
/// non-blocking.
fn is_not_yet(cause: ErrorKind) -> bool {
    matches!(cause, ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// A running command. It is terminated on drop.
struct Running {
    program: String,
    child: Child,
    /// The output of the command, until its end.
    output: Option<Pipe>,
}

impl Running {
    /// Starts a command without a shell and with empty standard input.
    fn start(words: &[OsString]) -> Result<Running> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| Error::usage("there is no command"))?;
        // Arguments may contain passwords, so messages omit them.
        let shown = PathBuf::from(program).display().to_string();
        let mut command = child::command(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let spawned = command.spawn().map_err(|cause| {
            let cause = Error::from(cause).to_string();
            // Not `NotFound`, which stands for a missing store or snapshot.
            Error::new(
                Kind::Failed,
                format!("command {shown} cannot be started: {cause}"),
            )
        });
        let mut child = spawned?;
        let output = child.stdout.take().expect("it was asked for");
        let pipe = Pipe {
            file: OwnedFd::from(output).into(),
            what: "output of the command",
        };
        Ok(Running {
            program: shown,
            child,
            output: Some(pipe),
        })
    }

    /// Checks the exit status.
    ///
    /// # Errors
    /// [`Kind::Failed`] unless the command succeeded.
    fn check(&self, status: ExitStatus) -> Result<()> {
        let how = match (status.code(), status.signal()) {
            (Some(0), _) => return Ok(()),
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended strangely".to_owned(),
        };
        let program = &self.program;
        let message = format!("command {program} {how}, so there is no snapshot");
        Err(Error::new(Kind::Failed, message))
    }

    /// Checks whether the command has failed while another process, started by the command, still
    /// holds the pipe open.
    ///
    /// # Errors
    /// [`Kind::Failed`] if it has.
    fn look_after(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(Some(status)) => self.check(status),
            _ => Ok(()),
        }
    }

    /// Waits until `deadline` for the command to exit. Returns whether it did.
    fn ends_until(&mut self, deadline: Instant) -> bool {
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => sleep(GLANCE),
                outcome => return matches!(outcome, Ok(Some(_))),
            }
        }
    }
}

impl Stream for Running {
    fn take(&mut self, buffer: &mut [u8], patience: Duration) -> Result<Option<usize>> {
        if let Some(output) = &mut self.output {
            match output.take(buffer, patience)? {
                Some(0) => self.output = None,
                None => return self.look_after().map(|()| None),
                taken => return Ok(taken),
            }
        }
        match self.ends_until(Instant::now() + patience) {
            false => Ok(None),
            true => {
                let status = self.child.wait().during(|| "wait for the command")?;
                self.check(status).map(|()| Some(0))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Closed first, so that other processes that write to the pipe exit as well.
        self.output = None;
        if self.ends_until(Instant::now()) {
            return;
        }
        // The command was not yet reaped, so its process id cannot have been reused.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if !self.ends_until(Instant::now() + GRACE) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the whole stream, or returns why it is incomplete.
    fn all(source: &StreamSource, name: &[u8]) -> Result<Vec<u8>> {
        let (root, _) = source.root()?;
        let mut stream = root.open_stream(name)?.expect("it is a stream");
        let (mut bytes, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match stream.take(&mut buffer, GLANCE)? {
                None => {}
                Some(0) => return Ok(bytes),
                Some(count) => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn command(words: &[&str]) -> StreamSource {
        let words = words.iter().map(OsString::from).collect();
        StreamSource::new(b"x", Feed::Command(words)).unwrap()
    }

    #[test]
    fn only_a_command_that_succeeds_is_whole() {
        let said = |script| all(&command(&["sh", "-c", script]), b"x");
        assert_eq!(
            said("echo one; sleep 0.05; echo two").unwrap(),
            b"one\ntwo\n"
        );
        assert_eq!(said("").unwrap(), b"");
        let failed = said("echo half; exit 3").unwrap_err().to_string();
        assert!(
            failed.starts_with("command sh ended with status 3"),
            "{failed}"
        );
        let killed = said("echo half; kill -9 $$").unwrap_err().to_string();
        assert!(killed.contains("was killed by signal 9"), "{killed}");
        let late = said("echo all; exec >&-; sleep 0.05; exit 4").unwrap_err();
        assert!(late.to_string().contains("status 4"), "{late}");
        let none = all(&command(&["/no/such/command"]), b"x").unwrap_err();
        assert_eq!(none.kind(), Kind::Failed, "{none}");
    }

    #[test]
    fn a_command_that_is_dropped_is_ended() {
        let source = command(&["sleep", "1000"]);
        let (root, _) = source.root().unwrap();
        let mut stream = root.open_stream(b"x").unwrap().unwrap();
        assert_eq!(stream.take(&mut [0], GLANCE).unwrap(), None);
        let began = Instant::now();
        drop(stream);
        assert!(began.elapsed() < GRACE, "it took the signal that asks");
    }

    #[test]
    fn a_name_may_have_directories_and_leads_nowhere_else() {
        let path = |name: &[u8]| {
            let feed = Feed::Command(Vec::new());
            StreamSource::new(name, feed).map(|source| source.path())
        };
        assert_eq!(path(b"db.sql").unwrap(), b"/db.sql");
        assert_eq!(path(b"/a//b/db.sql").unwrap(), b"/a/b/db.sql");
        for name in [
            &b""[..],
            b"/",
            b"a/",
            b"..",
            b"a/../b",
            b"./a",
            &[b'x'; 256],
        ] {
            assert_eq!(path(name).unwrap_err().kind(), Kind::Usage, "{name:?}");
        }
    }
}
