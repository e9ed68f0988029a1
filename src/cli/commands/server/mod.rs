//! `plakar server`: serves a store over HTTP and HTTPS.

mod listen;
mod outside;
mod token;

use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use self::listen::{Address, Listening, USUAL};
use self::outside::{Outside, Tokens};
use crate::cli::output::{Format, Verbosity};
use crate::cli::{Args, Command, Flag, Globals, Status, opening, size};
use crate::error::{During, Error, Kind, Result};
use crate::server::access::Access;
use crate::server::names::Host;
use crate::server::{Deletes, Server, Settings, Wish};
use crate::store::Store;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "server",
    synopsis: "[-listen [HOST]:PORT] [-name HOST ...] [-allow-delete [-insecure]] \
               [-cert FILE -key FILE] [-tokens FILE] [-max-connections N] [-memory SIZE] \
               [-access-log FILE|-]",
    about: "serve a store over HTTP and HTTPS",
    flags: &[
        Flag::value(
            "listen",
            "[HOST]:PORT",
            "address to listen on (default localhost:9876; without HOST, all)",
        ),
        Flag::value(
            "name",
            "HOST",
            "answer requests for HOST, a name or an address of this server",
        )
        .repeatable(),
        Flag::switch("allow-delete", "let clients delete objects"),
        Flag::switch(
            "insecure",
            "with -allow-delete: let anyone who can connect delete, without tokens",
        ),
        Flag::value("cert", "FILE", "use TLS with the certificate chain in FILE"),
        Flag::value("key", "FILE", "the key of the certificate"),
        Flag::value("tokens", "FILE", "let in those with a token in FILE"),
        Flag::value(
            "max-connections",
            "N",
            "serve at most N connections at once (default 512)",
        ),
        Flag::value(
            "memory",
            "SIZE",
            "hold at most SIZE of bodies in memory (default 8M)",
        ),
        Flag::value("access-log", "FILE|-", "write a line for each request"),
    ],
    subcommands: &[token::COMMAND],
    run,
    ..Command::BLANK
};

/// More than a household needs, and not too many for a NAS.
const CONNECTIONS: usize = 512;
/// Enough for 64 large buffers.
const MEMORY_BYTES: u64 = 8 << 20;
/// Smaller values are too small for the buffers that provide performance.
const MEMORY_LEAST_BYTES: u64 = 1 << 20;
/// The file descriptors of one connection: the socket, an object, and its directory while that is
/// synced.
const DESCRIPTORS_EACH: u64 = 3;
/// The file descriptors for everything else: standard streams, listening sockets, cached packs, and
/// connections that are being closed.
const DESCRIPTORS_SPARE: u64 = 80;

struct Opts {
    address: Address,
    names: Vec<Host>,
    deletes: Deletes,
    is_insecure: bool,
    connections: usize,
    memory_bytes: u64,
}

impl Opts {
    fn from(globals: &Globals, args: &Args) -> Result<Opts> {
        args.no_arguments()?;
        let listen = args.text("listen")?;
        let address = Address::parse(listen.as_deref().unwrap_or(USUAL));
        let connections = match args.number("max-connections")? {
            Some(0) => return Err(args.usage("-max-connections: must be at least 1")),
            given => allowed(globals, given),
        };
        let memory_bytes = match args.text("memory")?.map(|text| size::parse(&text)) {
            None => MEMORY_BYTES,
            Some(bytes) => bytes.during(|| "-memory").during(|| args.path())?,
        };
        if memory_bytes < MEMORY_LEAST_BYTES {
            return Err(args.usage("-memory: must be at least 1M"));
        }
        Ok(Opts {
            address: address.during(|| "-listen").during(|| args.path())?,
            names: names(args)?,
            is_insecure: args.is_on("insecure"),
            deletes: match args.is_on("allow-delete") {
                true => Deletes::Allowed,
                false => Deletes::Refused,
            },
            connections,
            memory_bytes,
        })
    }
}

/// Parses the values of `-name`.
fn names(args: &Args) -> Result<Vec<Host>> {
    let given = args.values("name").map(|name| {
        let host = name.to_str().and_then(Host::parse);
        host.ok_or_else(|| {
            let name = name.to_string_lossy();
            let words = "expected a name or an address, without a port";
            args.usage(format!("-name: invalid host {name:?}: {words}"))
        })
    });
    given.collect()
}

/// The names of this machine: the full host name, the name without domain, and the name in the
/// multicast DNS domain (RFC 6762).
fn machine_names() -> Vec<Host> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().unwrap_or_default();
    let short = name.split('.').next().unwrap_or_default();
    let names = [name.to_owned(), short.to_owned(), format!("{short}.local")];
    names.iter().filter_map(|name| Host::parse(name)).collect()
}

/// The requested number of connections, limited by the available file descriptors.
fn allowed(globals: &Globals, given: Option<usize>) -> usize {
    let wanted = given.unwrap_or(CONNECTIONS);
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = descriptors.saturating_sub(DESCRIPTORS_SPARE) / DESCRIPTORS_EACH;
    let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
    if let Some(wanted) = given.filter(|wanted| *wanted > most) {
        let cause = format!(
            "-max-connections: {descriptors} open files are allowed, enough for {most}, not {wanted}"
        );
        globals.out.warning(&Error::usage(cause));
    }
    wanted.min(most)
}

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let opts = Opts::from(globals, &args)?;
    let outside = Outside::from(globals, &args)?;
    let (identity, access) = (outside.identity()?, outside.access()?);
    let store = opening::served(globals)?;
    let listening = opts.address.bind()?;
    check_deletes(&opts, &args, &listening, &access)?;
    warn_of_clear_text(globals, &args);
    warn_of_strangers(globals, &listening, &outside, &access);
    warn_of_no_store(globals, &*store);
    let scheme = if identity.is_some() { "https" } else { "http" };
    let has_tokens = matches!(access, Access::Tokens(_));
    let out = globals.out.clone();
    let settings = Settings {
        deletes: opts.deletes,
        connections: opts.connections,
        memory_bytes: opts.memory_bytes,
        access,
        names: all_names(opts.names, &listening),
        identity,
        log: outside.log(&globals.out),
        notice: Arc::new(move |error| out.warning(error)),
    };
    let server = Server::new(store.clone(), settings);
    let (hung_up, wake) = signals()?;
    announce(globals, &listening, scheme, store.location());
    server.run(listening.listeners, &wake, &|| {
        if hung_up.swap(false, Ordering::Relaxed) {
            outside.renew(&server, has_tokens, &globals.out);
        }
        match globals.interrupt.is_set() {
            true => Wish::Stop,
            false => Wish::GoOn,
        }
    })?;
    Ok(Status::Success)
}

/// The names that clients may use for the server: those given by the user, and those of this
/// machine.
fn all_names(mut names: Vec<Host>, listening: &Listening) -> Vec<Host> {
    names.extend(listening.host.as_deref().and_then(Host::parse));
    names.extend(machine_names());
    names
}

/// Rejects unprotected deletes.
///
/// # Errors
/// [`Kind::Usage`] if any host on the network could delete data, unless the user allows this
/// explicitly.
fn check_deletes(opts: &Opts, args: &Args, listening: &Listening, access: &Access) -> Result<()> {
    let is_open = matches!(access, Access::Anyone) && !listening.is_loopback();
    match opts.deletes == Deletes::Allowed && is_open && !opts.is_insecure {
        true => Err(args.usage(
            "-allow-delete: without tokens, anyone who can connect could delete everything; \
             to add a token: plakar server token add -role full NAME; to allow it: -insecure",
        )),
        false => Ok(()),
    }
}

/// The flag that SIGHUP sets, and a socket that becomes readable after each signal.
fn signals() -> Result<(Arc<AtomicBool>, UnixStream)> {
    let hung_up = Arc::new(AtomicBool::new(false));
    let (wake, waker) = UnixStream::pair()?;
    // Register the flag first: a thread that is woken by the socket must see the flag.
    flag::register(SIGHUP, hung_up.clone()).during(|| "signals")?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        pipe::register(signal, waker.try_clone()?).during(|| "signals")?;
    }
    Ok((hung_up, wake))
}

/// The addresses of a served store.
#[derive(Serialize)]
struct Announcement {
    url: String,
    urls: Vec<String>,
    addresses: Vec<String>,
    store: String,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serving {} at {}", self.store, self.urls.join(", "))
    }
}

/// Prints the addresses of the store, once it is being served.
fn announce(globals: &Globals, listening: &Listening, scheme: &str, store: &str) {
    let addresses = listening.addresses();
    let announcement = Announcement {
        url: listening.url(scheme),
        urls: listening.urls(scheme),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        store: store.to_owned(),
    };
    match globals.out.format() {
        Format::Json => globals.out.emit("listening", &announcement),
        _ if globals.out.verbosity() == Verbosity::Silent => {}
        _ => globals.out.message(&announcement.to_string()),
    }
}

/// Warns that the connection is not encrypted, if the flags suggest that the user expects
/// encryption. This warning is printed at any verbosity.
fn warn_of_clear_text(globals: &Globals, args: &Args) {
    let (given, missing) = match (args.value("cert"), args.value("key")) {
        (Some(_), None) => ("-cert", "-key"),
        (None, Some(_)) => ("-key", "-cert"),
        _ => return,
    };
    let text = format!(
        "{given} without {missing}: THIS IS PLAIN HTTP, NOT HTTPS. An attacker on the network can read tokens and change responses"
    );
    globals.out.message(&format!("WARNING: {text}"));
    if globals.out.format() == Format::Json {
        globals.out.warning(&Error::usage(text));
    }
}

/// Reports who has access, if that may differ from what the user expects.
fn warn_of_strangers(globals: &Globals, listening: &Listening, outside: &Outside, access: &Access) {
    match (access, &outside.tokens) {
        (Access::Tokens(_), Tokens::Usual(path)) => {
            let text = format!("letting in those with a token in {}", path.display());
            if globals.out.verbosity() == Verbosity::Normal {
                globals.out.message(&text);
            }
        }
        (Access::Tokens(_), _) => {}
        (Access::Anyone, _) if listening.is_loopback() => {}
        (Access::Anyone, _) => {
            let cause =
                "there are no tokens: every client that can connect can read and add everything";
            globals.out.warning(&Error::new(Kind::Denied, cause));
        }
    }
}

/// Warns if the served location does not contain a store.
fn warn_of_no_store(globals: &Globals, store: &dyn Store) {
    match store.get_config() {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::NotFound => {
            let cause = format!(
                "{}: no store yet: a client can create one",
                store.location()
            );
            globals.out.warning(&Error::new(Kind::NotFound, cause));
        }
        Err(error) => globals.out.warning(&error),
    }
}
