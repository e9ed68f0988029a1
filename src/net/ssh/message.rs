//! Messages of SFTP version 3 (draft-ietf-secsh-filexfer-02), as far as reading requires them:
//! encodes requests and decodes responses.
//!
//! ```text
//! request   length u32 | type u8 | number u32 | path, handle ...
//! response  length u32 | type u8 | number u32 | status, handle, bytes, names or attributes
//! ```
//!
//! Integers are big-endian; a string is its length followed by its bytes. Input from the server is
//! untrusted: every length is checked against the available bytes.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::sftp::Stat;
use crate::error::{Error, Kind, Result};

/// The protocol version that all servers support.
pub(super) const VERSION: u32 = 3;
/// The maximum length of a message, the same as in OpenSSH.
const MESSAGE_LIMIT_BYTES: usize = 256 << 10;
/// The maximum length of a handle (section 6.3).
const HANDLE_LIMIT_BYTES: usize = 256;

/// Message types (section 3).
const INIT: u8 = 1;
const VERSION_IS: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const READLINK: u8 = 19;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

/// Opens for reading (`SSH_FXF_READ`).
const FOR_READING: u32 = 1;

/// Flags for the attributes present (section 5).
const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 0x8000_0000;

/// The status at the end of a file or directory (`SSH_FX_EOF`).
pub const END: u32 = 1;

/// The opaque name by which the server identifies an open file or directory. At most 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(Vec<u8>);

/// A request to the server.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Metadata of a path. The server does not follow a symbolic link.
    Look(&'a Path),
    /// Open a file for reading. The server follows a symbolic link and blocks on a FIFO, so check
    /// the file type first.
    OpenFile(&'a Path),
    /// Open a directory. The response is a handle.
    OpenDir(&'a Path),
    /// The next entries of an open directory.
    List(&'a Handle),
    /// A range of a file.
    Read {
        /// The open file.
        handle: &'a Handle,
        /// The offset of the first byte.
        offset: u64,
        /// The maximum number of bytes to return. The server may return fewer.
        length_bytes: u32,
    },
    /// Metadata of an open file.
    LookAtOpen(&'a Handle),
    /// Close the handle.
    Close(&'a Handle),
    /// The target of a symbolic link. The response contains one name.
    ReadLink(&'a Path),
}

/// A response of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status code: an error, the end, or the success of a request without a result.
    Status(u32),
    /// The handle of an opened file or directory.
    Handle(Handle),
    /// Bytes of a file.
    Data(Vec<u8>),
    /// Entries of a directory, including `.` and `..`, or the target of a symbolic link.
    Names(Vec<(Vec<u8>, Stat)>),
    /// Metadata of a file.
    Stat(Stat),
}

/// Appends the initial message of the protocol.
pub(super) fn greet(into: &mut Vec<u8>) {
    put(into, INIT, VERSION, |_| {});
}

/// Appends `question` with its number.
pub(super) fn encode(question: &Question<'_>, number: u32, into: &mut Vec<u8>) {
    match question {
        Question::Look(path) => put(into, LSTAT, number, |body| put_path(body, path)),
        Question::OpenFile(path) => put(into, OPEN, number, |body| {
            put_path(body, path);
            body.extend(FOR_READING.to_be_bytes());
            // No attributes follow.
            body.extend(0u32.to_be_bytes());
        }),
        Question::OpenDir(path) => put(into, OPENDIR, number, |body| put_path(body, path)),
        Question::List(handle) => put(into, READDIR, number, |body| put_string(body, &handle.0)),
        Question::Read {
            handle,
            offset,
            length_bytes,
        } => put(into, READ, number, |body| {
            put_string(body, &handle.0);
            body.extend(offset.to_be_bytes());
            body.extend(length_bytes.to_be_bytes());
        }),
        Question::LookAtOpen(handle) => {
            put(into, FSTAT, number, |body| put_string(body, &handle.0));
        }
        Question::ReadLink(path) => put(into, READLINK, number, |body| put_path(body, path)),
        Question::Close(handle) => put(into, CLOSE, number, |body| put_string(body, &handle.0)),
    }
}

fn put(into: &mut Vec<u8>, kind: u8, number: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let begun = into.len();
    into.extend([0; 4]);
    into.push(kind);
    into.extend(number.to_be_bytes());
    body(into);
    let length = u32::try_from(into.len() - begun - 4).expect("a path has less than 4 GiB");
    into[begun..begun + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_path(into: &mut Vec<u8>, path: &Path) {
    put_string(into, path.as_os_str().as_bytes());
}

fn put_string(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a path has less than 4 GiB");
    into.extend(length.to_be_bytes());
    into.extend(bytes);
}

/// Returns the first message in `bytes` and its encoded length, or `None` if it is incomplete.
///
/// # Errors
/// [`Kind::Unavailable`] if the length is invalid.
pub(super) fn split(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    match length {
        0 | MESSAGE_LIMIT_BYTES.. => Err(nonsense()),
        _ => Ok(rest.get(..length).map(|message| (message, length + 4))),
    }
}

/// Decodes the response to [`greet`]: the protocol version of the server.
pub(super) fn version(message: &[u8]) -> Result<u32> {
    let mut fields = Fields(message);
    match fields.byte()? {
        VERSION_IS => fields.number(),
        _ => Err(nonsense()),
    }
}

/// Decodes a response and the number of its request.
pub(super) fn decode(message: &[u8]) -> Result<(u32, Answer)> {
    let mut fields = Fields(message);
    let kind = fields.byte()?;
    let number = fields.number()?;
    let answer = match kind {
        STATUS => Answer::Status(fields.number()?),
        HANDLE => Answer::Handle(fields.handle()?),
        DATA => Answer::Data(fields.string()?.to_vec()),
        NAME => Answer::Names(fields.names()?),
        ATTRS => Answer::Stat(fields.stat()?),
        _ => return Err(nonsense()),
    };
    Ok((number, answer))
}

fn nonsense() -> Error {
    Error::new(
        Kind::Unavailable,
        "the server does not speak SFTP as we do: its answer is malformed",
    )
}

/// The part of a message that is not yet decoded.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(nonsense)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(nonsense)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn handle(&mut self) -> Result<Handle> {
        let handle = self.string()?;
        match handle.len() {
            ..=HANDLE_LIMIT_BYTES => Ok(Handle(handle.to_vec())),
            _ => Err(nonsense()),
        }
    }

    fn names(&mut self) -> Result<Vec<(Vec<u8>, Stat)>> {
        let count = self.number()?;
        // Allocates for the names received, not for the announced count.
        let mut names = Vec::new();
        for _ in 0..count {
            let name = self.string()?.to_vec();
            // The line in the format of `ls -l` is not used.
            self.string()?;
            names.push((name, self.stat()?));
        }
        Ok(names)
    }

    fn stat(&mut self) -> Result<Stat> {
        let flags = self.number()?;
        let mut stat = Stat::default();
        if flags & HAS_SIZE != 0 {
            stat.size_bytes = self.array().map(u64::from_be_bytes)?;
        }
        if flags & HAS_OWNER != 0 {
            (stat.uid, stat.gid) = (self.number()?, self.number()?);
        }
        if flags & HAS_MODE != 0 {
            stat.mode = self.number()?;
        }
        if flags & HAS_TIMES != 0 {
            self.number()?;
            stat.mtime_seconds = self.number()?;
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response with two names, as a server encodes it.
    fn two_names() -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, NAME, 7, |body| {
            body.extend(2u32.to_be_bytes());
            for name in [b"a", b"b"] {
                put_string(body, name);
                put_string(body, b"-rw------- 1 root");
                body.extend((HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES | HAS_MORE).to_be_bytes());
                body.extend(5u64.to_be_bytes());
                for number in [1, 2, 0o100_600, 3, 4, 1u32] {
                    body.extend(number.to_be_bytes());
                }
                put_string(body, b"type");
                put_string(body, b"value");
            }
        });
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<(u32, Answer)> {
        let (message, _) = split(bytes)?.expect("it is all there");
        decode(message)
    }

    #[test]
    fn a_question_is_laid_out_as_the_draft_draws_it() {
        let mut bytes = Vec::new();
        encode(&Question::OpenFile(Path::new("/a")), 9, &mut bytes);
        let expected = b"\0\0\0\x13\x03\0\0\0\x09\0\0\0\x02/a\0\0\0\x01\0\0\0\0";
        assert_eq!(bytes, expected);
        greet(&mut bytes);
        assert_eq!(&bytes[expected.len()..], b"\0\0\0\x05\x01\0\0\0\x03");
        assert_eq!(split(&bytes).unwrap().unwrap().1, expected.len());
    }

    #[test]
    fn names_come_with_what_is_known_of_them() {
        let stat = Stat {
            size_bytes: 5,
            mode: 0o100_600,
            uid: 1,
            gid: 2,
            mtime_seconds: 4,
        };
        let names = vec![(b"a".to_vec(), stat), (b"b".to_vec(), stat)];
        assert_eq!(decoded(&two_names()).unwrap(), (7, Answer::Names(names)));
    }

    #[test]
    fn what_is_cut_or_lies_is_an_error_and_no_panic() {
        let whole = two_names();
        for length in 0..whole.len() {
            assert!(split(&whole[..length]).unwrap().is_none());
        }
        for length in 1..whole.len() - 4 {
            assert!(decode(&whole[4..4 + length]).is_err(), "{length}");
        }
        for at in 4..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            // Any result is valid, as long as decoding does not read past the end.
            let _ = decoded(&bytes);
        }
        assert!(split(&[0xff; 8]).is_err());
        assert!(split(&[0; 8]).is_err());
    }
}
