//! Tests a source that changes or becomes unavailable while it is read.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plakar::connector::SftpSource;
use plakar::error::{Error, Kind, Result};
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::{Locked, Protection, create};
use plakar::net::location::{Location, Url};
use plakar::net::retry::{Patience, Tries};
use plakar::net::ssh::Endpoint;
use plakar::net::ssh::pool::Pool;
use plakar::ops::backup::{self, Base, Compare, Summary};
use plakar::store::memory::MemoryStore;
use plakar::util::interrupt::Interrupt;
use rustix::process::Signal;

use crate::ahead::many;
use crate::command::sandbox;
use crate::connector::{assert_same_contents, write};
use crate::harness::noise;
use crate::process::Running;
use crate::server::{Server, files_below};

/// An action that runs once, when the walk reports the first file.
type Once = Box<dyn FnOnce() + Send>;

/// An observer of a backup that interferes with it.
struct Watcher {
    counters: Counters,
    at_first: Mutex<Option<Once>>,
    heard: Mutex<Vec<String>>,
}

impl Observer for Watcher {
    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Path { .. } => {
                let once = self.at_first.lock().unwrap().take();
                once.into_iter().for_each(|once| once());
            }
            Event::Failed { error, .. } | Event::Warning(error) => {
                self.heard.lock().unwrap().push(error.to_string());
            }
        }
    }
}

/// Backs up `srv/tree` in this process, with short timeouts, and runs `once` as soon as the walk
/// has reported a file. Also returns the messages.
fn backup(server: &Server, once: Once) -> (Result<Summary>, Vec<String>) {
    let store = MemoryStore::new();
    create(&store, &Protection::Plaintext, 1).unwrap();
    let locked = Locked::new(Arc::new(store)).unwrap();
    let key = locked.plaintext_key().unwrap().unwrap();
    let watcher = Arc::new(Watcher {
        counters: Counters::default(),
        at_first: Mutex::new(Some(once)),
        heard: Mutex::default(),
    });
    let kloset = locked.open(key, None, watcher.clone()).unwrap();
    let source = source(server);
    let options = backup::Options {
        places: vec![source.resolve(&url(server).path).unwrap()],
        workers: 2,
        // As many readers as there are connections, except the one for read-ahead.
        readers: 3,
        compare: Some(Compare::default()),
        base: Base::Any,
        ..backup::Options::default()
    };
    let outcome = backup::run(&kloset, &source, &options);
    drop(kloset);
    let heard = watcher.heard.lock().unwrap().clone();
    (outcome, heard)
}

fn url(server: &Server) -> Url {
    match Location::parse(server.location("tree").as_bytes()).unwrap() {
        Location::Url(url) => url,
        Location::Path(_) => panic!("it is a URL"),
    }
}

fn source(server: &Server) -> SftpSource {
    let quiet: plakar::net::ssh::Notice = Arc::new(|_: &Error| {});
    let url = url(server);
    let endpoint = Endpoint::new(&url, &server.options(), &Interrupt::default(), &quiet);
    let tries = Tries {
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        patience: Duration::from_secs(20),
        most: 4,
    };
    let patience = Patience {
        at_first: tries,
        later: tries,
        ..Patience::default()
    };
    let pool = Pool::new(endpoint.clone(), 3, &patience);
    SftpSource::new(&url, pool, Some(endpoint))
}

/// Files that are read ahead, and files that are not.
fn tree(root: &Path) {
    many(root);
    for n in 0..20 {
        write(
            &root.join(format!("large{n}")),
            &noise((1 << 20) + n),
            0o600,
        );
    }
}

#[test]
fn a_server_that_stays_away_ends_the_backup() {
    let server = Arc::new(Server::new());
    tree(&server.path("srv/tree"));
    let killed = server.clone();
    let (outcome, heard) = backup(&server, Box::new(move || killed.signal(Signal::KILL)));
    let error = outcome.expect_err("not all of it was read");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(error.kind().exit_code(), 69);
    let words = error.to_string();
    let told = "the source is gone: connect to nas: connection refused";
    assert!(words == told || words == "the source is gone", "{words}");
    // It reports nothing about the files.
    assert!(heard.is_empty(), "{heard:?}");
}

#[test]
fn a_file_that_changes_after_it_was_listed_is_read_as_it_is_then() {
    for name in ["large0", "0/0/0/f9"] {
        let server = Server::new();
        tree(&server.path("srv/tree"));
        let path = server.path("srv/tree").join(name);
        let before = files_bytes(&server.path("srv/tree"));
        let length = fs::metadata(&path).unwrap().len();
        let changed = path.clone();
        let once = move || write(&changed, &noise(300_000), 0o640);
        let (outcome, heard) = backup(&server, Box::new(once));
        let summary = outcome.unwrap();
        assert_eq!(summary.totals.bytes, before - length + 300_000, "{name}");
        assert_eq!((summary.errors, heard), (0, Vec::new()), "{name}");
    }
}

#[test]
fn a_file_that_vanishes_after_it_was_listed_is_no_failure() {
    for name in ["large0", "0/0/0/f9"] {
        let server = Server::new();
        tree(&server.path("srv/tree"));
        let path = server.path("srv/tree").join(name);
        let (outcome, heard) = backup(&server, Box::new(move || fs::remove_file(path).unwrap()));
        let summary = outcome.unwrap();
        assert_eq!(summary.errors, 0, "{heard:?}");
        assert!(
            heard.len() == 1 && heard[0].contains("vanished while backing up"),
            "{name}: {heard:?}"
        );
    }
}

/// The total size of all files below `root`.
fn files_bytes(root: &Path) -> u64 {
    let files = files_below(root);
    let length = |file: String| fs::metadata(root.join(file)).unwrap().len();
    files.into_iter().map(length).sum()
}

#[test]
fn a_server_that_comes_back_is_read_to_the_end() {
    let mut server = Server::new();
    tree(&server.path("srv/tree"));
    let sandbox = sandbox("sftp_source_back", &server);
    sandbox.run(&["at", "st", "create"]).ended(0);
    let mut running = sandbox.start(&["at", "st", "backup", "-stdio", &server.location("tree")]);
    let stdout = sandbox.path("stdout");
    let has_begun = |_: &Running| fs::metadata(&stdout).is_ok_and(|file| file.len() > 0);
    assert!(running.until(has_begun), "it is still at work");
    server.kill();
    server.start();
    running.end().ended(0);
    sandbox
        .run(&["at", "st", "restore", "-to", "back", "latest"])
        .ended(0);
    assert_same_contents(&server.path("srv/tree"), &sandbox.path("back"));
    sandbox.discard();
}
