//! Requests over HTTP/1.1 (RFC 9110, 9112), on connections that are kept.
//!
//! A [`Client`] asks one server. It makes each request once and says whether another try may
//! do better; trying again is up to [`super::retry`]. Only a connection that was kept from
//! before, and turns out to have ended meanwhile, is replaced at once: that is no failure of
//! the server, and everything asked for here may be repeated.
//!
//! No wait is without an end: for a connection, for the beginning of an answer, for a body, which
//! has a least rate. A body that is sent is watched for an answer that comes early, and such an answer
//! is read even when sending failed, since it says why. Redirects are not followed: a store is
//! where it was said to be, and a token is for nobody else.
//!
//! Nothing here knows what is asked for.

mod answer;
mod origin;
mod pool;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use zeroize::Zeroizing;

use self::origin::Origin;
use self::pool::{Lease, Pool};
use self::stream::Stream;
use super::content::Content;
use super::http1::{self, Connection, Response, Wrong};
use super::location::Url;
use super::retry::{Failure, Notice, Patience};
use super::socket::{Limit, Pace, Socket};
use super::tls;
use crate::error::{Error, Kind, Result};
use crate::util::human;
use crate::util::interrupt::Interrupt;

pub use answer::Answer;

/// Larger bodies are announced first, so that a refusal costs no upload.
const EXPECT_FROM_BYTES: u64 = 1 << 20;
/// How long is waited for the word to go on. Servers that do not know the question stay silent.
const EXPECT_WAIT: Duration = Duration::from_secs(1);
/// What is sent or read at once, between two looks at the clock.
const PIECE_BYTES: usize = 128 << 10;
/// Slower than this, in bytes a second, is as good as not at all: 16 MiB would take an hour.
const SLOWEST: u64 = 4 << 10;
/// How long is waited for what a server says that does not take what is sent.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(5);

type Wire = Connection<Stream>;

/// What to ask for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `GET`. Whatever it is may be repeated.
    pub method: &'static str,
    /// What is asked for, below the path of the client's URL. Begins with a slash.
    pub target: &'a str,
    /// Further fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The body.
    pub content: Option<&'a dyn Content>,
}

/// How to reach a server.
#[derive(Clone)]
pub struct Setup {
    /// Which servers to believe.
    pub trust: tls::Trust,
    /// How long is waited.
    pub patience: Patience,
    /// How many connections there may be at once.
    pub connections: usize,
    /// What to say in the field `Authorization`.
    pub credentials: Option<Zeroizing<String>>,
    /// Who hears of what is not as safe as it could be.
    pub notice: Notice,
    /// Set when nothing is to be waited for any more. What then fails for that looks as if
    /// there were no answer.
    pub interrupt: Interrupt,
}

/// Asks one server, from any number of threads.
pub struct Client {
    origin: Origin,
    setup: Setup,
    tls: OnceLock<Result<Arc<ClientConfig>>>,
    pool: Pool,
    is_warned: AtomicBool,
    has_answered: AtomicBool,
}

/// Why there is no answer.
enum Trouble {
    /// The connection ended before a first byte of an answer.
    Ended(Failure),
    Other(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Ended(failure) | Trouble::Other(failure) => failure,
        }
    }
}

/// The head of an answer, and the connection on which the rest of it comes.
struct Reply {
    wire: Wire,
    response: Response,
    /// Whether all of the request was sent, so that another can follow.
    is_sent: bool,
}

impl Client {
    /// Asks the server at `url`, over TLS if it begins with `https`.
    pub fn new(url: &Url, setup: Setup) -> Client {
        Client {
            origin: Origin::of(url),
            pool: Pool::new(setup.connections),
            setup,
            tls: OnceLock::new(),
            is_warned: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
        }
    }

    /// Sends `request` and reads the head of the answer, whatever its status is. Waits until
    /// there are few enough other answers about.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when there is no answer; [`Kind::Denied`] when the server's
    /// certificate is not to be believed; [`Kind::Unsupported`] when it does not speak HTTP,
    /// or redirects elsewhere.
    pub fn ask(&self, request: &Request<'_>) -> Result<Answer<'_>, Failure> {
        let mut lease = self.pool.lease();
        if let Some(wire) = lease.idle() {
            match self.exchange(wire, request) {
                Ok(reply) => return self.answer(lease, reply, request),
                // It was closed while nobody looked.
                Err(Trouble::Ended(_)) => {}
                Err(Trouble::Other(failure)) => return Err(failure),
            }
        }
        let reply = self.exchange(self.connect()?, request)?;
        self.answer(lease, reply, request)
    }

    fn answer<'a>(
        &'a self,
        lease: Lease<'a>,
        reply: Reply,
        request: &Request<'_>,
    ) -> Result<Answer<'a>, Failure> {
        self.has_answered.store(true, Ordering::Relaxed);
        let response = &reply.response;
        let to = response.headers.first("location");
        if let (300..=303 | 305..=399, Some(to)) = (response.status, to) {
            let words = format!("it redirects to {}: use that", human::shorten(to, 200));
            return Err(Failure::Final(Error::new(Kind::Unsupported, words)));
        }
        Answer::new(lease, reply, request.method, self.pace())
    }

    /// A new connection, ready for a request.
    fn connect(&self) -> Result<Wire, Failure> {
        let patience = &self.setup.patience;
        let interrupt = &self.setup.interrupt;
        let tcp = self.origin.connect(patience.connect, interrupt)?;
        if let Ok(address) = tcp.peer_addr() {
            self.warn_once(&address);
        }
        let lost = |cause: io::Error| Failure::from(unavailable(cause));
        let mut socket = Socket::new(tcp).map_err(lost)?;
        socket.stop_on(interrupt);
        if !self.origin.is_tls {
            return Ok(Connection::new(Stream::plain(socket)));
        }
        socket.set_limit(Limit::within(patience.connect + patience.stall));
        let config = self
            .tls
            .get_or_init(|| tls::client::config(&self.setup.trust));
        let stream = tls::client::handshake(
            config.as_ref().map_err(Clone::clone)?,
            &self.origin.host,
            socket,
        )?;
        Ok(Connection::new(Stream::tls(stream)))
    }

    /// Tells, once, what is less safe than it could be about the server at `address`.
    fn warn_once(&self, address: &SocketAddr) {
        let has_token = self.setup.credentials.is_some();
        let words = match self.origin.is_tls {
            true if self.setup.trust.no_verify => UNVERIFIED,
            false if !address.ip().to_canonical().is_loopback() && has_token => TOKEN_IN_CLEAR,
            false if !address.ip().to_canonical().is_loopback() => IN_CLEAR,
            _ => return,
        };
        if !self.is_warned.swap(true, Ordering::Relaxed) {
            let error = Error::new(Kind::Denied, words);
            (self.setup.notice)(&error.during(self.origin.to_string()));
        }
    }

    /// One request and the head of its answer.
    fn exchange(&self, mut wire: Wire, request: &Request<'_>) -> Result<Reply, Trouble> {
        let answer = self.setup.patience.answer;
        let size_bytes = request.content.map_or(0, Content::size_bytes);
        let expects = size_bytes >= EXPECT_FROM_BYTES;
        wire.stream().set_limit(self.pace().limit());
        let early = match self.send_head(&mut wire, request, size_bytes, expects) {
            Err(cause) => Some(self.last_words(&mut wire, cause)?),
            Ok(()) if expects => self.word_to_go_on(&mut wire)?,
            Ok(()) => None,
        };
        let early = match (early, request.content) {
            (None, Some(content)) => self.send(&mut wire, content)?,
            (early, _) => early,
        };
        let is_sent = early.is_none();
        let response = match early {
            Some(response) => response,
            None => {
                wire.stream().set_limit(Limit::within(answer));
                let outcome = wire.read_response();
                outcome.map_err(|wrong| self.no_answer(&mut wire, wrong))?
            }
        };
        Ok(Reply {
            wire,
            response,
            is_sent,
        })
    }

    /// The least rate of a body, from now on.
    fn pace(&self) -> Pace {
        Pace::new(self.setup.patience.stall, SLOWEST)
    }

    fn send_head(
        &self,
        wire: &mut Wire,
        request: &Request<'_>,
        size_bytes: u64,
        expects: bool,
    ) -> io::Result<()> {
        let target = format!("{}{}", self.origin.prefix, request.target);
        let length = size_bytes.to_string();
        let mut fields = vec![("Host", self.origin.authority.as_str())];
        fields.push(("User-Agent", concat!("plakar/", env!("CARGO_PKG_VERSION"))));
        if let Some(credentials) = &self.setup.credentials {
            fields.push(("Authorization", credentials));
        }
        if request.content.is_some() || request.method == "PUT" {
            fields.push(("Content-Length", &length));
        }
        if expects {
            fields.push(("Expect", "100-continue"));
        }
        fields.extend_from_slice(request.fields);
        wire.write_request(request.method, &target, &fields)
    }

    /// Waits for the word to send the body. Something else may come instead, or nothing.
    fn word_to_go_on(&self, wire: &mut Wire) -> Result<Option<Response>, Trouble> {
        wire.stream().set_limit(Limit::within(EXPECT_WAIT));
        loop {
            match wire.read_any_response() {
                Ok(response) if response.status == 100 => return Ok(None),
                Ok(response) if response.is_interim() => {}
                Ok(response) => return Ok(Some(response)),
                Err(Wrong::Io(cause)) if cause.kind() == ErrorKind::TimedOut => return Ok(None),
                Err(wrong) => return Err(self.no_answer(wire, wrong)),
            }
        }
    }

    /// Sends a body; an answer that comes before its end ends it.
    fn send(&self, wire: &mut Wire, content: &dyn Content) -> Result<Option<Response>, Trouble> {
        let mut buffer = Vec::new();
        let (mut offset, end) = (0, content.size_bytes());
        let mut pace = self.pace();
        while offset < end {
            buffer.clear();
            let piece = content.append(offset, PIECE_BYTES, &mut buffer);
            piece.map_err(|error| Trouble::Other(Failure::Final(error)))?;
            // The whole piece has to be taken, in the time that it takes.
            pace.count(buffer.len() as u64);
            wire.stream().set_limit(pace.limit());
            if wire.has_more() || wire.stream().has_incoming().unwrap_or(true) {
                let outcome = wire.read_any_response();
                let response = outcome.map_err(|wrong| self.no_answer(wire, wrong))?;
                if !response.is_interim() {
                    return Ok(Some(response));
                }
            }
            if let Err(cause) = wire.stream().write_all(&buffer) {
                return self.last_words(wire, cause).map(Some);
            }
            offset += buffer.len() as u64;
        }
        Ok(None)
    }

    /// What the server said before sending to it failed for `cause`, if it said anything.
    fn last_words(&self, wire: &mut Wire, cause: io::Error) -> Result<Response, Trouble> {
        wire.stream().set_limit(Limit::within(LAST_WORDS_WAIT));
        let response = wire.read_response();
        response.map_err(|_| self.no_answer(wire, Wrong::Io(cause)))
    }

    /// What it means that no head of an answer could be read.
    fn no_answer(&self, wire: &mut Wire, wrong: Wrong) -> Trouble {
        let patience = self.setup.patience.answer;
        let is_tls_alert = !self.origin.is_tls && wire.unread().first() == Some(&TLS_ALERT);
        let has_ended = wire.stream().has_ended();
        match wrong {
            Wrong::Closed if self.has_answered.load(Ordering::Relaxed) || self.origin.is_tls => {
                Trouble::Ended(lost("the connection was closed without an answer"))
            }
            Wrong::Closed => Trouble::Ended(lost(
                "the connection was closed without an answer, as an https:// server may do",
            )),
            Wrong::Io(cause) if cause.kind() == ErrorKind::TimedOut => {
                let patience = human::duration(patience);
                Trouble::Other(lost(&format!("no answer within {patience}")))
            }
            Wrong::Io(cause) if wire.has_more() => Trouble::Other(unavailable(cause).into()),
            Wrong::Io(cause) => Trouble::Ended(unavailable(cause).into()),
            _ if is_tls_alert => Trouble::Other(Failure::Final(Error::new(
                Kind::Unsupported,
                "it speaks TLS: is it at an https:// location?",
            ))),
            _ if has_ended => Trouble::Other(lost("the connection ended within an answer")),
            wrong => Trouble::Other(not_http(&wrong)),
        }
    }
}

/// The first byte of an alert in TLS (RFC 8446, section 5.1).
const TLS_ALERT: u8 = 0x15;

const UNVERIFIED: &str = "tls_no_verify: nobody verified that this is the server it claims to be";
const TOKEN_IN_CLEAR: &str =
    "the token travels in clear over http, for anyone on the way to take: use https";
const IN_CLEAR: &str =
    "http protects nothing on the way: anyone there can withhold and delete: use https";

fn lost(words: &str) -> Failure {
    Error::new(Kind::Unavailable, words).into()
}

/// A connection that broke, whatever the system says of how.
fn unavailable(cause: io::Error) -> Error {
    let words = match cause.kind() {
        ErrorKind::UnexpectedEof => "the connection ended within an answer".to_owned(),
        ErrorKind::TimedOut => "the connection is stalled or too slow".to_owned(),
        _ => Error::from(cause).to_string(),
    };
    Error::new(Kind::Unavailable, words)
}

/// What cannot be understood, and would not be the next time.
fn not_http(wrong: &Wrong) -> Failure {
    let words = match wrong {
        Wrong::Closed | Wrong::Io(_) => "no whole answer".to_owned(),
        Wrong::LongTarget | Wrong::LongHead => {
            let limit = human::size(http1::HEAD_LIMIT_BYTES as u64);
            format!("the head of its answer is over {limit}")
        }
        Wrong::Version => "it does not speak HTTP/1.1".to_owned(),
        Wrong::Coding => "its answer has a coding that is not known".to_owned(),
        Wrong::Malformed(words) => format!("it does not speak HTTP as we do: {words}"),
    };
    Failure::Final(Error::new(Kind::Unsupported, words))
}
