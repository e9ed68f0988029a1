//! Message heads: the first line and the header fields.
//!
//! `httparse` splits them, and this module validates them. Field names are compared in lower case.
//! Values with characters outside ASCII are rejected, because no field needs them.

use super::{FIELDS_LIMIT, HEAD_LIMIT_BYTES, Wrong};

/// The header fields, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Returns the value of the field `name` (in lower case), or `None` if it is missing.
    ///
    /// # Errors
    /// [`Wrong::Malformed`] if the field occurs more than once.
    pub fn only(&self, name: &str) -> Result<Option<&str>, Wrong> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Wrong::Malformed("a field is there twice")),
        }
    }

    /// Returns the first value of `name`, for fields where duplicates do not matter.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns all values of `name`, which must be in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        debug_assert!(name.bytes().all(|byte| !byte.is_ascii_uppercase()));
        let ours = self.0.iter().filter(move |(known, _)| known == name);
        ours.map(|(_, value)| value.as_str())
    }

    /// Whether the comma-separated list in the fields `name` contains `word`, ignoring case.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).flat_map(|value| value.split(','));
        words.any(|listed| listed.trim().eq_ignore_ascii_case(word))
    }

    fn of(fields: &[httparse::Header<'_>]) -> Result<Headers, Wrong> {
        let field = |field: &httparse::Header<'_>| {
            let value = std::str::from_utf8(field.value).ok()?;
            let is_plain = value
                .chars()
                .all(|letter| matches!(letter, ' '..='~' | '\t'));
            is_plain.then(|| (field.name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields: Option<Vec<_>> = fields.iter().map(field).collect();
        Ok(Headers(
            fields.ok_or(Wrong::Malformed("a field is not ASCII"))?,
        ))
    }
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method as it was sent, such as `GET`.
    pub method: String,
    /// The request target as it was sent, without any decoding.
    pub target: String,
    /// The minor version of HTTP/1: 0 or 1.
    pub minor: u8,
    /// The header fields, with names in lower case.
    pub headers: Headers,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, from 100 to 999.
    pub status: u16,
    /// The minor version of HTTP/1: 0 or 1.
    pub minor: u8,
    /// The header fields, with names in lower case.
    pub headers: Headers,
}

impl Request {
    /// Whether the connection stays open after the response.
    pub fn is_kept(&self) -> bool {
        is_kept(self.minor, &self.headers)
    }
}

impl Response {
    /// Whether the connection stays open after the body.
    pub fn is_kept(&self) -> bool {
        is_kept(self.minor, &self.headers)
    }

    /// Whether this is an interim (1xx) response.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }
}

/// Whether the connection is persistent (RFC 9112, section 9.3).
fn is_kept(minor: u8, headers: &Headers) -> bool {
    match minor {
        0 => headers.lists("connection", "keep-alive"),
        _ => !headers.lists("connection", "close"),
    }
}

/// Parses the head of a request at the start of `bytes`. Returns it with its length, or `None` if
/// it is incomplete.
pub fn parse_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, Wrong> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
    let mut request = httparse::Request::new(&mut fields);
    let Some(length) = whole(request.parse(bytes))? else {
        return Ok(None);
    };
    if length > HEAD_LIMIT_BYTES {
        return Err(too_long(bytes));
    }
    check_line_ends(&bytes[..length])?;
    let headers = Headers::of(request.headers)?;
    let request = Request {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        minor: request.version.unwrap_or_default(),
        headers,
    };
    // Exactly one host, so that no proxy can choose a different one (RFC 9112, section 3.2).
    match request.headers.only("host")? {
        None if request.minor > 0 => Err(Wrong::Malformed("no Host")),
        _ => Ok(Some((request, length))),
    }
}

/// Parses the head of a response at the start of `bytes`. Returns it with its length, or `None` if
/// it is incomplete.
pub fn parse_response(bytes: &[u8]) -> Result<Option<(Response, usize)>, Wrong> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
    let mut response = httparse::Response::new(&mut fields);
    let Some(length) = whole(response.parse(bytes))? else {
        return Ok(None);
    };
    check_line_ends(&bytes[..length])?;
    let head = Response {
        status: response.code.unwrap_or_default(),
        minor: response.version.unwrap_or_default(),
        headers: Headers::of(response.headers)?,
    };
    match head.status {
        100..=999 => Ok(Some((head, length))),
        _ => Err(Wrong::Malformed("not a status")),
    }
}

/// Checks that every line of a head ends with CR LF. `httparse` also accepts LF alone, which RFC
/// 9112, section 2.2, allows; but a proxy that does not would see a different message.
fn check_line_ends(head: &[u8]) -> Result<(), Wrong> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    match lines.all(|line| line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r')) {
        true => Ok(()),
        false => Err(Wrong::Malformed("a line does not end with CR and LF")),
    }
}

/// Converts the result of `httparse`.
fn whole(outcome: httparse::Result<usize>) -> Result<Option<usize>, Wrong> {
    use httparse::{Error as E, Status};
    match outcome {
        Ok(Status::Complete(length)) => Ok(Some(length)),
        Ok(Status::Partial) => Ok(None),
        Err(E::TooManyHeaders) => Err(Wrong::LongHead),
        Err(E::Version) => Err(Wrong::Version),
        Err(E::HeaderName) => Err(Wrong::Malformed("a field has no name")),
        Err(E::HeaderValue) => Err(Wrong::Malformed("a field has a bad value")),
        Err(E::NewLine | E::Token | E::Status) => Err(Wrong::Malformed("that is not HTTP")),
    }
}

/// Determines which part of an unterminated head is too long: its first line or the whole head.
pub fn too_long(bytes: &[u8]) -> Wrong {
    match bytes
        .iter()
        .take(HEAD_LIMIT_BYTES)
        .any(|byte| *byte == b'\n')
    {
        true => Wrong::LongHead,
        false => Wrong::LongTarget,
    }
}

/// The standard reason phrase of a status (RFC 9110, section 15; RFC 6585; RFC 4918).
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}
