//! Parses a command line into an [`Invocation`]: `plakar [OPTIONS] [at STORE] COMMAND [FLAGS]
//! [ARGUMENTS]`.
//!
//! Flags have the syntax of Go: `-flag` and `--flag` are equivalent, and a value is the next word
//! or follows `=`. Switches take no value, except for the form `-flag=false`. Single-letter flags
//! cannot be combined, because `-json` would be such a combination. Flags can be anywhere; `--`
//! ends them; a lone `-` is an argument. The word after a flag that takes a value is its value,
//! even if it begins with a dash.
//!
//! `lexopt` parses `-json` as four flags. Therefore this module uses only its raw words, and
//! [`super::args`] its conversions of values.
//!
//! The parser depends only on tables and words, not on the environment or on files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::args::{Args, Setting, Settings};
use super::peers;
use super::suggest::did_you_mean;
use super::table::{Command, Flag, GLOBAL_FLAGS};
use crate::error::{Error, Result};

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// The global options.
    pub options: Settings,
    /// The argument of `at`.
    pub store: Option<OsString>,
    /// The command with its flags and arguments, if one was named.
    pub args: Option<Args>,
}

/// Parses `words`, which do not include the program name.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for an unknown command or flag, or an invalid value.
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

/// Whether a word that begins with `-` is a flag.
#[derive(PartialEq, Eq)]
enum Flags {
    Allowed,
    /// There was a `--`.
    Ended,
}

/// A word that is a flag: its name, and the value after `=`.
struct FlagWord {
    name: String,
    value: Option<OsString>,
}

/// Parses `-name`, `--name` and `-name=value`. `None` for any other word.
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

/// The state of the parser.
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

    /// Parses a flag. Takes its value from `words` if necessary.
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

    /// Handles `--`: no later word is a flag.
    fn end_flags(&mut self) {
        self.flags = Flags::Ended;
        if let Some(args) = &mut self.invocation.args {
            args.before_dashes = Some(args.arguments.len());
        }
    }

    /// Parses a word that is not a flag: `at STORE`, a command, a subcommand or an argument.
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

    /// The error for an unknown flag `name`, with a suggestion.
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

/// The flag among `flags` that has the name or synonym `name`.
fn lookup(mut flags: impl Iterator<Item = &'static Flag>, name: &str) -> Option<&'static Flag> {
    flags.find(|flag| flag.names().any(|known| known == name))
}

/// The command that `word` selects, without flags and arguments.
fn select(commands: &'static [Command], word: &OsStr, what: &str) -> Result<Args> {
    let word = word.to_string_lossy();
    let command = Command::find(commands, &word);
    let command = command.ok_or_else(|| peers::unknown(&word, commands, what))?;
    Ok(Args::none(command))
}

/// The subcommand of `args` that `word` selects. Flags given before it belong to the parent
/// command, which is not the command that runs.
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

/// The setting of `flag`, from the word itself or from the next one.
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

/// The setting of a switch. Without a value it is on.
fn switch(word: &FlagWord) -> Result<Setting> {
    match &word.value {
        None => Ok(Setting::On),
        Some(value) => truth(&word.name, value),
    }
}

/// Parses a boolean in the syntax of Go's `strconv.ParseBool`. `name` is the name of the flag.
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
