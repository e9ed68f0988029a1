//! Completes the word under the cursor of a partial command line.
//!
//! 1. [`place`] parses the words before the cursor, as [`super::parse`] does, and determines what
//!    can follow: a command, a flag, the value of a flag, or an argument, whose possible [`Kind`]s
//!    come from the synopsis ([`synopsis`]);
//! 2. [`answer`] returns the words of these kinds that begin with the partial word.
//!
//! Commands and flags come from the tables, so completions always match the program. Data outside
//! the tables, such as names of stores and snapshots, comes from a [`Known`]. File names are
//! completed by the shell, which handles `~` and variables.

pub mod synopsis;

use std::ffi::OsString;

use super::args::Args;
use super::parse::{Invocation, parse};
use super::table::{Command, Flag, GLOBAL_FLAGS};
use crate::config::Section;
use crate::config::connectors::CONNECTORS;
use synopsis::kinds_of;

/// The kinds of words that can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A fixed word.
    Word(&'static str),
    /// The name of a command.
    Command,
    /// A subcommand of the preceding command.
    Subcommand,
    /// The id of a snapshot.
    Snapshot,
    /// A snapshot, or a path in it.
    Entry,
    /// A path in a snapshot.
    EntryOnly,
    /// `@` and a configured name.
    At(Section),
    /// A configured name.
    Name(Section),
    /// The key of a configuration option.
    Key(Section),
    /// The key of a configuration option followed by `=`, for a value to follow.
    KeyValue(Section),
    /// The name of a connector.
    Connector,
    /// A local file or directory.
    File,
    /// A local directory.
    Directory,
}

/// One completion, with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub word: String,
    /// A description, which may be empty.
    pub about: String,
}

impl Candidate {
    /// A completion with its description.
    pub fn new(word: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate {
            word: word.into(),
            about: about.into(),
        }
    }
}

/// The local file names that the shell adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    /// Directories only.
    Directories,
    /// Files of all kinds.
    Files,
}

/// The completions of a word.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The words, in the order in which they are shown.
    pub candidates: Vec<Candidate>,
    /// The file names to add, if any.
    pub names: Option<Names>,
}

/// Data that is not in the tables. Methods return an empty list if the data is unavailable.
pub trait Known {
    /// The configured names, with descriptions.
    fn names(&self, section: Section) -> Vec<Candidate>;

    /// The snapshots whose ids begin with `prefix`, newest first.
    fn snapshots(&self, prefix: &str) -> Vec<Candidate>;

    /// The entries `SNAPSHOT:DIRECTORY/NAME` that begin with `word`, which contains a colon.
    /// Directories end with `/`.
    fn entries(&self, word: &str) -> Vec<Candidate>;
}

/// The position of the cursor in a command line.
#[derive(Debug)]
pub struct Place {
    /// The parsed words before the cursor.
    pub invocation: Invocation,
    /// The part of the word that is kept unchanged: `-flag=`.
    kept: String,
    /// The part of the word to complete.
    word: String,
    wanted: Wanted,
}

/// What can follow at this position.
#[derive(Debug)]
enum Wanted {
    /// One of these commands.
    Commands(&'static [Command]),
    /// The name of a flag.
    Flag,
    /// Words of these kinds.
    Kinds(Vec<Kind>),
}

/// Parses all `words` except the last one, which is to be completed. `words` do not include the
/// program name. `None` if they are not a valid command line.
pub fn place(words: &[OsString], commands: &'static [Command]) -> Option<Place> {
    let (word, before) = words.split_last()?;
    let word = word.to_str()?.to_owned();
    let understood = |words: &[OsString]| parse(words.iter().cloned(), commands).ok();
    if let Some(invocation) = understood(before) {
        return Some(Place::within(invocation, word, before, commands));
    }
    // They may be invalid only because the last one is a flag whose value is missing: then complete
    // that value.
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
    /// The position after a valid command line.
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

/// What can follow if the word is not a flag.
fn wanted(invocation: &Invocation, commands: &'static [Command]) -> Wanted {
    match &invocation.args {
        None => Wanted::Commands(commands),
        Some(args) if !args.command.subcommands.is_empty() => {
            Wanted::Commands(args.command.subcommands)
        }
        Some(args) => Wanted::Kinds(kinds_of(args)),
    }
}

/// The kinds of the value of `flag`.
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

/// The flags that can be given. Those of the command take precedence over global options.
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

/// The flag with the name `name`.
fn flag(invocation: &Invocation, name: &str) -> Option<&'static Flag> {
    let mut flags = flags(invocation).into_iter();
    flags.find(|flag| flag.names().any(|known| known == name))
}

/// The completions at `place`.
pub fn answer(place: &Place, known: &dyn Known) -> Answer {
    let mut answer = match &place.wanted {
        Wanted::Commands(commands) => of_commands(place, commands),
        Wanted::Flag => of_flags(place),
        Wanted::Kinds(kinds) => of_kinds(place, kinds, known),
    };
    // A word with control characters cannot be typed and would corrupt the line-based output.
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
    // A word that begins with `@` is a name and not a file.
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

/// The keys of a section, of all connectors, each followed by `end`.
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
