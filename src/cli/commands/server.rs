//! `plakar server`: let others use a store over HTTP and HTTPS.

mod listen;

use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use self::listen::{Address, USUAL};
use crate::cli::{Args, Command, Flag, Globals, Status, opening};
use crate::error::{During, Result};
use crate::server::access::Access;
use crate::server::{Deletes, Server, Settings, Wish};

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "server",
    synopsis: "[-listen [HOST]:PORT] [-allow-delete]",
    about: "serve a store over HTTP and HTTPS",
    flags: &[
        Flag::value(
            "listen",
            "[HOST]:PORT",
            "listen there (default localhost:9876)",
        ),
        Flag::switch("allow-delete", "let clients delete objects"),
    ],
    run,
    ..Command::BLANK
};

/// Where a store is served.
#[derive(Serialize)]
struct Announcement {
    url: String,
    store: String,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serving {} at {}", self.store, self.url)
    }
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let listen = args.text("listen")?;
    let address = Address::parse(listen.as_deref().unwrap_or(USUAL)).during(|| "-listen")?;
    let store = opening::store(globals)?;
    let listening = address.bind()?;
    let deletes = match args.is_on("allow-delete") {
        true => Deletes::Allowed,
        false => Deletes::Refused,
    };
    let out = globals.out.clone();
    let server = Server::new(
        store.clone(),
        Settings {
            deletes,
            connections: 512,
            memory_bytes: 8 << 20,
            access: Access::Anyone,
            identity: None,
            log: None,
            notice: Arc::new(move |error| out.warning(error)),
        },
    );
    let (wake, waker) = UnixStream::pair()?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        pipe::register(signal, waker.try_clone()?).during(|| "signals")?;
    }
    let announcement = Announcement {
        url: listening.url("http"),
        store: store.location().into(),
    };
    match globals.out.format() {
        crate::cli::output::Format::Json => globals.out.emit("listening", &announcement),
        _ => globals.out.message(&announcement.to_string()),
    }
    server.run(
        listening.listeners,
        &wake,
        &|| match globals.interrupt.is_set() {
            true => Wish::Stop,
            false => Wish::GoOn,
        },
    )?;
    Ok(Status::Success)
}
