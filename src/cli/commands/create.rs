//! `plakar create`: creates a store.

use std::ffi::{OsStr, OsString};

use crate::cli::cost::{self, KDF_MEMORY, KDF_PASSES};
use crate::cli::output::Verbosity;
use crate::cli::passphrase::Weak;
use crate::cli::{Args, Command, Flag, Globals, Status, known, opening};
use crate::config::Role;
use crate::config::place::Place;
use crate::error::{During, Error, Kind, Result};
use crate::format::codec::{DEFAULT_LEVEL, LEVELS};
use crate::format::config::Config;
use crate::format::slot::SlotInfo;
use crate::kloset::kdf_limit::Limit;
use crate::kloset::{self, Protection};
use crate::store::Store;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "create",
    synopsis: "[-plaintext] [-from STORE] [-compression LEVEL] [-kdf-memory MIB] \
               [-kdf-passes N] [-label NAME] [-weak-passphrase]",
    about: "create a store",
    flags: &[
        Flag::switch("plaintext", "encrypt nothing: anyone can read the store"),
        Flag::value(
            "from",
            "STORE",
            "use the key of STORE, so that sync copies objects unchanged",
        ),
        Flag::value(
            "compression",
            "LEVEL",
            "zstd level of backups, -7 to 19 (default 3)",
        ),
        KDF_MEMORY,
        KDF_PASSES,
        Flag::value("label", "NAME", "what to call the passphrase in listings"),
        Flag::switch("weak-passphrase", "accept a weak passphrase"),
    ],
    run,
    ..Command::BLANK
};

/// The warning for every new plaintext store.
const PLAINTEXT: &str = "-plaintext: this store is not encrypted, and anyone who can write to it can forge its contents";

struct Opts {
    is_plaintext: bool,
    from: Option<OsString>,
    level: i32,
    info: SlotInfo,
    weak: Weak,
}

impl Opts {
    fn from(args: &Args, limit: Limit) -> Result<Opts> {
        args.no_arguments()?;
        let is_plaintext = args.is_on("plaintext");
        let secret = ["kdf-memory", "kdf-passes", "label"];
        if let Some(name) = secret
            .iter()
            .find(|name| args.value(name).is_some() && is_plaintext)
        {
            return Err(args.usage(format!(
                "-{name} is about a passphrase, and -plaintext has none"
            )));
        }
        let from = args.value("from").map(OsStr::to_owned);
        if from.is_some() && args.value("compression").is_some() {
            return Err(args.usage("-compression is that of the store that -from names"));
        }
        Ok(Opts {
            is_plaintext,
            from,
            level: level(args).during(|| args.path())?.unwrap_or(DEFAULT_LEVEL),
            info: cost::slot_info(args, limit)?,
            weak: Weak::accepted_if(args.is_on("weak-passphrase")),
        })
    }
}

/// The value of `-compression`, if given.
pub(super) fn level(args: &Args) -> Result<Option<i32>> {
    let level = args.number("compression")?;
    match level {
        Some(level) if !LEVELS.contains(&level) => {
            let (least, most) = (LEVELS.start(), LEVELS.end());
            Err(Error::usage(format!(
                "-compression: {level} is not within {least} to {most}"
            )))
        }
        level => Ok(level),
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(&args, globals.options.kdf_limit)?;
    let place = globals.place()?;
    let store = opening::store_at(globals, &place)?;
    if let Some(from) = &opts.from {
        let from = globals.place_of(Role::Store, from)?;
        return create_sibling(globals, &place, &from, opts);
    }
    if opts.is_plaintext {
        globals.out.warning(&Error::new(Kind::Failed, PLAINTEXT));
        let config = kloset::create(&*store, &Protection::Plaintext, opts.level)?;
        known::remember(globals, &place, &config);
        report(globals, &*store, &config);
        return Ok(Status::Success);
    }
    kloset::refuse_existing(&*store)?;
    let passphrase = globals.new_passphrase(&place, opts.weak)?;
    let protection = Protection::Passphrase(&passphrase, opts.info);
    let config = kloset::create(&*store, &protection, opts.level)?;
    known::remember(globals, &place, &config);
    report(globals, &*store, &config);
    Ok(Status::Success)
}

/// Creates a store that shares the key of the store at `from`.
fn create_sibling(globals: &Globals, place: &Place, from: &Place, opts: Opts) -> Result<Status> {
    let store = opening::store_at(globals, place)?;
    kloset::refuse_existing(&*store)?;
    let opened = opening::unlocked(globals, from, &globals.watch())?;
    let creating = || format!("create from {}", from.location);
    let config = match (opts.is_plaintext, opened.passphrase) {
        (true, _) => {
            globals.out.warning(&Error::new(Kind::Failed, PLAINTEXT));
            kloset::create_sibling(&*store, &Protection::Plaintext, &opened.kloset)
        }
        (false, Some(shared)) => {
            let passphrase = globals.sibling_passphrase(place, shared)?;
            let protection = Protection::Passphrase(&passphrase, opts.info);
            kloset::create_sibling(&*store, &protection, &opened.kloset)
        }
        (false, None) => {
            let cause = "it is not encrypted, and neither can be what has its key: add -plaintext";
            Err(Error::usage(cause))
        }
    };
    let config = config.during(creating)?;
    known::remember(globals, place, &config);
    report(globals, &*store, &config);
    Ok(Status::Success)
}

/// Reports the new store, except with `-quiet` or `-silent`.
fn report(globals: &Globals, store: &dyn Store, config: &Config) {
    if globals.out.verbosity() < Verbosity::Normal {
        return;
    }
    let (location, id) = (store.location(), &config.store_id);
    globals.out.message(&match config.plaintext_master_key {
        Some(_) => format!("created store {id} at {location}, not encrypted"),
        None => format!(
            "created encrypted store {id} at {location}; without the passphrase it cannot be \
             opened, and a lost passphrase cannot be recovered"
        ),
    });
}
