//! Many questions under way at once on one connection, for reading many small things over a
//! line on which each answer takes its time.
//!
//! A call of libssh2's SFTP is a question and its answer, and a connection waits in between.
//! Here questions are given to a channel as fast as they are asked, and whoever asked sorts
//! the answers by their numbers. Only [`super::sftp`] writes, and moves what is large.
//!
//! When anything goes wrong with the connection it is of no use any more, and what was under
//! way is to be asked for elsewhere.

use std::io::{self, ErrorKind, Read, Write};

use ssh2::{BlockDirections, Channel, ExtendedData};

use super::message::{self, VERSION};
use super::session::{Outcome, Session, broken};
use super::{Endpoint, message::Answer, message::Question};
use crate::error::{Error, Kind, Result};

/// What is taken from a channel at once.
const PIECE_BYTES: usize = 64 << 10;

/// A connection on which questions are asked ahead of their answers. For one thread at a time.
pub struct Bulk {
    /// Let go of first, so that nothing waits for the server once more.
    session: Session,
    channel: Channel,
    traffic: Traffic,
    /// Of the question that was asked last.
    number: u32,
}

/// What is on its way.
#[derive(Default)]
struct Traffic {
    /// Questions that libssh2 was not given yet.
    waiting: Vec<u8>,
    /// Questions that it has in part: it wants to be given the very same bytes again.
    leaving: Vec<u8>,
    /// How much of that is gone.
    gone: usize,
    /// What has to be called again before anything else.
    stuck: Option<Stuck>,
    /// What came and is not understood yet.
    come: Vec<u8>,
    buffer: Vec<u8>,
}

/// Which call had half a packet sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stuck {
    Sending,
    Receiving,
}

impl Bulk {
    /// Connects, logs in and asks for the files.
    pub fn connect(endpoint: &Endpoint) -> Result<Bulk> {
        let session = endpoint.connect()?;
        let lost = |cause: ssh2::Error| broken(&cause);
        let channel = session.drive(|| session.ssh().channel_session())?;
        let mut channel = channel.map_err(lost)?;
        let started = session.drive(|| channel.subsystem("sftp"))?;
        started.map_err(lost)?;
        // Nobody reads what it complains of, and unread it would fill the window.
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

    /// Agrees on a version.
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

    /// Asks a question, which leaves with the next call of [`Bulk::receive`]. Returns its
    /// number.
    pub fn ask(&mut self, question: &Question<'_>) -> u32 {
        self.number = self.number.wrapping_add(1);
        message::encode(question, self.number, &mut self.traffic.waiting);
        self.number
    }

    /// Sends what was asked, and waits for answers, at least one. To be called only while
    /// there is something to be answered.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the connection is lost, or makes no sense any more;
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

    /// Moves bytes in both directions until some have come.
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
    /// Sends what waits, then takes what has come, in this order: sending may take packets in
    /// as well, which waiting for the socket would not find. An error that only means to wait
    /// if nothing has come.
    ///
    /// libssh2 sends packets for reading, too, to say that there is room; while half a packet
    /// of one call has left, no other call may be made.
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

    /// Whether there is something to send.
    fn has_more(&self) -> bool {
        self.gone < self.leaving.len()
    }

    /// Takes what has come, and tells whether that is anything.
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

    /// Sends as much as can leave now.
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

/// Whether the socket took part of a packet only.
fn is_blocked(session: &Session) -> bool {
    matches!(
        session.ssh().block_directions(),
        BlockDirections::Outbound | BlockDirections::Both
    )
}
