//! An HTTP/1.1 client (RFC 9110, 9112) with persistent connections.
//!
//! A [`Client`] sends requests to one server. It sends each request once and reports whether a
//! retry may succeed; [`super::retry`] does the retries. There is one exception: if a kept
//! connection turns out to be closed, the request is sent again immediately over a new one. This is
//! not a failure of the server, and all requests of this program can be repeated.
//!
//! Every wait has a limit: for a connection, for the start of a response, and for a body, which has
//! a minimum rate. While a body is sent, the client checks for an early response. It also reads the
//! response after a failed send, because the response contains the reason. Redirects are not
//! followed: a store is at its configured location, and a token must not be sent to another server.
//!
//! This module does not know the purpose of the requests.

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

/// Larger bodies are sent with `Expect: 100-continue`, so that a rejection does not cost an upload.
const EXPECT_FROM_BYTES: u64 = 1 << 20;
/// The wait for `100 Continue`. Servers that do not support it send nothing.
const EXPECT_WAIT: Duration = Duration::from_secs(1);
/// The number of bytes sent or read between two checks of the clock.
const PIECE_BYTES: usize = 128 << 10;
/// The minimum rate in bytes per second. At a lower rate 16 MiB would take more than an hour.
const SLOWEST: u64 = 4 << 10;
/// The wait for the response of a server that no longer accepts the body.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(5);

type Wire = Connection<Stream>;

/// The parts of a request that differ between the requests of one client.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method, such as `GET`. The request must be repeatable.
    pub method: &'static str,
    /// The target relative to the path of the client's URL. Begins with a slash.
    pub target: &'a str,
    /// Additional header fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The body, if any.
    pub content: Option<&'a dyn Content>,
}

/// The settings of a client.
#[derive(Clone)]
pub struct Setup {
    /// How servers are verified.
    pub trust: tls::Trust,
    /// The timeouts and the retry policy.
    pub patience: Patience,
    /// The maximum number of concurrent connections.
    pub connections: usize,
    /// The value of the field `Authorization`. Secret.
    pub credentials: Option<Zeroizing<String>>,
    /// Receives warnings about insecure connections.
    pub notice: Notice,
    /// When set, all waits end. A request that fails for this reason looks as if there were no
    /// response.
    pub interrupt: Interrupt,
}

/// A client for one server. Can be used from several threads concurrently.
pub struct Client {
    origin: Origin,
    setup: Setup,
    tls: OnceLock<Result<Arc<ClientConfig>>>,
    pool: Pool,
    is_warned: AtomicBool,
    has_answered: AtomicBool,
}

/// Why there is no response.
enum Trouble {
    /// The connection ended before the first byte of a response.
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

/// The head of a response, and the connection from which its body is read.
struct Reply {
    wire: Wire,
    response: Response,
    /// Whether the request was sent completely, so that the connection can be reused.
    is_sent: bool,
}

impl Client {
    /// Creates a client for the server at `url`; uses TLS if the scheme is `https`. Does not
    /// connect.
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

    /// Sends `request` and reads the head of the response, whatever its status. Blocks while the
    /// maximum number of responses is in use.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if there is no response; [`Kind::Denied`] if the certificate of the
    /// server is rejected; [`Kind::Unsupported`] if the server does not speak HTTP or redirects.
    pub fn ask(&self, request: &Request<'_>) -> Result<Answer<'_>, Failure> {
        let mut lease = self.pool.lease();
        if let Some(wire) = lease.idle() {
            match self.exchange(wire, request) {
                Ok(reply) => return self.answer(lease, reply, request),
                // The server had closed the idle connection.
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

    /// Warns, once, about an insecure connection to the server at `address`.
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

    /// Sends a request and reads the head of its response.
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

    /// The minimum rate of a body, measured from now on.
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

    /// Waits for `100 Continue`. Returns a final response if one arrives instead, and `None` if
    /// nothing arrives.
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

    /// Sends a body. Stops if a final response arrives early, and returns it.
    fn send(&self, wire: &mut Wire, content: &dyn Content) -> Result<Option<Response>, Trouble> {
        let mut buffer = Vec::new();
        let (mut offset, end) = (0, content.size_bytes());
        let mut pace = self.pace();
        while offset < end {
            buffer.clear();
            let piece = content.append(offset, PIECE_BYTES, &mut buffer);
            piece.map_err(|error| Trouble::Other(Failure::Final(error)))?;
            // The piece must be accepted completely within the time that its size allows.
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

    /// Reads the response that the server may have sent before the send failed with `cause`.
    fn last_words(&self, wire: &mut Wire, cause: io::Error) -> Result<Response, Trouble> {
        wire.stream().set_limit(Limit::within(LAST_WORDS_WAIT));
        let response = wire.read_response();
        response.map_err(|_| self.no_answer(wire, Wrong::Io(cause)))
    }

    /// Converts the error of reading the head of a response.
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

/// The content type of a TLS alert record, its first byte (RFC 8446, section 5.1).
const TLS_ALERT: u8 = 0x15;

const UNVERIFIED: &str = "tls_no_verify: the identity of the server is not verified";
const TOKEN_IN_CLEAR: &str =
    "the token travels in clear over http, for anyone on the way to take: use https";
const IN_CLEAR: &str =
    "http protects nothing on the way: anyone there can withhold and delete: use https";

fn lost(words: &str) -> Failure {
    Error::new(Kind::Unavailable, words).into()
}

/// Converts the error of a broken connection.
fn unavailable(cause: io::Error) -> Error {
    let words = match cause.kind() {
        ErrorKind::UnexpectedEof => "the connection ended within an answer".to_owned(),
        ErrorKind::TimedOut => "the connection is stalled or too slow".to_owned(),
        _ => Error::from(cause).to_string(),
    };
    Error::new(Kind::Unavailable, words)
}

/// The error for an invalid response, which a retry would not change.
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
