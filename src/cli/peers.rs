//! Command names of other backup programs, and the equivalents in plakar.
//!
//! A user of restic, borg, bupstash or tar may type a command name of that program. Its spelling is
//! often closer to an unrelated command of plakar than to the right one.

use super::suggest::did_you_mean;
use super::table::Command;
use crate::error::Error;

/// Commands of other programs, and their names in plakar.
const COMMANDS_OF_PEERS: &[(&str, &str)] = &[
    ("add", "plakar backup"),
    ("browse", "plakar ls"),
    ("clone", "plakar sync"),
    ("compact", "plakar maintenance"),
    ("compare", "plakar diff"),
    ("copy", "plakar sync"),
    ("delete", "plakar rm"),
    (
        "dump",
        "plakar cat for a file, plakar archive for a directory",
    ),
    ("export", "plakar archive"),
    ("extract", "plakar restore"),
    ("find", "plakar locate"),
    (
        "forget",
        "plakar prune by a policy, plakar rm for one snapshot",
    ),
    ("gc", "plakar maintenance"),
    ("get", "plakar restore"),
    ("history", "plakar ls"),
    ("init", "plakar create"),
    ("list", "plakar ls"),
    ("mirror", "plakar sync"),
    ("passwd", "plakar key passwd"),
    ("put", "plakar backup"),
    ("rebuild-index", "plakar repair"),
    ("recover", "plakar repair"),
    ("remove", "plakar rm"),
    ("replicate", "plakar sync"),
    ("rename", "plakar tag"),
    ("save", "plakar backup"),
    ("search", "plakar locate"),
    ("serve", "plakar server"),
    ("show", "plakar info, plakar ls"),
    (
        "snapshot",
        "plakar backup to create one, plakar ls to list them",
    ),
    ("snapshots", "plakar ls"),
    ("stats", "plakar info"),
    ("status", "plakar info"),
    ("vacuum", "plakar maintenance"),
];

/// Features that plakar does not have, and the alternative.
const ABSENT: &[(&str, &str)] = &[
    ("break-lock", NO_LOCKS),
    ("mount", NO_MOUNT),
    ("umount", NO_MOUNT),
    ("unlock", NO_LOCKS),
];

const NO_LOCKS: &str = "plakar has no locks, and an interrupted run leaves nothing to unlock";
const NO_MOUNT: &str =
    "snapshots cannot be mounted yet: use plakar ls, plakar cat or plakar restore";

/// The error for a `word` that is not one of `commands`, with a suggestion. `what` is the type of
/// the word, such as `subcommand`.
pub(super) fn unknown(word: &str, commands: &[Command], what: &str) -> Error {
    let is_top = what == "command";
    let among = |peers: &[(&str, &'static str)]| {
        let found = peers.iter().find(|(name, _)| is_top && *name == word);
        found.map(|(_, here)| *here)
    };
    let hint = match (among(COMMANDS_OF_PEERS), among(ABSENT)) {
        (Some(here), _) => format!(" (use {here})"),
        (None, Some(why)) => format!(": {why}"),
        (None, None) => match did_you_mean(word, commands.iter().flat_map(Command::names), "") {
            hint if hint.is_empty() && !is_top => format!("; known are {}", names(commands)),
            hint => hint,
        },
    };
    Error::usage(format!("unknown {what} {word:?}{hint}"))
}

/// The names of `commands`, for messages.
fn names(commands: &[Command]) -> String {
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::COMMANDS;

    #[test]
    fn names_of_peers_lead_to_commands_that_exist() {
        for (peer, here) in COMMANDS_OF_PEERS {
            assert!(Command::find(COMMANDS, peer).is_none(), "{peer} exists");
            let mut words = here.split("plakar ").skip(1).peekable();
            assert!(words.peek().is_some(), "{here}");
            for word in words {
                let word = word.split([' ', ',']).next().unwrap_or_default();
                assert!(Command::find(COMMANDS, word).is_some(), "{here}");
            }
        }
        for (absent, _) in ABSENT {
            assert!(Command::find(COMMANDS, absent).is_none(), "{absent} exists");
        }
    }
}
