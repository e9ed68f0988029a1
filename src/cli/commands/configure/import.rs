//! Imports names from other sources.

use std::fs::File;
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use super::rules::{self, kept};
use super::{is_hidden, section};
use crate::cli::{Args, Globals, Status};
use crate::config::edit::Draft;
use crate::config::entries::{Entries, Entry, LOCATION, Pair};
use crate::config::foreign::{self, Foreign, Format};
use crate::config::{Section, schema};
use crate::error::{During, Error, Kind, Result};
use crate::util::suggest::did_you_mean;

/// How to handle a name that exists already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

struct Opts {
    format: Format,
    existing: Existing,
    /// The names to import, each with its new name. Empty for all.
    wanted: Vec<(String, String)>,
}

impl Opts {
    fn from(args: &Args) -> Result<Opts> {
        let wanted = args.texts()?;
        let wanted = wanted.iter().map(|word| {
            let (old, new) = word.split_once(':').unwrap_or((word, word));
            (old.to_owned(), new.to_owned())
        });
        Ok(Opts {
            format: match args.is_on("rclone") {
                true => Format::Rclone,
                false => Format::Ours,
            },
            existing: match args.is_on("overwrite") {
                true => Existing::Replaced,
                false => Existing::Kept,
            },
            wanted: wanted.collect(),
        })
    }
}

pub(super) fn import(globals: &Globals, args: Args) -> Result<Status> {
    let section = section(&args);
    let opts = Opts::from(&args)?;
    let foreign = read(globals, &args, opts.format).during(|| args.path())?;
    let chosen = chosen(&foreign, &opts.wanted).during(|| args.path())?;
    let mut failed = 0;
    globals.configuration()?.edit(section, |entries, draft| {
        for (entry, new) in &chosen {
            if let Err(error) = take(
                globals,
                section,
                entries,
                draft,
                (entry, new),
                opts.existing,
            ) {
                globals.out.failed(new.as_bytes(), &error);
                failed += 1;
                continue;
            }
            for (name, words) in &foreign.warnings {
                if *name == entry.name {
                    let error = Error::new(Kind::Denied, words.as_str());
                    globals.out.warning(&error.during(new.as_str()));
                }
            }
        }
        Ok(())
    })?;
    Ok(Status::partial_if(failed > 0))
}

/// Reads the file of `-config`, or the default one.
fn read(globals: &Globals, args: &Args, format: Format) -> Result<Foreign> {
    let given = args.value("config").filter(|file| *file != "-");
    let usual = || match (args.value("config"), format) {
        (None, Format::Rclone) => rclone_file(globals).map(Some),
        _ => Ok(None),
    };
    let path = given.map_or_else(usual, |file| Ok(Some(PathBuf::from(file))))?;
    let (input, name): (Box<dyn Read>, String) = match &path {
        Some(path) => (Box::new(open(path)?), path.display().to_string()),
        None if stdin().is_terminal() => {
            return Err(Error::usage("needs -config FILE, or something piped in"));
        }
        None => (Box::new(stdin()), "standard input".to_owned()),
    };
    foreign::read(input, format).during(|| name)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).during(|| path.display().to_string())
}

/// The location of the rclone configuration.
fn rclone_file(globals: &Globals) -> Result<PathBuf> {
    match &globals.environment.config_home {
        Some(dir) => Ok(dir.join("rclone/rclone.conf")),
        None => globals.environment.in_home(".config/rclone/rclone.conf"),
    }
}

/// The selected entries, each with its new name.
///
/// # Errors
/// [`Kind::NotFound`] for an entry that does not exist, before anything is imported.
fn chosen(foreign: &Foreign, wanted: &[(String, String)]) -> Result<Vec<(Entry, String)>> {
    let entries = &foreign.entries;
    if wanted.is_empty() {
        let all = entries
            .iter()
            .map(|entry| (entry.clone(), entry.name.clone()));
        return Ok(all.collect());
    }
    let find = |(old, new): &(String, String)| {
        let missing = || {
            let hint = did_you_mean(old, entries.names(), "");
            Error::new(Kind::NotFound, format!("no section {old}{hint}"))
        };
        let entry = entries.get(old).ok_or_else(missing)?;
        Ok((entry.clone(), new.clone()))
    };
    wanted.iter().map(find).collect()
}

/// Adds one entry to the draft, under its new name.
fn take(
    globals: &Globals,
    section: Section,
    entries: &Entries,
    draft: &mut Draft,
    (entry, new): (&Entry, &str),
    existing: Existing,
) -> Result<()> {
    schema::check_name(new)
        .map_err(|cause| Error::usage(format!("{cause} (SECTION:NEW gives it another name)")))?;
    if draft.contains(new) && (existing == Existing::Kept || entries.get(new).is_none()) {
        let cause = "there is one of that name already (-overwrite replaces it)";
        return Err(Error::new(Kind::Exists, cause));
    }
    let mut pairs = entry.pairs()?.to_vec();
    let hidden = |(key, value): &&Pair| schema::is_secret(key) && is_hidden(value);
    if let Some((key, _)) = pairs.iter().find(hidden) {
        let cause = format!("its {key} is hidden: export it with show -secrets");
        return Err(Error::new(Kind::Denied, cause));
    }
    let mut location = String::new();
    if section.role().is_some() {
        location = schema::kept_location(entry.location()?)?;
        for (_, value) in pairs.iter_mut().filter(|(key, _)| key == LOCATION) {
            *value = location.as_str().into();
        }
    }
    let entry = Entry::new(new, kept(section, &location, pairs)?);
    rules::check(globals, section, &entry)?;
    draft.put(&entry)
}
