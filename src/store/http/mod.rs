//! A store served by `plakar server` over HTTP or HTTPS (kloset-http(5)).
//!
//! An object is sent as a whole together with its id, and the server verifies the id before it
//! publishes the object. Until then the object is buffered locally, so that it can be sent again
//! after a lost connection ([`super::spool`]). All requests can be repeated: objects never change,
//! storing an object twice yields one object, and deleting a missing object succeeds. The exception
//! is CONFIG, which has no id. If publishing CONFIG is retried after a lost response and the server
//! has a CONFIG by then, it is read and compared.
//!
//! The server is not trusted: lengths and ids are checked before memory is allocated, and text is
//! shortened and made printable. As for every store, the caller verifies that the bytes of an
//! object match its id.
//!
//! A response occupies a connection, and the number of connections is small. Therefore a page of a
//! listing is read completely before the caller receives its objects, so that the caller can send
//! further requests meanwhile.

mod listing;
mod refusal;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::settings::Settings;
use super::spool::Spool;
use super::{Area, CONFIG_LIMIT_BYTES, Distance, Manner, Object, Store, Upload, words};
use crate::error::{During, Error, Kind, Result};
use crate::net::client::{Answer, Client, Request, Setup};
use crate::net::content::Content;
use crate::net::http1::body::number;
use crate::net::location::Url;
use crate::net::retry::{Failure, Retry};
use crate::util::{Id, human};

/// The URL schemes of these stores.
pub(super) const SCHEMES: [&str; 2] = ["http", "https"];
/// The number of connections that keeps a server busy. Each uses a thread of the server.
const CONNECTIONS: usize = 4;
/// The maximum length of a token. Those that plakar generates have 64 characters.
const TOKEN_LIMIT_BYTES: usize = 4 << 10;

/// A store reached over HTTP.
pub(super) struct HttpStore(Arc<Peer>);

/// The server and the state of the client, shared with uploads.
struct Peer {
    location: String,
    client: Client,
    retry: Retry,
    has_token: bool,
    connections: usize,
    spool: Option<PathBuf>,
}

impl HttpStore {
    /// Creates a store at `url`. Does not connect.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a user in the URL or a malformed token.
    pub(super) fn new(url: &Url, settings: &Settings) -> Result<HttpStore> {
        if url.user.is_some() {
            let words = "a server knows tokens, no users: configure auth_token";
            return Err(Error::usage(words).during(url.to_string()));
        }
        let token = settings.token.as_ref().map(|token| credentials(token));
        let setup = Setup {
            trust: settings.trust.clone(),
            patience: settings.patience,
            connections: settings.connections.unwrap_or(CONNECTIONS),
            credentials: token.transpose()?,
            notice: settings.notice.clone(),
            interrupt: settings.interrupt.clone(),
        };
        Ok(HttpStore(Arc::new(Peer {
            location: url.to_string(),
            has_token: setup.credentials.is_some(),
            connections: setup.connections,
            client: Client::new(url, setup),
            retry: Retry::new(
                &settings.patience,
                settings.interrupt.clone(),
                settings.notice.clone(),
            ),
            spool: settings.spool.clone(),
        })))
    }
}

/// Returns the value of the field `Authorization` (RFC 6750, section 2.1).
fn credentials(token: &str) -> Result<Zeroizing<String>> {
    let is_plain = token.bytes().all(|letter| letter.is_ascii_graphic());
    match is_plain && (1..=TOKEN_LIMIT_BYTES).contains(&token.len()) {
        true => Ok(Zeroizing::new(format!("Bearer {token}"))),
        false => Err(Error::usage("auth_token: that is no token")),
    }
}

/// Returns the request target of an object.
fn target(area: Area, id: Id) -> String {
    format!("/resources/{}/{id}", area.name())
}

impl Peer {
    /// Sends one request without retries. The response has one of the statuses `expected`.
    fn ask(&self, request: &Request<'_>, expected: &[u16]) -> Result<Answer<'_>, Failure> {
        let answer = self.client.ask(request)?;
        refusal::accepted(answer, expected, self.has_token)
    }

    /// Repeats `attempt` until it succeeds or a retry makes no sense.
    fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let attempt = || attempt().map_err(|failure| failure.during(self.location.as_str()));
        self.retry.run(attempt)
    }

    /// Sends a request, with retries, of which only the status of the response matters.
    fn call(&self, request: &Request<'_>, expected: &[u16]) -> Result<u16> {
        self.run(|| self.ask(request, expected).map(|answer| answer.status()))
    }

    fn put(&self, area: Area, id: Id, content: &dyn Content) -> Result<()> {
        let target = target(area, id);
        let request = Request {
            content: Some(content),
            ..bare("PUT", &target)
        };
        self.call(&request, &[200, 201])?;
        Ok(())
    }

    /// Reads a whole object. After a lost connection, continues after the bytes received.
    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        let target = target(area, id);
        let (mut bytes, mut filled) = (None::<Vec<u8>>, 0);
        self.run(|| match &mut bytes {
            Some(bytes) => self.fetch(&target, 0, bytes, &mut filled),
            None => {
                let mut answer = self.ask(&bare("GET", &target), &[200])?;
                let Some(size_bytes) = answer.size_bytes() else {
                    let all = answer.all(area.limit_bytes())?;
                    filled = bytes.insert(all).len();
                    return Ok(());
                };
                bounded(size_bytes, area)?;
                // Zeroed memory uses no pages before it is filled.
                let bytes = bytes.insert(vec![0; size_bytes as usize]);
                answer.fill(bytes, &mut filled)
            }
        })?;
        Ok(bytes.unwrap_or_default())
    }

    /// Fills `into[*filled..]`, where `into` corresponds to the object from `offset` on.
    fn fetch(
        &self,
        target: &str,
        offset: u64,
        into: &mut [u8],
        filled: &mut usize,
    ) -> Result<(), Failure> {
        if *filled == into.len() {
            return Ok(());
        }
        let end = offset + into.len() as u64;
        let start = offset + *filled as u64;
        let short = || Failure::Final(Error::corrupt(format!("it ends before byte {end}")));
        let range = format!("bytes={start}-{}", end - 1);
        let request = Request {
            fields: &[("Range", &range)],
            ..bare("GET", target)
        };
        let mut answer = self.ask(&request, &[200, 206, 416])?;
        match answer.status() {
            416 => return Err(short()),
            206 => match content_range(&answer) {
                Some((first, last)) if first == start && last + 1 == end => {}
                Some((first, last)) if first == start && last + 1 < end => return Err(short()),
                _ => return Err(refusal::lie("it sends another part than was asked for")),
            },
            // The whole object: a proxy does not support ranges.
            _ if answer.size_bytes().is_some_and(|size| size < end) => return Err(short()),
            _ => answer.skip(start)?,
        }
        answer.fill(into, filled)
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let target = target(area, id);
        self.run(|| {
            let answer = self.ask(&bare("HEAD", &target), &[200])?;
            let size = answer.headers().first("content-length");
            let modified = answer.headers().first("kloset-modified-ns");
            let object = size.zip(modified).and_then(|(size, modified)| {
                Some(Object {
                    id,
                    size_bytes: listing::checked_size(number(size).ok()?)?,
                    modified_ns: modified.parse().ok()?,
                })
            });
            object.ok_or_else(|| refusal::lie("it tells no size or no time"))
        })
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        let request = Request {
            content: Some(&bytes),
            ..bare("PUT", "/")
        };
        let mut tries = 0;
        let outcome = self.run(|| {
            tries += 1;
            self.ask(&request, &[201]).map(|answer| answer.status())
        });
        match outcome {
            // Possibly published by an earlier attempt whose response was lost.
            Err(error) if error.kind() == Kind::Exists && tries > 1 => {
                match self.get_config().is_ok_and(|found| found == bytes) {
                    true => Ok(()),
                    false => Err(error),
                }
            }
            outcome => outcome.map(drop),
        }
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.run(|| {
            let mut answer = self.ask(&bare("GET", "/"), &[200])?;
            answer.all(CONFIG_LIMIT_BYTES)
        })
    }
}

/// Returns a request without fields and body.
fn bare<'a>(method: &'static str, target: &'a str) -> Request<'a> {
    Request {
        method,
        target,
        fields: &[],
        content: None,
    }
}

/// Checks the size of an object to be read.
///
/// # Errors
/// [`Kind::Corrupt`] if it exceeds the limit of its area.
fn bounded(size_bytes: u64, area: Area) -> Result<(), Failure> {
    let limit = area.limit_bytes();
    if size_bytes <= limit {
        return Ok(());
    }
    let (size, limit) = (human::size(size_bytes), human::size(limit));
    let words = format!("it has {size}, and at most {limit} are allowed");
    Err(Failure::Final(Error::corrupt(words)))
}

/// Returns the offsets of the first and last byte of a partial response (RFC 9110, section 14.4).
fn content_range(answer: &Answer<'_>) -> Option<(u64, u64)> {
    let range = answer.headers().only("content-range").ok()??;
    let (range, _whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first).ok()?, number(last).ok()?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    let is_right = answer.size_bytes().is_none_or(|told| told == length);
    (is_right && last < u64::MAX).then_some((first, last))
}

impl Store for HttpStore {
    fn location(&self) -> &str {
        &self.0.location
    }

    fn manner(&self) -> Manner {
        Manner {
            distance: Distance::Remote,
            connections: self.0.connections,
        }
    }

    fn prepare(&self) -> Result<()> {
        let outcome = self.0.call(&bare("PUT", "/resources"), &[200, 201]);
        outcome.map(drop).during(|| "create a store")
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        self.0.put_config(bytes).during(|| "write CONFIG")
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.0.get_config().during(|| "read CONFIG")
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        let doing = || format!("store {}", words::object(area, id));
        bounded_upload(bytes.len() as u64, area).during(doing)?;
        self.0.put(area, id, &bytes).during(doing)
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        Ok(Box::new(HttpUpload {
            peer: self.0.clone(),
            area,
            spool: Spool::new(self.0.spool.as_deref()),
            broken: None,
        }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        let outcome = self.0.get(area, id);
        outcome.during(|| format!("read {}", words::object(area, id)))
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let doing = || format!("read {}", words::object(area, id));
        if buffer.is_empty() {
            return self.0.stat(area, id).map(drop).during(doing);
        }
        // Also prevents an overflow of the sum.
        let end = offset.saturating_add(buffer.len() as u64);
        if end > area.limit_bytes() {
            return Err(Error::corrupt(format!("it ends before byte {end}")).during(doing()));
        }
        let (target, mut filled) = (target(area, id), 0);
        let attempt = || self.0.fetch(&target, offset, buffer, &mut filled);
        self.0.run(attempt).during(doing)
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let outcome = self.0.stat(area, id);
        outcome.during(|| format!("look at {}", words::object(area, id)))
    }

    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        listing::list(&self.0, area, after, each)
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        let outcome = self.0.call(&bare("DELETE", &target(area, id)), &[200, 204]);
        outcome
            .map(drop)
            .during(|| format!("delete {}", words::object(area, id)))
    }
}

/// Checks the size of an object to be stored.
///
/// # Errors
/// If it exceeds the limit of its area.
fn bounded_upload(size_bytes: u64, area: Area) -> Result<()> {
    let limit = area.limit_bytes();
    match size_bytes <= limit {
        true => Ok(()),
        false => {
            let words = format!("larger than {}", human::size(limit));
            Err(Error::new(Kind::Failed, words))
        }
    }
}

/// An object that is buffered locally until its id is known.
struct HttpUpload {
    peer: Arc<Peer>,
    area: Area,
    spool: Spool,
    /// The error of a failed write. The object then lacks bytes and must not be sent, even if the
    /// caller continues to commit.
    broken: Option<Error>,
}

impl HttpUpload {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let size_bytes = self.spool.size_bytes() + bytes.len() as u64;
        bounded_upload(size_bytes, self.area)?;
        self.spool.write(bytes)
    }
}

impl Upload for HttpUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = self.append(bytes);
        let outcome = outcome.during(|| format!("store {}", words::noun(self.area)));
        self.broken = self.broken.take().or(outcome.clone().err());
        outcome
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        match self.broken {
            Some(cause) => Err(cause),
            None => (self.peer.put(self.area, id, &self.spool))
                .during(|| format!("store {}", words::object(self.area, id))),
        }
    }
}
