//! Public key authentication: first with the keys of an agent, then with key files. Never with a
//! password.
//!
//! The order is that of ssh: agent keys that are configured, other agent keys, key files. Encrypted
//! key files come last, and need a user to enter the passphrase. An entered passphrase is kept for
//! further connections of this process.

use ssh2::{Agent, ErrorCode};
use zeroize::Zeroizing;

use super::host::Host;
use super::keys::KeyFile;
use super::session::{Session, broken};
use super::{Endpoint, Question};
use crate::error::{Error, Kind, Result};

/// The maximum number of keys offered. No server accepts more attempts.
const KEY_LIMIT: usize = 32;
/// The number of attempts to enter a passphrase.
const TRIES: u32 = 3;

/// The server rejected the key: `LIBSSH2_ERROR_AUTHENTICATION_FAILED`,
/// `LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED`.
const REFUSED: [i32; 2] = [-18, -19];
/// The connection is unusable: `LIBSSH2_ERROR_SOCKET_SEND`, `_DISCONNECT`, `_TIMEOUT`, `_RECV`,
/// `_SOCKET_NONE`.
const LOST: [i32; 5] = [-7, -13, -30, -43, -1];

/// The wording for a key that the server rejected.
const WAS_REFUSED: &str = "was refused";

/// The result of an attempt with one key.
enum Tried {
    LetIn,
    Refused,
    /// The key could not be used. Contains the reason.
    Unusable(String),
    /// The server closed the connection.
    Lost,
}

pub(super) struct Login<'a> {
    session: &'a Session,
    host: &'a Host,
    endpoint: &'a Endpoint,
    /// The failed attempts, for the error message.
    tried: Vec<String>,
}

/// Authenticates as the user of `host`.
///
/// # Errors
/// [`Kind::Denied`] if every key failed; lists the attempts. [`Kind::Unavailable`] if the server
/// closed the connection.
pub(super) fn log_in(session: &Session, host: &Host, endpoint: &Endpoint) -> Result<()> {
    let mut login = Login {
        session,
        host,
        endpoint,
        tried: Vec::new(),
    };
    match login.is_let_in()? {
        true => Ok(()),
        false => Err(login.refused()),
    }
}

impl Login<'_> {
    fn is_let_in(&mut self) -> Result<bool> {
        let mut files = self.key_files();
        if self.is_let_in_by_agent(&mut files)? {
            return Ok(true);
        }
        files.sort_by_key(|file| file.is_encrypted);
        for file in &files {
            let tried = match file.is_encrypted {
                true => self.with_passphrase(file)?,
                false => self.with_file(file, None)?,
            };
            if self.is_last(&format!("{}", file.path.display()), tried)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the configured key files. A missing one is skipped, as in ssh.
    fn key_files(&mut self) -> Vec<KeyFile> {
        let mut files = Vec::new();
        for path in &self.host.identities {
            match KeyFile::read(path) {
                Ok(Some(file)) => files.push(file),
                Ok(None) if self.host.identities_only => {
                    self.tried.push(format!("{} is missing", path.display()));
                }
                Ok(None) => {}
                Err(cause) => self.tried.push(cause.to_string()),
            }
        }
        files
    }

    /// Tries the keys of the agent. Removes from `files` the key files whose keys the agent has,
    /// since they need not be tried again.
    fn is_let_in_by_agent(&mut self, files: &mut Vec<KeyFile>) -> Result<bool> {
        let Some(path) = self.host.agent.clone() else {
            return Ok(false);
        };
        let ssh = self.session.ssh();
        let open = || -> Result<Agent, ssh2::Error> {
            let mut agent = ssh.agent()?;
            agent.set_identity_path(&path)?;
            agent.connect()?;
            agent.list_identities()?;
            Ok(agent)
        };
        let offered = open().and_then(|agent| Ok((agent.identities()?, agent)));
        let Ok((identities, agent)) = offered else {
            self.tried
                .push(format!("no agent answers at {}", path.display()));
            return Ok(false);
        };
        let rank = |blob: &[u8]| {
            let mut publics = files.iter().map(|file| file.public.as_ref());
            publics.position(|public| public.is_some_and(|public| public.0 == blob))
        };
        let mut ranked: Vec<_> = identities
            .iter()
            .map(|identity| (rank(identity.blob()).unwrap_or(usize::MAX), identity))
            .filter(|(rank, _)| *rank != usize::MAX || !self.host.identities_only)
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        files.retain(|file| {
            let is_file = |blob: &[u8]| file.public.as_ref().is_some_and(|public| public.0 == blob);
            !identities.iter().any(|identity| is_file(identity.blob()))
        });
        for (_, identity) in ranked.into_iter().take(KEY_LIMIT) {
            let userauth = || agent.userauth(&self.host.user, identity);
            let tried = judged(self.session.drive(userauth)?);
            let name = format!("{} of the agent", identity.comment());
            if self.is_last(&name, tried)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records the result of an attempt. Returns whether authentication succeeded.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the server closed the connection, so that no other key can be
    /// tried.
    fn is_last(&mut self, name: &str, tried: Tried) -> Result<bool> {
        match tried {
            Tried::LetIn => return Ok(true),
            Tried::Refused => self.tried.push(format!("{name} {WAS_REFUSED}")),
            Tried::Unusable(why) => self.tried.push(format!("{name}: {why}")),
            Tried::Lost if self.tried.is_empty() => {
                return Err(Error::new(Kind::Unavailable, "the server hung up"));
            }
            Tried::Lost => return Err(self.refused()),
        }
        Ok(false)
    }

    fn with_file(&self, file: &KeyFile, passphrase: Option<&str>) -> Result<Tried> {
        let Some(private) = &file.private else {
            return Ok(Tried::Unusable("no agent has the key".to_owned()));
        };
        let (ssh, user) = (self.session.ssh(), &self.host.user);
        let userauth = || ssh.userauth_pubkey_memory(user, None, private, passphrase);
        Ok(judged(self.session.drive(userauth)?))
    }

    /// Tries an encrypted key, with the passphrase entered earlier or else with one that the user
    /// enters now.
    fn with_passphrase(&self, file: &KeyFile) -> Result<Tried> {
        // Held while the user is asked, so that only one question is shown at a time.
        let mut memory = self.endpoint.memory();
        if let Some((_, passphrase)) = memory
            .passphrases
            .iter()
            .find(|(path, _)| *path == file.path)
        {
            return self.with_file(file, Some(passphrase));
        }
        for attempt in 0..TRIES {
            let question = Question::Passphrase {
                key: file.path.clone(),
                is_repeated: attempt > 0,
            };
            let Some(passphrase) = self.endpoint.ask()(&question)? else {
                let path = file.path.display();
                let why = format!(
                    "is protected by a passphrase, and there is no terminal to prompt on: ssh-add {path}"
                );
                return Ok(Tried::Unusable(why));
            };
            match self.with_file(file, Some(&passphrase))? {
                Tried::Unusable(_) => {}
                tried => {
                    let passphrase = Zeroizing::new(passphrase.to_string());
                    memory.passphrases.push((file.path.clone(), passphrase));
                    return Ok(tried);
                }
            }
        }
        Ok(Tried::Unusable("wrong passphrase".to_owned()))
    }

    /// Returns the remedy for missing or rejected keys. The reason for an unusable key is already
    /// part of the message.
    fn hint(&self, methods: &str) -> &'static str {
        let is_refusal = |tried: &String| tried.ends_with(WAS_REFUSED);
        match self.tried.is_empty() {
            _ if !methods.contains("publickey") => ", and here nothing but keys is used",
            true => "; to make a key: ssh-keygen, and to have it let in: ssh-copy-id",
            false if self.tried.iter().all(is_refusal) => "; to have a key let in: ssh-copy-id",
            false => "",
        }
    }

    /// Builds the error, which includes the methods that the server accepts.
    fn refused(&self) -> Error {
        let user = &self.host.user;
        let methods =
            (self.session).drive(|| (self.session.ssh().auth_methods(user)).map(str::to_owned));
        let tried = match self.tried.is_empty() {
            true => "no SSH key found: neither an agent nor a file provides one".to_owned(),
            false => self.tried.join(", "),
        };
        match methods {
            Ok(Ok(methods)) => {
                let hint = self.hint(&methods);
                let methods = methods.replace(',', ", ");
                let cause =
                    format!("not let in as {user}: {tried}; the server takes {methods}{hint}");
                Error::new(Kind::Denied, cause)
            }
            // libssh2 reports a closed connection as one more rejection. Either the connection was
            // lost, or the server limits the number of attempts.
            _ => {
                let cause = format!(
                    "the server hung up; before that: {tried}; if there are many keys, say which \
                     one to use (identity, IdentitiesOnly)"
                );
                Error::new(Kind::Unavailable, cause)
            }
        }
    }
}

/// Converts the result of libssh2.
fn judged(outcome: Result<(), ssh2::Error>) -> Tried {
    match outcome {
        Ok(()) => Tried::LetIn,
        Err(cause) => match cause.code() {
            ErrorCode::Session(code) if REFUSED.contains(&code) => Tried::Refused,
            ErrorCode::Session(code) if LOST.contains(&code) => Tried::Lost,
            _ => Tried::Unusable(broken(&cause).to_string()),
        },
    }
}
