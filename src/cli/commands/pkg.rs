//! `plakar pkg`: lists connectors.
//!
//! All connectors are part of the program, so none can be installed or removed. These commands
//! report that to users and scripts that expect installable packages.

use std::fmt;

use serde::Serialize;

use crate::cli::facts::table;
use crate::cli::suggest::did_you_mean;
use crate::cli::{Args, Command, Globals, Status};
use crate::config::Role;
use crate::config::connectors::{CONNECTORS, Connector};
use crate::error::{During, Error, Kind, Result};

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "pkg",
    synopsis: "list | show | add | rm",
    about: "list the built-in connectors",
    subcommands: &[
        Command {
            name: "list",
            synonyms: &["ls"],
            about: "list the connectors",
            run: list,
            ..Command::BLANK
        },
        Command {
            name: "show",
            synopsis: "NAME ...",
            about: "show the roles and options of connectors",
            run: show,
            ..Command::BLANK
        },
        Command {
            name: "add",
            synopsis: "NAME ...",
            about: "check that connectors are built in",
            run: add,
            ..Command::BLANK
        },
        Command {
            name: "rm",
            synopsis: "NAME ...",
            about: "fail: built-in connectors cannot be removed",
            run: remove,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// One connector.
#[derive(Serialize)]
struct Package {
    name: &'static str,
    version: &'static str,
    about: &'static str,
    schemes: &'static [&'static str],
    /// The roles that it currently supports.
    roles: Vec<&'static str>,
    /// The roles that can be configured for it.
    configurable: Vec<&'static str>,
    is_built_in: bool,
    #[serde(skip)]
    shown: String,
}

impl Package {
    fn new(connector: &Connector, shown: String) -> Package {
        Package {
            name: connector.name,
            version: connector.version,
            about: connector.about,
            schemes: connector.schemes,
            roles: words(connector.serves),
            configurable: words(connector.roles),
            is_built_in: is_built_in(connector),
            shown,
        }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether this version of the program implements the connector.
fn is_built_in(connector: &Connector) -> bool {
    !connector.serves.is_empty()
}

fn words(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|role| role.word()).collect()
}

/// The roles that it currently supports, as text.
fn roles(connector: &Connector) -> String {
    match is_built_in(connector) {
        true => words(connector.serves).join(", "),
        false => "not in this version".to_owned(),
    }
}

fn list(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    for connector in CONNECTORS {
        let Connector {
            name,
            version,
            about,
            ..
        } = connector;
        let shown = format!("{name:<6} {version:<8} {:<26} {about}", roles(connector));
        globals
            .out
            .result("package", &Package::new(connector, shown))?;
    }
    Ok(Status::Success)
}

fn show(globals: &Globals, args: Args) -> Result<Status> {
    for connector in named(&args)? {
        let mut rows = vec![
            ("name", connector.name.to_owned()),
            ("version", connector.version.to_owned()),
            ("reaches", connector.about.to_owned()),
            ("locations", format!("{}:", connector.schemes.join(":, "))),
            ("roles", roles(connector)),
        ];
        for role in connector.roles {
            let options = connector.options(*role);
            rows.extend(options.map(|known| {
                let option = format!("{} ({}): {}", known.name, role.word(), known.about);
                ("option", option)
            }));
        }
        let package = Package::new(connector, table(&rows));
        globals.out.result("package", &package)?;
    }
    Ok(Status::Success)
}

fn add(globals: &Globals, args: Args) -> Result<Status> {
    for connector in named(&args)? {
        if !is_built_in(connector) {
            let words = format!("{} is not in this version", connector.name);
            return Err(Error::new(Kind::NotFound, words).during(args.path()));
        }
        let shown = format!("{}: built in", connector.name);
        globals
            .out
            .result("package", &Package::new(connector, shown))?;
    }
    Ok(Status::Success)
}

fn remove(_: &Globals, args: Args) -> Result<Status> {
    let names: Vec<&str> = named(&args)?
        .iter()
        .filter(|connector| is_built_in(connector))
        .map(|connector| connector.name)
        .collect();
    match names.is_empty() {
        // A connector that is not built in counts as removed already.
        true => Ok(Status::Success),
        false => {
            let words = format!("{}: built in, and cannot be removed", names.join(", "));
            Err(Error::new(Kind::Failed, words).during(args.path()))
        }
    }
}

/// The connectors that the arguments name.
///
/// # Errors
/// [`Kind::NotFound`] for an unknown name, with a list of known names.
fn named(args: &Args) -> Result<Vec<&'static Connector>> {
    args.at_least_one("a NAME")?;
    let names = args.texts()?;
    names
        .iter()
        .map(|name| connector(name))
        .collect::<Result<_>>()
        .during(|| args.path())
}

/// The connector with the name or the scheme `name`.
fn connector(name: &str) -> Result<&'static Connector> {
    let is_it =
        |connector: &&Connector| connector.name == name || connector.schemes.contains(&name);
    CONNECTORS.iter().find(is_it).ok_or_else(|| {
        let names = || CONNECTORS.iter().map(|connector| connector.name);
        let hint = did_you_mean(name, names(), "");
        let there = names().collect::<Vec<_>>().join(", ");
        let words = format!("no connector named {name:?}{hint}: there are {there}");
        Error::new(Kind::NotFound, words)
    })
}
