//! The environment: read here, once, and nowhere else.
//!
//! A passphrase is not kept with the rest: [`passphrase`] reads it when it is
//! wanted, into memory that is wiped.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, if absolute.
    pub config_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, if absolute.
    pub cache_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, if absolute.
    pub data_home: Option<PathBuf>,
    /// `PLAKAR_REPOSITORY`: the store, where none is named.
    pub repository: Option<OsString>,
    /// `PLAKAR_TAGS`: tags of new snapshots, separated by commas.
    pub tags: Option<OsString>,
    /// `TERM`.
    pub terminal: Option<OsString>,
    /// `MANPAGER`, else `PAGER`: a line for the shell that shows long text.
    pub pager: Option<OsString>,
    /// `SSH_AUTH_SOCK`: where an agent of SSH listens.
    pub agent: Option<PathBuf>,
    /// `LOGNAME`, else `USER`.
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

    /// `name` in the home directory.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without `HOME`, as in some units of systemd.
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

/// The words the process was started with, its own name left out.
pub(super) fn words() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1)
}

/// The passphrase that `variable` holds, if it is set and not empty.
pub(super) fn passphrase(variable_name: &str) -> Option<Zeroizing<Vec<u8>>> {
    variable(variable_name).map(|value| Zeroizing::new(value.into_vec()))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that holds text.
fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

/// A variable that holds a path.
fn path(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}
