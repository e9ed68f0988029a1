//! A job lists one directory or reads one file. This module defines which request follows which
//! response.
//!
//! ```text
//! directory   stat -> open -> list, several at once, until the end -> close, read its links
//! file        stat -> open -> read, all ranges at once -> stat again -> close
//! ```
//!
//! The first stat checks the file type, so that neither a FIFO nor a symbolic link is opened. The
//! second stat of a file detects a change during the read. The response to the close is not
//! awaited.

use std::collections::HashMap;

use super::state::Task;
use super::{Fetched, Listed};
use crate::connector::sftp::metadata;
use crate::connector::{FileKind, Item};
use crate::net::ssh::bulk::Bulk;
use crate::net::ssh::message::{Answer, END, Handle, Question};
use crate::net::ssh::sftp::{Stat, joined};
use crate::util::clock::now_ns;

/// The size of a read that every server returns completely (section 3).
const PIECE_BYTES: u32 = 32 << 10;
/// The number of concurrent list requests, once a directory has proved to be large.
const LISTS_AT_ONCE: usize = 8;
/// The maximum number of names in a prefetched directory. A larger directory is listed when the
/// walk reaches it, so that its names need not be kept.
const NAMES_LIMIT: usize = 500;
/// The maximum number of symbolic links read per directory. The caller reads the rest.
const LINKS_LIMIT: usize = 500;
/// The maximum length of a target that is kept.
const TARGET_LIMIT_BYTES: usize = 255;
/// A file modified within this time is not prefetched: another change within the same second would
/// be invisible. The reader uses a shorter time, because it knows when it reads.
const RECENT_NS: i64 = 5_000_000_000;

/// The kind of a pending request of a job.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Look,
    Open,
    List,
    /// A range of the file, by index.
    Read(usize),
    LookAgain,
    /// The target of the item with this index.
    ReadLink(usize),
    Close,
}

/// The result of a job.
pub(super) enum Done {
    Listed(Listed),
    File(Fetched),
}

/// What happens after a response.
enum Next {
    /// More responses are pending.
    Wait,
    Done(Done),
    /// The directory or file cannot be prefetched.
    Fail,
}

/// The state of a job after a response.
pub(super) enum Step {
    Goes(Job),
    Ended(Task, Option<Done>),
}

/// Sends requests for one job.
pub(super) struct Asker<'a> {
    pub(super) bulk: &'a mut Bulk,
    /// The job and the kind of each pending request, by request number.
    pub(super) asked: &'a mut HashMap<u32, (u64, Asked)>,
    pub(super) job: u64,
}

impl Asker<'_> {
    fn ask(&mut self, question: &Question<'_>, asked: Asked) {
        let number = self.bulk.ask(question);
        self.asked.insert(number, (self.job, asked));
    }
}

/// A job in progress.
pub(super) struct Job {
    task: Task,
    handle: Option<Handle>,
    /// The number of pending requests of the kinds that are sent several at once.
    open: usize,
    listed: Listed,
    pieces: Vec<Vec<u8>>,
}

impl Job {
    /// Starts a job for `task`.
    pub(super) fn begin(task: Task, asker: &mut Asker<'_>) -> Job {
        asker.ask(&Question::Look(task.path()), Asked::Look);
        Job {
            task,
            handle: None,
            open: 0,
            listed: Listed::default(),
            pieces: Vec::new(),
        }
    }

    pub(super) fn is_listing(&self) -> bool {
        matches!(self.task, Task::List { .. })
    }

    /// Processes the response to a request, and sends further requests.
    pub(super) fn take(mut self, asked: Asked, answer: Answer, asker: &mut Asker<'_>) -> Step {
        let next = match (asked, answer) {
            (Asked::Look, Answer::Stat(stat)) => self.looked(&stat, asker),
            (Asked::Open, Answer::Handle(handle)) => self.opened(handle, asker),
            (Asked::List, Answer::Names(names)) => self.listed(names, asker),
            (Asked::List, Answer::Status(END)) => self.listed_all(asker),
            (Asked::ReadLink(item), answer) => self.read_link(item, answer),
            (Asked::Read(piece), Answer::Data(bytes)) => self.read(piece, bytes, asker),
            (Asked::Read(piece), Answer::Status(END)) => self.read(piece, Vec::new(), asker),
            (Asked::LookAgain, Answer::Stat(stat)) => self.looked_again(&stat),
            _ => Next::Fail,
        };
        let done = match next {
            Next::Wait => return Step::Goes(self),
            Next::Done(done) => Some(done),
            Next::Fail => None,
        };
        if let Some(handle) = &self.handle {
            asker.ask(&Question::Close(handle), Asked::Close);
        }
        Step::Ended(self.task, done)
    }

    /// Opens the path if it has the expected file type.
    fn looked(&self, stat: &Stat, asker: &mut Asker<'_>) -> Next {
        let (kind, path) = (metadata(stat).kind, self.task.path());
        let question = match self.task {
            Task::List { .. } if kind == FileKind::Directory => Question::OpenDir(path),
            Task::Fetch { limit_bytes, .. }
                if kind == FileKind::File
                    && stat.size_bytes <= limit_bytes
                    && !is_recent(metadata(stat).mtime_ns) =>
            {
                Question::OpenFile(path)
            }
            Task::List { .. } | Task::Fetch { .. } => return Next::Fail,
        };
        asker.ask(&question, Asked::Open);
        Next::Wait
    }

    /// Requests the contents.
    fn opened(&mut self, handle: Handle, asker: &mut Asker<'_>) -> Next {
        self.handle = Some(handle);
        match self.task {
            Task::List { .. } => self.list(2, asker),
            Task::Fetch { limit_bytes, .. } => self.read_all(limit_bytes, asker),
        }
        Next::Wait
    }

    /// Keeps `at_once` list requests pending.
    fn list(&mut self, at_once: usize, asker: &mut Asker<'_>) {
        let handle = self.handle.as_ref().expect("it is open");
        while self.open < at_once {
            asker.ask(&Question::List(handle), Asked::List);
            self.open += 1;
        }
    }

    fn listed(&mut self, names: Vec<(Vec<u8>, Stat)>, asker: &mut Asker<'_>) -> Next {
        self.open -= 1;
        let names = names.into_iter().filter(|(name, _)| is_name(name));
        let items = &mut self.listed.items;
        items.extend(names.map(|(name, stat)| Item {
            name,
            metadata: Ok(metadata(&stat)),
        }));
        let is_waited_for = matches!(self.task, Task::List { is_waited_for, .. } if is_waited_for);
        let found = items.len();
        if found > NAMES_LIMIT && !is_waited_for {
            return Next::Fail;
        }
        let at_once = match found {
            ..NAMES_LIMIT => 2,
            _ => LISTS_AT_ONCE,
        };
        self.list(at_once, asker);
        Next::Wait
    }

    /// Handles the end of the directory, which every pending list request reports.
    fn listed_all(&mut self, asker: &mut Asker<'_>) -> Next {
        self.open -= 1;
        if self.open > 0 {
            return Next::Wait;
        }
        let items = self.listed.items.iter().enumerate();
        let links = items.filter(|(_, item)| is_link(item)).take(LINKS_LIMIT);
        for (number, item) in links {
            let path = joined(self.task.path(), &item.name);
            asker.ask(&Question::ReadLink(&path), Asked::ReadLink(number));
            self.open += 1;
        }
        self.listed_links()
    }

    /// Records the target of a symbolic link, if the response contains one.
    fn read_link(&mut self, item: usize, answer: Answer) -> Next {
        self.open -= 1;
        if let Answer::Names(mut names) = answer
            && let Some((target, _)) = names.pop()
            && target.len() <= TARGET_LIMIT_BYTES
        {
            let name = self.listed.items[item].name.clone();
            self.listed.targets.insert(name, target);
        }
        self.listed_links()
    }

    fn listed_links(&mut self) -> Next {
        match self.open {
            0 => Next::Done(Done::Listed(std::mem::take(&mut self.listed))),
            _ => Next::Wait,
        }
    }

    /// Requests `size_bytes` of a file, and the bytes that may have been added.
    fn read_all(&mut self, size_bytes: u64, asker: &mut Asker<'_>) {
        let handle = self.handle.as_ref().expect("it is open");
        for offset in (0..=size_bytes).step_by(PIECE_BYTES as usize) {
            let question = Question::Read {
                handle,
                offset,
                length_bytes: PIECE_BYTES,
            };
            asker.ask(&question, Asked::Read(self.pieces.len()));
            self.pieces.push(Vec::new());
            self.open += 1;
        }
    }

    fn read(&mut self, piece: usize, bytes: Vec<u8>, asker: &mut Asker<'_>) -> Next {
        if bytes.len() > PIECE_BYTES as usize {
            return Next::Fail;
        }
        self.pieces[piece] = bytes;
        self.open -= 1;
        if self.open == 0 {
            let handle = self.handle.as_ref().expect("it is open");
            asker.ask(&Question::LookAtOpen(handle), Asked::LookAgain);
        }
        Next::Wait
    }

    /// Assembles the file, provided that it is complete.
    fn looked_again(&mut self, stat: &Stat) -> Next {
        let pieces = std::mem::take(&mut self.pieces);
        let bytes = pieces.concat();
        match are_in_a_row(&pieces) && bytes.len() as u64 == stat.size_bytes {
            true => Next::Done(Done::File(Fetched {
                bytes,
                metadata: metadata(stat),
            })),
            false => Next::Fail,
        }
    }
}

/// Whether the pieces have no gap, as they would after a short read.
fn are_in_a_row(pieces: &[Vec<u8>]) -> bool {
    let mut with_bytes = pieces.iter().rev().skip_while(|piece| piece.is_empty());
    with_bytes.next();
    with_bytes.all(|piece| piece.len() == PIECE_BYTES as usize)
}

fn is_link(item: &Item) -> bool {
    (item.metadata.as_ref()).is_ok_and(|metadata| metadata.kind == FileKind::Symlink)
}

/// Whether `name` is a valid name of a directory entry.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/')
}

/// Whether another change now might not be visible in the modification time, which has a resolution
/// of one second. A time in the future counts as recent: the clock of the server is ahead.
fn is_recent(mtime_ns: i64) -> bool {
    mtime_ns > now_ns().saturating_sub(RECENT_NS)
}
