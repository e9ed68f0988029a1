//! Applies the configuration: resolves names to places, and finds passphrases.
//!
//! A command calls [`Globals::place`] for the store that the user named, and [`Globals::place_of`]
//! for any other place. Both return a location with its configured options, which apply to that
//! place only. Each file is read once, on first use, and each command that prints a passphrase runs
//! once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::Globals;
use zeroize::Zeroizing;

use super::escape::printable;
use super::passphrase::{self, Given, Passphrase, Weak};
use crate::config::entries::Entries;
use crate::config::place::{Place, Word};
use crate::config::{Configuration, Role, Section};
use crate::error::{During, Error, Kind, Result};
use crate::net::location::Location;
use crate::util::child;

/// The files read and the commands run so far.
#[derive(Default)]
pub(super) struct Read {
    sections: [OnceLock<Entries>; 4],
    /// The output of commands, by command line.
    printed: Mutex<BTreeMap<String, Passphrase>>,
}

impl Globals {
    /// The configuration of this user. Does not read any file yet.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if there is no home directory.
    pub fn configuration(&self) -> Result<Configuration> {
        self.config_dir().map(Configuration::new)
    }

    /// The entries of `section`. Warns if other users can read secrets in the file.
    pub fn entries(&self, section: Section) -> Result<&Entries> {
        let read = &self.read.sections[section as usize];
        if let Some(entries) = read.get() {
            return Ok(entries);
        }
        let configuration = self.configuration()?;
        let entries = configuration.read(section)?;
        let warn = |cause: &str| {
            let path = configuration.path(section);
            let words = format!("{} {cause} by other users", path.display());
            self.out.warning(&Error::new(Kind::Denied, words));
        };
        if entries.exposes_secret() {
            warn("holds a secret and can be read");
        }
        if entries.lends_command() {
            warn("holds a command and can be changed");
        }
        Ok(read.get_or_init(|| entries))
    }

    /// The store: the argument of `at`, else `PLAKAR_REPOSITORY`, else the configured default, else
    /// `~/.plakar`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown `@name`, [`Kind::Usage`] for an invalid location,
    /// [`Kind::Unsupported`] for an invalid configuration or without a home directory.
    pub fn place(&self) -> Result<Place> {
        if let Some(word) = self.store_word() {
            return self.place_of(Role::Store, word);
        }
        match self.default_place(Role::Store)? {
            Some(place) => Ok(place),
            None => {
                let path = self.environment.in_home(".plakar")?.into_os_string();
                Ok(Place::unnamed(Location::Path(path.into_vec())))
            }
        }
    }

    /// Resolves `word`, which is a path, a URL or `@name[:path]`, for use as `role`.
    ///
    /// # Errors
    /// The same as [`Globals::place`].
    pub fn place_of(&self, role: Role, word: &OsStr) -> Result<Place> {
        match Word::of(word.as_bytes()) {
            Word::Location(text) => Location::parse(text).map(Place::unnamed),
            Word::Name(name, path) => self.named(role, &String::from_utf8_lossy(name), path),
        }
    }

    /// The configured default place for `role`.
    pub fn default_place(&self, role: Role) -> Result<Option<Place>> {
        if self.config_dir().is_err() {
            // Without a home directory there is no configuration, but many commands work anyway.
            return Ok(None);
        }
        let default = &self.entries(Section::of(role))?.default;
        let place = default.as_ref().map(|name| self.named(role, name, b""));
        place.transpose()
    }

    /// The configured place `name`, with `path` joined to its location.
    fn named(&self, role: Role, name: &str, path: &[u8]) -> Result<Place> {
        let section = Section::of(role);
        let entries = self.entries(section)?;
        let home = self.environment.home.as_deref();
        let file = self.configuration()?.path(section);
        Place::named(entries, role, name, path, home).during(|| file.display().to_string())
    }

    /// Whether the user named a store, or the default one exists.
    pub fn has_store(&self) -> bool {
        let at_home = || {
            self.environment
                .in_home(".plakar")
                .is_ok_and(|path| path.exists())
        };
        // An unreadable configuration might contain a default. Using the store reports the error.
        let default = || !matches!(self.default_place(Role::Store), Ok(None));
        self.store_word().is_some() || at_home() || default()
    }

    /// Prompts for the passphrase of `place` and passes it to `open`, up to three times while that
    /// fails with [`Kind::Denied`]. `remedy` names other ways to provide this passphrase.
    ///
    /// # Errors
    /// The errors of `open`; [`Kind::Denied`] without a terminal.
    pub fn unlock_typed<T>(
        &self,
        place: &Place,
        remedy: &str,
        open: impl FnMut(&Passphrase) -> Result<T>,
    ) -> Result<T> {
        let location = printable(place.location.to_string().as_bytes());
        let what = format!("passphrase for {location}");
        passphrase::ask(&what, remedy, &self.out, &self.interrupt, open)
    }

    /// The passphrase of `place`, the second store of a command, from the environment or the
    /// configuration. `-keyfile` applies to the first store.
    pub fn peer_passphrase(&self, place: &Place) -> Result<Option<Given>> {
        self.variable_or_configured(child::PEER_PASSPHRASE, place)
    }

    /// The passphrase for a new store at `place` that shares the key of a store opened by `shared`:
    /// a different one only if it is in the environment or the configuration.
    pub fn sibling_passphrase(&self, place: &Place, shared: Passphrase) -> Result<Passphrase> {
        let other = self.variable_or_configured(child::NEW_PASSPHRASE, place)?;
        Ok(other.map_or(shared, |given| given.passphrase))
    }

    /// The passphrase of `place`, if it need not be typed: from the file of `-keyfile`, else the
    /// environment, else the configuration.
    pub fn given_passphrase(&self, place: &Place) -> Result<Option<Given>> {
        match &self.options.keyfile {
            Some(path) => {
                let passphrase = passphrase::of_keyfile(path, &self.out)?;
                let origin = format!("key file {}", path.display());
                Ok(Some(Given::new(passphrase, origin)))
            }
            None => self.variable_or_configured(child::PASSPHRASE, place),
        }
    }

    fn variable_or_configured(&self, variable: &str, place: &Place) -> Result<Option<Given>> {
        match passphrase::of_variable(variable) {
            Some(passphrase) => Ok(Some(Given::new(passphrase, variable))),
            None => self.configured_passphrase(place),
        }
    }

    /// The passphrase that is configured for `place`.
    fn configured_passphrase(&self, place: &Place) -> Result<Option<Given>> {
        let name = place.name.as_deref().unwrap_or_default();
        let origin = |option: &str| format!("{option} of @{name}");
        if let Some(text) = place.text("passphrase") {
            let passphrase = passphrase::of_text(&text).during(|| origin("passphrase"))?;
            return Ok(Some(Given::new(passphrase, origin("passphrase"))));
        }
        if let Some(line) = place.text("passphrase_cmd") {
            let printed = self.printed(&line).during(|| origin("passphrase_cmd"))?;
            return Ok(Some(Given::new(printed, origin("passphrase_cmd"))));
        }
        let keyfile = place.text("keyfile");
        let read = |path: Zeroizing<String>| -> Result<Given> {
            let passphrase = passphrase::of_keyfile(Path::new(path.as_str()), &self.out)?;
            Ok(Given::new(passphrase, origin("keyfile")))
        };
        keyfile.map(read).transpose()
    }

    /// The configured option that provides the passphrase of `place`, if nothing takes precedence.
    pub fn configured_option(place: &Place) -> Option<&'static str> {
        let options = ["passphrase", "passphrase_cmd", "keyfile"];
        let mut options = options.into_iter();
        options.find(|option| place.value(option).is_some())
    }

    /// The access token for the store at `place`, if one is configured.
    pub fn token(&self, place: &Place) -> Result<Option<Zeroizing<String>>> {
        let name = place.name.as_deref().unwrap_or_default();
        if let Some(token) = place.text("auth_token") {
            return Ok(Some(token));
        }
        let Some(line) = place.text("auth_token_cmd") else {
            return Ok(None);
        };
        let printed = || -> Result<Zeroizing<String>> {
            let token = String::from_utf8(self.printed(&line)?.to_vec());
            Ok(Zeroizing::new(
                token.map_err(|_| Error::usage("it did not print text"))?,
            ))
        };
        printed()
            .map(Some)
            .during(|| format!("auth_token_cmd of @{name}"))
    }

    /// The first line of output of the command `line`. The command runs only once.
    fn printed(&self, line: &str) -> Result<Passphrase> {
        let printed = self.read.printed.lock();
        let mut printed = printed.unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = printed.get(line) {
            return Ok(known.clone());
        }
        // Do not trace the command line: it may contain a secret, and traces are copied to bug
        // reports.
        self.trace("config", || "run a command for a passphrase".to_owned());
        let passphrase = passphrase::of_command(line)?;
        printed.insert(line.to_owned(), passphrase.clone());
        Ok(passphrase)
    }

    /// The passphrase for a new store. If it is typed, it is requested twice, and a weak one is
    /// rejected unless `weak` accepts it.
    ///
    /// # Errors
    /// [`Kind::Denied`] for an empty or weak passphrase, or if there is none.
    pub fn new_passphrase(&self, place: &Place, weak: Weak) -> Result<Passphrase> {
        match self.given_passphrase(place)? {
            Some(given) => Ok(given.passphrase),
            None => self.choose(place, passphrase::FIRST_REMEDY, weak),
        }
    }

    /// An additional passphrase for the store at `place`, which is already unlocked: from
    /// `keyfile`, else `PLAKAR_NEW_PASSPHRASE`, else typed as in [`Globals::new_passphrase`].
    pub fn another_passphrase(
        &self,
        place: &Place,
        keyfile: Option<&Path>,
        weak: Weak,
    ) -> Result<Passphrase> {
        let given = match keyfile {
            Some(path) => Some(passphrase::of_keyfile(path, &self.out)?),
            None => passphrase::of_variable(child::NEW_PASSPHRASE),
        };
        let remedy = "give -new-keyfile FILE or PLAKAR_NEW_PASSPHRASE";
        match given {
            Some(passphrase) => Ok(passphrase),
            None => self.choose(place, remedy, weak),
        }
    }

    /// A new passphrase for the store at `place`, typed twice.
    fn choose(&self, place: &Place, remedy: &str, weak: Weak) -> Result<Passphrase> {
        let location = printable(place.location.to_string().as_bytes());
        let what = format!("new passphrase for {location}");
        passphrase::choose(&what, remedy, weak, &self.out, &self.interrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::super::globals::tests::globals;
    use super::*;
    use crate::cli::Environment;

    /// A home directory with a configuration that contains `stores`.
    fn home(stores: &str) -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(".config/plakar")).unwrap();
        std::fs::write(dir.path().join(".config/plakar/stores.toml"), stores).unwrap();
        let environment = Environment {
            home: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        (dir, environment)
    }

    fn location(words: &[&str], environment: &Environment) -> Result<String> {
        let place = globals(words, environment.clone()).place()?;
        Ok(place.location.to_string())
    }

    #[test]
    fn the_store_is_named_or_from_the_environment_or_configured_or_at_home() {
        let (dir, environment) = home("");
        assert_eq!(location(&["at", "st"], &environment).unwrap(), "st");
        let usual = dir.path().join(".plakar").display().to_string();
        assert_eq!(location(&[], &environment).unwrap(), usual);
        assert!(!globals(&[], environment).has_store());
        let (_dir, mut environment) = home("default = 'nas'\n[nas]\nlocation = '/srv'\n");
        assert_eq!(location(&[], &environment).unwrap(), "/srv");
        assert!(globals(&[], environment.clone()).has_store());
        environment.repository = Some("/other".into());
        assert_eq!(location(&[], &environment).unwrap(), "/other");
        environment.repository = Some("@nas:st".into());
        assert_eq!(location(&[], &environment).unwrap(), "/srv/st");
        assert_eq!(location(&["at", "@nas:/x"], &environment).unwrap(), "/x");
    }

    #[test]
    fn what_is_missing_is_told() {
        let homeless = location(&[], &Environment::default()).unwrap_err();
        assert_eq!(homeless.kind(), Kind::Unsupported);
        let (_dir, environment) = home("[nas]\nlocation = '/srv'\n");
        let unknown = location(&["at", "@nsa"], &environment).unwrap_err();
        assert_eq!(unknown.kind(), Kind::NotFound);
        let words = unknown.to_string();
        assert!(
            words.ends_with("stores.toml: no store named nsa (did you mean @nas?)"),
            "{words}"
        );
    }

    #[test]
    fn a_passphrase_belongs_to_the_store_that_was_named() {
        let (_dir, environment) = home("[nas]\nlocation = '/srv'\npassphrase = 'owl'\n");
        let given = |words: &[&str]| {
            let globals = globals(words, environment.clone());
            let given = globals.given_passphrase(&globals.place().unwrap());
            given.unwrap().map(|given| given.passphrase.to_vec())
        };
        assert_eq!(given(&["at", "@nas"]).unwrap(), b"owl");
        assert_eq!(given(&["at", "@nas:x"]).unwrap(), b"owl");
        assert_eq!(given(&["at", "/srv"]), None);
    }
}
