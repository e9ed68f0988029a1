//! External data of a running server: certificate, tokens and access log. All are reloaded on
//! SIGHUP. If that fails, an error is reported and the previous data remains in use.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::token;
use crate::cli::output::Output;
use crate::cli::{Args, Globals};
use crate::error::{During, Error, Result};
use crate::net::tls::server::Identity;
use crate::server::access::Access;
use crate::server::record::Record;
use crate::server::{Log, Server};

/// The permissions of an access log: readable by the owner only, because it contains client
/// addresses.
const LOG_MODE: u32 = 0o600;

/// The locations of the external data.
pub(super) struct Outside {
    /// The files of the certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    pub(super) tokens: Tokens,
    pub(super) log: Option<Destination>,
}

/// The location of the token file.
pub(super) enum Tokens {
    /// Given by the user: the file must exist.
    Named(PathBuf),
    /// The default location: the file is used if it exists.
    Usual(PathBuf),
    /// There is no default location.
    None,
}

/// The destination of the access log.
#[derive(Clone)]
pub(super) enum Destination {
    Standard,
    File(Arc<LogFile>),
}

/// An access log in a file.
pub(super) struct LogFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl Outside {
    /// Reads the flags, and opens the access log.
    pub(super) fn from(globals: &Globals, args: &Args) -> Result<Outside> {
        let path = |name| args.value(name).map(PathBuf::from);
        let tokens = match (path("tokens"), token::file(globals, args)) {
            (Some(path), _) => Tokens::Named(path),
            (None, Ok(path)) => Tokens::Usual(path),
            // Without a home directory there is no default location.
            (None, Err(_)) => Tokens::None,
        };
        let log = match path("access-log") {
            None => None,
            Some(path) if path == Path::new("-") => Some(Destination::Standard),
            Some(path) => Some(Destination::File(Arc::new(LogFile::open(path)?))),
        };
        Ok(Outside {
            identity: path("cert").zip(path("key")),
            tokens,
            log,
        })
    }

    /// Reads the certificate, if configured.
    pub(super) fn identity(&self) -> Result<Option<Identity>> {
        let files = self.identity.as_ref();
        files
            .map(|(cert, key)| Identity::read(cert, key))
            .transpose()
    }

    /// Reads the tokens. Without a token file, all clients have access.
    pub(super) fn access(&self) -> Result<Access> {
        let (path, is_named) = match &self.tokens {
            Tokens::Named(path) => (path, true),
            Tokens::Usual(path) => (path, false),
            Tokens::None => return Ok(Access::Anyone),
        };
        match token::read(path)? {
            Some(tokens) => Ok(Access::Tokens(tokens)),
            None if is_named => Err(token::missing(path)),
            None => Ok(Access::Anyone),
        }
    }

    /// Reloads everything. If the token file was removed, no additional clients get access.
    pub(super) fn renew(&self, server: &Server, had_tokens: bool, out: &Output) {
        let kept = |what: &str| format!("the {what} in use stays");
        match self.identity() {
            Ok(Some(identity)) => server.set_identity(identity),
            Ok(None) => {}
            Err(error) => out.warning(&error.during(kept("certificate"))),
        }
        match self.access() {
            Ok(Access::Anyone) if had_tokens => {
                let error = Error::usage("the file of tokens has gone");
                out.warning(&error.during(kept("list of tokens")));
            }
            Ok(access) => server.set_access(access),
            Err(error) => out.warning(&error.during(kept("list of tokens"))),
        }
        if let Some(Destination::File(log)) = &self.log
            && let Err(error) = log.reopen()
        {
            out.warning(&error.during(kept("access log")));
        }
    }

    /// The function that logs requests, if a log is configured.
    pub(super) fn log(&self, out: &Arc<Output>) -> Option<Log> {
        let out = out.clone();
        Some(match self.log.clone()? {
            Destination::Standard => Arc::new(move |record| {
                // A write error cannot be reported, because no one reads the output.
                let _ = out
                    .result("request", &Line::from(record))
                    .and_then(|()| out.flush());
            }),
            Destination::File(log) => Arc::new(move |record| {
                if let Err(error) = log.write(&record.to_string()) {
                    out.warning(&error);
                }
            }),
        })
    }
}

impl LogFile {
    fn open(path: PathBuf) -> Result<LogFile> {
        let file = Mutex::new(Some(open(&path)?));
        Ok(LogFile { path, file })
    }

    /// Reopens the file, which may have been rotated.
    fn reopen(&self) -> Result<()> {
        let file = open(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Appends a line. After an error nothing is written until the file is reopened; otherwise a
    /// full disk would be reported for each request.
    fn write(&self, line: &str) -> Result<()> {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = slot.as_mut() else {
            return Ok(());
        };
        let written = file.write_all(format!("{line}\n").as_bytes());
        if written.is_err() {
            *slot = None;
        }
        written.during(|| format!("{}: no longer written", self.path.display()))
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(LOG_MODE);
    options.open(path).during(|| path.display().to_string())
}

/// The log line of one request.
#[derive(Serialize)]
struct Line<'a> {
    peer: String,
    token: Option<&'a str>,
    verb: &'a str,
    target: &'a str,
    status: u16,
    bytes_in: u64,
    bytes_out: u64,
    milliseconds: u64,
    #[serde(skip)]
    record: &'a Record,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Line<'a> {
        Line {
            peer: record.peer.to_string(),
            token: record.name.as_deref(),
            verb: &record.verb,
            target: &record.target,
            status: record.status,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            milliseconds: u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX),
            record,
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt(f)
    }
}
