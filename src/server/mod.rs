//! A store, served over HTTP and HTTPS, as `kloset-http(5)` tells.
//!
//! The server hands out sealed bytes and takes them. It has no keys, cannot look into what it
//! serves, and needs to know nothing of it but that an object is named by the hash of its
//! bytes, which it checks before it keeps one.
//!
//! | what | where |
//! |---|---|
//! | letting clients in, or turning them away | [`accept`], [`census`] |
//! | one client: requests, answers, limits of time | [`connection`], [`wire`] |
//! | one request: its body, what is asked for, who may | [`exchange`], [`route`], [`names`], [`access`] |
//! | what is answered | [`object`], [`listing`], [`place`], [`range`], [`answer`] |
//! | memory, figures, the log | [`budget`], [`metrics`], [`record`] |
//!
//! It is written to run for years at the mercy of whoever can reach it. There is a thread for
//! each connection and a limit on everything: connections in all and for each address, bytes
//! and time of a head, the pace of a body, memory. Nothing is ever overwritten.

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

/// How long running requests may take to end when the server is to stop.
const CLOSING: Duration = Duration::from_secs(10);
/// How long requests that were cut off then may take to clean up.
const MERCY: Duration = Duration::from_secs(2);
/// Trouble that recurs is told once in so long.
const QUIET: Duration = Duration::from_secs(60);

/// Whether anybody may delete objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Nobody.
    Refused,
    /// Those whose role allows it.
    Allowed,
}

/// What a server is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Serve on.
    GoOn,
    /// Let requests end, and stop.
    Stop,
}

/// Who hears of every request.
pub type Log = Arc<dyn Fn(&Record) + Send + Sync>;

/// How a store is served.
pub struct Settings {
    /// Whether anybody may delete.
    pub deletes: Deletes,
    /// The most connections at once. One address gets three quarters of them, and so do all
    /// addresses together that have sent no valid token yet.
    pub connections: usize,
    /// The most memory for bodies on their way, beside a few KiB for each connection.
    pub memory_bytes: u64,
    /// Who is let in.
    pub access: Access,
    /// What clients call this server, beside loopback, the addresses that they connect to and
    /// the names of the certificate.
    pub names: Vec<Host>,
    /// What proves who we are; without it, bytes go unencrypted.
    pub identity: Option<Identity>,
    /// Who hears of requests.
    pub log: Option<Log>,
    /// Who hears of trouble.
    pub notice: Notice,
}

/// A store that is served.
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
    /// When trouble was told last.
    told: Mutex<Option<Instant>>,
    /// What may have its name already, without being durable.
    committing: Mutex<Vec<(Area, Id)>>,
}

impl Server {
    /// A server for `store` that nobody can reach yet.
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

    /// Lets others in from now on. Requests that are being answered are not concerned.
    pub fn set_access(&self, access: Access) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// Proves with `identity` who we are from now on. Connections that there are stay.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// Serves those who come to `listeners`. `told` is asked at first and whenever `wake` has
    /// bytes; once it wants to stop, requests have [`CLOSING`] to end.
    ///
    /// # Errors
    /// What keeps us from waiting for clients at all.
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

    /// Whether an object that was seen may not be durable yet.
    fn is_committing(&self, area: Area, id: Id) -> bool {
        let committing = self
            .committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        committing.contains(&(area, id))
    }

    /// What an error of the store comes to.
    fn failed(&self, error: &Error, during: During) -> Answer {
        let answer = Answer::of_error(error, during, self.store.location());
        if answer.status >= 500 {
            self.warn(error.clone());
        }
        answer
    }

    /// The figures.
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

    /// Tells of trouble, but not of the same all the time.
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
