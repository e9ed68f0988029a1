//! Options of the SSH client from configuration and environment, and its prompts.
//!
//! Questions are asked at the terminal, as ssh does. Without a terminal no question is asked, so
//! that an unattended backup never waits for an answer.

use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::globals::Globals;
use super::output::Output;
use super::terminal::{Echo, Terminal};
use crate::config::entries::Value;
use crate::config::place::Place;
use crate::connector::{SftpDestination, SftpSource};
use crate::error::{Error, Kind, Result};
use crate::net::location::{Location, Url};
use crate::net::retry::Patience;
use crate::net::ssh::pool::{CONNECTIONS, Pool};
use crate::net::ssh::{Ask, Endpoint, Notice, Options, Question};
use crate::util::interrupt::Interrupt;

/// The login options for the server of `place`.
pub(super) fn options(globals: &Globals, place: &Place) -> Options {
    let text = |name| place.text(name).map(|text| text.to_string());
    let path = |name| text(name).map(PathBuf::from);
    let port = match place.value("port") {
        Some(Value::Number(number)) => u16::try_from(*number).ok(),
        _ => None,
    };
    let insecure = place.value("insecure_ignore_host_key");
    Options {
        home: globals.environment.home.clone(),
        agent: globals.environment.agent.clone(),
        user: globals.environment.user.clone(),
        username: text("username"),
        port,
        identity: path("identity"),
        known_hosts: path("known_hosts"),
        config: path("ssh_config"),
        insecure_ignore_host_key: matches!(insecure, Some(Value::Switch(true))),
        ask: asker(globals.out.clone(), globals.interrupt.clone()),
    }
}

/// The server of `place`, whose location is `url`. Does not connect yet.
fn endpoint(globals: &Globals, place: &Place, url: &Url) -> Endpoint {
    let out = globals.out.clone();
    let notice: Notice = Arc::new(move |error| out.warning(error));
    let options = options(globals, place);
    Endpoint::new(url, &options, &globals.interrupt, &notice)
}

/// The maximum number of concurrent connections to the server of `place`.
fn connections(place: &Place) -> usize {
    match place.value("connections") {
        Some(Value::Number(number)) => usize::try_from(*number).unwrap_or(CONNECTIONS),
        _ => CONNECTIONS,
    }
}

/// The SFTP source at `place` and the path in it, if `place` is an SFTP URL.
pub fn source(globals: &Globals, place: &Place) -> Option<(SftpSource, String)> {
    let url = url_of(place)?;
    let endpoint = endpoint(globals, place, url);
    let connections = connections(place);
    // If there are several connections, one is reserved for read-ahead.
    let others = connections.saturating_sub(1).max(1);
    let pool = Pool::new(endpoint.clone(), others, &Patience::default());
    let ahead = (connections > 1).then_some(endpoint);
    let source = SftpSource::new(url, pool, ahead);
    Some((source, url.path.clone()))
}

/// The path of the store `store` as seen by the source at `place`, if both are on the same server.
/// The backup must skip it.
pub fn store_in_source(
    globals: &Globals,
    place: &Place,
    source: &SftpSource,
    store: &Place,
) -> Result<Option<Vec<u8>>> {
    let (Some(url), Some(store_url)) = (url_of(place), url_of(store)) else {
        return Ok(None);
    };
    let of_source = endpoint(globals, place, url);
    if !of_source.is_same_place(&endpoint(globals, store, store_url))? {
        return Ok(None);
    }
    match source.resolve(&store_url.path) {
        Ok(path) => Ok(Some(path)),
        // A missing store is reported with a better message when it is opened.
        Err(cause) if cause.kind() == Kind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// The SFTP destination at `place`, if `place` is an SFTP URL.
pub fn destination(globals: &Globals, place: &Place) -> Option<SftpDestination> {
    let url = url_of(place)?;
    let endpoint = endpoint(globals, place, url);
    let pool = Pool::new(endpoint, connections(place), &Patience::default());
    Some(SftpDestination::new(url, pool))
}

fn url_of(place: &Place) -> Option<&Url> {
    match &place.location {
        Location::Url(url) if url.scheme == "sftp" => Some(url),
        _ => None,
    }
}

/// A function that asks the user at the terminal.
fn asker(out: Arc<Output>, interrupt: Interrupt) -> Ask {
    Arc::new(move |question| {
        let Ok(mut terminal) = Terminal::open() else {
            return Ok(None);
        };
        out.wipe();
        let (prompt, echo) = wording(question);
        let answer = terminal.ask_with(&prompt, echo, &interrupt)?;
        text_of(&answer).map(Some)
    })
}

/// The typed answer as text.
fn text_of(answer: &[u8]) -> Result<Zeroizing<String>> {
    let text = std::str::from_utf8(answer);
    let wrong = |_| Error::new(Kind::Denied, "what was typed is not UTF-8");
    text.map(|text| Zeroizing::new(text.to_owned()))
        .map_err(wrong)
}

/// The prompt for a question, and whether the answer is echoed.
fn wording(question: &Question) -> (String, Echo) {
    match question {
        Question::HostKey {
            is_repeated: true, ..
        } => {
            let prompt = "Please type 'yes', 'no' or the fingerprint: ";
            (prompt.to_owned(), Echo::Shown)
        }
        Question::HostKey {
            host,
            kind,
            fingerprint,
            ..
        } => {
            let prompt = format!(
                "The authenticity of host '{host}' can't be established.\n\
                 {kind} key fingerprint is {fingerprint}.\n\
                 Are you sure you want to continue connecting (yes/no/[fingerprint])? "
            );
            (prompt, Echo::Shown)
        }
        Question::Passphrase { key, is_repeated } => {
            let key = key.display();
            let again = if *is_repeated { "Wrong. " } else { "" };
            let prompt = format!("{again}Enter passphrase for key '{key}': ");
            (prompt, Echo::Hidden)
        }
    }
}
