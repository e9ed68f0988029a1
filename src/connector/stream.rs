//! A source of one file that comes through a pipe: what somebody pipes in, or what a
//! command prints.
//!
//! Nobody knows how long it will be, nor when the next bytes come, so it is read by
//! [`Stream::take`], which never waits for long. What a command prints counts only if
//! the command succeeds: half a dump that looks like a whole one is worse than none.
//!
//! It must not know where standard input is, nor what becomes of the bytes.

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

/// The mode of the file: nobody said who else may read what somebody pipes in.
const FILE_MODE: u32 = 0o600;
/// The mode of the directories it is in.
const DIRECTORY_MODE: u32 = 0o755;
/// The longest name that Linux lets a file have: with a longer one it could not be restored.
const NAME_LIMIT_BYTES: usize = 255;
/// How long a command that is asked to end may take to tidy up before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether a command has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// Where the bytes come from.
#[derive(Debug)]
pub enum Feed {
    /// An open pipe or file.
    Input(OwnedFd),
    /// A command and its arguments, which is started when it is first read from.
    Command(Vec<OsString>),
}

/// One file below `/`, whose contents come through a pipe.
pub struct StreamSource {
    /// Knows this machine, and its users.
    local: LocalSource,
    kind: &'static str,
    shared: Arc<Shared>,
}

/// What all directories on the way to the file look at.
struct Shared {
    /// Of the directories from the root, and of the file.
    names: Vec<Vec<u8>>,
    /// Until it is opened.
    feed: Mutex<Option<Feed>>,
    time_ns: i64,
}

impl StreamSource {
    /// A source whose only file is called `name`, which may have directories in it, from the root.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what is no name of a file.
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

/// The directories and the file that `name` spells.
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
    /// What there is to tell of a directory, or of the file before it is read.
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

/// A directory on the way to the file: there is one name in it.
struct StreamDir {
    shared: Arc<Shared>,
    depth: usize,
}

impl StreamDir {
    /// What is called `name` here.
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

/// An open pipe.
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

/// Whether there is nothing to read at the moment, which another process may have asked to be told.
fn is_not_yet(cause: ErrorKind) -> bool {
    matches!(cause, ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// A command at work. Dropping it ends it.
struct Running {
    program: String,
    child: Child,
    /// What it prints, until the end of that.
    output: Option<Pipe>,
}

impl Running {
    /// Starts the command that `words` spell, without a shell and with nothing to read.
    fn start(words: &[OsString]) -> Result<Running> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| Error::usage("there is no command"))?;
        // Arguments may hold passwords, so messages do without them.
        let shown = PathBuf::from(program).display().to_string();
        let mut command = child::command(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let spawned = command.spawn().map_err(|cause| {
            let cause = Error::from(cause).to_string();
            // Not of its own kind: it is no store or snapshot that was not found.
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

    /// # Errors
    /// Unless `status` is that of a command that did what it should.
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

    /// # Errors
    /// If it has failed, although another process that it started still holds the pipe open.
    fn look_after(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(Some(status)) => self.check(status),
            _ => Ok(()),
        }
    }

    /// Waits for the end until `deadline`, and tells whether it came.
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
        // First, so that whoever else writes to it ends too.
        self.output = None;
        if self.ends_until(Instant::now()) {
            return;
        }
        // It was not waited for, so its number is nobody else's.
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

    /// Everything that comes, or why it is not whole.
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
