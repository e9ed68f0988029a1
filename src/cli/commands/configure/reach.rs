//! Checks whether a place can be reached and used.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::Serialize;

use super::show::place;
use super::{bare, section};
use crate::cli::escape::printable;
use crate::cli::{Args, Globals, Status, opening, places, ssh};
use crate::config::Role;
use crate::config::place::Place;
use crate::error::{During, Error, Kind, Result};

/// The result of a check.
#[derive(Serialize)]
struct Found {
    name: String,
    location: String,
    #[serde(skip)]
    words: &'static str,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, location) = (
            printable(self.name.as_bytes()),
            printable(self.location.as_bytes()),
        );
        write!(f, "{name}: {location} {}", self.words)
    }
}

/// A check, which returns the message for success.
type Try = fn(&Globals, &Place) -> Result<&'static str>;

pub(super) fn check(globals: &Globals, args: Args) -> Result<Status> {
    attempt(globals, &args, |role| match role {
        Role::Store => check_store,
        Role::Source => check_source,
        Role::Destination => check_destination,
    })
}

pub(super) fn ping(globals: &Globals, args: Args) -> Result<Status> {
    attempt(globals, &args, |role| match role {
        Role::Store => ping_store,
        Role::Source => ping_source,
        Role::Destination => ping_destination,
    })
}

/// Checks the named place.
fn attempt(globals: &Globals, args: &Args, choose: fn(Role) -> Try) -> Result<Status> {
    args.at_least_one("a NAME")?;
    args.at_most(1)?;
    let word = args.texts()?.remove(0);
    let role = section(args).role().unwrap_or(Role::Store);
    let place = place(globals, role, bare(&word)).during(|| args.path())?;
    let words = choose(role)(globals, &place);
    let found = Found {
        words: words.during(|| format!("{} {}", args.path(), bare(&word)))?,
        name: bare(&word).to_owned(),
        location: place.location.to_string(),
    };
    globals.out.result(args.command.name, &found)?;
    Ok(Status::Success)
}

fn check_store(globals: &Globals, place: &Place) -> Result<&'static str> {
    let opened = opening::unlocked(globals, place, &globals.watch())?;
    Ok(match opened.passphrase {
        Some(_) => "is a store, and the passphrase opens it",
        None => "is a store, without a passphrase",
    })
}

/// A store location is reachable if it responds, whether or not it contains a store.
fn ping_store(globals: &Globals, place: &Place) -> Result<&'static str> {
    let store = opening::store_at(globals, place)?;
    match store.get_config() {
        Ok(_) => Ok("is a store"),
        Err(error) if error.kind() == Kind::NotFound => {
            if place.location.path().is_some() {
                metadata(places::local(place, Role::Store)?)?;
            }
            Ok("can be reached, but there is no store yet")
        }
        Err(error) => Err(error),
    }
}

fn check_source(globals: &Globals, place: &Place) -> Result<&'static str> {
    if let Some((source, path)) = ssh::source(globals, place) {
        return source.try_reading(&path).map(|()| "can be read");
    }
    let path = places::local(place, Role::Source)?;
    let metadata = metadata(path)?;
    let tried = match metadata.is_dir() {
        true => fs::read_dir(path).map(drop),
        // Opening a special file may block or have side effects.
        false if metadata.is_file() => File::open(path).map(drop),
        false => Ok(()),
    };
    tried.during(|| shown(path))?;
    Ok("can be read")
}

fn ping_source(globals: &Globals, place: &Place) -> Result<&'static str> {
    if let Some((source, path)) = ssh::source(globals, place) {
        return source.resolve(&path).map(|_| "is there");
    }
    metadata(places::local(place, Role::Source)?)?;
    Ok("is there")
}

fn check_destination(globals: &Globals, place: &Place) -> Result<&'static str> {
    if let Some(destination) = ssh::destination(globals, place) {
        return Ok(match destination.try_writing()? {
            true => "can be written to",
            false => "can be reached, and is not there yet",
        });
    }
    let path = places::local(place, Role::Destination)?;
    match writable(path)? {
        there if there == Path::new(path) => Ok("can be written to"),
        _ => Ok("can be made"),
    }
}

fn ping_destination(globals: &Globals, place: &Place) -> Result<&'static str> {
    if let Some(destination) = ssh::destination(globals, place) {
        return Ok(match destination.is_there()? {
            true => "is there",
            false => "is not there yet",
        });
    }
    let path = places::local(place, Role::Destination)?;
    let there = Path::new(path).ancestors().find(|path| path.exists());
    match there {
        Some(there) if there == Path::new(path) => Ok("is there"),
        Some(_) => Ok("is not there yet"),
        None => Err(Error::new(Kind::NotFound, "no such directory").during(shown(path))),
    }
}

/// The directory at `path`, or its nearest existing ancestor, if it is writable.
fn writable(path: &OsStr) -> Result<&Path> {
    let there = Path::new(path).ancestors().find(|path| path.exists());
    let there = there.unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Err(Error::new(Kind::Exists, "it is not a directory").during(shown(there)));
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, there, wanted, AtFlags::EACCESS).during(|| shown(there))?;
    Ok(there)
}

fn metadata(path: &OsStr) -> Result<fs::Metadata> {
    fs::metadata(path).during(|| shown(path))
}

fn shown(path: impl AsRef<OsStr>) -> String {
    printable(path.as_ref().as_encoded_bytes())
}
