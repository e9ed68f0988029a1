//! From words to an [`Invocation`]: `plakar [OPTIONS] [at STORE] COMMAND [FLAGS] [ARGUMENTS]`.
//!
//! Flags look like Go's: `-flag` and `--flag` are the same, a value follows as
//! the next word or after `=`, switches take no word but may be `-flag=false`.
//! There are no clusters, since `-json` would be one. Flags may stand anywhere;
//! `--` ends them; a lone `-` is an argument. The word after a flag that takes a
//! value is its value, whatever it starts with.
//!
//! `lexopt` reads `-json` as four flags, so of its parser only the raw words are
//! used here, and its conversions of values in [`super::args`].
//!
//! The parser reads tables and words, nothing else: no environment, no files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::args::{Args, Setting, Settings};
use super::peers;
use super::suggest::did_you_mean;
use super::table::{Command, Flag, GLOBAL_FLAGS};
use crate::error::{Error, Result};

/// A command line, understood.
#[derive(Debug)]
pub struct Invocation {
    /// The options of the program.
    pub options: Settings,
    /// What followed `at`.
    pub store: Option<OsString>,
    /// The command with its flags and arguments, if one was named.
    pub args: Option<Args>,
}

/// Understands `words`, which do not include the program's own name.
///
/// # Errors
/// [`crate::error::Kind::Usage`].
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    commands: &'static [Command],
) -> Result<Invocation> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut words = parser
        .raw_args()
        .map_err(|cause| Error::usage(cause.to_string()))?;
    let mut parse = Parse::new(commands);
    while let Some(word) = words.next() {
        match flag_word(&word) {
            Some(flag) if parse.flags == Flags::Allowed => parse.flag(flag, &mut words)?,
            _ if word == "--" && parse.flags == Flags::Allowed => parse.end_flags(),
            _ => parse.argument(word, &mut words)?,
        }
    }
    Ok(parse.invocation)
}

/// Whether a word that starts with `-` is a flag.
#[derive(PartialEq, Eq)]
enum Flags {
    Allowed,
    /// There was a `--`.
    Ended,
}

/// A word that is a flag: its name and what follows `=`.
struct FlagWord {
    name: String,
    value: Option<OsString>,
}

/// Takes `-name`, `--name` and `-name=value` apart; anything else is no flag.
fn flag_word(word: &OsStr) -> Option<FlagWord> {
    let bytes = word.as_bytes().strip_prefix(b"-")?;
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    let mut parts = bytes.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    Some(FlagWord {
        name: String::from_utf8_lossy(name).into_owned(),
        value: parts
            .next()
            .map(|value| OsStr::from_bytes(value).to_owned()),
    })
}

/// How far the words were understood.
struct Parse {
    commands: &'static [Command],
    flags: Flags,
    invocation: Invocation,
}

impl Parse {
    fn new(commands: &'static [Command]) -> Parse {
        let invocation = Invocation {
            options: Settings::new([GLOBAL_FLAGS]),
            store: None,
            args: None,
        };
        Parse {
            commands,
            flags: Flags::Allowed,
            invocation,
        }
    }

    /// Takes a flag, and its value out of `words` if it has one.
    fn flag(&mut self, word: FlagWord, words: &mut dyn Iterator<Item = OsString>) -> Result<()> {
        let own = self.invocation.args.as_mut().map(|args| &mut args.settings);
        let tables = own.into_iter().chain([&mut self.invocation.options]);
        for settings in tables {
            if let Some(flag) = lookup(settings.flags(), &word.name) {
                settings.given.push((flag, setting(flag, word, words)?));
                return Ok(());
            }
        }
        Err(self.unknown_flag(&word.name))
    }

    /// Takes the `--` after which nothing is a flag.
    fn end_flags(&mut self) {
        self.flags = Flags::Ended;
        if let Some(args) = &mut self.invocation.args {
            args.before_dashes = Some(args.arguments.len());
        }
    }

    /// Takes a word that is no flag: `at STORE`, a command, a subcommand or an argument.
    fn argument(
        &mut self,
        word: OsString,
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<()> {
        match &mut self.invocation.args {
            None if word == "at" && self.invocation.store.is_none() => {
                let store = words.next().filter(|store| !store.is_empty());
                self.invocation.store =
                    Some(store.ok_or_else(|| Error::usage("at: needs a STORE"))?);
            }
            None => self.invocation.args = Some(select(self.commands, &word, "command")?),
            Some(args) if args.command.subcommands.is_empty() => args.arguments.push(word),
            Some(args) => *args = descend(args, &word)?,
        }
        Ok(())
    }

    /// Says that there is no flag `name`, and what may have been meant.
    fn unknown_flag(&self, name: &str) -> Error {
        let own = self.invocation.args.as_ref();
        let known = own.into_iter().flat_map(|args| args.settings.flags());
        let misplaced = own.is_none().then(|| self.owner(name)).flatten();
        let hint = match misplaced {
            Some(command) => format!(" (a flag of {command}: give it after the command)"),
            None => {
                let names = known.chain(GLOBAL_FLAGS).flat_map(Flag::names);
                did_you_mean(name, names, "-")
            }
        };
        let error = Error::usage(format!("unknown flag -{name}{hint}"));
        match own {
            Some(args) => error.during(args.path()),
            None => error,
        }
    }

    /// The first command that has a flag `name`.
    fn owner(&self, name: &str) -> Option<&'static str> {
        let mut owners = self.commands.iter();
        owners
            .find(|command| lookup(command.tables().flatten(), name).is_some())
            .map(|command| command.name)
    }
}

/// The flag among `flags` that is called `name`.
fn lookup(mut flags: impl Iterator<Item = &'static Flag>, name: &str) -> Option<&'static Flag> {
    flags.find(|flag| flag.names().any(|known| known == name))
}

/// The command that `word` selects, with nothing given yet.
fn select(commands: &'static [Command], word: &OsStr, what: &str) -> Result<Args> {
    let word = word.to_string_lossy();
    let command = Command::find(commands, &word);
    let command = command.ok_or_else(|| peers::unknown(&word, commands, what))?;
    Ok(Args::none(command))
}

/// The subcommand of `args` that `word` selects. What was given before it was for the command
/// that it belongs to, which is not the one that is run.
fn descend(args: &Args, word: &OsStr) -> Result<Args> {
    let mut selected = select(args.command.subcommands, word, "subcommand")
        .map_err(|error| error.during(args.path()))?;
    selected.parents.clone_from(&args.parents);
    selected.parents.push(args.command);
    match args.settings.given.first() {
        None => Ok(selected),
        Some((flag, _)) => {
            let cause = format!("unexpected flag -{} of {}", flag.name, args.path());
            Err(Error::usage(cause).during(selected.path()))
        }
    }
}

/// What `flag` is set to: by its own word, or by the next one.
fn setting(
    flag: &Flag,
    word: FlagWord,
    words: &mut dyn Iterator<Item = OsString>,
) -> Result<Setting> {
    let Some(value_name) = flag.value else {
        return switch(&word);
    };
    let value = word.value.or_else(|| words.next());
    let missing = || Error::usage(format!("flag -{} needs a value: {value_name}", word.name));
    value.map(Setting::Value).ok_or_else(missing)
}

/// On or off: a switch alone is on.
fn switch(word: &FlagWord) -> Result<Setting> {
    match &word.value {
        None => Ok(Setting::On),
        Some(value) => truth(&word.name, value),
    }
}

/// On or off, in the words that Go's `strconv.ParseBool` takes; `name` is the flag's.
pub(super) fn truth(name: &str, value: &OsStr) -> Result<Setting> {
    match value.to_string_lossy().as_ref() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Setting::On),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Setting::Off),
        other => Err(Error::usage(format!(
            "flag -{name} is true or false, not {other:?}"
        ))),
    }
}

#[cfg(test)]
mod tests;
