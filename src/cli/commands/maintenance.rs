//! `plakar maintenance`: frees the space of unreferenced data.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{Args, Command, Flag, Globals, Status, age, opening};
use crate::error::{During, Error, Kind, Result};
use crate::ops::collect::{self, Options, SHORTEST_SHARED_GRACE, Summary, USUAL_GRACE};
use crate::util::human;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "maintenance",
    synopsis: "[-grace AGE] [-exclusive] [-dry-run] [-max-repack SIZE]",
    about: "free the space of unreferenced data",
    flags: &[
        Flag::value(
            "grace",
            "AGE",
            "delete packs condemned for AGE, such as 3d; a week unless given",
        ),
        Flag::switch(
            "exclusive",
            "free space on a full disk; no other program may use the store",
        ),
        Flag::switch("dry-run", "only show what would be done"),
        Flag::value(
            "max-repack",
            "SIZE",
            "copy at most SIZE, such as 10G, out of packs that are mostly dead",
        ),
    ],
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let options = Options {
        grace: grace(&args)?,
        is_dry: args.is_on("dry-run"),
        is_exclusive: args.is_on("exclusive"),
        max_repack_bytes: max_repack_bytes(&args)?,
        interrupt: globals.interrupt.clone(),
    };
    if options.grace < SHORTEST_SHARED_GRACE {
        let words = "with a grace period below a minute, no other program may write to the store at the same time";
        globals.out.warning(&Error::new(Kind::Failed, words));
    }
    let watch = globals.watch();
    let kloset = opening::kloset(globals, &watch)?;
    watch.show();
    let summary = collect::run(&kloset, &options).during(|| "maintenance");
    watch.finish();
    let summary = summary?;
    globals.out.summary(&Done::new(&summary, options.is_dry))?;
    Ok(Status::damaged_if(summary.lost_chunks > 0))
}

/// The time for which packs stay condemned before they are deleted.
fn grace(args: &Args) -> Result<Duration> {
    let is_exclusive = args.is_on("exclusive");
    let Some(text) = args.text("grace")? else {
        return Ok(match is_exclusive {
            true => Duration::ZERO,
            false => USUAL_GRACE,
        });
    };
    let now = Timestamp::now();
    let since = age::before(&text, now);
    let unknown = || {
        args.usage(format!(
            "-grace: {text:?} is not an age: expected e.g. 7d or 12h"
        ))
    };
    let grace = now.duration_since(since.ok_or_else(unknown)?);
    let grace = Duration::try_from(grace).map_err(|_| unknown())?;
    match is_exclusive && !grace.is_zero() {
        true => Err(args.usage("-exclusive means -grace 0s and accepts no other")),
        false => Ok(grace),
    }
}

/// The maximum number of bytes that may be copied.
fn max_repack_bytes(args: &Args) -> Result<Option<u64>> {
    let Some(text) = args.text("max-repack")? else {
        return Ok(None);
    };
    let unknown = || {
        args.usage(format!(
            "-max-repack: {text:?} is not a size: expected e.g. 500M or 10G"
        ))
    };
    size_bytes(&text).map(Some).ok_or_else(unknown)
}

/// Parses a size: a number with an optional unit. Each unit is 1,024 times the previous one.
fn size_bytes(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.trim_end_matches('B').trim_end_matches('I');
    let power = ["", "K", "M", "G", "T"]
        .iter()
        .position(|name| *name == unit)?;
    let scale = 1024_u64.checked_pow(u32::try_from(power).ok()?)?;
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

/// The summary of `plakar maintenance`.
#[derive(Serialize)]
struct Done {
    command: &'static str,
    is_dry_run: bool,
    snapshots: u64,
    freed_packs: u64,
    freed_bytes: u64,
    condemned_packs: u64,
    condemned_bytes: u64,
    waiting_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_until: Option<String>,
    young_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    young_until: Option<String>,
    repacked_bytes: u64,
    merged_indexes: u64,
    indexed_packs: u64,
    lost_chunks: u64,
    seconds: f64,
}

impl Done {
    fn new(summary: &Summary, is_dry_run: bool) -> Done {
        Done {
            command: "maintenance",
            is_dry_run,
            snapshots: summary.snapshots,
            freed_packs: summary.freed_packs,
            freed_bytes: summary.freed_bytes,
            condemned_packs: summary.condemned_packs,
            condemned_bytes: summary.condemned_bytes,
            waiting_bytes: summary.waiting_bytes,
            waiting_until: summary.waiting_until_ns.map(human::time),
            young_bytes: summary.young_bytes,
            young_until: summary.young_until_ns.map(human::time),
            repacked_bytes: summary.repacked_bytes,
            merged_indexes: summary.merged_indexes,
            indexed_packs: summary.indexed_packs,
            lost_chunks: summary.lost_chunks,
            seconds: summary.duration.as_millis() as f64 / 1000.0,
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let would = if self.is_dry_run { "would be " } else { "" };
        write!(
            f,
            "maintenance: {} {would}freed",
            human::size(self.freed_bytes)
        )?;
        if self.waiting_bytes > 0 {
            write!(f, ", {} wait", human::size(self.waiting_bytes))?;
            if let Some(until) = &self.waiting_until {
                write!(
                    f,
                    " until {until} (store clock), for the next run after that"
                )?;
            }
        }
        if self.young_bytes > 0 {
            write!(f, ", {} too young", human::size(self.young_bytes))?;
            if let Some(until) = &self.young_until {
                write!(f, " to condemn until {until} (store clock)")?;
            }
        }
        if self.repacked_bytes > 0 {
            write!(f, "; {} {would}repacked", human::size(self.repacked_bytes))?;
        }
        if self.merged_indexes > 0 {
            write!(
                f,
                "; index objects {would}replaced: {}",
                self.merged_indexes
            )?;
        }
        if self.indexed_packs > 0 {
            write!(f, "; packs {would}indexed: {}", self.indexed_packs)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("3k", Some(3 << 10)),
            ("5 MiB", Some(5 << 20)),
            ("10G", Some(10 << 30)),
            ("2TB", Some(2 << 40)),
            ("G", None),
            ("-1", None),
            ("1X", None),
            ("99999999T", None),
        ] {
            assert_eq!(size_bytes(text), bytes, "{text}");
        }
    }
}
