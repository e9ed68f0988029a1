//! `plakar diff`: compares two snapshots, or a snapshot with live files.

mod line;
mod text;

use std::ffi::OsString;

use serde::Serialize;

use crate::cli::output::Format;
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, opening, query};
use crate::connector::{LocalSource, Source};
use crate::error::{Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::blob::BlobReader;
use crate::kloset::snapshot::common_directory;
use crate::kloset::tree::Reach;
use crate::ops::compare::text as lines;
use crate::ops::compare::{Comparison, Difference, Found, Node, Options, Rule, Which};
use crate::ops::query::Query;
use crate::ops::select;

use line::{DifferenceLine, Place};
use text::Printed;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "diff",
    synopsis: "[-recursive] [-brief] [-content] [-highlight] [QUERY] [SNAPSHOT[:PATH] [SNAPSHOT[:PATH]]]",
    about: "compare two snapshots, or a snapshot with live files",
    flags: &[
        Flag::switch("recursive", "compare recursively"),
        Flag::switch("brief", "show only which files differ"),
        Flag::switch("content", "read live files even if size and time are equal"),
        Flag::switch("highlight", "colour lines that were added and removed"),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// The size of the cache of decoded blocks. Adjacent trees share blocks.
const CACHE_BYTES: usize = 16 << 20;

/// Whether output is colored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    On,
    Off,
}

struct Opts {
    reach: Reach,
    rule: Rule,
    colours: Colours,
    is_brief: bool,
}

impl Opts {
    fn from(globals: &Globals, args: &Args) -> Opts {
        Opts {
            reach: match args.is_on("recursive") {
                true => Reach::All,
                false => Reach::Children,
            },
            rule: match args.is_on("content") {
                true => Rule::Contents,
                false => Rule::Quick,
            },
            colours: match args.is_on("highlight") {
                true => Colours::On,
                false => Colours::Off,
            },
            is_brief: args.is_on("brief") || globals.out.format() == Format::Json,
        }
    }
}

/// The two sides of the comparison: two snapshots, or a snapshot and the live files.
struct Sides<'a> {
    blobs: &'a BlobReader<'a>,
    source: &'a LocalSource,
    a: &'a Choice,
    b: Option<&'a Choice>,
}

/// The results so far.
#[derive(Default, Serialize)]
struct Done {
    command: &'static str,
    is_same: bool,
    differences: u64,
    failures: u64,
    #[serde(skip)]
    damaged: u64,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "diff: {} differences", self.differences)
    }
}

impl Done {
    /// Reports and counts an entry that could not be compared.
    ///
    /// # Errors
    /// The error itself if it is not limited to one object.
    fn fail(&mut self, globals: &Globals, place: &Place, error: Error) -> Result<()> {
        if !error.is_of_one_object() {
            return Err(error);
        }
        self.failures += 1;
        self.damaged += u64::from(error.kind() == Kind::Corrupt);
        globals.out.failed(&place.in_message(), &error);
        Ok(())
    }

    fn status(&self) -> Status {
        match (self.damaged, self.failures, self.differences) {
            (0, 0, 0) => Status::Success,
            (0, 0, _) => Status::No,
            (0, _, _) => Status::Partial,
            _ => Status::Damaged,
        }
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    Status::of_answer(compare(globals, &args), &globals.out)
}

/// Compares the sides that the arguments name.
fn compare(globals: &Globals, args: &Args) -> Result<Status> {
    let opts = Opts::from(globals, args);
    let words = args.at_most(2)?;
    let mut query = query::from_args(args)?;
    let source = LocalSource::new()?;
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    if words.is_empty() {
        expect_own(&mut query, &source);
    }
    let choices = choices(&kloset, &query, words)?;
    let sides = Sides {
        blobs: &BlobReader::new(&kloset, CACHE_BYTES)?,
        source: &source,
        a: choices.first().expect("without words the newest is chosen"),
        b: choices.get(1),
    };
    sides.check_source(globals)?;
    let options = Options {
        reach: opts.reach,
        rule: opts.rule,
        interrupt: globals.interrupt.clone(),
        counters: kloset.observer().counters(),
    };
    watch.show();
    let mut done = Done {
        command: "diff",
        ..Done::default()
    };
    let places = sides.places();
    for pair in &places {
        match sides.open(pair) {
            Ok(nodes) => compare_pair(globals, &opts, &options, pair, nodes, &mut done)?,
            Err(error) if places.len() > 1 => done.fail(globals, &pair.0, error)?,
            Err(error) => return Err(error),
        }
    }
    watch.finish();
    done.is_same = done.status() == Status::Success;
    if globals.out.format() == Format::Json {
        globals.out.summary(&done)?;
    }
    Ok(done.status())
}

/// Restricts the query to snapshots of this machine, because only these can be compared with its
/// live files in a shared store.
fn expect_own(query: &mut Query, source: &LocalSource) {
    let filters = &mut query.filters;
    filters
        .source
        .get_or_insert_with(|| source.kind().to_owned());
    filters
        .origin
        .get_or_insert_with(|| source.origin().to_owned());
}

/// Resolves the arguments. A path given for only one side applies to both. Without paths, two
/// snapshots of different directories are compared from their common ancestor directory, so that
/// equal absolute paths are compared.
fn choices(kloset: &Kloset, query: &Query, words: &[OsString]) -> Result<Vec<Choice>> {
    let mut choices = selection::matching_or_latest(kloset, query, words)?;
    if let [a, b] = choices.as_mut_slice() {
        match (&a.path, &b.path) {
            (Some(path), None) => b.path = Some(path.clone()),
            (None, Some(path)) => a.path = Some(path.clone()),
            (None, None) => {
                let (one, two) = (a.snapshot().base(), b.snapshot().base());
                if one != two {
                    a.path = Some(common_directory(&[one, two]));
                    b.path.clone_from(&a.path);
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
    Ok(choices)
}

impl<'a> Sides<'a> {
    /// Checks that the snapshot can be compared with live files.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it does not contain files of a machine.
    fn check_source(&self, globals: &Globals) -> Result<()> {
        let snapshot = self.a.snapshot();
        let id = snapshot.id.short();
        if self.b.is_some() || snapshot.source == self.source.kind() {
            self.warn_of_other_machine(globals);
            return Ok(());
        }
        Err(Error::usage(format!(
            "snapshot {id} is of {} files of {}, not of this machine's: name two snapshots",
            snapshot.source, snapshot.origin
        )))
    }

    fn warn_of_other_machine(&self, globals: &Globals) {
        let (snapshot, here) = (self.a.snapshot(), self.source.origin());
        if self.b.is_none() && snapshot.origin != here {
            let (id, there) = (snapshot.id.short(), &snapshot.origin);
            let words = format!("snapshot {id} is of {there}, and compared with files of {here}");
            globals.out.warning(&Error::new(Kind::Failed, words));
        }
    }

    /// The pairs of places to compare. For live files, these are the backed-up roots below the named
    /// path, so that files outside of the roots are not reported. If there are none below it, the
    /// path itself is compared.
    fn places(&self) -> Vec<(Place, Place)> {
        let (a, id) = (self.a, self.a.snapshot().id);
        if let Some(b) = self.b {
            let one = Place::new(Some(id), a.path_or_base());
            let two = Place::new(Some(b.snapshot().id), b.path_or_base());
            return vec![(one, two)];
        }
        let path = a.path.clone().unwrap_or_else(|| b"/".to_vec());
        let above = [path.strip_suffix(b"/").unwrap_or(&path), b"/"].concat();
        let is_below = |root: &&Vec<u8>| root.starts_with(&above) && **root != path;
        let mut paths: Vec<Vec<u8>> = a
            .snapshot()
            .roots
            .iter()
            .filter(is_below)
            .cloned()
            .collect();
        if paths.is_empty() {
            paths.push(path);
        }
        let pair = |path: Vec<u8>| (Place::new(Some(id), path.clone()), Place::new(None, path));
        paths.into_iter().map(pair).collect()
    }

    /// The entries at two places. The second one is `None` if the live file does not exist.
    fn open(&self, (a, b): &(Place, Place)) -> Result<(Node<'a>, Option<Node<'a>>)> {
        let stored = |choice: &Choice, place: &Place| -> Result<Node<'a>> {
            let entry = select::entry(self.blobs, choice.snapshot(), &place.path)?;
            Ok(Node::stored(self.blobs, entry))
        };
        let one = stored(self.a, a)?;
        let two = match self.b {
            Some(choice) => stored(choice, b).map(Some),
            None => match Node::live(self.source, &b.path) {
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                live => live.map(Some),
            },
        };
        Ok((one, two?))
    }
}

/// Prints the differences between two places.
fn compare_pair<'a>(
    globals: &Globals,
    opts: &Opts,
    options: &'a Options<'a>,
    places: &(Place, Place),
    (a, b): (Node<'a>, Option<Node<'a>>),
    done: &mut Done,
) -> Result<()> {
    let Some(b) = b else {
        let found = Found {
            path: Vec::new(),
            outcome: Ok(Difference::Only(Which::A, Box::new(a))),
        };
        return print(globals, opts, options, places, found, done);
    };
    let mut comparison = Comparison::new(a, b, options)?;
    while let Some(found) = comparison.try_next()? {
        print(globals, opts, options, places, found, done)?;
    }
    Ok(())
}

/// Prints one difference, or the reason why it is unknown.
fn print(
    globals: &Globals,
    opts: &Opts,
    options: &Options<'_>,
    (a, b): &(Place, Place),
    found: Found<'_>,
    done: &mut Done,
) -> Result<()> {
    let (a, b) = (a.below(&found.path), b.below(&found.path));
    let difference = match found.outcome {
        Ok(difference) => difference,
        Err(error) => return done.fail(globals, &a, error),
    };
    done.differences += 1;
    // Two files named explicitly are compared line by line. Files below named directories only with
    // -recursive.
    let is_named = found.path.is_empty();
    let mut printed = Printed::Nothing;
    if let Difference::Contents(nodes) = &difference
        && !opts.is_brief
        && (is_named || opts.reach == Reach::All)
    {
        let texts = match lines::load(&nodes.0, &nodes.1, &options.interrupt) {
            Ok(texts) => texts,
            Err(error) => return done.fail(globals, &a, error),
        };
        printed = text::print(globals, opts.colours, (&a, &b), nodes, &texts)?;
    }
    if printed == Printed::Text {
        return Ok(());
    }
    let line = DifferenceLine::new((&a, &b), &difference, printed);
    globals.out.result("difference", &line)
}
