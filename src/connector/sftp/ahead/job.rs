//! One directory to be listed, or one file to be read: which question follows which answer.
//!
//! ```text
//! directory   look -> open -> list, several at once, until the end -> close, read its links
//! file        look -> open -> read, all of it at once -> look again -> close
//! ```
//!
//! What is looked at first is what it should be, so that neither a FIFO nor a link is opened.
//! A file is looked at again when all of it has come, so that a change in between shows. That
//! something was closed is not waited for.

use std::collections::HashMap;

use super::state::Task;
use super::{Fetched, Listed};
use crate::connector::sftp::metadata;
use crate::connector::{FileKind, Item};
use crate::net::ssh::bulk::Bulk;
use crate::net::ssh::message::{Answer, END, Handle, Question};
use crate::net::ssh::sftp::{Stat, joined};
use crate::util::clock::now_ns;

/// What every server returns at once if it is asked for (section 3).
const PIECE_BYTES: u32 = 32 << 10;
/// How many questions for names of one directory are under way, once it proved to be large.
const LISTS_AT_ONCE: usize = 8;
/// Names of a directory that nobody waits for yet: a larger one is listed when it is its turn,
/// when they need not lie here.
const NAMES_LIMIT: usize = 500;
/// Links of one directory that are read along. Whoever needs others reads them.
const LINKS_LIMIT: usize = 500;
/// Longer targets are not kept.
const TARGET_LIMIT_BYTES: usize = 255;
/// A file that was changed as late as this is left to whoever wants it: a change within the
/// same second shows in nothing. Its reader, who knows when it reads, goes by less.
const RECENT_NS: i64 = 5_000_000_000;

/// What was asked for a job.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Look,
    Open,
    List,
    /// The piece of this number.
    Read(usize),
    LookAgain,
    /// Where the item of this number points.
    ReadLink(usize),
    Close,
}

/// What a job came to.
pub(super) enum Done {
    Listed(Listed),
    File(Fetched),
}

/// How a job goes on after an answer.
enum Next {
    /// Further answers are to come.
    Wait,
    Done(Done),
    /// It is not to be had this way.
    Fail,
}

/// A job after an answer.
pub(super) enum Step {
    Goes(Job),
    Ended(Task, Option<Done>),
}

/// Asks questions in the name of a job.
pub(super) struct Asker<'a> {
    pub(super) bulk: &'a mut Bulk,
    /// Which job asked what in the question of this number.
    pub(super) asked: &'a mut HashMap<u32, (u64, Asked)>,
    pub(super) job: u64,
}

impl Asker<'_> {
    fn ask(&mut self, question: &Question<'_>, asked: Asked) {
        let number = self.bulk.ask(question);
        self.asked.insert(number, (self.job, asked));
    }
}

/// Something under way.
pub(super) struct Job {
    task: Task,
    handle: Option<Handle>,
    /// Questions without an answer yet, of those that are asked several at once.
    open: usize,
    listed: Listed,
    pieces: Vec<Vec<u8>>,
}

impl Job {
    /// Begins with `task`.
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

    /// Whether it lists a directory.
    pub(super) fn is_listing(&self) -> bool {
        matches!(self.task, Task::List { .. })
    }

    /// Takes the answer to what was asked, and asks on.
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

    /// Opens what is what it should be.
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

    /// Asks for what is in it.
    fn opened(&mut self, handle: Handle, asker: &mut Asker<'_>) -> Next {
        self.handle = Some(handle);
        match self.task {
            Task::List { .. } => self.list(2, asker),
            Task::Fetch { limit_bytes, .. } => self.read_all(limit_bytes, asker),
        }
        Next::Wait
    }

    /// Sees to it that as many questions for names are under way.
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

    /// The end was told, as it will be to every question that is still under way.
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

    /// Notes where a link points, if that is told.
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

    /// Asks for a file of so many bytes, and for what may have been added.
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

    /// Puts a file together, if all of it is there.
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

/// Whether nothing is missing between two pieces, as after one that is short.
fn are_in_a_row(pieces: &[Vec<u8>]) -> bool {
    let mut with_bytes = pieces.iter().rev().skip_while(|piece| piece.is_empty());
    with_bytes.next();
    with_bytes.all(|piece| piece.len() == PIECE_BYTES as usize)
}

fn is_link(item: &Item) -> bool {
    (item.metadata.as_ref()).is_ok_and(|metadata| metadata.kind == FileKind::Symlink)
}

/// Whether it is a name in a directory, and not one that leads elsewhere.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/')
}

/// Whether a change that is made now might not show in the time of the last one, which is told
/// in whole seconds. The future is recent, too: the server's clock is ahead of ours.
fn is_recent(mtime_ns: i64) -> bool {
    mtime_ns > now_ns().saturating_sub(RECENT_NS)
}
