//! `plakar sync`: copies snapshots to or from another store.

mod choice;
mod summary;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::cli::opening::Opened;
use crate::cli::progress::Watch;
use crate::cli::{Args, Command, Flag, Globals, Status, opening, query, threads};
use crate::config::Role;
use crate::config::place::Place;
use crate::error::{During, Error, Kind, Result};
use crate::kloset::Kloset;
use crate::kloset::snapshot::Stored;
use crate::ops::query::Query;
use crate::ops::sync::{self, Options, Outcome, Present};

use choice::{Choice, Missing};
use summary::{Direction, Done, Line};

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "sync",
    synopsis: "[-plaintext] [QUERY] [SNAPSHOT ...] to|from|with STORE",
    about: "copy snapshots to or from another store",
    flags: &[Flag::switch(
        "plaintext",
        "permit copying to a plaintext store",
    )],
    groups: &[&query::GROUP],
    run,
    ..Command::BLANK
};

struct Opts<'a> {
    query: Query,
    words: &'a [OsString],
    direction: Direction,
    peer: Place,
    is_plaintext_fine: bool,
}

impl Opts<'_> {
    fn from<'a>(globals: &Globals, args: &'a Args) -> Result<Opts<'a>> {
        let wanted = || args.usage("needs to, from or with, and a STORE, at its end");
        let Some((words, [word, peer])) = args.arguments().split_last_chunk::<2>() else {
            return Err(wanted());
        };
        let direction = match word.as_encoded_bytes() {
            b"to" => Direction::To,
            b"from" => Direction::From,
            b"with" => Direction::With,
            _ => return Err(wanted()),
        };
        Ok(Opts {
            query: query::from_args(args)?,
            words,
            direction,
            peer: globals.place_of(Role::Store, peer as &OsStr)?,
            is_plaintext_fine: args.is_on("plaintext"),
        })
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(globals, &args)?;
    let watch = globals.watch();
    let own = opening::unlocked(globals, &globals.place()?, &watch)?;
    let peer = opening::peer(globals, &opts.peer, &own, &watch)?;
    let mut pass = Pass {
        globals,
        watch: &watch,
        is_plaintext_fine: opts.is_plaintext_fine,
        present: match opts.words {
            [] => Present::IfHoley,
            _ => Present::Always,
        },
        done: Done::new(opts.direction),
    };
    let outcome = passes(&args, &opts, &own, &peer, &mut pass);
    watch.finish();
    outcome.during(|| args.path())?;
    globals.out.summary(&pass.done)?;
    Ok(Status::partial_if(pass.done.failed > 0))
}

/// Copies in one direction, or in both.
fn passes(
    args: &Args,
    opts: &Opts<'_>,
    own: &Opened,
    peer: &Opened,
    pass: &mut Pass<'_>,
) -> Result<()> {
    let (own, peer) = (&own.kloset, &peer.kloset);
    let chosen =
        |kloset: &Kloset, missing| choice::choose(args, kloset, &opts.query, opts.words, missing);
    match opts.direction {
        Direction::To => pass.run(own, peer, chosen(own, Missing::Fails)?),
        Direction::From => pass.run(peer, own, chosen(peer, Missing::Fails)?),
        Direction::With => {
            // Select in both stores first: snapshots that one store receives from the other do not
            // need to be copied back.
            let here = chosen(own, Missing::PassedOver)?;
            let there = chosen(peer, Missing::PassedOver)?;
            choice::refuse_unknown(opts.words, &here, &there)?;
            pass.run(own, peer, here)?;
            pass.run(&peer.afresh()?, &own.afresh()?, there)
        }
    }
}

/// The state shared by all passes.
struct Pass<'a> {
    globals: &'a Globals,
    watch: &'a Arc<Watch>,
    is_plaintext_fine: bool,
    present: Present,
    done: Done,
}

impl Pass<'_> {
    /// Copies the chosen snapshots from one store to the other.
    fn run(&mut self, from: &Kloset, to: &Kloset, choice: Choice) -> Result<()> {
        if !self.is_plaintext_fine {
            refuse_exposure(from, to)?;
        }
        let options = Options {
            present: self.present,
            workers: threads::workers(self.globals),
            interrupt: self.globals.interrupt.clone(),
        };
        let out = &self.globals.out;
        let location = to.store().location();
        let mut told =
            |stored: &Stored, outcome: Outcome| match Line::new(stored, outcome, location) {
                Some(line) => out.result("sync", &line),
                None => Ok(()),
            };
        self.watch.show();
        let summary = sync::run(from, to, &choice.snapshots, &options, &mut told)?;
        self.watch.finish();
        self.done.count(&summary);
        self.done.failed += choice.unread;
        Ok(())
    }
}

/// Rejects a copy from an encrypted store to a plaintext one.
///
/// # Errors
/// [`Kind::Denied`] if the other store would disclose data that is encrypted in this one. An
/// attacker with write access to a store could have replaced its CONFIG by such a one.
fn refuse_exposure(from: &Kloset, to: &Kloset) -> Result<()> {
    let is_open = |kloset: &Kloset| kloset.config().plaintext_master_key.is_some();
    match is_open(to) && !is_open(from) {
        true => Err(Error::new(
            Kind::Denied,
            "the target is not encrypted, but the source is; -plaintext permits the copy",
        )
        .during(format!("store {}", to.store().location()))),
        false => Ok(()),
    }
}
