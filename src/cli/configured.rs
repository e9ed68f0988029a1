//! What the configuration says, for commands: names become places, places passphrases.
//!
//! A command calls [`Globals::place`] for the store that the user named and
//! [`Globals::place_of`] for any other; both give a location and the options that are
//! configured for it, which belong to that place alone. Each file is read once, when it is
//! first asked for, and each command for a passphrase is run once.

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

/// What was read and run so far.
#[derive(Default)]
pub(super) struct Read {
    sections: [OnceLock<Entries>; 4],
    /// What commands printed, by their lines.
    printed: Mutex<BTreeMap<String, Passphrase>>,
}

impl Globals {
    /// The configuration of this user. Nothing is read yet.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if there is no home directory to look for it in.
    pub fn configuration(&self) -> Result<Configuration> {
        self.config_dir().map(Configuration::new)
    }

    /// What `section` says. A warning tells of secrets that others can read.
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

    /// The store: what followed `at`, else `PLAKAR_REPOSITORY`, else the configured default,
    /// else `~/.plakar`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown `@name`, [`Kind::Usage`] for what is no location,
    /// [`Kind::Unsupported`] for configuration that is wrong, or without a home directory.
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

    /// What `word`, a path, a URL or `@name[:path]`, stands for as `role`.
    ///
    /// # Errors
    /// As [`Globals::place`].
    pub fn place_of(&self, role: Role, word: &OsStr) -> Result<Place> {
        match Word::of(word.as_bytes()) {
            Word::Location(text) => Location::parse(text).map(Place::unnamed),
            Word::Name(name, path) => self.named(role, &String::from_utf8_lossy(name), path),
        }
    }

    /// The place that is configured to be used as `role` where none is given.
    pub fn default_place(&self, role: Role) -> Result<Option<Place>> {
        if self.config_dir().is_err() {
            // Without a home directory nothing is configured, and much can be done.
            return Ok(None);
        }
        let default = &self.entries(Section::of(role))?.default;
        let place = default.as_ref().map(|name| self.named(role, name, b""));
        place.transpose()
    }

    /// What the configuration calls `name`, with `path` joined to it.
    fn named(&self, role: Role, name: &str, path: &[u8]) -> Result<Place> {
        let section = Section::of(role);
        let entries = self.entries(section)?;
        let home = self.environment.home.as_deref();
        let file = self.configuration()?.path(section);
        Place::named(entries, role, name, path, home).during(|| file.display().to_string())
    }

    /// Whether the user named a store, or the default one is there.
    pub fn has_store(&self) -> bool {
        let at_home = || {
            self.environment
                .in_home(".plakar")
                .is_ok_and(|path| path.exists())
        };
        // A configuration that cannot be read may name one: using it tells what is wrong.
        let default = || !matches!(self.default_place(Role::Store), Ok(None));
        self.store_word().is_some() || at_home() || default()
    }

    /// Calls `open` with what is typed at the prompt for `place`, up to three times while it is
    /// [`Kind::Denied`]. `remedy` names the other ways to give this passphrase.
    ///
    /// # Errors
    /// Those of `open`; [`Kind::Denied`] if there is no terminal.
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

    /// The passphrase of `place`, the second store that a command works with, from the
    /// environment or the configuration. `-keyfile` is for the first.
    pub fn peer_passphrase(&self, place: &Place) -> Result<Option<Given>> {
        self.variable_or_configured(child::PEER_PASSPHRASE, place)
    }

    /// The passphrase for a new store at `place` that is to have the key of one that `shared`
    /// opened: another one only if it is in the environment or configured.
    pub fn sibling_passphrase(&self, place: &Place, shared: Passphrase) -> Result<Passphrase> {
        let other = self.variable_or_configured(child::NEW_PASSPHRASE, place)?;
        Ok(other.map_or(shared, |given| given.passphrase))
    }

    /// The passphrase of `place`, unless it must be typed: from the key file that `-keyfile`
    /// names, else the environment, else the configuration.
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

    /// The option of the configuration that would give the passphrase of `place` if nothing took
    /// precedence.
    pub fn configured_option(place: &Place) -> Option<&'static str> {
        let options = ["passphrase", "passphrase_cmd", "keyfile"];
        let mut options = options.into_iter();
        options.find(|option| place.value(option).is_some())
    }

    /// What lets us into the store at `place`, if that is configured.
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

    /// The first line that the command `line` prints, or has printed before.
    fn printed(&self, line: &str) -> Result<Passphrase> {
        let printed = self.read.printed.lock();
        let mut printed = printed.unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = printed.get(line) {
            return Ok(known.clone());
        }
        // Not the line itself, which may hold a secret: traces are pasted into reports.
        self.trace("config", || "run a command for a passphrase".to_owned());
        let passphrase = passphrase::of_command(line)?;
        printed.insert(line.to_owned(), passphrase.clone());
        Ok(passphrase)
    }

    /// The passphrase for a store that is about to be made. One that is typed is asked
    /// for twice, and refused if it is weak unless `weak` says otherwise.
    ///
    /// # Errors
    /// [`Kind::Denied`] for an empty or weak one, or if there is none to be had.
    pub fn new_passphrase(&self, place: &Place, weak: Weak) -> Result<Passphrase> {
        match self.given_passphrase(place)? {
            Some(given) => Ok(given.passphrase),
            None => self.choose(place, passphrase::FIRST_REMEDY, weak),
        }
    }

    /// A further passphrase for the store at `place`, which was unlocked with another: from
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

    /// A home directory, with `stores` configured.
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
