//! Parses the flags and arguments of `plakar backup`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lexopt::ValueExt;

use super::stream::{self, Streamed};
use crate::cli::commands::create;
use crate::cli::{Args, Globals, date, known, places, tags, threads};
use crate::config::entries::Value;
use crate::config::place::Place;
use crate::config::{Role, schema};
use crate::connector::Source;
use crate::connector::exclude::{self, Excludes};
use crate::error::{During, Error, Result};
use crate::kloset::Kloset;
use crate::kloset::snapshot::Labels;
use crate::ops::backup::{Base, Compare, Options, Switch};

/// The parsed flags and arguments.
pub(super) struct Opts {
    pub(super) is_dry_run: bool,
    pub(super) is_check_wanted: bool,
    /// Whether a later backup may use the snapshot as its base. False for a stream.
    pub(super) is_base: bool,
    /// The stream to back up, if any.
    stream: Option<Streamed>,
    /// The places to back up, as named by the user. Empty for a stream.
    named: Vec<Place>,
    /// The paths in the source, set when the source is opened.
    places: Vec<Vec<u8>>,
    /// The path of the store in the source, if it is there and has no inode number.
    skip_paths: Vec<Vec<u8>>,
    excludes: Excludes,
    labels: Labels,
    time_ns: Option<i64>,
    level: Option<i32>,
    is_cache_used: bool,
    skip_xattrs: Switch,
    source: SourceOptions,
}

impl Opts {
    /// Parses the arguments.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for invalid arguments, and errors of reading the named files.
    pub(super) fn from(globals: &Globals, args: &Args) -> Result<Opts> {
        let read = || -> Result<Opts> {
            let stream = stream::asked_for(args)?;
            let named = match stream {
                Some(_) => Vec::new(),
                None => places::named(globals, args.arguments())?,
            };
            Ok(Opts {
                is_dry_run: args.is_on("dry-run"),
                is_check_wanted: args.is_on("check"),
                is_base: stream.is_none(),
                source: SourceOptions::of_all(&named, args)?,
                named,
                places: Vec::new(),
                skip_paths: Vec::new(),
                stream,
                excludes: excludes(args)?,
                labels: labels(globals, args)?,
                time_ns: time(args)?,
                level: create::level(args)?,
                is_cache_used: is_cache_used(args)?,
                skip_xattrs: Switch::on_if(args.is_on("no-xattr")),
            })
        };
        read().during(|| args.path())
    }

    /// Opens the source.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if a stream is requested and standard input is not a pipe or
    /// file, and those of [`places::source`].
    pub(super) fn source(&mut self, globals: &Globals) -> Result<Box<dyn Source>> {
        let Some(stream) = self.stream.take() else {
            let named = places::source(globals, &self.named)?;
            (self.places, self.skip_paths) = (named.paths, named.skip);
            return Ok(named.source);
        };
        let source = stream.source()?;
        self.places = vec![source.path()];
        // A stream can differ each time, and can only be compared by reading it.
        self.is_cache_used = false;
        Ok(Box::new(source))
    }

    /// Converts to the options of the core.
    pub(super) fn options(
        self,
        globals: &Globals,
        kloset: &Kloset,
        source: &dyn Source,
        is_watched: bool,
    ) -> Options {
        let workers = threads::workers(globals);
        Options {
            places: self.places,
            excludes: self.excludes,
            labels: self.labels,
            time_ns: self.time_ns,
            level: self.level,
            workers,
            readers: threads::readers(workers),
            base: match self.source.trust_base {
                Switch::On => Base::Any,
                // Without comparison no base is trusted, so no warning about trust is needed.
                Switch::Off if self.is_cache_used => {
                    Base::Created(known::created(globals, kloset.config()))
                }
                Switch::Off => Base::default(),
            },
            compare: self.is_cache_used.then_some(self.source.compare),
            one_file_system: self.source.one_file_system,
            exclude_caches: self.source.exclude_caches,
            skip_xattrs: self.skip_xattrs,
            skip: skipped(globals, kloset),
            skip_paths: self.skip_paths,
            host: source.origin().to_owned(),
            user: user(source),
            program: concat!("plakar ", env!("CARGO_PKG_VERSION")).to_owned(),
            scan: Switch::on_if(is_watched && source.kind() == "fs"),
            interrupt: globals.interrupt.clone(),
        }
    }
}

/// The files to skip: a local store, the caches and the record of known stores. A backup that
/// includes them would grow with each run.
fn skipped(globals: &Globals, kloset: &Kloset) -> Vec<(u64, u64)> {
    let store = places::identity(Path::new(kloset.store().location()));
    let cache = globals.cache_dir().ok();
    let cache = cache.and_then(|path| places::identity(&path));
    let record = known::record(globals).ok();
    let record = record.and_then(|record| places::identity(record.dir()));
    store.into_iter().chain(cache).chain(record).collect()
}

/// The user who runs the backup: the name if there is one, else the numeric id.
fn user(source: &dyn Source) -> String {
    let uid = rustix::process::geteuid().as_raw();
    let name = source.user_name(uid);
    name.map_or_else(|| uid.to_string(), |name| name.to_string())
}

/// The labels of the snapshot. Tags come from flags and the environment.
fn labels(globals: &Globals, args: &Args) -> Result<Labels> {
    let text = |name| -> Result<String> { Ok(args.text(name)?.unwrap_or_default()) };
    let given = args
        .values("tag")
        .chain(globals.environment.tags.as_deref());
    let tags = tags::parse(given).during(|| "-tag")?;
    Ok(Labels {
        name: text("name")?,
        category: text("category")?,
        environment: text("environment")?,
        perimeter: text("perimeter")?,
        job: text("job")?,
        tags,
    })
}

/// The patterns of all files, followed by those of the command line, which therefore take
/// precedence.
fn excludes(args: &Args) -> Result<Excludes> {
    let mut patterns = Vec::new();
    for path in args.values("ignore-file") {
        let read = || exclude::lines(&fs::read(Path::new(path))?);
        patterns.extend(read().during(|| format!("ignore file {}", Path::new(path).display()))?);
    }
    for pattern in args.values("ignore") {
        patterns.push(utf8(pattern).during(|| "-ignore")?);
    }
    Excludes::new(&patterns)
}

/// The value of `-force-timestamp`.
fn time(args: &Args) -> Result<Option<i64>> {
    let text = args.text("force-timestamp")?;
    let time = text.map(|text| date::parse(&text)).transpose();
    time.during(|| "-force-timestamp")
}

/// The value of `-cache`: whether files that are unchanged since the last snapshot are not read.
fn is_cache_used(args: &Args) -> Result<bool> {
    match args.text("cache")?.as_deref() {
        None | Some("vfs") => Ok(true),
        Some("no") => Ok(false),
        Some(other) => Err(Error::usage(format!(
            "-cache: {other:?} is neither vfs nor no"
        ))),
    }
}

fn utf8(value: &OsStr) -> Result<String> {
    let text = OsString::from(value).string();
    text.map_err(|cause| Error::usage(cause.to_string()))
}

/// How to read the files of a source: the configured options, overridden by `-o`.
#[derive(Default, PartialEq, Eq)]
struct SourceOptions {
    one_file_system: Switch,
    exclude_caches: Switch,
    compare: Compare,
    trust_base: Switch,
}

impl SourceOptions {
    /// The common options of all `places`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if the configured options of the places differ.
    fn of_all(places: &[Place], args: &Args) -> Result<SourceOptions> {
        let mut all = places
            .iter()
            .map(|place| SourceOptions::of(Some(place), args));
        let first = all
            .next()
            .unwrap_or_else(|| SourceOptions::of(None, args))?;
        for other in all {
            if other? != first {
                return Err(Error::usage(
                    "the sources have different options: back them up one by one, or give -o",
                ));
            }
        }
        Ok(first)
    }

    fn of(place: Option<&Place>, args: &Args) -> Result<SourceOptions> {
        let mut options = SourceOptions::default();
        for (known, value) in place.into_iter().flat_map(Place::options) {
            options.set(known.name, value);
        }
        for word in args.values("o") {
            let word = String::from_utf8_lossy(word.as_bytes());
            let (key, value) = word.split_once('=').unwrap_or((&word, "true"));
            let option = schema::option("fs", Role::Source, key, &Value::from(value));
            let (known, value) = option.during(|| "-o")?;
            options.set(known.name, &value);
        }
        Ok(options)
    }

    /// Applies one option of the connector `fs`. Options of other connectors have no effect here.
    fn set(&mut self, key: &str, value: &Value) {
        let is_on = *value == Value::Switch(true);
        match key {
            "one_file_system" => self.one_file_system = Switch::on_if(is_on),
            "exclude_caches" => self.exclude_caches = Switch::on_if(is_on),
            "ignore_inode" => self.compare.inode = !is_on,
            "ignore_ctime" => self.compare.ctime = !is_on,
            "trust_base" => self.trust_base = Switch::on_if(is_on),
            _ => {}
        }
    }
}
