//! `plakar diff`: what is not the same in two snapshots, or in a snapshot and the live files?

mod line;
mod text;

use std::ffi::OsString;

use serde::Serialize;

use crate::cli::output::Format;
use crate::cli::selection::{self, Choice};
use crate::cli::{Args, Command, Flag, Globals, Status, opening, query};
use crate::connector::{LocalSource, Source};
use crate::error::{Error, Kind, Result};
use crate::kloset::blob::BlobReader;
use crate::kloset::compare::{Comparison, Difference, Found, Node, Options, Rule, Which};
use crate::kloset::query::Query;
use crate::kloset::tree::Reach;
use crate::kloset::{Kloset, select};

use line::{DifferenceLine, Place};

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "diff",
    synopsis: "[-recursive] [-brief] [-content] [-highlight] [query] [SNAPSHOT[:PATH] [SNAPSHOT[:PATH]]]",
    about: "tell what is not the same in two snapshots, or now",
    flags: &[
        Flag::switch(
            "recursive",
            "tell of everything below, not only of the directory itself",
        ),
        Flag::switch("brief", "tell which files differ, not in what lines"),
        Flag::switch(
            "content",
            "read live files also where size and time are the same",
        ),
        Flag::switch("highlight", "colour lines that were added and removed"),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

/// Decoded blocks that are kept: trees that lie next to each other share them.
const CACHE_BYTES: usize = 16 << 20;

/// Whether lines are coloured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    On,
    Off,
}

/// Whether lines of text are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    Compared,
    No,
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

/// The two that are compared.
struct Pair<'a> {
    a: (Node<'a>, Place),
    /// Nothing if the live side has nothing there.
    b: (Option<Node<'a>>, Place),
}

/// What was found so far.
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

/// Compares what the arguments name.
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
    let blobs = BlobReader::new(&kloset, CACHE_BYTES)?;
    let pairs = match choices.as_slice() {
        [a, b] => vec![stored_pair(&blobs, a, b)?],
        choices => live_pairs(globals, &blobs, &source, choices)?,
    };
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
    for pair in pairs {
        compare_pair(globals, &opts, &options, pair, &mut done)?;
    }
    watch.finish();
    done.is_same = done.status() == Status::Success;
    if globals.out.format() == Format::Json {
        globals.out.summary(&done)?;
    }
    Ok(done.status())
}

/// Of a store that several machines share only what is of this one can be meant.
fn expect_own(query: &mut Query, source: &LocalSource) {
    let filters = &mut query.filters;
    filters.source = Some(source.kind().to_owned());
    let origin = || source.origin().to_owned();
    filters.origin = Some(filters.origin.take().unwrap_or_else(origin));
}

/// What the words stand for. A path that only one of two has is meant in both.
fn choices(kloset: &Kloset, query: &Query, words: &[OsString]) -> Result<Vec<Choice>> {
    let mut choices = selection::matching_or_latest(kloset, query, words)?;
    if let [a, b] = choices.as_mut_slice() {
        match (&a.path, &b.path) {
            (Some(path), None) => b.path = Some(path.clone()),
            (None, Some(path)) => a.path = Some(path.clone()),
            _ => {}
        }
    }
    Ok(choices)
}

/// Two places in snapshots.
fn stored_pair<'a>(blobs: &'a BlobReader<'a>, a: &Choice, b: &Choice) -> Result<Pair<'a>> {
    let (a, b) = (stored(blobs, a)?, stored(blobs, b)?);
    Ok(Pair {
        a,
        b: (Some(b.0), b.1),
    })
}

/// One place in a snapshot.
fn stored<'a>(blobs: &'a BlobReader<'a>, choice: &Choice) -> Result<(Node<'a>, Place)> {
    stored_at(blobs, choice, choice.path_or_base())
}

fn stored_at<'a>(
    blobs: &'a BlobReader<'a>,
    choice: &Choice,
    path: Vec<u8>,
) -> Result<(Node<'a>, Place)> {
    let snapshot = choice.snapshot();
    let entry = select::entry(blobs, snapshot, &path)?;
    Ok((
        Node::stored(blobs, entry),
        Place::new(Some(snapshot.id), path),
    ))
}

/// The places of a snapshot that are meant, each with what is there now.
fn live_pairs<'a>(
    globals: &Globals,
    blobs: &'a BlobReader<'a>,
    source: &'a LocalSource,
    choices: &[Choice],
) -> Result<Vec<Pair<'a>>> {
    let choice = choices
        .first()
        .expect("one is chosen, or there is an error");
    check_source(globals, source, choice)?;
    let pair = |path: Vec<u8>| -> Result<Pair<'a>> {
        let live = match Node::live(source, &path) {
            Err(error) if error.kind() == Kind::NotFound => None,
            node => Some(node?),
        };
        Ok(Pair {
            b: (live, Place::new(None, path.clone())),
            a: stored_at(blobs, choice, path)?,
        })
    };
    places(choice).into_iter().map(pair).collect()
}

/// # Errors
/// [`Kind::Usage`] for a snapshot of anything but files of a machine like this.
fn check_source(globals: &Globals, source: &LocalSource, choice: &Choice) -> Result<()> {
    let snapshot = choice.snapshot();
    let id = snapshot.id.short();
    if snapshot.source != source.kind() {
        return Err(Error::usage(format!(
            "snapshot {id} is of {} files of {}, not of this machine's: name two snapshots",
            snapshot.source, snapshot.origin
        )));
    }
    if snapshot.origin != source.origin() {
        let words = format!(
            "snapshot {id} is of {}, and is compared with files of {}",
            snapshot.origin,
            source.origin()
        );
        globals.out.warning(&Error::new(Kind::Failed, words));
    }
    Ok(())
}

/// The path that was named; or of what was backed up all that lies at or below it, so that
/// nothing is said of files beside that.
fn places(choice: &Choice) -> Vec<Vec<u8>> {
    let path = choice.path.clone().unwrap_or_else(|| b"/".to_vec());
    let above = [path.strip_suffix(b"/").unwrap_or(&path), b"/"].concat();
    let roots = &choice.snapshot().roots;
    let below: Vec<Vec<u8>> = roots
        .iter()
        .filter(|root| root.starts_with(&above) && **root != path)
        .cloned()
        .collect();
    match below.is_empty() {
        true => vec![path],
        false => below,
    }
}

/// Prints what is not the same in `pair`.
fn compare_pair<'a>(
    globals: &Globals,
    opts: &Opts,
    options: &'a Options<'a>,
    pair: Pair<'a>,
    done: &mut Done,
) -> Result<()> {
    let ((a, place_a), (b, place_b)) = (pair.a, pair.b);
    let places = (place_a, place_b);
    let Some(b) = b else {
        let found = Found {
            path: Vec::new(),
            outcome: Ok(Difference::Only(Which::A, Box::new(a))),
        };
        return print(globals, opts, options, &places, found, done);
    };
    // Two files are compared line by line, and so are those below with -recursive.
    let mut comparison = Comparison::new(a, b, options)?;
    while let Some(found) = comparison.try_next()? {
        print(globals, opts, options, &places, found, done)?;
    }
    Ok(())
}

/// Prints one difference, or why there is no telling.
fn print(
    globals: &Globals,
    opts: &Opts,
    options: &Options<'_>,
    (a, b): &(Place, Place),
    found: Found<'_>,
    done: &mut Done,
) -> Result<()> {
    let (a, b) = (a.below(&found.path), b.below(&found.path));
    let told = match found.outcome {
        Err(error) => Err(error),
        Ok(difference) => {
            done.differences += 1;
            let is_one_file = found.path.is_empty();
            let lines = match !opts.is_brief && (is_one_file || opts.reach == Reach::All) {
                true => Lines::Compared,
                false => Lines::No,
            };
            tell(globals, opts.colours, lines, options, (&a, &b), &difference)
        }
    };
    match told {
        Err(error) if globals.out.reader_left() || !error.is_of_one_object() => Err(error),
        Err(error) => {
            done.failures += 1;
            done.damaged += u64::from(error.kind() == Kind::Corrupt);
            globals.out.failed(&a.in_message(), &error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Prints one difference.
fn tell(
    globals: &Globals,
    colours: Colours,
    lines: Lines,
    options: &Options<'_>,
    (a, b): (&Place, &Place),
    difference: &Difference<'_>,
) -> Result<()> {
    if let (Difference::Contents(nodes), Lines::Compared) = (difference, lines) {
        let printed = text::print(globals, colours, &options.interrupt, (a, b), nodes)?;
        if printed == text::Printed::Text {
            return Ok(());
        }
        let line = DifferenceLine::new((a, b), difference, printed);
        return globals.out.result("difference", &line);
    }
    let line = DifferenceLine::new((a, b), difference, text::Printed::Nothing);
    globals.out.result("difference", &line)
}
