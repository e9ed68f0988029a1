//! A server for a store, over HTTP and HTTPS, with the protocol of `kloset-http(5)`.
//!
//! The server sends and receives sealed bytes. It has no keys and cannot read what it serves. It
//! knows only that the id of an object is the hash of its bytes, which it verifies before it stores
//! an object.
//!
//! | subject | modules |
//! |---|---|
//! | admitting or refusing clients | [`accept`], [`census`] |
//! | one connection: requests, responses, time limits | [`connection`], [`wire`] |
//! | one request: body, target, host names, authorization | [`exchange`], [`route`], [`names`], [`access`] |
//! | responses | [`object`], [`listing`], [`place`], [`range`], [`answer`] |
//! | memory, metrics, access log | [`budget`], [`metrics`], [`record`] |
//!
//! It is designed to run for years, exposed to untrusted clients. Each connection has a thread, and
//! everything has a limit: connections in total and per address, size and time of a head, the rate
//! of a body, memory. Nothing is ever overwritten.

mod accept;
pub mod access;
mod answer;
mod budget;
mod census;
mod connection;
mod exchange;
mod listing;
mod metrics;
pub mod names;
mod object;
mod place;
mod range;
pub mod record;
mod route;
mod time;
mod wire;

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::access::Access;
use self::answer::{Answer, During};
use self::budget::Budget;
use self::census::{Census, Limits};
use self::metrics::Metrics;
use self::names::Host;
use self::record::Record;
use crate::error::{Error, Result};
use crate::net::tls::server::Identity;
use crate::store::{Area, Notice, Store, Upload};
use crate::util::Id;

/// How long running requests may continue after a stop was requested.
const CLOSING: Duration = Duration::from_secs(10);
/// How long requests may then take to clean up after they were aborted.
const MERCY: Duration = Duration::from_secs(2);
/// The interval in which recurring errors are reported once.
const QUIET: Duration = Duration::from_secs(60);

/// Whether clients may delete objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// No client may delete.
    Refused,
    /// Clients with a suitable role may delete.
    Allowed,
}

/// A request to the server from its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Continue to serve.
    GoOn,
    /// Complete the running requests and stop.
    Stop,
}

/// Receives a record of every request.
pub type Log = Arc<dyn Fn(&Record) + Send + Sync>;

/// The settings of a server.
pub struct Settings {
    /// Whether clients may delete objects.
    pub deletes: Deletes,
    /// The maximum number of concurrent connections. One address has at most three quarters of
    /// them, and so do all addresses together that have not yet sent a valid token.
    pub connections: usize,
    /// The maximum memory for bodies in transit, in addition to a few KiB per connection.
    pub memory_bytes: u64,
    /// Which clients are admitted.
    pub access: Access,
    /// The host names of this server, in addition to loopback, the addresses to which clients
    /// connect, and the names of the certificate.
    pub names: Vec<Host>,
    /// The certificate with its key; `None` serves plain HTTP.
    pub identity: Option<Identity>,
    /// Receives a record of every request.
    pub log: Option<Log>,
    /// Receives warnings.
    pub notice: Notice,
}

/// A store that is being served.
pub struct Server {
    store: Arc<dyn Store>,
    deletes: Deletes,
    access: Mutex<Arc<Access>>,
    names: Vec<Host>,
    identity: Mutex<Option<Identity>>,
    census: Arc<Census>,
    budget: Arc<Budget>,
    metrics: Metrics,
    log: Option<Log>,
    notice: Notice,
    /// The time of the most recent warning.
    told: Mutex<Option<Instant>>,
    /// Objects that may be visible under their id before they are durable.
    committing: Mutex<Vec<(Area, Id)>>,
}

impl Server {
    /// Creates a server for `store`. It does not listen yet.
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Arc<Server> {
        let limits = Limits::of(settings.connections);
        Arc::new(Server {
            store,
            deletes: settings.deletes,
            access: Mutex::new(Arc::new(settings.access)),
            names: settings.names,
            identity: Mutex::new(settings.identity),
            census: Arc::new(Census::new(limits)),
            budget: Arc::new(Budget::new(settings.memory_bytes)),
            metrics: Metrics::new(),
            log: settings.log,
            notice: settings.notice,
            told: Mutex::default(),
            committing: Mutex::default(),
        })
    }

    /// Replaces the access rules for future requests. Requests in progress are not affected.
    pub fn set_access(&self, access: Access) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// Replaces the certificate for future connections. Existing connections are not affected.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// Serves the clients that connect to `listeners`. `told` is called at the start and whenever
    /// `wake` has bytes. After it requests a stop, running requests have [`CLOSING`] to complete.
    ///
    /// # Errors
    /// The error that prevents waiting for clients.
    pub fn run(
        self: &Arc<Server>,
        listeners: Vec<TcpListener>,
        wake: &UnixStream,
        told: &dyn Fn() -> Wish,
    ) -> Result<()> {
        let outcome = accept::run(self, &listeners, wake, told);
        drop(listeners);
        self.census.close(CLOSING, MERCY);
        outcome
    }

    fn access(&self) -> Arc<Access> {
        self.access
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn identity(&self) -> Option<Identity> {
        self.identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Publishes an upload, durable on return.
    fn commit(&self, upload: Box<dyn Upload>, area: Area, id: Id) -> Result<()> {
        let committing = || {
            self.committing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        committing().push((area, id));
        let outcome = upload.commit(id);
        let mut ended = committing();
        if let Some(place) = ended.iter().position(|known| *known == (area, id)) {
            ended.swap_remove(place);
        }
        drop(ended);
        outcome.inspect(|()| self.metrics.stored())
    }

    /// Whether an object that is visible may not be durable yet.
    fn is_committing(&self, area: Area, id: Id) -> bool {
        let committing = self
            .committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        committing.contains(&(area, id))
    }

    /// Converts an error of the store into a response.
    fn failed(&self, error: &Error, during: During) -> Answer {
        let answer = Answer::of_error(error, during, self.store.location());
        if answer.status >= 500 {
            self.warn(error.clone());
        }
        answer
    }

    /// Returns the metrics page.
    fn figures(&self) -> Answer {
        let page = self.metrics.page(self.census.count());
        Answer::bytes(
            "text/plain; version=0.0.4; charset=utf-8",
            page.into_bytes(),
        )
    }

    /// Counts and logs a request.
    fn note(&self, record: &Record) {
        let Record {
            verb,
            status,
            bytes_in,
            bytes_out,
            ..
        } = record;
        self.metrics.count(verb, *status, *bytes_in, *bytes_out);
        if let Some(log) = &self.log {
            log(record);
        }
    }

    /// Reports a warning, with a limited frequency.
    fn warn(&self, error: Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.is_none_or(|told| told.elapsed() >= QUIET);
        if is_new {
            *told = Some(Instant::now());
            drop(told);
            (self.notice)(&error);
        }
    }
}
