//! The tables that define the command line.
//!
//! A [`Command`] and its [`Flag`]s are data. The parser looks up words in them, `help` renders
//! them, and `tests/man.rs` compares them with the manual pages. Therefore a flag cannot be parsed
//! but undocumented, or documented but unknown.
//!
//! A command file consists of a table entry, `run` and `Opts`:
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
//! Tables do not contain the values that were given: see [`super::args`].

use super::args::Args;
use super::globals::Globals;
use super::status::Status;
use crate::error::Result;

/// Whether repeated values of a flag accumulate, or the last one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The last one given wins, as in Go.
    Once,
    /// All values are used.
    Repeatable,
}

/// One flag, written `-name` or `--name`.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name without dashes.
    pub name: &'static str,
    /// Other names of the same flag.
    pub synonyms: &'static [&'static str],
    /// The placeholder of the value in help, such as `FILE`. `None` for a switch.
    pub value: Option<&'static str>,
    /// The description: a phrase in lower case, without a final period.
    pub about: &'static str,
    /// Whether repeated values accumulate.
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

    /// A flag with a value.
    pub const fn value(name: &'static str, value: &'static str, about: &'static str) -> Flag {
        Flag {
            value: Some(value),
            ..Flag::switch(name, about)
        }
    }

    /// The same flag, repeatable: all values given are used.
    pub const fn repeatable(self) -> Flag {
        Flag {
            times: Times::Repeatable,
            ..self
        }
    }

    /// The same flag with synonyms.
    pub const fn also(self, synonyms: &'static [&'static str]) -> Flag {
        Flag { synonyms, ..self }
    }

    /// All names of the flag, the main name first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.synonyms.iter().copied())
    }
}

/// Flags that several commands share, documented on a separate page.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The heading of the group in help.
    pub title: &'static str,
    /// The manual page that documents the flags, such as `plakar-query` in section 7.
    pub page: (&'static str, u8),
    /// The flags of the group.
    pub flags: &'static [Flag],
}

/// Runs a command with the context and its own arguments.
pub type Run = fn(&Globals, Args) -> Result<Status>;

/// A command or a subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The name on the command line.
    pub name: &'static str,
    /// Other names of the command.
    pub synonyms: &'static [&'static str],
    /// Flags and arguments, as shown after the name in `usage`.
    pub synopsis: &'static str,
    /// The description: a phrase in lower case, without a final period.
    pub about: &'static str,
    /// The flags of this command. They take precedence over global options of the same name.
    pub flags: &'static [Flag],
    /// Groups of flags that it shares with other commands.
    pub groups: &'static [&'static Group],
    /// Subcommands, selected by the first argument; they can have subcommands themselves. The flags
    /// of a command with subcommands apply to that command only, not to its subcommands. Therefore
    /// each flag has one valid position.
    pub subcommands: &'static [Command],
    /// Runs the command. For a command with subcommands: called if no subcommand was named.
    pub run: Run,
}

impl Command {
    /// An empty command, for `..Command::BLANK` in tables.
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

    /// All names of the command, the main name first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.synonyms.iter().copied())
    }

    /// The tables of all flags, its own flags first.
    pub fn tables(&self) -> impl Iterator<Item = &'static [Flag]> + use<> {
        std::iter::once(self.flags).chain(self.groups.iter().map(|group| group.flags))
    }

    /// The command among `commands` that has the name or synonym `word`.
    pub fn find<'a>(commands: &'a [Command], word: &str) -> Option<&'a Command> {
        commands
            .iter()
            .find(|command| command.names().any(|name| name == word))
    }
}

/// Global options: accepted before the command, and after it unless the command has a flag of the
/// same name.
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
    Flag::switch("silent", "print only results; the exit code reports errors"),
    Flag::switch("time", "print the duration of the command"),
    Flag::value(
        "trace",
        "LIST",
        "trace the parts in LIST (comma-separated, or all)",
    ),
    Flag::switch("version", "print the version and exit"),
    Flag::switch("help", "print help and exit").also(&["h"]),
];
