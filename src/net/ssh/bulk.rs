//! Pipelined SFTP requests on one connection, for reading many small files over a connection with
//! high latency.
//!
//! A call of the SFTP client of libssh2 sends one request and waits for the response. This module
//! sends requests over a channel without waiting, and the caller matches the responses to the
//! requests by number. It only reads; [`super::sftp`] writes, and transfers large files.
//!
//! After any error the connection is unusable, and pending requests must be repeated on another
//! connection.

use std::io::{self, ErrorKind, Read, Write};

use ssh2::{BlockDirections, Channel, ExtendedData};

use super::message::{self, VERSION};
use super::session::{Outcome, Session, broken};
use super::{Endpoint, message::Answer, message::Question};
use crate::error::{Error, Kind, Result};

/// The maximum number of bytes read from the channel at once.
const PIECE_BYTES: usize = 64 << 10;

/// A connection with pipelined requests. Only one thread at a time may use it.
pub struct Bulk {
    /// Dropped first, so that the drop of the channel does not wait for the server.
    session: Session,
    channel: Channel,
    traffic: Traffic,
    /// The number of the most recent request.
    number: u32,
}

/// The bytes in transit.
#[derive(Default)]
struct Traffic {
    /// Requests not yet passed to libssh2.
    waiting: Vec<u8>,
    /// Requests passed to libssh2 in part: libssh2 requires the same bytes in the repeated call.
    leaving: Vec<u8>,
    /// The number of bytes of `leaving` that were sent.
    gone: usize,
    /// The call that must be repeated before any other call.
    stuck: Option<Stuck>,
    /// Bytes received and not yet decoded.
    come: Vec<u8>,
    buffer: Vec<u8>,
}

/// The call that sent a partial packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stuck {
    Sending,
    Receiving,
}

impl Bulk {
    /// Connects, authenticates and starts the SFTP subsystem.
    ///
    /// # Errors
    /// The errors of connecting and authenticating; [`Kind::Unavailable`] if the server does not
    /// offer SFTP or speaks another version.
    pub fn connect(endpoint: &Endpoint) -> Result<Bulk> {
        let session = endpoint.connect()?;
        let lost = |cause: ssh2::Error| broken(&cause);
        let channel = session.drive(|| session.ssh().channel_session())?;
        let mut channel = channel.map_err(lost)?;
        let started = session.drive(|| channel.subsystem("sftp"))?;
        started.map_err(lost)?;
        // No code reads the error output of the server. Unread, it would fill the window.
        let ignored = session.drive(|| channel.handle_extended_data(ExtendedData::Ignore))?;
        ignored.map_err(lost)?;
        let traffic = Traffic {
            buffer: vec![0; PIECE_BYTES],
            ..Traffic::default()
        };
        let mut bulk = Bulk {
            session,
            channel,
            traffic,
            number: 0,
        };
        bulk.greet()?;
        Ok(bulk)
    }

    /// Negotiates the protocol version.
    fn greet(&mut self) -> Result<()> {
        message::greet(&mut self.traffic.waiting);
        loop {
            self.exchange()?;
            if let Some((message, length)) = message::split(&self.traffic.come)? {
                let version = message::version(message)?;
                self.traffic.come.drain(..length);
                let words = format!("the server speaks version {version} of SFTP");
                return match version {
                    VERSION.. => Ok(()),
                    _ => Err(Error::new(Kind::Unavailable, words)),
                };
            }
        }
    }

    /// Queues a request, which the next call of [`Bulk::receive`] sends. Returns the number of the
    /// request.
    pub fn ask(&mut self, question: &Question<'_>) -> u32 {
        self.number = self.number.wrapping_add(1);
        message::encode(question, self.number, &mut self.traffic.waiting);
        self.number
    }

    /// Sends the queued requests and waits for at least one response. Call it only while a request
    /// is pending.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the connection is lost or the server violates the protocol;
    /// [`Kind::Interrupted`].
    pub fn receive(&mut self) -> Result<Vec<(u32, Answer)>> {
        let mut answers = Vec::new();
        while answers.is_empty() {
            self.exchange()?;
            let mut understood = 0;
            while let Some((message, length)) = message::split(&self.traffic.come[understood..])? {
                answers.push(message::decode(message)?);
                understood += length;
            }
            self.traffic.come.drain(..understood);
        }
        Ok(answers)
    }

    /// Transfers bytes in both directions until some are received.
    fn exchange(&mut self) -> Result<()> {
        let Bulk {
            session,
            channel,
            traffic,
            ..
        } = self;
        session
            .drive(|| traffic.turn(session, channel))?
            .map_err(|cause| {
                let words = format!("connection lost: {}", Error::from(cause));
                Error::new(Kind::Unavailable, words)
            })
    }
}

impl Traffic {
    /// Sends the queued bytes, then reads the received ones. The order matters: a send may also
    /// receive packets, which a wait for the socket would not notice. Returns `WouldBlock` if
    /// nothing was received.
    ///
    /// libssh2 also sends packets during a read, to extend the window. While one call has a packet
    /// partially sent, no other call is allowed.
    fn turn(&mut self, session: &Session, channel: &mut Channel) -> io::Result<()> {
        let again = || io::Error::from(ErrorKind::WouldBlock);
        if self.stuck != Some(Stuck::Receiving) {
            self.send(channel)?;
            self.stuck = (self.has_more() && is_blocked(session)).then_some(Stuck::Sending);
        }
        if self.stuck == Some(Stuck::Sending) {
            return Err(again());
        }
        let has_come = self.take(channel)?;
        self.stuck = (!has_come && is_blocked(session)).then_some(Stuck::Receiving);
        match has_come {
            true => Ok(()),
            false => Err(again()),
        }
    }

    /// Whether bytes of `leaving` remain to be sent.
    fn has_more(&self) -> bool {
        self.gone < self.leaving.len()
    }

    /// Reads the received bytes. Returns whether there were any.
    fn take(&mut self, channel: &mut Channel) -> io::Result<bool> {
        match channel.read(&mut self.buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.come.extend_from_slice(&self.buffer[..read]);
                Ok(true)
            }
            Err(cause) if cause.is_again() => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// Sends as many bytes as possible without blocking.
    fn send(&mut self, channel: &mut Channel) -> io::Result<()> {
        loop {
            if !self.has_more() {
                self.leaving.clear();
                self.gone = 0;
                std::mem::swap(&mut self.leaving, &mut self.waiting);
                if self.leaving.is_empty() {
                    return Ok(());
                }
            }
            match channel.write(&self.leaving[self.gone..]) {
                Ok(sent) => self.gone += sent,
                Err(cause) if cause.is_again() => return Ok(()),
                Err(cause) => return Err(cause),
            }
        }
    }
}

/// Whether the socket accepted only part of a packet.
fn is_blocked(session: &Session) -> bool {
    matches!(
        session.ssh().block_directions(),
        BlockDirections::Outbound | BlockDirections::Both
    )
}
