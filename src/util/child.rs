//! Programs that plakar starts: shells, pagers, the commands of `cmd:` and of the configuration.
//!
//! A child process inherits the environment, and so would every program that it starts. None
//! of them needs the passphrase of a store, so the variables that hold one are removed.

use std::ffi::OsStr;
use std::process::Command;

/// Holds the passphrase of the store.
pub const PASSPHRASE: &str = "PLAKAR_PASSPHRASE";
/// Holds a further passphrase, where a command adds one.
pub const NEW_PASSPHRASE: &str = "PLAKAR_NEW_PASSPHRASE";
/// Holds the passphrase of the second store, where a command uses two.
pub const PEER_PASSPHRASE: &str = "PLAKAR_PEER_PASSPHRASE";

/// `program`, with the environment of this process except for passphrases.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in [PASSPHRASE, NEW_PASSPHRASE, PEER_PASSPHRASE] {
        command.env_remove(variable);
    }
    command
}
