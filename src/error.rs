//! The error type of the program.
//!
//! An error has a [`Kind`] for programs, which determines the exit code and whether a retry makes
//! sense, and context phrases for users, outermost first. `main` prints it once:
//!
//! ```text
//! plakar: restore /srv/a.txt: read pack 9f2c41d0: block 3 does not authenticate
//! ```

use std::{fmt, io};

/// The classification of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any error without a kind of its own.
    Failed,
    /// Invalid usage: unknown commands, invalid options or arguments.
    Usage,
    /// Stored data is damaged.
    Corrupt,
    /// A store, snapshot, object or file that does not exist.
    NotFound,
    /// The name exists already and must not be replaced.
    Exists,
    /// No response, or a lost connection. The only kind that is worth a retry.
    Unavailable,
    /// A wrong passphrase or a missing permission.
    Denied,
    /// An unknown format version, or an invalid or unknown configuration.
    Unsupported,
    /// The disk or a quota is full.
    NoSpace,
    /// The user requested a stop.
    Interrupted,
}

impl Kind {
    /// The exit code of this kind, following `sysexits.h`.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed | Kind::Exists | Kind::NoSpace => 1,
            Kind::Usage => 64,
            Kind::Corrupt => 65,
            Kind::NotFound => 66,
            Kind::Unavailable => 69,
            Kind::Denied => 77,
            Kind::Unsupported => 78,
            Kind::Interrupted => 130,
        }
    }
}

/// An error: its kind, its cause and the context in which it occurred.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    /// The cause first, then the context, from the innermost to the outermost operation.
    phrases: Vec<String>,
}

/// The result of any operation that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error of `kind` with the message `cause`.
    pub fn new(kind: Kind, cause: impl Into<String>) -> Error {
        Error {
            kind,
            phrases: vec![cause.into()],
        }
    }

    /// Creates an error of the kind [`Kind::Corrupt`], for damaged stored data.
    pub fn corrupt(cause: impl Into<String>) -> Error {
        Error::new(Kind::Corrupt, cause)
    }

    /// Creates an error of the kind [`Kind::Usage`], for an invalid command line.
    pub fn usage(cause: impl Into<String>) -> Error {
        Error::new(Kind::Usage, cause)
    }

    /// The kind, by which the caller decides how to proceed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the error concerns only the object or file that was being read (it is damaged,
    /// missing or unreadable), so that processing of the others continues. An error of the whole
    /// store, or of the command, does not concern one object.
    pub fn is_of_one_object(&self) -> bool {
        match self.kind {
            Kind::Unavailable | Kind::Interrupted | Kind::NoSpace | Kind::Usage => false,
            Kind::Failed
            | Kind::Corrupt
            | Kind::NotFound
            | Kind::Exists
            | Kind::Denied
            | Kind::Unsupported => true,
        }
    }

    /// Adds `doing` with its `object`, and removes inner phrases that consist only of the same
    /// object, so that it is named once.
    pub fn during_at(mut self, doing: &str, object: &str) -> Error {
        let mut place = 0;
        self.phrases.retain(|phrase| {
            place += 1;
            place == 1 || phrase != object
        });
        self.during(format!("{doing} {object}"))
    }

    /// Appends the next step to the cause.
    pub fn advise(mut self, next: &str) -> Error {
        if let Some(cause) = self.phrases.first_mut() {
            cause.push_str("; ");
            cause.push_str(next);
        }
        self
    }

    /// Adds an operation as outer context.
    pub fn during(mut self, doing: impl Into<String>) -> Error {
        self.phrases.push(doing.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, phrase) in self.phrases.iter().rev().enumerate() {
            if depth > 0 {
                f.write_str(": ")?;
            }
            f.write_str(phrase)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Error {
        use io::ErrorKind as K;
        let kind = match cause.kind() {
            K::NotFound => Kind::NotFound,
            K::PermissionDenied | K::ReadOnlyFilesystem => Kind::Denied,
            K::AlreadyExists => Kind::Exists,
            K::StorageFull | K::QuotaExceeded => Kind::NoSpace,
            K::UnexpectedEof => Kind::Corrupt,
            K::TimedOut
            | K::ConnectionReset
            | K::ConnectionRefused
            | K::ConnectionAborted
            | K::BrokenPipe => Kind::Unavailable,
            _ => Kind::Failed,
        };
        Error::new(kind, plain_words(&cause))
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(cause: rustix::io::Errno) -> Error {
        io::Error::from(cause).into()
    }
}

/// The message of the operating system, in lower case and without `(os error 2)`.
fn plain_words(cause: &io::Error) -> String {
    let words = cause.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    // The message of the resolver states the same fact twice.
    let words = match words.split_once("lookup address information: ") {
        Some((_, why)) => &format!("cannot find the host: {}", why.to_lowercase()),
        None => words,
    };
    let mut letters = words.chars();
    match letters.next() {
        // A message such as `I/O error` keeps its case.
        Some(first) if letters.as_str().starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(),
    }
}

/// Adds context to the error of a result.
pub trait During<T> {
    /// Adds `doing` as context. It is evaluated only if there is an error.
    fn during<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> During<T> for std::result::Result<T, E> {
    fn during<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| cause.into().during(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_system_begin_small_unless_they_are_a_name() {
        let words = |said: &str| plain_words(&io::Error::other(said));
        assert_eq!(words("Is a directory"), "is a directory");
        assert_eq!(words("I/O error"), "I/O error");
        assert_eq!(words(""), "");
    }

    #[test]
    fn an_object_is_named_once() {
        let error = Error::new(Kind::Unavailable, "connection refused")
            .during("http://nas")
            .during("read CONFIG");
        let words = error.during_at("open store", "http://nas").to_string();
        assert_eq!(
            words,
            "open store http://nas: read CONFIG: connection refused"
        );
    }

    #[test]
    fn an_error_reads_outermost_first() {
        let result: io::Result<()> = Err(io::Error::from_raw_os_error(2));
        let error = result
            .during(|| "read a.txt")
            .during(|| "restore")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "restore: read a.txt: no such file or directory"
        );
        assert_eq!(error.kind(), Kind::NotFound);
    }
}
