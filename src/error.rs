//! The one error of the program.
//!
//! A [`Kind`] that programs act on, since it decides the exit code and whether
//! a retry makes sense, and context phrases for people, outermost first. It is
//! printed once, by `main`:
//!
//! ```text
//! plakar: restore /srv/a.txt: read pack 9f2c41d0: block 3 does not authenticate
//! ```

use std::{fmt, io};

/// What went wrong, as far as a program cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that has no kind of its own.
    Failed,
    /// The command line is not one we understand.
    Usage,
    /// Stored bytes are not what was stored.
    Corrupt,
    /// A store, snapshot, object or file that does not exist.
    NotFound,
    /// Something is there already, and must not be replaced.
    Exists,
    /// No answer, or a connection lost. The only kind worth retrying.
    Unavailable,
    /// A wrong passphrase, or a permission we do not have.
    Denied,
    /// A format version or configuration we do not know.
    Unsupported,
    /// The disk, or a quota, is full.
    NoSpace,
    /// The user asked us to stop.
    Interrupted,
}

impl Kind {
    /// The exit code that tells this kind to a script, after `sysexits.h`.
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

/// A kind and the story of how it came about.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    /// The cause first, then what was being done, outwards.
    phrases: Vec<String>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose cause is told by `cause`.
    pub fn new(kind: Kind, cause: impl Into<String>) -> Error {
        Error {
            kind,
            phrases: vec![cause.into()],
        }
    }

    /// Stored bytes that are not what was stored.
    pub fn corrupt(cause: impl Into<String>) -> Error {
        Error::new(Kind::Corrupt, cause)
    }

    /// A command line we do not understand.
    pub fn usage(cause: impl Into<String>) -> Error {
        Error::new(Kind::Usage, cause)
    }

    /// What the error means to a program.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether only the one object or file is concerned that was being read, so that work on the
    /// others goes on: it is damaged, gone, or cannot be read. What is the matter with the
    /// whole place, or with the command, is not of one object.
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

    /// Adds `doing` with its `object`, and drops inner phrases that name nothing but the same
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

    /// Adds what was being done, further out.
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

/// The operating system's words, lower case and without `(os error 2)`.
fn plain_words(cause: &io::Error) -> String {
    let words = cause.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    // The resolver says in two ways at once what a person wants to know in one.
    let words = match words.split_once("lookup address information: ") {
        Some((_, why)) => &format!("cannot find the host: {}", why.to_lowercase()),
        None => words,
    };
    let mut letters = words.chars();
    match letters.next() {
        // Not of `I/O error`, as some systems call it.
        Some(first) if letters.as_str().starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(),
    }
}

/// Adds what was being done to whatever can fail.
pub trait During<T> {
    /// Adds `doing`, which is only worded when there is an error.
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
