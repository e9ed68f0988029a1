//! One connection, from the first byte to the last: a sequence of requests and responses.
//!
//! Everything has a time limit. A head must be complete by a deadline, however its bytes are
//! spread; a body must keep a minimum rate; an idle connection is closed. After an error response,
//! further bytes of the client are read and discarded for some time; otherwise the response would
//! be lost.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::access::{Role, Visitor};
use super::answer::{Answer, Content, During, Part};
use super::census::Seat;
use super::exchange::{Exchange, pace};
use super::record::Record;
use super::route::{NoRoute, Route};
use super::wire::Wire;
use super::{Server, listing, object, place, time};
use crate::net::http1::{Connection, Request};
use crate::net::socket::{Limit, PACE_WINDOW_BYTES, Socket};
use crate::net::tls::server::Stream;
use crate::util::clock;

/// The limit for the TLS handshake, which takes two round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The limit for a request head, which is one packet or a few.
const HEAD: Duration = Duration::from_secs(15);
/// The limit for an idle connection.
const IDLE: Duration = Duration::from_secs(90);
/// The grace period of a body beyond its minimum rate: a mobile network may be interrupted for as
/// long.
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// The minimum rate of a body, that of a modem of 1994.
pub(super) const PACE_BYTES_PER_SECOND: u64 = 2 << 10;
/// Bodies up to this size are sent in one write with their head. Copying longer ones has no
/// benefit.
const ONE_PACKET_BYTES: usize = 16 << 10;
/// The maximum number of bytes of an unwanted body that are discarded to keep the connection.
const SETTLE_LIMIT_BYTES: u64 = 64 << 10;
/// The maximum number of bytes discarded after the last response, so that the response arrives.
const LINGER_LIMIT_BYTES: u64 = 16 << 20;
/// The time limit for this.
const LINGER: Duration = Duration::from_secs(5);
/// The time limit for an unauthorized client: sufficient for bytes that have already arrived, too
/// short to occupy a thread and a seat by sending slowly.
const LINGER_UNAUTHORIZED: Duration = Duration::from_millis(10);
/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What happens after a response.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    /// The connection is closed, and the client must receive the last response.
    Goodbye,
    /// The connection is closed, and no client waits for a response.
    Nothing,
}

/// A connection that is being served.
struct Talk<'a> {
    server: &'a Server,
    seat: &'a Seat,
    peer: SocketAddr,
    /// The local address to which the client connected.
    local: Option<IpAddr>,
    connection: Connection<Wire>,
}

/// Serves the client at the other end of `socket` until either side ends the connection.
pub(super) fn serve(server: &Server, seat: &Seat, socket: Socket, peer: SocketAddr) {
    let local = socket.tcp().local_addr().ok();
    let Some(wire) = greet(server, socket) else {
        return;
    };
    let mut talk = Talk {
        server,
        seat,
        peer,
        local: local.map(|local| local.ip().to_canonical()),
        connection: Connection::new(wire),
    };
    let ended = loop {
        match talk.exchange() {
            Next::Request => {}
            ended => break ended,
        }
    };
    let stream = talk.connection.stream();
    let linger_time = match seat.is_authorized() {
        true => LINGER,
        false => LINGER_UNAUTHORIZED,
    };
    stream.set_limit(Limit::within(linger_time));
    stream.end_writing();
    if ended == Next::Goodbye {
        // From now on the seat can be given to another client, which need not wait for the end of
        // this connection.
        seat.is_to_wait();
        linger(server, stream);
    }
}

/// Sets up the transport. Returns `None` if the TLS handshake fails.
fn greet(server: &Server, mut socket: Socket) -> Option<Wire> {
    let Some(identity) = server.identity() else {
        return Some(Wire::Plain(socket));
    };
    let limit = Limit::within(HANDSHAKE);
    socket.set_limit(limit);
    let mut first = [0];
    if !socket.await_bytes().ok()? || socket.tcp().peek(&mut first).ok()? == 0 {
        return None;
    }
    if first != [TLS_HANDSHAKE] {
        answer_in_clear(server, socket);
        return None;
    }
    let stream = Stream::accept(&identity, socket, limit).ok()?;
    Some(Wire::Tls(Box::new(stream)))
}

/// Responds in plain HTTP to a client that does not use TLS on a TLS port.
fn answer_in_clear(server: &Server, socket: Socket) {
    let text = "this port speaks TLS: use https://";
    let mut connection = Connection::new(Wire::Plain(socket));
    let answer = Answer::failure(400, "usage", text).last();
    if send_head(&mut connection, &answer, "GET", Keep::No).is_ok() {
        let stream = connection.stream();
        stream.end_writing();
        linger(server, stream);
    }
}

/// Reads and discards further bytes of the client.
fn linger(server: &Server, stream: &mut Wire) {
    let mut dropped: u64 = 0;
    while dropped < LINGER_LIMIT_BYTES && stream.await_bytes().unwrap_or(false) {
        let mut buffer = server.budget.buffer();
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => dropped = dropped.saturating_add(read as u64),
        }
    }
}

/// Whether the connection stays open after a response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    /// Yes; a client of HTTP/1.0 must be told so.
    YesOld,
    No,
}

impl Talk<'_> {
    /// Reads a request and sends the response.
    fn exchange(&mut self) -> Next {
        if !self.seat.is_to_wait() || !self.is_coming() {
            return Next::Nothing;
        }
        self.connection.stream().set_limit(Limit::within(HEAD));
        let request = self.connection.read_request();
        if !self.seat.is_to_serve() {
            return Next::Nothing;
        }
        let begun = Instant::now();
        let mut record = Record::new(self.peer);
        let next = match request {
            Ok(request) => self.respond(&request, &mut record),
            Err(wrong) => {
                let answer = Answer::of_wrong(&wrong);
                if answer.status == 0 {
                    return Next::Nothing;
                }
                self.send(&answer, "", Keep::No, &mut record)
            }
        };
        record.took = begun.elapsed();
        self.server.note(&record);
        next
    }

    /// Waits for the first byte of a request.
    fn is_coming(&mut self) -> bool {
        if self.connection.has_more() {
            return true;
        }
        let stream = self.connection.stream();
        stream.set_limit(Limit::within(IDLE));
        stream.await_bytes().unwrap_or(false)
    }

    /// Responds to a request whose head is complete.
    fn respond(&mut self, request: &Request, record: &mut Record) -> Next {
        record.verb.clone_from(&request.method);
        record.target.clone_from(&request.target);
        let exchange = Exchange::new(self.server, &mut self.connection, request);
        let (answer, is_settled) = match exchange {
            Err(answer) => (answer, false),
            Ok(mut exchange) => {
                let checked = self.server.check_host(request, self.local);
                let answer = checked.and_then(|()| judge(&mut exchange, self.seat, record));
                let answer = answer.unwrap_or_else(|answer| answer);
                let is_settled = match exchange.is_authorized {
                    _ if answer.is_last => false,
                    true => exchange.settle(SETTLE_LIMIT_BYTES),
                    false => exchange.settle_received(),
                };
                record.bytes_in = exchange.received;
                (answer, is_settled)
            }
        };
        if answer.status == 0 {
            return Next::Nothing;
        }
        let keep = match is_settled && request.is_kept() && !self.seat.is_last() {
            true if request.minor == 0 => Keep::YesOld,
            true => Keep::Yes,
            false => Keep::No,
        };
        self.send(&answer, &request.method, keep, record)
    }

    /// Sends a response to a request with the method `verb`, and determines what happens next.
    fn send(&mut self, answer: &Answer, verb: &str, keep: Keep, record: &mut Record) -> Next {
        self.connection.stream().set_limit(pace());
        record.status = answer.status;
        let sent = match answer.content {
            Content::Object(part) if verb != "HEAD" => self.send_object(answer, part, keep, record),
            _ => send_head(&mut self.connection, answer, verb, keep).map(|sent| {
                record.bytes_out = sent;
            }),
        };
        match sent.and_then(|()| self.connection.stream().flush()) {
            Err(_) => Next::Nothing,
            Ok(()) if keep == Keep::No => Next::Goodbye,
            Ok(()) => Next::Request,
        }
    }

    /// Sends a range of an object. If it cannot be read completely, closes the connection: the
    /// client detects from the announced length that bytes are missing.
    fn send_object(
        &mut self,
        answer: &Answer,
        part: Part,
        keep: Keep,
        record: &mut Record,
    ) -> io::Result<()> {
        let Server { store, budget, .. } = self.server;
        let mut offset = part.offset;
        let mut left = part.length;
        let mut since_pace = u64::MAX;
        loop {
            let mut buffer = budget.buffer();
            let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let read = store.read_at(part.area, part.id, offset, piece);
            if let Err(error) = read {
                let failure = self.server.failed(&error, During::Reading).last();
                if record.bytes_out == 0 && offset == part.offset {
                    record.status = failure.status;
                    send_head(&mut self.connection, &failure, "GET", Keep::No)?;
                }
                return Err(io::Error::other(error.to_string()));
            }
            if offset == part.offset {
                send_head(&mut self.connection, answer, "GET", keep)?;
            }
            if since_pace >= PACE_WINDOW_BYTES {
                self.connection.stream().set_limit(pace());
                since_pace = 0;
            }
            self.connection.stream().write_all(piece)?;
            let moved = length as u64;
            record.bytes_out = record.bytes_out.saturating_add(moved);
            since_pace = since_pace.saturating_add(moved);
            offset = offset.saturating_add(moved);
            left = left.saturating_sub(moved);
            if left == 0 {
                return Ok(());
            }
        }
    }
}

/// Authorizes the request and computes its response.
fn judge(exchange: &mut Exchange<'_>, seat: &Seat, record: &mut Record) -> Result<Answer, Answer> {
    let (server, request) = (exchange.server, exchange.request);
    let verb = request.method.as_str();
    let route = Route::of(&request.target);
    if route == Ok(Route::Health) && Route::Health.allows(verb) {
        return Ok(Answer::bytes("text/plain; charset=utf-8", b"ok\n".to_vec()));
    }
    let visitor = server.access().admits(&request.headers);
    exchange.is_authorized = visitor.is_some();
    seat.set_authorized(exchange.is_authorized);
    let Visitor { name, role } = visitor.ok_or_else(|| {
        Answer::failure(401, "denied", "a token is needed")
            .with("WWW-Authenticate", "Bearer realm=\"plakar\"")
            .with(
                "WWW-Authenticate",
                "Basic realm=\"plakar\", charset=\"UTF-8\"",
            )
    })?;
    record.name = name;
    let route = route.map_err(|why| match why {
        NoRoute::Unknown => Answer::failure(404, "not-found", "there is nothing here"),
        NoRoute::BadQuery => Answer::failure(400, "usage", "the query is after=ID or limit=N"),
    })?;
    if !route.allows(verb) {
        let answer = Answer::failure(405, "usage", "that cannot be done with this");
        return Err(answer.with("Allow", route.allowed()));
    }
    if role < Role::needed(verb) {
        let text = format!("the token is for the role {}", role.word());
        return Err(Answer::failure(403, "denied", text));
    }
    match (route, verb) {
        (Route::Config, "PUT") => place::create(exchange),
        (Route::Config, _) => place::config(exchange),
        (Route::Place, _) => place::prepare(exchange),
        (Route::Listing(area, page), _) => listing::list(exchange, area, page),
        (Route::Object(area, id), "PUT") => object::put(exchange, area, id),
        (Route::Object(area, id), "DELETE") => object::delete(exchange, area, id),
        (Route::Object(area, id), _) => object::get(exchange, area, id),
        (Route::Health | Route::Metrics, _) => Ok(server.figures()),
    }
}

/// Sends a head, together with the body if it is in memory. Returns the length of the body.
fn send_head(
    connection: &mut Connection<Wire>,
    answer: &Answer,
    verb: &str,
    keep: Keep,
) -> io::Result<u64> {
    let date = time::http(clock::now_ns());
    let (length, body) = match &answer.content {
        Content::Nothing => (None, [].as_slice()),
        Content::Bytes(bytes) => (Some(bytes.len() as u64), bytes.as_slice()),
        Content::Object(part) => (Some(part.length), [].as_slice()),
    };
    let length = length.map(|length| length.to_string());
    let body = if verb == "HEAD" { &[] } else { body };
    let mut fields = vec![
        ("Date", date.as_str()),
        ("Server", concat!("plakar/", env!("CARGO_PKG_VERSION"))),
        ("Kloset-Protocol", "1"),
    ];
    fields.extend(
        length
            .iter()
            .map(|length| ("Content-Length", length.as_str())),
    );
    fields.extend(
        answer
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str())),
    );
    match keep {
        Keep::Yes => {}
        Keep::YesOld => fields.push(("Connection", "keep-alive")),
        Keep::No => fields.push(("Connection", "close")),
    }
    match body.len() {
        0..=ONE_PACKET_BYTES => connection.write_whole_response(answer.status, &fields, body)?,
        _ => {
            connection.write_response(answer.status, &fields)?;
            connection.stream().write_all(body)?;
        }
    }
    Ok(body.len() as u64)
}
