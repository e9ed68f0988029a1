//! The environment variables. Only this module reads them, once.
//!
//! Passphrases are not stored with the others: [`passphrase`] reads one when it is needed, into
//! memory that is wiped.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// The environment variables that plakar uses.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HOME`: the home directory.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, if absolute.
    pub config_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, if absolute.
    pub cache_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, if absolute.
    pub data_home: Option<PathBuf>,
    /// `PLAKAR_REPOSITORY`: the store to use if the command line names none.
    pub repository: Option<OsString>,
    /// `PLAKAR_TAGS`: tags of new snapshots, separated by commas.
    pub tags: Option<OsString>,
    /// `TERM`: the terminal type.
    pub terminal: Option<OsString>,
    /// `MANPAGER`, else `PAGER`: a shell command that displays long text.
    pub pager: Option<OsString>,
    /// `SSH_AUTH_SOCK`: the socket of the SSH agent.
    pub agent: Option<PathBuf>,
    /// `LOGNAME`, else `USER`: the name of the user.
    pub user: Option<String>,
}

impl Environment {
    /// The environment of this process. An empty variable counts as unset.
    pub fn of_process() -> Environment {
        let absolute = |name| path(name).filter(|path| path.is_absolute());
        Environment {
            home: path("HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
            cache_home: absolute("XDG_CACHE_HOME"),
            data_home: absolute("XDG_DATA_HOME"),
            repository: variable("PLAKAR_REPOSITORY"),
            tags: variable("PLAKAR_TAGS"),
            terminal: variable("TERM"),
            pager: variable("MANPAGER").or_else(|| variable("PAGER")),
            agent: path("SSH_AUTH_SOCK"),
            user: text("LOGNAME").or_else(|| text("USER")),
        }
    }

    /// The path of `name` in the home directory.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if `HOME` is not set, as in some systemd units.
    pub fn in_home(&self, name: &str) -> Result<PathBuf> {
        let home = self.home.as_ref();
        let missing = || {
            Error::new(
                Kind::Unsupported,
                format!("HOME is not set, needed for ~/{name}"),
            )
        };
        home.map(|home| home.join(name)).ok_or_else(missing)
    }
}

/// The arguments of the process, without the program name.
pub(super) fn words() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1)
}

/// The passphrase in the variable, if the variable is set and not empty.
pub(super) fn passphrase(variable_name: &str) -> Option<Zeroizing<Vec<u8>>> {
    variable(variable_name).map(|value| Zeroizing::new(value.into_vec()))
}

/// The value of a variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of a variable, if it is UTF-8.
fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

fn path(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}
