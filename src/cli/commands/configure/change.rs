//! Adds, changes and removes names and options.
//!
//! All input is parsed and checked before the file is written, once.

use super::rules::{self, existing, kept, name_and_rest};
use super::{bare, section};
use crate::cli::{Args, Globals, Status};
use crate::config::Section;
use crate::config::entries::{Entry, LOCATION, Pair};
use crate::config::schema;
use crate::error::{During, Error, Kind, Result};

pub(super) fn add(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    let (name, mut words) = name_and_rest(&args)?;
    schema::check_name(&name).during(|| args.path())?;
    let mut understood = || -> Result<Entry> {
        let mut pairs = Vec::new();
        let mut location = String::new();
        if section.role().is_some() {
            location = schema::kept_location(&location_of(&args, &mut words)?)?;
            pairs.push((LOCATION.to_owned(), location.as_str().into()));
        }
        let given = rules::pairs(globals, section, &words)?;
        pairs.extend(kept(section, &location, given)?);
        let entry = Entry::new(name.as_str(), pairs);
        rules::check(globals, section, &entry)?;
        Ok(entry)
    };
    let entry = understood().during(|| format!("{} {name}", args.path()))?;
    globals.configuration()?.edit(section, |entries, draft| {
        if entries.get(&name).is_some() {
            let word = section.word();
            let cause = format!("there is a {word} named {name} already");
            return Err(Error::new(Kind::Exists, cause).during(args.path()));
        }
        draft.put(&entry)
    })?;
    Ok(Status::Success)
}

/// Removes the location from the arguments after the name.
fn location_of(args: &Args, words: &mut Vec<String>) -> Result<String> {
    if words.is_empty() {
        return Err(Error::usage(format!(
            "needs a LOCATION: {}",
            args.synopsis()
        )));
    }
    let word = words.remove(0);
    let location = word.strip_prefix("location=").unwrap_or(&word);
    Ok(location.to_owned())
}

pub(super) fn rm(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    args.at_least_one("a NAME")?;
    let words = args.texts()?;
    let was_default = globals.configuration()?.edit(section, |entries, draft| {
        let mut was_default = false;
        for name in words.iter().map(|word| bare(word)) {
            existing(section, entries, name).during(|| args.path())?;
            draft.remove(name);
            was_default |= entries.default.as_deref() == Some(name);
        }
        if was_default {
            draft.set_default(None);
        }
        Ok(was_default)
    })?;
    if was_default {
        let words = format!("there is no default {} any more", section.word());
        globals.out.warning(&Error::new(Kind::Failed, words));
    }
    Ok(Status::Success)
}

pub(super) fn set(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    let (name, words) = name_and_rest(&args)?;
    let doing = || format!("{} {name}", args.path());
    if words.is_empty() {
        return Err(args.usage("needs a KEY=VALUE"));
    }
    // This happens before the file is locked, because the user may have to type.
    let given = rules::pairs(globals, section, &words).during(doing)?;
    globals.configuration()?.edit(section, |entries, draft| {
        let understood = || -> Result<Vec<Pair>> {
            let old = existing(section, entries, &name)?;
            let given = given_for(section, old, given.clone())?;
            let entry = Entry::new(name.as_str(), changed(old.pairs()?, &given));
            rules::check(globals, section, &entry)?;
            Ok(given)
        };
        for (key, value) in understood().during(doing)? {
            if let Some(synonym) = written_as(entries.get(&name), &key) {
                draft.unset(&name, synonym);
            }
            draft.set(&name, &key, &value);
        }
        Ok(())
    })?;
    if given.iter().any(|(key, _)| key == "passphrase") {
        let words = format!(
            "only the configuration has changed: \"plakar at @{name} key passwd\" changes the \
             passphrase of the store"
        );
        globals.out.warning(&Error::new(Kind::Failed, words));
    }
    Ok(Status::Success)
}

/// The values given for `old`, in the form in which they are stored.
fn given_for(section: Section, old: &Entry, mut given: Vec<Pair>) -> Result<Vec<Pair>> {
    if section == Section::Policies {
        return kept(section, "", given);
    }
    let location = match given.iter_mut().find(|(key, _)| key == LOCATION) {
        Some((_, value)) => {
            let location = schema::kept_location(&value.text())?;
            *value = location.as_str().into();
            location
        }
        None => old.location()?.to_owned(),
    };
    kept(section, &location, given)
}

/// `old`, updated with the values in `given`.
fn changed(old: &[Pair], given: &[Pair]) -> Vec<Pair> {
    let is_new = |key: &str| given.iter().any(|(new, _)| schema::are_same(new, key));
    let stay = old.iter().filter(|(key, _)| !is_new(key));
    stay.chain(given).cloned().collect()
}

/// The synonym under which `entry` contains the option `key`, if it does.
fn written_as<'a>(entry: Option<&'a Entry>, key: &str) -> Option<&'a str> {
    let mut keys = entry?.pairs().ok()?.iter().map(|(key, _)| key.as_str());
    keys.find(|other| *other != key && schema::are_same(key, other))
}

pub(super) fn unset(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    let (name, keys) = name_and_rest(&args)?;
    let doing = || format!("{} {name}", args.path());
    if keys.is_empty() {
        return Err(args.usage("needs a KEY"));
    }
    if keys.iter().any(|key| key == LOCATION) {
        return Err(Error::usage("what has no location is removed with rm").during(doing()));
    }
    globals.configuration()?.edit(section, |entries, draft| {
        let entry = existing(section, entries, &name).during(|| args.path())?;
        for key in &keys {
            let key = match draft.has(&entry.name, key) {
                true => key,
                false => written_as(Some(entry), key).unwrap_or(key),
            };
            // An option that plakar cannot parse can be removed too.
            if !draft.has(&entry.name, key) {
                let cause = format!("{key} is not set");
                return Err(Error::new(Kind::NotFound, cause).during(doing()));
            }
            draft.unset(&entry.name, key);
        }
        Ok(())
    })?;
    Ok(Status::Success)
}

pub(super) fn default(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    args.at_most(1)?;
    let name = args.texts()?.pop();
    let name = name.as_deref().map(bare);
    match (name, args.is_on("none")) {
        (Some(_), true) => return Err(args.usage("either a NAME or -none")),
        (None, false) => return super::show::default(globals, section),
        _ => {}
    }
    globals.configuration()?.edit(section, |entries, draft| {
        if let Some(name) = name {
            existing(section, entries, name).during(|| args.path())?;
        }
        draft.set_default(name);
        Ok(())
    })?;
    Ok(Status::Success)
}
