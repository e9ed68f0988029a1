//! Which words could stand under the cursor of an unfinished command line?
//!
//! 1. [`place`] understands the words before the cursor as [`super::parse`] does, and tells
//!    what may follow: a command, a flag, the value of one, or an argument, of which the
//!    synopsis tells the [`Kind`]s ([`synopsis`]);
//! 2. [`answer`] gives the words of these kinds that begin with what is there already.
//!
//! Everything comes from the tables, so what is completed is what there is. What tables do
//! not know, such as names of stores and snapshots, is asked of a [`Known`]. Names of files are
//! left to the shell, which knows about `~` and variables.

pub mod synopsis;

use std::ffi::OsString;

use super::args::Args;
use super::parse::{Invocation, parse};
use super::table::{Command, Flag, GLOBAL_FLAGS};
use crate::config::Section;
use crate::config::connectors::CONNECTORS;
use synopsis::kinds_of;

/// What a word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This word.
    Word(&'static str),
    /// A command of the program.
    Command,
    /// A subcommand of the command named before.
    Subcommand,
    /// A snapshot.
    Snapshot,
    /// A snapshot, or a path in it.
    Entry,
    /// A path in a snapshot.
    EntryOnly,
    /// `@` and a name of the configuration.
    At(Section),
    /// A name of the configuration.
    Name(Section),
    /// The key of an option of the configuration.
    Key(Section),
    /// The same, and `=` for its value to follow.
    KeyValue(Section),
    /// A connector.
    Connector,
    /// A file or directory of this machine.
    File,
    /// A directory of this machine.
    Directory,
}

/// One word, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub word: String,
    /// A phrase, which may be empty.
    pub about: String,
}

impl Candidate {
    /// A word and what it is.
    pub fn new(word: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate {
            word: word.into(),
            about: about.into(),
        }
    }
}

/// What the shell adds from the files of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    /// Directories.
    Directories,
    /// Files of all kinds.
    Files,
}

/// What could stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Words, in an order that makes sense.
    pub candidates: Vec<Candidate>,
    /// Names to add to them.
    pub names: Option<Names>,
}

/// What is known beyond the tables. What cannot be told is empty.
pub trait Known {
    /// The names that are configured, and what each stands for.
    fn names(&self, section: Section) -> Vec<Candidate>;

    /// The snapshots whose names begin with `prefix`, the newest first.
    fn snapshots(&self, prefix: &str) -> Vec<Candidate>;

    /// What is called `SNAPSHOT:DIRECTORY/NAME` and begins with `word`, which has a colon.
    /// Directories end in `/`.
    fn entries(&self, word: &str) -> Vec<Candidate>;
}

/// A place in a command line.
#[derive(Debug)]
pub struct Place {
    /// What the words before it come to.
    pub invocation: Invocation,
    /// What is there already and stays: `-flag=`.
    kept: String,
    /// What is there already and is completed.
    word: String,
    wanted: Wanted,
}

/// What may stand in a place.
#[derive(Debug)]
enum Wanted {
    /// One of these commands.
    Commands(&'static [Command]),
    /// The name of a flag.
    Flag,
    /// Something of these kinds.
    Kinds(Vec<Kind>),
}

/// Understands `words` before the last one, which is to be completed; the program's own
/// name is not among them. Nothing if they make no sense.
pub fn place(words: &[OsString], commands: &'static [Command]) -> Option<Place> {
    let (word, before) = words.split_last()?;
    let word = word.to_str()?.to_owned();
    let understood = |words: &[OsString]| parse(words.iter().cloned(), commands).ok();
    if let Some(invocation) = understood(before) {
        return Some(Place::within(invocation, word, before, commands));
    }
    // What is wrong with them may be that the last one wants a value, which is to be completed.
    let (last, earlier) = before.split_last()?;
    let invocation = understood(earlier)?;
    let kinds = match last.to_str()?.strip_prefix('-') {
        None if last == "at" => synopsis::kinds("STORE", ""),
        None => return None,
        Some(name) => {
            let name = name.strip_prefix('-').unwrap_or(name);
            value_kinds(&invocation, flag(&invocation, name)?)
        }
    };
    Some(Place {
        invocation,
        kept: String::new(),
        word,
        wanted: Wanted::Kinds(kinds),
    })
}

impl Place {
    /// The place after words that are understood.
    fn within(
        invocation: Invocation,
        word: String,
        before: &[OsString],
        commands: &'static [Command],
    ) -> Place {
        let mut kept = String::new();
        let mut rest = word;
        let has_ended = before.iter().any(|word| word == "--");
        let wanted = match rest.split_once('=') {
            _ if has_ended || !rest.starts_with('-') => wanted(&invocation, commands),
            None => Wanted::Flag,
            Some((name, value)) => {
                let found = flag(&invocation, name.trim_start_matches('-'));
                let kinds = found.map(|flag| value_kinds(&invocation, flag));
                (kept, rest) = (format!("{name}="), value.to_owned());
                Wanted::Kinds(kinds.unwrap_or_default())
            }
        };
        Place {
            invocation,
            kept,
            word: rest,
            wanted,
        }
    }
}

/// What is wanted where no flag is.
fn wanted(invocation: &Invocation, commands: &'static [Command]) -> Wanted {
    match &invocation.args {
        None => Wanted::Commands(commands),
        Some(args) if !args.command.subcommands.is_empty() => {
            Wanted::Commands(args.command.subcommands)
        }
        Some(args) => Wanted::Kinds(kinds_of(args)),
    }
}

/// What the value of `flag` may be.
fn value_kinds(invocation: &Invocation, flag: &'static Flag) -> Vec<Kind> {
    let path = invocation.args.as_ref().map(Args::path);
    let path = path.unwrap_or_default();
    match (flag.name, flag.value) {
        (_, None) => vec![Kind::Word("true"), Kind::Word("false")],
        ("to", Some(_)) => vec![Kind::At(Section::Destinations), Kind::Directory],
        ("policy", Some(_)) => vec![Kind::Name(Section::Policies)],
        (_, Some(value)) => synopsis::kinds(value, &path),
    }
}

/// The flags that may be given: those of the command win over those of the program.
fn flags(invocation: &Invocation) -> Vec<&'static Flag> {
    let own = invocation.args.as_ref().map(|args| args.command.tables());
    let own: Vec<&Flag> = own.into_iter().flatten().flatten().collect();
    let hidden = |flag: &&Flag| {
        own.iter()
            .any(|own| own.names().any(|name| name == flag.name))
    };
    let program = GLOBAL_FLAGS.iter().filter(|flag| !hidden(flag));
    own.iter().copied().chain(program).collect()
}

/// The flag that is called `name`.
fn flag(invocation: &Invocation, name: &str) -> Option<&'static Flag> {
    let mut flags = flags(invocation).into_iter();
    flags.find(|flag| flag.names().any(|known| known == name))
}

/// The words that could stand in `place`.
pub fn answer(place: &Place, known: &dyn Known) -> Answer {
    let mut answer = match &place.wanted {
        Wanted::Commands(commands) => of_commands(place, commands),
        Wanted::Flag => of_flags(place),
        Wanted::Kinds(kinds) => of_kinds(place, kinds, known),
    };
    // A word that a terminal would act on cannot be typed, and would tear the lines apart.
    let fits = |candidate: &Candidate| {
        candidate.word.starts_with(&place.word) && !candidate.word.contains(char::is_control)
    };
    answer.candidates.retain(fits);
    for candidate in &mut answer.candidates {
        candidate.word.insert_str(0, &place.kept);
    }
    answer
}

fn of_commands(place: &Place, commands: &[Command]) -> Answer {
    let names = |command: &Command| {
        let about = command.about;
        command.names().map(move |name| Candidate::new(name, about))
    };
    let mut candidates: Vec<Candidate> = commands.iter().flat_map(names).collect();
    if place.invocation.args.is_none() && place.invocation.store.is_none() {
        candidates.push(Candidate::new("at", "name the store"));
    }
    Answer {
        candidates,
        names: None,
    }
}

fn of_flags(place: &Place) -> Answer {
    let dashes = match place.word.starts_with("--") {
        true => "--",
        false => "-",
    };
    let names = |flag: &'static Flag| {
        flag.names()
            .map(move |name| Candidate::new(format!("{dashes}{name}"), flag.about))
    };
    Answer {
        candidates: flags(&place.invocation)
            .into_iter()
            .flat_map(names)
            .collect(),
        names: None,
    }
}

fn of_kinds(place: &Place, kinds: &[Kind], known: &dyn Known) -> Answer {
    let mut answer = Answer::default();
    // No file is meant by what begins like a name.
    let is_name = |kind: &Kind| matches!(kind, Kind::At(_)) && place.word.starts_with('@');
    let is_named = kinds.iter().any(is_name);
    for kind in kinds {
        match kind {
            Kind::File | Kind::Directory if is_named => {}
            Kind::File => answer.names = answer.names.max(Some(Names::Files)),
            Kind::Directory => answer.names = answer.names.max(Some(Names::Directories)),
            kind => answer.candidates.extend(of_kind(place, *kind, known)),
        }
    }
    answer
}

fn of_kind(place: &Place, kind: Kind, known: &dyn Known) -> Vec<Candidate> {
    let word = &place.word;
    let at = |candidate: Candidate| Candidate {
        word: format!("@{}", candidate.word),
        ..candidate
    };
    let inside = |candidate: Candidate| Candidate {
        word: format!("{}:", candidate.word),
        ..candidate
    };
    match kind {
        Kind::Word(word) => vec![Candidate::new(word, "")],
        Kind::Command => of_commands(place, super::COMMANDS).candidates,
        Kind::Subcommand => of_commands(place, subcommands(&place.invocation)).candidates,
        Kind::Entry | Kind::EntryOnly if word.contains(':') => known.entries(word),
        Kind::Snapshot | Kind::Entry => known.snapshots(word),
        Kind::EntryOnly => known.snapshots(word).into_iter().map(inside).collect(),
        Kind::At(section) => known.names(section).into_iter().map(at).collect(),
        Kind::Name(section) => known.names(section),
        Kind::Key(section) => keys(section, ""),
        Kind::KeyValue(section) => keys(section, "="),
        Kind::Connector => connectors(),
        Kind::File | Kind::Directory => Vec::new(),
    }
}

/// The subcommands of the command that the arguments name.
fn subcommands(invocation: &Invocation) -> &'static [Command] {
    let mut commands = super::COMMANDS;
    for word in invocation.args.iter().flat_map(Args::arguments) {
        let named = word.to_str().and_then(|name| Command::find(commands, name));
        commands = named.map_or(&[], |command| command.subcommands);
    }
    commands
}

/// The keys that a section takes, of whatever connector, each followed by `end`.
fn keys(section: Section, end: &str) -> Vec<Candidate> {
    let key = |name: &str, about: &str| Candidate::new(format!("{name}{end}"), about);
    let Some(role) = section.role() else {
        let flags = super::query::GROUP.flags.iter();
        return flags.map(|flag| key(flag.name, flag.about)).collect();
    };
    let connectors = CONNECTORS
        .iter()
        .filter(|connector| connector.roles.contains(&role));
    let mut keys = vec![key("location", "where it is")];
    for option in connectors.flat_map(|connector| connector.options(role)) {
        let candidate = key(option.name, option.about);
        if !keys.contains(&candidate) {
            keys.push(candidate);
        }
    }
    keys
}

fn connectors() -> Vec<Candidate> {
    let connectors = CONNECTORS.iter();
    connectors
        .map(|connector| Candidate::new(connector.name, connector.about))
        .collect()
}

#[cfg(test)]
mod tests;
