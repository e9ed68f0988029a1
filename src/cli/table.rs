//! The tables everything on the command line is made from.
//!
//! A [`Command`] and its [`Flag`]s are data. The parser looks words up in them,
//! `help` renders them, and `tests/man.rs` holds the manual pages against them,
//! so a flag that is parsed but not documented, or the reverse, cannot be.
//!
//! A command file is a table entry, `run` and `Opts`:
//!
//! ```ignore
//! pub const COMMAND: Command = Command {
//!     name: "check",
//!     synonyms: &["verify"],
//!     synopsis: "[-fast] [SNAPSHOT[:PATH] ...]",
//!     about: "verify the integrity of snapshots",
//!     flags: &[Flag::switch("fast", "check the structure only, read no contents")],
//!     run,
//!     ..Command::BLANK
//! };
//! ```
//!
//! Tables know nothing of values that were given: see [`super::args`].

use super::args::Args;
use super::globals::Globals;
use super::status::Status;
use crate::error::Result;

/// Whether a flag adds up or the last one given wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The last one given wins, as in Go.
    Once,
    /// Each one given counts.
    Repeatable,
}

/// One flag, written `-name` or `--name`.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Other names of the same flag.
    pub synonyms: &'static [&'static str],
    /// What its value is called in help, such as `FILE`; a switch has none.
    pub value: Option<&'static str>,
    /// What it does: a phrase in lower case, without a full stop.
    pub about: &'static str,
    /// Whether it may be given several times.
    pub times: Times,
}

impl Flag {
    /// A flag that is on or off.
    pub const fn switch(name: &'static str, about: &'static str) -> Flag {
        Flag {
            name,
            synonyms: &[],
            value: None,
            about,
            times: Times::Once,
        }
    }

    /// A flag that takes a value.
    pub const fn value(name: &'static str, value: &'static str, about: &'static str) -> Flag {
        Flag {
            value: Some(value),
            ..Flag::switch(name, about)
        }
    }

    /// The same flag, of which each one given counts.
    pub const fn repeatable(self) -> Flag {
        Flag {
            times: Times::Repeatable,
            ..self
        }
    }

    /// The same flag with other names beside its own.
    pub const fn also(self, synonyms: &'static [&'static str]) -> Flag {
        Flag { synonyms, ..self }
    }

    /// Every name of the flag, its own first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.synonyms.iter().copied())
    }
}

/// Flags that several commands share, documented on one page of their own.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What help puts above them.
    pub title: &'static str,
    /// The manual page that tells of them, such as `plakar-query` in section 7.
    pub page: (&'static str, u8),
    /// The flags.
    pub flags: &'static [Flag],
}

/// Runs a command with the options of the program and its own arguments.
pub type Run = fn(&Globals, Args) -> Result<Status>;

/// One command, or one subcommand of a command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The word that selects it.
    pub name: &'static str,
    /// Other words that select it.
    pub synonyms: &'static [&'static str],
    /// Flags and arguments, as `usage` shows them after the name.
    pub synopsis: &'static str,
    /// What it does: a phrase in lower case, without a full stop.
    pub about: &'static str,
    /// Its own flags. They win over global options of the same name.
    pub flags: &'static [Flag],
    /// Flags that it shares with other commands.
    pub groups: &'static [&'static Group],
    /// Commands of its own, selected by its first argument, each of which may have
    /// others. The flags of a command that has any are for itself, not for them, so that
    /// each flag has one place.
    pub subcommands: &'static [Command],
    /// What it does, or what it answers when none of its subcommands was named.
    pub run: Run,
}

impl Command {
    /// A command with nothing in it, for `..Command::BLANK` in tables.
    pub const BLANK: Command = Command {
        name: "",
        synonyms: &[],
        synopsis: "",
        about: "",
        flags: &[],
        groups: &[],
        subcommands: &[],
        run: |_, args| Err(args.wanted_subcommand()),
    };

    /// Every word that selects the command, its own first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.synonyms.iter().copied())
    }

    /// The tables of its flags, its own first.
    pub fn tables(&self) -> impl Iterator<Item = &'static [Flag]> + use<> {
        std::iter::once(self.flags).chain(self.groups.iter().map(|group| group.flags))
    }

    /// The command among `commands` that `word` selects.
    pub fn find<'a>(commands: &'a [Command], word: &str) -> Option<&'a Command> {
        commands
            .iter()
            .find(|command| command.names().any(|name| name == word))
    }
}

/// Options of the program: accepted before the command, and after it unless the
/// command has a flag of that name itself.
pub static GLOBAL_FLAGS: &[Flag] = &[
    Flag::value(
        "concurrency",
        "N",
        "use at most N threads for each kind of work",
    )
    .also(&["cpu"]),
    Flag::value("configdir", "DIR", "look for configuration in DIR"),
    Flag::value("cachedir", "DIR", "keep caches in DIR"),
    Flag::value("datadir", "DIR", "keep data of this machine in DIR"),
    Flag::value(
        "keyfile",
        "FILE",
        "read the passphrase from the first line of FILE",
    ),
    Flag::value(
        "kdf-limit",
        "MIB[,SECONDS]",
        "accept key slots up to this cost (default 256,10)",
    ),
    Flag::switch("json", "print newline-delimited JSON"),
    Flag::switch("stdio", "print plain lines, one for each path"),
    Flag::switch("no-progress", "draw no progress line"),
    Flag::switch("quiet", "print only results and errors"),
    Flag::switch(
        "silent",
        "print only results; the exit code tells of errors",
    ),
    Flag::switch("time", "tell how long the command took"),
    Flag::value(
        "trace",
        "LIST",
        "tell what the parts in LIST do (comma-separated, or all)",
    ),
    Flag::switch("version", "print the version and exit"),
    Flag::switch("help", "print help and exit").also(&["h"]),
];
