//! The context of every command: the global options, the output, the store and the interrupt flag.
//!
//! Commands get these from here and never read the environment themselves. Nothing is opened before
//! it is needed.

use std::ffi::OsString;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::Arc;

use super::args::Settings;
use super::configured::Read;
use super::cost;
use super::environment::Environment;
use super::output::{Format, Output, Verbosity};
use super::progress::{Paths, Progress, Watch};
use crate::error::{Error, Result};
use crate::kloset::kdf_limit::Limit;
use crate::util::interrupt::Interrupt;

/// More threads do not make any disk faster, and each thread uses memory.
const CONCURRENCY_LIMIT: u32 = 256;

/// The parsed global options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The maximum number of threads for each kind of work: 1 to [`CONCURRENCY_LIMIT`].
    pub concurrency: u32,
    /// The file that contains the passphrase.
    pub keyfile: Option<PathBuf>,
    /// The highest cost of a key slot that is tried.
    pub kdf_limit: Limit,
    format: Format,
    verbosity: Verbosity,
    progress: Progress,
    paths: Paths,
    traced: Vec<String>,
    config_dir: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
}

/// The context of every command.
pub struct Globals {
    /// The parsed global options.
    pub options: Options,
    /// The environment variables.
    pub environment: Environment,
    /// The destination of all output.
    pub out: Arc<Output>,
    /// Set when the user interrupts the command. Long work must check it between two steps.
    pub interrupt: Interrupt,
    /// The parts of the configuration that were read so far.
    pub(super) read: Read,
    store: Option<OsString>,
}

impl Options {
    /// Parses the global options.
    ///
    /// # Errors
    /// [`Kind::Usage`] for an invalid value.
    pub fn from(settings: &Settings) -> Result<Options> {
        let path = |name| settings.value(name).map(PathBuf::from);
        let traced = settings.text("trace")?.unwrap_or_default();
        Ok(Options {
            concurrency: concurrency(settings)?,
            keyfile: path("keyfile"),
            kdf_limit: cost::limit(settings)?,
            format: format(settings),
            verbosity: verbosity(settings),
            progress: progress(settings),
            paths: paths(settings),
            traced: traced
                .split(',')
                .map(|part| part.trim().to_owned())
                .collect(),
            config_dir: path("configdir"),
            cache_dir: path("cachedir"),
            data_dir: path("datadir"),
        })
    }

    /// The output with the format and verbosity of these options, on the standard streams.
    pub fn output(&self, interrupt: &Interrupt) -> Output {
        Output::standard(self.format, self.verbosity, interrupt)
    }
}

/// The value of `-concurrency`, or the number of processors available to this process.
fn concurrency(settings: &Settings) -> Result<u32> {
    let usual = || std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let count = settings.number("concurrency")?.unwrap_or_else(usual);
    match count {
        0 => Err(Error::usage("-concurrency: must be at least 1")),
        _ => Ok(count.min(CONCURRENCY_LIMIT)),
    }
}

fn format(settings: &Settings) -> Format {
    match (settings.is_on("json"), settings.is_on("stdio")) {
        (true, _) => Format::Json,
        (false, true) => Format::Lines,
        (false, false) => Format::Human,
    }
}

fn verbosity(settings: &Settings) -> Verbosity {
    match (settings.is_on("silent"), settings.is_on("quiet")) {
        (true, _) => Verbosity::Silent,
        (false, true) => Verbosity::Quiet,
        (false, false) => Verbosity::Normal,
    }
}

/// Progress is hidden on request. [`Globals::watch`] checks whether there is a terminal.
fn progress(settings: &Settings) -> Progress {
    match settings.is_on("no-progress") || verbosity(settings) < Verbosity::Normal {
        true => Progress::Hidden,
        false => Progress::Shown,
    }
}

/// Whether each path is printed. `-json` does not change this.
fn paths(settings: &Settings) -> Paths {
    match settings.is_on("stdio") {
        true => Paths::Shown,
        false => Paths::Hidden,
    }
}

impl Globals {
    /// Creates the context. `store` is the argument of `at`.
    pub fn new(
        options: Options,
        environment: Environment,
        out: Arc<Output>,
        interrupt: Interrupt,
        store: Option<OsString>,
    ) -> Globals {
        Globals {
            options,
            environment,
            out,
            interrupt,
            read: Read::default(),
            store,
        }
    }

    /// The store as named by the user: the argument of `at`, else `PLAKAR_REPOSITORY`.
    pub(super) fn store_word(&self) -> Option<&OsString> {
        self.store.as_ref().or(self.environment.repository.as_ref())
    }

    /// A progress display for long work. Prints paths only with `-stdio`.
    pub fn watch(&self) -> Arc<Watch> {
        self.watch_with(self.options.paths)
    }

    /// A progress display for work whose result is a list of paths.
    pub fn watch_result(&self) -> Arc<Watch> {
        self.watch_with(Paths::Result)
    }

    /// Draws progress only on a terminal.
    fn watch_with(&self, paths: Paths) -> Arc<Watch> {
        let progress = match self.options.format {
            Format::Json => self.options.progress,
            Format::Lines => Progress::Hidden,
            Format::Human if self.has_terminal() => self.options.progress,
            Format::Human => Progress::Hidden,
        };
        // A progress line between results on the same terminal would break them up.
        let progress = match paths {
            Paths::Result => Progress::Hidden,
            Paths::Hidden | Paths::Shown => progress,
        };
        Arc::new(Watch::new(self.out.clone(), paths, progress))
    }

    /// Whether standard error is a terminal on which a line can be overwritten.
    fn has_terminal(&self) -> bool {
        let is_dumb = self
            .environment
            .terminal
            .as_ref()
            .is_none_or(|name| name == "dumb");
        !is_dumb && stderr().is_terminal()
    }

    /// Prints a trace message of `part` if `-trace` selects it. `text` is called only in that case.
    pub fn trace(&self, part: &str, text: impl FnOnce() -> String) {
        let is_wanted = |wanted: &String| wanted == part || wanted == "all";
        if self.options.traced.iter().any(is_wanted) {
            self.out.message(&format!("{part}: {}", text()));
        }
    }

    /// The configuration directory: `-configdir`, or `plakar` in the XDG configuration directory.
    pub fn config_dir(&self) -> Result<PathBuf> {
        self.directory(
            &self.options.config_dir,
            &self.environment.config_home,
            ".config",
        )
    }

    /// The cache directory: `-cachedir`, or `plakar` in the XDG cache directory.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        self.directory(
            &self.options.cache_dir,
            &self.environment.cache_home,
            ".cache",
        )
    }

    /// The directory for data of this machine: `-datadir`, or `plakar` in the XDG data directory.
    pub fn data_dir(&self) -> Result<PathBuf> {
        self.directory(
            &self.options.data_dir,
            &self.environment.data_home,
            ".local/share",
        )
    }

    /// The value of `option`, else `plakar` in the XDG directory, else the default in the home
    /// directory.
    fn directory(
        &self,
        option: &Option<PathBuf>,
        xdg: &Option<PathBuf>,
        usual: &str,
    ) -> Result<PathBuf> {
        match (option, xdg) {
            (Some(given), _) => Ok(given.clone()),
            (None, Some(base)) => Ok(base.join("plakar")),
            (None, None) => Ok(self.environment.in_home(usual)?.join("plakar")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::parse::parse;
    use crate::error::Kind;

    pub(in crate::cli) fn globals(words: &[&str], environment: Environment) -> Globals {
        let invocation = parse(words.iter().map(OsString::from), &[]).unwrap();
        let options = Options::from(&invocation.options).unwrap();
        let out = Arc::new(options.output(&Interrupt::default()));
        Globals::new(
            options,
            environment,
            out,
            Interrupt::default(),
            invocation.store,
        )
    }

    fn at_home() -> Environment {
        Environment {
            home: Some("/home/u".into()),
            ..Environment::default()
        }
    }

    #[test]
    fn directories_are_given_or_follow_xdg() {
        let cache_home = Some("/var/c".into());
        let environment = Environment {
            cache_home,
            ..at_home()
        };
        let globals = globals(&["-configdir", "/etc/p"], environment);
        assert_eq!(globals.config_dir().unwrap(), Path::new("/etc/p"));
        assert_eq!(globals.cache_dir().unwrap(), Path::new("/var/c/plakar"));
        assert_eq!(
            globals.data_dir().unwrap(),
            Path::new("/home/u/.local/share/plakar")
        );
    }

    #[test]
    fn concurrency_has_limits() {
        let with = |count: &str| {
            let words = ["-cpu", count].map(OsString::from);
            Options::from(&parse(words, &[]).unwrap().options)
        };
        assert_eq!(with("3").unwrap().concurrency, 3);
        assert_eq!(with("100000").unwrap().concurrency, CONCURRENCY_LIMIT);
        assert_eq!(with("0").unwrap_err().kind(), Kind::Usage);
    }
}
