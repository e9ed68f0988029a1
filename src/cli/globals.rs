//! What every command is given: the options of the program, the streams, the
//! store, and the request to stop.
//!
//! A command asks here for what it needs and never looks at the environment
//! itself. Nothing is opened before it is asked for.

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

/// More threads than this help no disk, and each takes memory.
const CONCURRENCY_LIMIT: u32 = 256;

/// The options of the program, parsed.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many threads each kind of work may use: 1 to [`CONCURRENCY_LIMIT`].
    pub concurrency: u32,
    /// Where to read the passphrase.
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

/// What every command is given.
pub struct Globals {
    /// The options of the program.
    pub options: Options,
    /// What the environment says.
    pub environment: Environment,
    /// Where everything is printed.
    pub out: Arc<Output>,
    /// Set when the user asks us to stop. Look at it between two steps.
    pub interrupt: Interrupt,
    /// What the configuration says, as far as it was asked for.
    pub(super) read: Read,
    store: Option<OsString>,
}

impl Options {
    /// Reads the options out of what was given.
    ///
    /// # Errors
    /// [`Kind::Usage`].
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

    /// The output that these options ask for, on the standard streams.
    pub fn output(&self, interrupt: &Interrupt) -> Output {
        Output::standard(self.format, self.verbosity, interrupt)
    }
}

/// The number given, or one for each processor we may run on.
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

/// Hidden on request. Whether there is a terminal is for [`Globals::watch`] to find out.
fn progress(settings: &Settings) -> Progress {
    match settings.is_on("no-progress") || verbosity(settings) < Verbosity::Normal {
        true => Progress::Hidden,
        false => Progress::Shown,
    }
}

/// Whether each path is told, which `-json` does not change.
fn paths(settings: &Settings) -> Paths {
    match settings.is_on("stdio") {
        true => Paths::Shown,
        false => Paths::Hidden,
    }
}

impl Globals {
    /// Puts together what a command is given. `store` is what followed `at`.
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

    /// What the user calls the store: what followed `at`, else `PLAKAR_REPOSITORY`.
    pub(super) fn store_word(&self) -> Option<&OsString> {
        self.store.as_ref().or(self.environment.repository.as_ref())
    }

    /// Watches long work; its paths are told with `-stdio`.
    pub fn watch(&self) -> Arc<Watch> {
        self.watch_with(self.options.paths)
    }

    /// Watches work whose paths are the result.
    pub fn watch_result(&self) -> Arc<Watch> {
        self.watch_with(Paths::Result)
    }

    /// Progress is drawn where somebody looks.
    fn watch_with(&self, paths: Paths) -> Arc<Watch> {
        let progress = match self.options.format {
            Format::Json => self.options.progress,
            Format::Lines => Progress::Hidden,
            Format::Human if self.has_terminal() => self.options.progress,
            Format::Human => Progress::Hidden,
        };
        // A line that is drawn among results on the same terminal only tears them apart.
        let progress = match paths {
            Paths::Result => Progress::Hidden,
            Paths::Hidden | Paths::Shown => progress,
        };
        Arc::new(Watch::new(self.out.clone(), paths, progress))
    }

    /// Whether a line on standard error can be drawn over.
    fn has_terminal(&self) -> bool {
        let is_dumb = self
            .environment
            .terminal
            .as_ref()
            .is_none_or(|name| name == "dumb");
        !is_dumb && stderr().is_terminal()
    }

    /// Says what `part` of the program does, if `-trace` asks for it. `text` is only
    /// worded when it does.
    pub fn trace(&self, part: &str, text: impl FnOnce() -> String) {
        let is_wanted = |wanted: &String| wanted == part || wanted == "all";
        if self.options.traced.iter().any(is_wanted) {
            self.out.message(&format!("{part}: {}", text()));
        }
    }

    /// Where configuration is: `-configdir`, or `plakar` in the XDG directory.
    pub fn config_dir(&self) -> Result<PathBuf> {
        self.directory(
            &self.options.config_dir,
            &self.environment.config_home,
            ".config",
        )
    }

    /// Where caches are: `-cachedir`, or `plakar` in the XDG directory.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        self.directory(
            &self.options.cache_dir,
            &self.environment.cache_home,
            ".cache",
        )
    }

    /// Where data of this machine is: `-datadir`, or `plakar` in the XDG directory.
    pub fn data_dir(&self) -> Result<PathBuf> {
        self.directory(
            &self.options.data_dir,
            &self.environment.data_home,
            ".local/share",
        )
    }

    /// What an option says, else `plakar` in what the environment says, else in the home.
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
