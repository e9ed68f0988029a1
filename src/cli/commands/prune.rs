//! `plakar prune`: removes snapshots according to a retention policy.
//!
//! Without `-apply` it only reports. With `-apply`, the report is complete before the first
//! snapshot is removed.

use std::fmt;

use serde::Serialize;

use crate::cli::escape::{JsonPath, printable};
use crate::cli::wording::counted;
use crate::cli::{Args, Command, Flag, Globals, Status, grouping, opening, query};
use crate::error::{During, Error, Kind, Result};
use crate::kloset::{Kloset, snapshot};
use crate::ops::collect::confirm_clock;
use crate::ops::query::{Field, Group, Newest, Query, Standing, Trust, Verdict};
use crate::util::human;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "prune",
    synopsis: "[-apply] [-policy NAME] [-keep-none] [QUERY]",
    about: "remove the snapshots that a policy does not keep",
    flags: &[
        Flag::switch("apply", "remove them; by default, only show the decisions"),
        Flag::value("policy", "NAME", "start from what the policy NAME says"),
        Flag::switch("keep-none", "let the query keep nothing"),
    ],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let asked = asked(globals, &args)?;
    // By default, the snapshots of one source do not count against those of another.
    let group_by = asked.group_by.or(Some(Field::Source));
    let query = Query {
        group_by,
        ..asked.clone()
    };
    let kloset = opening::kloset(globals, &globals.watch())?;
    let (snapshots, damaged) = snapshot::list(&kloset, kloset.observer())?;
    let groups = query.judge_warily(&snapshots);
    grouping::print(globals, asked.group_by, &groups, "verdict", Line::new)?;
    let done = Done::new(&groups);
    if done.kept == 0 && done.snapshots > 0 && !args.is_on("keep-none") {
        let all = counted(done.snapshots, "snapshot", "snapshots");
        let message = format!("it would keep nothing of {all}; -keep-none says that this is meant");
        return Err(args.usage(message));
    }
    warn_of_lost_groups(globals, &query, &groups);
    warn_of_suspicious(globals, &groups);
    let done = match args.is_on("apply") {
        true => apply(globals, &kloset, &query, &groups, done)?,
        false => done,
    };
    globals.out.summary(&done)?;
    Ok(Status::damaged_if(damaged > 0))
}

/// Removes the snapshots that are not kept.
fn apply(
    globals: &Globals,
    kloset: &Kloset,
    query: &Query,
    groups: &[Group<Verdict<'_>>],
    done: Done,
) -> Result<Done> {
    // Print the complete report before anything is removed. If the reader closed the pipe, nothing
    // is removed.
    globals.out.flush()?;
    confirm_clock(kloset, query.now_ns).during(|| "prune")?;
    let verdicts = groups.iter().flat_map(|group| &group.members);
    for verdict in verdicts.filter(|verdict| !verdict.is_match) {
        globals.interrupt.check()?;
        snapshot::remove(kloset, verdict.stored).during(|| "prune")?;
    }
    Ok(Done {
        is_applied: true,
        ..done
    })
}

/// Warns about snapshots whose time is not confirmed by the store.
fn warn_of_suspicious(globals: &Globals, groups: &[Group<Verdict<'_>>]) {
    let verdicts = groups.iter().flat_map(|group| &group.members);
    let is_suspicious = |verdict: &&Verdict<'_>| verdict.trust == Trust::Suspicious;
    let count = verdicts.filter(is_suspicious).count() as u64;
    if count > 0 {
        let message = format!(
            "{} came to the store at another time than they say, and are kept",
            counted(count, "snapshot", "snapshots")
        );
        globals.out.warning(&Error::new(Kind::Failed, message));
    }
}

/// The query from the policy and the flags.
///
/// # Errors
/// [`Kind::Usage`] if it does not specify what to keep.
fn asked(globals: &Globals, args: &Args) -> Result<Query> {
    let policy = match args.text("policy")? {
        Some(name) => query::policy::read(globals, &name)?,
        None => Vec::new(),
    };
    let query = query::from_policy_and_args(&policy, args)?;
    if query.newest == Newest::Only {
        return Err(args.usage("-latest is for picking one snapshot: -per-year 1 keeps the newest"));
    }
    if query.matchers.is_empty() {
        let message = "needs a flag that selects the snapshots to keep, such as -days 7; without one, everything is kept";
        return Err(args.usage(message));
    }
    Ok(query)
}

/// Warns about each group of which nothing is kept. It may be a machine that no longer exists, and
/// these its last backups.
fn warn_of_lost_groups(globals: &Globals, query: &Query, groups: &[Group<Verdict<'_>>]) {
    let Some(field) = query.group_by.filter(|_| groups.len() > 1) else {
        return;
    };
    for group in groups {
        if !group.members.iter().any(|verdict| verdict.is_match) {
            let name = grouping::name(field, &group.value);
            let message = format!("{name}: nothing would be kept");
            globals.out.warning(&Error::new(Kind::Failed, message));
        }
    }
}

/// One snapshot, and the decision about it.
#[derive(Serialize)]
struct Line {
    snapshot: String,
    time: String,
    bytes: u64,
    roots: Vec<JsonPath>,
    is_kept: bool,
    is_suspicious: bool,
    published: String,
    periods: Vec<Place>,
    #[serde(skip)]
    shown: String,
}

/// The position of a snapshot in a period.
#[derive(Serialize)]
struct Place {
    period: &'static str,
    bucket: String,
    rank: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<u64>,
    is_match: bool,
}

impl Line {
    fn new(verdict: &Verdict<'_>) -> Line {
        let snapshot = &verdict.stored.snapshot;
        let roots = snapshot.roots.iter();
        let place = |standing: &Standing| Place {
            period: standing.period.name(),
            bucket: standing.bucket.clone(),
            rank: standing.rank,
            cap: standing.cap,
            is_match: standing.is_match(),
        };
        Line {
            snapshot: snapshot.id.to_string(),
            time: human::time(snapshot.time_ns),
            bytes: snapshot.totals().bytes,
            roots: roots.map(|root| JsonPath::from(root.as_slice())).collect(),
            is_kept: verdict.is_match,
            is_suspicious: verdict.trust == Trust::Suspicious,
            published: human::time(verdict.stored.published_ns),
            periods: verdict.standings.iter().map(place).collect(),
            shown: shown(verdict),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Formats `keep   TIME ID SIZE ROOTS REASON`.
fn shown(verdict: &Verdict<'_>) -> String {
    let snapshot = &verdict.stored.snapshot;
    let verb = if verdict.is_match { "keep" } else { "remove" };
    let (time, id) = (human::time(snapshot.time_ns), snapshot.id.short());
    let size = human::size(snapshot.totals().bytes);
    let roots: Vec<String> = snapshot.roots.iter().map(|root| printable(root)).collect();
    let (roots, reason) = (roots.join(", "), reason(verdict));
    format!("{verb:<6} {time} {id} {size:>10} {roots} {reason}")
}

/// The reason of a decision: the shortest period that keeps the snapshot; else the shortest one in
/// which it exceeds the limit; else a dash. For a suspicious snapshot, the time when it arrived
/// according to the store.
fn reason(verdict: &Verdict<'_>) -> String {
    if verdict.trust == Trust::Suspicious {
        return format!("suspicious={}", human::time(verdict.stored.published_ns));
    }
    let standings = &verdict.standings;
    let matched = standings.iter().find(|standing| standing.is_match());
    let bucket = |standing: &Standing| format!("{}:{}", standing.period.name(), standing.bucket);
    match (matched, standings.first()) {
        (Some(kept), _) => format!("match={} rank={}", bucket(kept), kept.rank),
        (None, Some(over)) => {
            let cap = over.cap.unwrap_or_default();
            format!("over={} rank={} cap={cap}", bucket(over), over.rank)
        }
        (None, None) => "-".to_owned(),
    }
}

/// The summary of `plakar prune`.
#[derive(Serialize)]
struct Done {
    command: &'static str,
    snapshots: u64,
    kept: u64,
    is_applied: bool,
}

impl Done {
    fn new(groups: &[Group<Verdict<'_>>]) -> Done {
        let verdicts = || groups.iter().flat_map(|group| &group.members);
        Done {
            command: "prune",
            snapshots: verdicts().count() as u64,
            kept: verdicts().filter(|verdict| verdict.is_match).count() as u64,
            is_applied: false,
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = counted(self.snapshots, "snapshot", "snapshots");
        let (kept, others) = (self.kept, self.snapshots - self.kept);
        match self.is_applied {
            false => write!(
                f,
                "prune: of {all}, {kept} would be kept and {others} removed"
            ),
            true => write!(
                f,
                "prune: of {all}, {kept} kept and {others} removed; maintenance now, and again a week later, frees what \
                 only they needed (at once with -grace 0s)"
            ),
        }
    }
}
