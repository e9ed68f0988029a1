//! A store that `plakar server` serves over HTTP or HTTPS (kloset-http(5)).
//!
//! An object is sent whole, with its name, so the server checks it against that name before
//! anybody can see it; it is kept here until then, to be sent again when the connection is
//! lost ([`super::spool`]). Everything that is asked for may be repeated: objects never change,
//! putting one twice is one object, and deleting what is gone is a success. CONFIG alone has no
//! name that its bytes prove. If publishing it is tried again because an answer was lost, and
//! there is one by then, it is read back and compared.
//!
//! The server is not trusted: what it claims of lengths and names is checked before memory is
//! taken for it, what it says is shortened and made printable. That its objects are what they
//! are named is for whoever opens them to check, as with every store.
//!
//! An answer holds a connection, and there are few. So a page of a listing is taken whole
//! before anybody hears of an object in it, and may then ask for more.

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

/// What the locations of these stores begin with.
pub(super) const SCHEMES: [&str; 2] = ["http", "https"];
/// How many connections keep a server busy. Each costs the server a thread.
const CONNECTIONS: usize = 4;
/// The longest token. Ours have 64 letters.
const TOKEN_LIMIT_BYTES: usize = 4 << 10;

/// A store behind HTTP.
pub(super) struct HttpStore(Arc<Peer>);

/// The server, and how it is asked.
struct Peer {
    location: String,
    client: Client,
    retry: Retry,
    has_token: bool,
    connections: usize,
    spool: Option<PathBuf>,
}

impl HttpStore {
    /// The store at `url`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a user in the URL, or a token that cannot be one.
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

/// What the field `Authorization` says (RFC 6750, section 2.1).
fn credentials(token: &str) -> Result<Zeroizing<String>> {
    let is_plain = token.bytes().all(|letter| letter.is_ascii_graphic());
    match is_plain && (1..=TOKEN_LIMIT_BYTES).contains(&token.len()) {
        true => Ok(Zeroizing::new(format!("Bearer {token}"))),
        false => Err(Error::usage("auth_token: that is no token")),
    }
}

/// What is asked for to get at an object.
fn target(area: Area, id: Id) -> String {
    format!("/resources/{}/{id}", area.name())
}

impl Peer {
    /// Makes one request, once. The answer has one of the statuses `expected`.
    fn ask(&self, request: &Request<'_>, expected: &[u16]) -> Result<Answer<'_>, Failure> {
        let answer = self.client.ask(request)?;
        refusal::accepted(answer, expected, self.has_token)
    }

    /// Makes `attempt` until it succeeds, or no more makes sense.
    fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let attempt = || attempt().map_err(|failure| failure.during(self.location.as_str()));
        self.retry.run(attempt)
    }

    /// Makes one request until it is answered, where nothing but the status matters.
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

    /// The whole object. What came before a connection was lost is not asked for again.
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
                // Memory of zeros costs nothing before it is filled.
                let bytes = bytes.insert(vec![0; size_bytes as usize]);
                answer.fill(bytes, &mut filled)
            }
        })?;
        Ok(bytes.unwrap_or_default())
    }

    /// Fills `into[*filled..]`, where `into` is what the object has from `offset` on.
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
            // All of it: who is in between does not know ranges.
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

    /// Publishes CONFIG.
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
            // Perhaps ours, of a try whose answer was lost.
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

/// A request without fields or a body.
fn bare<'a>(method: &'static str, target: &'a str) -> Request<'a> {
    Request {
        method,
        target,
        fields: &[],
        content: None,
    }
}

/// # Errors
/// [`Kind::Corrupt`] for an object that is larger than its area allows.
fn bounded(size_bytes: u64, area: Area) -> Result<(), Failure> {
    let limit = area.limit_bytes();
    if size_bytes <= limit {
        return Ok(());
    }
    let (size, limit) = (human::size(size_bytes), human::size(limit));
    let words = format!("it has {size}, and at most {limit} are allowed");
    Err(Failure::Final(Error::corrupt(words)))
}

/// The first and the last byte that `answer` has, as a part of the whole
/// (RFC 9110, section 14.4).
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
        // Also keeps the sum from running over.
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

/// # Errors
/// For what is larger than its area allows.
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

/// An object that is kept here until its name is known.
struct HttpUpload {
    peer: Arc<Peer>,
    area: Area,
    spool: Spool,
    /// Why a write failed. The object then lacks bytes and must not be sent, even if the
    /// caller goes on to commit.
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
