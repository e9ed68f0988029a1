//! The parsed command line of one command: its flags and its arguments.
//!
//! Values are kept as the operating system passed them, so that a path that is not UTF-8 is
//! preserved. [`Args::text`] and [`Args::number`] are for flags whose values are words and numbers.
//! Querying a flag that is not in the command's table is a programming mistake and panics in a
//! debug build.

use std::ffi::{OsStr, OsString};
use std::str::FromStr;

use lexopt::ValueExt;

use super::table::{Command, Flag};
use crate::error::{Error, Result};

/// The setting of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `-flag` or `-flag=true`.
    On,
    /// `-flag=false`.
    Off,
    /// `-flag value` or `-flag=value`.
    Value(OsString),
}

/// The flags given, in order, and the tables that define them.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) tables: Vec<&'static [Flag]>,
    pub(super) given: Vec<(&'static Flag, Setting)>,
}

impl Settings {
    /// Settings without any flags; `tables` define the flags that exist.
    pub fn new(tables: impl IntoIterator<Item = &'static [Flag]>) -> Settings {
        Settings {
            tables: tables.into_iter().collect(),
            given: Vec::new(),
        }
    }

    /// All flags that the tables define.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> + use<'_> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    /// Whether the switch `name` is on. The last occurrence wins.
    pub fn is_on(&self, name: &str) -> bool {
        self.last(name) == Some(&Setting::On)
    }

    /// The value of `name`. The last occurrence wins.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        match self.last(name)? {
            Setting::Value(value) => Some(value),
            Setting::On | Setting::Off => None,
        }
    }

    /// All values given for `name`, in order.
    pub fn values<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a OsStr> + use<'a, 'n> {
        self.of(name).filter_map(|setting| match setting {
            Setting::Value(value) => Some(value.as_os_str()),
            Setting::On | Setting::Off => None,
        })
    }

    /// The value of `name` as text. Fails with a usage error if it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        self.convert(name, |value| value.string())
    }

    /// The value of `name` as a number. Fails with a usage error if it is not a number or out of
    /// range.
    pub fn number<T: FromStr<Err = std::num::ParseIntError>>(
        &self,
        name: &str,
    ) -> Result<Option<T>> {
        self.convert(name, |value| value.parse::<T>())
    }

    /// The value of `name`, converted by `convert`.
    fn convert<T>(
        &self,
        name: &str,
        convert: impl Fn(OsString) -> Result<T, lexopt::Error>,
    ) -> Result<Option<T>> {
        let converted = self
            .value(name)
            .map(|value| convert(value.to_owned()))
            .transpose();
        converted.map_err(|cause| Error::usage(cause.to_string()).during(format!("-{name}")))
    }

    /// The last occurrence of `name`.
    fn last(&self, name: &str) -> Option<&Setting> {
        self.of(name).last()
    }

    /// All occurrences of `name`.
    fn of<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Setting> + use<'a, 'n> {
        debug_assert!(
            self.flags().any(|flag| flag.name == name),
            "no flag -{name} in the table"
        );
        let ours = self.given.iter().filter(move |(flag, _)| flag.name == name);
        ours.map(|(_, setting)| setting)
    }
}

/// The flags and arguments of one command. Dereferences to its [`Settings`].
#[derive(Clone, Debug)]
pub struct Args {
    /// The parent commands of a subcommand, outermost first.
    pub(super) parents: Vec<&'static Command>,
    pub(super) command: &'static Command,
    pub(super) settings: Settings,
    pub(super) arguments: Vec<OsString>,
    /// The number of arguments before `--`, if `--` was given.
    pub(super) before_dashes: Option<usize>,
}

impl std::ops::Deref for Args {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Args {
    /// `command` without flags and arguments.
    pub(super) fn none(command: &'static Command) -> Args {
        Args {
            parents: Vec::new(),
            command,
            settings: Settings::new(command.tables()),
            arguments: Vec::new(),
            before_dashes: None,
        }
    }

    /// The full name of the command: `check`, `key add`, `server token add`.
    pub fn path(&self) -> String {
        let commands = self.parents.iter().chain([&self.command]);
        let names: Vec<&str> = commands.map(|command| command.name).collect();
        names.join(" ")
    }

    /// The name of the direct parent command, if this is a subcommand.
    pub fn parent(&self) -> Option<&'static str> {
        self.parents.last().map(|parent| parent.name)
    }

    /// The synopsis of the command, as shown in help.
    pub fn synopsis(&self) -> &'static str {
        self.command.synopsis
    }

    /// The arguments that are not flags or values of flags.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The arguments before and after `--`, if `--` was given. For a command that takes the command
    /// line of another command.
    pub fn around_dashes(&self) -> Option<(&[OsString], &[OsString])> {
        let before = self.before_dashes?;
        Some(self.arguments.split_at(before))
    }

    /// The arguments, each of which must be text: ids, names, patterns.
    pub fn texts(&self) -> Result<Vec<String>> {
        let text = |argument: &OsString| argument.clone().string();
        let texts: Result<Vec<String>, lexopt::Error> = self.arguments.iter().map(text).collect();
        texts.map_err(|cause| self.usage(cause.to_string()))
    }

    /// # Errors
    /// Usage, if there is any argument.
    pub fn no_arguments(&self) -> Result<()> {
        self.at_most(0).map(|_| ())
    }

    /// The arguments, at most `limit` of them. More are a usage error.
    pub fn at_most(&self, limit: usize) -> Result<&[OsString]> {
        match self.arguments.get(limit) {
            Some(extra) => Err(self.usage(format!("unexpected argument {extra:?}"))),
            None => Ok(&self.arguments),
        }
    }

    /// The arguments, at least one. Otherwise a usage error that names the missing `what`.
    pub fn at_least_one(&self, what: &str) -> Result<&[OsString]> {
        match self.arguments.is_empty() {
            true => Err(self.usage(format!("needs {what}"))),
            false => Ok(&self.arguments),
        }
    }

    /// A usage error in the context of this command.
    pub fn usage(&self, cause: impl Into<String>) -> Error {
        Error::usage(cause).during(self.path())
    }

    /// The error if a subcommand is required and none was given.
    pub(super) fn wanted_subcommand(&self) -> Error {
        let names = self.command.subcommands.iter().map(|command| command.name);
        let names: Vec<&str> = names.collect();
        self.usage(format!("needs one of: {}", names.join(", ")))
    }
}
