//! Counters since the start of the server, for `GET /metrics`, in the text format of Prometheus
//! (version 0.0.4).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The HTTP methods that are counted separately.
const VERBS: [&str; 5] = ["GET", "HEAD", "PUT", "DELETE", "other"];
/// The number of status classes, starting with 1xx.
const CLASSES: usize = 5;

/// Counters that only increase.
pub(super) struct Metrics {
    since: Instant,
    requests: [[AtomicU64; CLASSES]; VERBS.len()],
    /// Admitted connections.
    connections: AtomicU64,
    /// Connections refused with 429 or 503 because of a limit.
    refused: AtomicU64,
    /// Connections that could not be accepted.
    failed: AtomicU64,
    uploads: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            since: Instant::now(),
            requests: Default::default(),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            uploads: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Counts an admitted connection.
    pub(super) fn welcome(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused connection.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that could not be accepted.
    pub(super) fn trouble(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stored object.
    pub(super) fn stored(&self) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request and the bytes of its bodies.
    pub(super) fn count(&self, verb: &str, status: u16, bytes_in: u64, bytes_out: u64) {
        let row = VERBS.iter().position(|known| *known == verb);
        let row = row.unwrap_or(VERBS.len() - 1);
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.requests.get(row).and_then(|row| row.get(class)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    /// Formats the metrics page; `open` is the number of open connections.
    pub(super) fn page(&self, open: usize) -> String {
        let mut page = String::new();
        describe(&mut page, "requests_total", "counter", "Requests answered.");
        let mut errors = 0;
        for (verb, row) in VERBS.iter().zip(&self.requests) {
            for (class, counter) in (1..).zip(row) {
                let count = counter.load(Ordering::Relaxed);
                errors += if class == CLASSES { count } else { 0 };
                let labels = format!("{{verb=\"{verb}\",status=\"{class}xx\"}}");
                let _ = writeln!(page, "plakar_requests_total{labels} {count}");
            }
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, about, value) in [
            ("errors_total", "Requests that failed here.", errors),
            (
                "received_bytes_total",
                "Bytes of bodies received.",
                load(&self.bytes_in),
            ),
            (
                "sent_bytes_total",
                "Bytes of bodies sent.",
                load(&self.bytes_out),
            ),
            ("uploads_total", "Objects stored.", load(&self.uploads)),
            (
                "connections_total",
                "Connections let in.",
                load(&self.connections),
            ),
            (
                "refused_total",
                "Connections refused: too many.",
                load(&self.refused),
            ),
            (
                "accept_errors_total",
                "Connections not accepted.",
                load(&self.failed),
            ),
        ] {
            describe(&mut page, name, "counter", about);
            let _ = writeln!(page, "plakar_{name} {value}");
        }
        describe(&mut page, "connections", "gauge", "Connections open.");
        let _ = writeln!(page, "plakar_connections {open}");
        describe(
            &mut page,
            "uptime_seconds",
            "gauge",
            "Seconds since the start.",
        );
        let _ = writeln!(
            page,
            "plakar_uptime_seconds {}",
            self.since.elapsed().as_secs()
        );
        describe(&mut page, "build_info", "gauge", "The version that runs.");
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(page, "plakar_build_info{{version=\"{version}\"}} 1");
        page
    }
}

fn describe(page: &mut String, name: &str, kind: &str, about: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "# HELP plakar_{name} {about}\n# TYPE plakar_{name} {kind}"
    );
}
