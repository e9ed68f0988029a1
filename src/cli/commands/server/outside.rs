//! What a running server takes from outside: certificate, tokens and the access log. All are
//! looked at again on SIGHUP. What cannot be used then is told, and what was in use stays.

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

/// What an access log lets others do: nothing. It tells who was there.
const LOG_MODE: u32 = 0o600;

/// Where things come from.
pub(super) struct Outside {
    /// The certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    pub(super) tokens: Tokens,
    pub(super) log: Option<Destination>,
}

/// The file of tokens.
pub(super) enum Tokens {
    /// Named by the user: it must be there.
    Named(PathBuf),
    /// The usual one: if it is there, it is used.
    Usual(PathBuf),
    /// There is not even a place for it.
    None,
}

/// Where the access log goes.
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
    /// What the flags say. The access log is opened.
    pub(super) fn from(globals: &Globals, args: &Args) -> Result<Outside> {
        let path = |name| args.value(name).map(PathBuf::from);
        let tokens = match (path("tokens"), token::file(globals, args)) {
            (Some(path), _) => Tokens::Named(path),
            (None, Ok(path)) => Tokens::Usual(path),
            // Without a home, there is none to look in.
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

    /// The certificate, if there is to be one.
    pub(super) fn identity(&self) -> Result<Option<Identity>> {
        let files = self.identity.as_ref();
        files
            .map(|(cert, key)| Identity::read(cert, key))
            .transpose()
    }

    /// Who is let in.
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

    /// Looks at everything again. A file of tokens that has gone lets nobody in who was not.
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

    /// Who hears of requests.
    pub(super) fn log(&self, out: &Arc<Output>) -> Option<Log> {
        let out = out.clone();
        Some(match self.log.clone()? {
            Destination::Standard => Arc::new(move |record| {
                // There is nobody to tell when nobody reads.
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

    /// Opens it anew: it may have been moved away.
    fn reopen(&self) -> Result<()> {
        let file = open(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Appends a line. After an error nothing is written before it is opened anew, or a full
    /// disk would be told of with each request.
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

/// A request as it is printed.
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
