//! `plakar store`, `source`, `destination` and `policy`: manages named places and policies.
//!
//! All four commands share one implementation; the command name selects the file. `rules` defines
//! the valid contents of each section. All other modules use it.

mod change;
mod forget;
mod import;
mod reach;
mod rules;
mod show;

use crate::cli::{Args, Command, Flag};
use crate::config::Section;
use crate::config::entries::Value;

/// The table entry of `plakar store`.
pub const STORE: Command = Command {
    name: "store",
    synopsis: "add | rm | set | unset | show | list | check | ping | default | import | forget",
    about: "manage stores",
    subcommands: PLACE_OF_STORE,
    ..Command::BLANK
};

/// The table entry of `plakar source`.
pub const SOURCE: Command = Command {
    name: "source",
    synopsis: PLACE_SYNOPSIS,
    about: "manage sources",
    subcommands: PLACE,
    ..Command::BLANK
};

/// The table entry of `plakar destination`.
pub const DESTINATION: Command = Command {
    name: "destination",
    synopsis: PLACE_SYNOPSIS,
    about: "manage destinations",
    subcommands: PLACE,
    ..Command::BLANK
};

/// The table entry of `plakar policy`.
pub const POLICY: Command = Command {
    name: "policy",
    synopsis: "add | rm | set | unset | show | list",
    about: "manage retention policies",
    subcommands: &[
        Command {
            name: "add",
            synopsis: "NAME KEY=VALUE ...",
            about: "add a policy",
            run: change::add,
            ..Command::BLANK
        },
        RM,
        SET,
        UNSET,
        SHOW,
        Command {
            name: "list",
            synonyms: &["ls"],
            about: "list the names",
            run: show::names,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

const PLACE_SYNOPSIS: &str =
    "add | rm | set | unset | show | list | check | ping | default | import";

/// The subcommands for names of places.
const PLACE: &[Command] = &[
    ADD, RM, SET, UNSET, SHOW, LIST, CHECK, PING, DEFAULT, IMPORT,
];

/// The same subcommands, and one for the record of known stores.
const PLACE_OF_STORE: &[Command] = &[
    ADD,
    RM,
    SET,
    UNSET,
    SHOW,
    LIST,
    CHECK,
    PING,
    DEFAULT,
    IMPORT,
    Command {
        name: "forget",
        synopsis: "LOCATION ...",
        about: "accept another store at a location",
        run: forget::run,
        ..Command::BLANK
    },
];

const ADD: Command = Command {
    name: "add",
    synopsis: "NAME LOCATION [KEY=VALUE ...]",
    about: "add a name for a location",
    run: change::add,
    ..Command::BLANK
};

const LIST: Command = Command {
    name: "list",
    synonyms: &["ls"],
    synopsis: "[NAME[:PATH] ...]",
    about: "list names and their locations",
    run: show::list,
    ..Command::BLANK
};

const CHECK: Command = Command {
    name: "check",
    synopsis: "NAME[:PATH]",
    about: "check whether it can be used",
    run: reach::check,
    ..Command::BLANK
};

const PING: Command = Command {
    name: "ping",
    synopsis: "NAME[:PATH]",
    about: "check whether it can be reached",
    run: reach::ping,
    ..Command::BLANK
};

const DEFAULT: Command = Command {
    name: "default",
    synopsis: "[-none | NAME]",
    about: "show or set the default",
    flags: &[Flag::switch("none", "let there be no default")],
    run: change::default,
    ..Command::BLANK
};

const IMPORT: Command = Command {
    name: "import",
    synopsis: "[-config FILE] [-overwrite] [-rclone] [SECTION[:NEW] ...]",
    about: "import names from a file or from rclone",
    flags: &[
        Flag::value("config", "FILE", "read FILE (- or default: standard input)"),
        Flag::switch("overwrite", "replace names that are there already"),
        Flag::switch("rclone", "read the configuration of rclone"),
    ],
    run: import::import,
    ..Command::BLANK
};

const RM: Command = Command {
    name: "rm",
    synopsis: "NAME ...",
    about: "remove names",
    run: change::rm,
    ..Command::BLANK
};

const SET: Command = Command {
    name: "set",
    synopsis: "NAME KEY=VALUE ...",
    about: "set options",
    run: change::set,
    ..Command::BLANK
};

const UNSET: Command = Command {
    name: "unset",
    synopsis: "NAME KEY ...",
    about: "remove options",
    run: change::unset,
    ..Command::BLANK
};

const SHOW: Command = Command {
    name: "show",
    synopsis: "[-secrets] [NAME ...]",
    about: "print the configuration",
    flags: &[Flag::switch(
        "secrets",
        "show passphrases and other secrets",
    )],
    run: show::show,
    ..Command::BLANK
};

/// Replaces a secret in output.
const HIDDEN: &str = "********";

/// The section that the command changes.
fn section(args: &Args) -> Section {
    match args.parent() {
        Some("store") => Section::Stores,
        Some("source") => Section::Sources,
        Some("destination") => Section::Destinations,
        _ => Section::Policies,
    }
}

/// The name in `word`, with or without `@`.
fn bare(word: &str) -> &str {
    word.strip_prefix('@').unwrap_or(word)
}

/// Whether `value` is the replacement of a secret.
fn is_hidden(value: &Value) -> bool {
    value.text().as_str() == HIDDEN
}
