//! `plakar key`: manages the passphrases of a store.
//!
//! Each passphrase has a slot in the store, which contains the wrapped master key. These commands
//! read, write and remove slots, and change nothing else.

mod paper;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::cost::{self, KDF_MEMORY, KDF_PASSES};
use crate::cli::opening::{self, Opened};
use crate::cli::passphrase::Weak;
use crate::cli::progress::Watch;
use crate::cli::{Args, Command, Flag, Globals, Status};
use crate::config::place::Place;
use crate::error::{Error, Kind, Result};
use crate::format::slot::SlotInfo;
use crate::kloset::keyring::Owner;
use crate::kloset::progress::{Counters, Event, Observer};
use crate::kloset::{Locked, keyring};
use crate::util::{Id, human};

const LABEL: Flag = Flag::value("label", "NAME", "what to call the passphrase in listings");
const NEW_KEYFILE: Flag = Flag::value(
    "new-keyfile",
    "FILE",
    "read the new passphrase from the first line of FILE",
);
const WEAK: Flag = Flag::switch("weak-passphrase", "accept a weak passphrase");

/// The label of a slot that does not open this store.
const STRANGER: &str = "(not of this store)";

/// The flags for a new passphrase.
const NEW_FLAGS: &[Flag] = &[LABEL, KDF_MEMORY, KDF_PASSES, NEW_KEYFILE, WEAK];

const SYNOPSIS: &str =
    "[-label NAME] [-kdf-memory MIB] [-kdf-passes N] [-new-keyfile FILE] [-weak-passphrase]";

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "key",
    synopsis: "list | add | rm | passwd | export | import",
    about: "list, add, change, remove, export and import passphrases",
    subcommands: &[
        Command {
            name: "list",
            synonyms: &["ls"],
            about: "list the passphrases of a store",
            run: list,
            ..Command::BLANK
        },
        Command {
            name: "add",
            synopsis: SYNOPSIS,
            about: "add a passphrase",
            flags: NEW_FLAGS,
            run: add,
            ..Command::BLANK
        },
        Command {
            name: "rm",
            synopsis: "ID",
            about: "remove a passphrase",
            run: remove,
            ..Command::BLANK
        },
        Command {
            name: "passwd",
            synopsis: SYNOPSIS,
            about: "change the passphrase",
            flags: NEW_FLAGS,
            run: change,
            ..Command::BLANK
        },
        Command {
            name: "export",
            synopsis: "[ID]",
            about: "print key slots as text to keep on paper",
            run: paper::export,
            ..Command::BLANK
        },
        Command {
            name: "import",
            synopsis: "FILE",
            about: "put exported key slots back into a store",
            run: paper::import,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// One slot in the list.
#[derive(Serialize)]
struct Slot {
    id: String,
    label: String,
    created: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_foreign: bool,
    #[serde(skip)]
    shown: String,
}

impl Slot {
    fn new(id: Id, info: &SlotInfo, owner: Owner) -> Slot {
        let created = human::time(info.created_ns);
        let mut label = cost::shown_label(&info.label);
        if owner == Owner::Stranger {
            label.push_str(&format!(" {STRANGER}"));
        }
        Slot {
            id: id.to_string(),
            shown: format!("{created} {:>10}  {}  {label}", id.short(), info.cost),
            label: info.label.clone(),
            created,
            memory_kib: info.cost.memory_kib,
            passes: info.cost.passes,
            lanes: info.cost.lanes,
            is_foreign: owner == Owner::Stranger,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown.trim_end())
    }
}

fn list(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let watch = globals.watch();
    let store = opening::store(globals)?;
    let place = globals.place()?;
    refuse_plaintext(&opening::locked(globals, &place)?)?;
    let strangers = strangers(globals, &place)?;
    for (id, info) in keyring::list(&*store, &*watch)? {
        let owner = match strangers.contains(&id) {
            true => Owner::Stranger,
            false => Owner::Store,
        };
        globals.out.result("key", &Slot::new(id, &info, owner))?;
    }
    Ok(Status::Success)
}

/// The slots that do not belong to this store. They can be recognized only with the key. Therefore
/// the list is empty unless a given passphrase opens the store; there is no prompt.
fn strangers(globals: &Globals, place: &Place) -> Result<Vec<Id>> {
    let Some(given) = globals.given_passphrase(place)? else {
        return Ok(Vec::new());
    };
    let locked = opening::locked(globals, place)?;
    let quiet = Arc::new(Quiet::default());
    let key = match locked.unlock(&given.passphrase, &*quiet) {
        Ok(Some(key)) => key,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        _ => return Ok(Vec::new()),
    };
    let owners = keyring::owners(&locked.open(key, None, quiet)?)?;
    let strangers = owners
        .iter()
        .filter(|(.., owner)| *owner == Owner::Stranger);
    Ok(strangers.map(|(id, ..)| *id).collect())
}

/// Ignores events: the slots will be read again, and damage is reported then.
#[derive(Default)]
struct Quiet(Counters);

impl Observer for Quiet {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _event: &Event<'_>) {}
}

/// Requires a store with passphrases.
///
/// # Errors
/// [`Kind::Unsupported`] for a plaintext store.
fn refuse_plaintext(locked: &Locked) -> Result<()> {
    match locked.plaintext_key()? {
        Some(_) => Err(Error::new(
            Kind::Unsupported,
            "this store was created with -plaintext: it has no passphrases",
        )),
        None => Ok(()),
    }
}

fn add(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let info = cost::slot_info(&args, globals.options.kdf_limit)?;
    let opened = opened(globals, &globals.watch())?;
    add_slot(globals, &args, &opened, info)?;
    Ok(Status::Success)
}

fn remove(globals: &Globals, args: Args) -> Result<Status> {
    args.at_least_one("the ID of a passphrase")?;
    args.at_most(1)?;
    let prefix = args.texts()?.remove(0);
    let Opened { kloset, .. } = opened(globals, &globals.watch())?;
    let id = keyring::named(&keyring::slots(kloset.store(), kloset.observer())?, &prefix)?;
    keyring::remove(&kloset, id)?;
    Ok(Status::Success)
}

fn change(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let info = cost::slot_info(&args, globals.options.kdf_limit)?;
    let opened = opened(globals, &globals.watch())?;
    let passphrase = opened.passphrase.as_ref();
    let passphrase = passphrase.expect("a store without one was refused");
    let lost = || Error::new(Kind::NotFound, "the key slot of this passphrase is gone");
    let (old, before) =
        keyring::slot_of(&opened.kloset, passphrase, &globals.interrupt)?.ok_or_else(lost)?;
    let label = match args.value("label") {
        Some(_) => info.label,
        None => before.label,
    };
    // The order matters: at every moment there is a valid passphrase.
    add_slot(globals, &args, &opened, SlotInfo { label, ..info })?;
    keyring::remove(&opened.kloset, old)?;
    tell_of_configuration(globals)?;
    Ok(Status::Success)
}

/// Reports where the passphrase that no longer opens the store is still configured.
fn tell_of_configuration(globals: &Globals) -> Result<()> {
    let place = globals.place()?;
    if let (Some(name), Some(option)) = (&place.name, Globals::configured_option(&place)) {
        let cause = format!(
            "the configuration of @{name} still gives the old passphrase: change its {option}, \
             as with \"plakar store set {name} passphrase=-\""
        );
        globals.out.warning(&Error::new(Kind::Failed, cause));
    }
    Ok(())
}

/// The kloset and its passphrase.
///
/// # Errors
/// For a plaintext store, before any prompt.
fn opened(globals: &Globals, watch: &Arc<Watch>) -> Result<Opened> {
    let place = globals.place()?;
    refuse_plaintext(&opening::locked(globals, &place)?)?;
    opening::unlocked(globals, &place, watch)
}

/// Adds a slot for a passphrase, given or typed, and reports it.
fn add_slot(globals: &Globals, args: &Args, opened: &Opened, info: SlotInfo) -> Result<()> {
    let weak = Weak::accepted_if(args.is_on("weak-passphrase"));
    let keyfile = args.value("new-keyfile").map(Path::new);
    let passphrase = globals.another_passphrase(&globals.place()?, keyfile, weak)?;
    let id = keyring::add(&opened.kloset, &passphrase, &info)?;
    globals
        .out
        .result("key", &Slot::new(id, &info, Owner::Store))
}
