//! Host key verification: compares the key of the server with `known_hosts`.
//!
//! A changed key is never trusted, regardless of the configuration, unless the user disabled the
//! verification. An unknown key is trusted if the user accepts it at the terminal or if the
//! configuration allows it. Otherwise the error contains the command that records the key.

use ssh2::MethodType;

use super::host::{Host, Role, Strict};
use super::known_hosts::{self, Known, PublicKey, Verdict};
use super::session::{Session, broken};
use super::{Ask, Endpoint, Options, Question};
use crate::error::{Error, Kind, Result};

/// The accepted key types, cheapest first. Types that use SHA-1 are excluded.
const ALGORITHMS: [(&str, &str); 6] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
];
/// The number of attempts to answer the question about an unknown key.
const TRIES: u32 = 5;

/// The known keys of a host, read before connecting.
pub(super) struct Trust<'a> {
    host: &'a Host,
    options: &'a Options,
    known: Known,
    /// Whether verification is disabled.
    is_blind: bool,
}

impl<'a> Trust<'a> {
    /// Reads the known keys of `host`.
    pub(super) fn new(host: &'a Host, role: Role, options: &'a Options) -> Result<Trust<'a>> {
        let files = [host.user_known_hosts.as_slice(), &host.global_known_hosts].concat();
        let is_blind = options.insecure_ignore_host_key && role == Role::Target;
        let known = match is_blind {
            true => Known::default(),
            false => Known::read(&files, &host.key_name)?,
        };
        Ok(Trust {
            host,
            options,
            known,
            is_blind,
        })
    }

    /// Prefers the key types that are known: a server may have several keys, and only those of
    /// known types can be verified.
    pub(super) fn prefer(&self, session: &Session) -> Result<()> {
        let kinds = self.known.kinds();
        let is_known = |kind: &str| kinds.contains(&kind);
        let mut preferred = ALGORITHMS;
        // The sort is stable: the other types keep their order.
        preferred.sort_by_key(|(_, kind)| !is_known(kind));
        let names = preferred.map(|(name, _)| name);
        let set = session
            .ssh()
            .method_pref(MethodType::HostKey, &names.join(","));
        set.map_err(|cause| broken(&cause))
    }

    /// Verifies the host key of the server.
    ///
    /// # Errors
    /// [`Kind::Denied`] if the key is changed, revoked, or unknown and not accepted;
    /// [`Kind::Unavailable`] if the server sent no key.
    pub(super) fn check(&self, session: &Session, endpoint: &Endpoint) -> Result<()> {
        let shown = session.ssh().host_key();
        let (bytes, _) =
            shown.ok_or_else(|| Error::new(Kind::Unavailable, "the server shows no key"))?;
        let key = PublicKey(bytes.to_vec());
        if self.is_blind {
            return Ok(());
        }
        match self.known.judge(&key) {
            Verdict::Known => Ok(()),
            Verdict::Changed(known, origin) => Err(self.changed(&key, known, origin)),
            Verdict::Revoked(origin) => Err(denied(format!(
                "the key of {} was revoked: {} {} in {origin}",
                self.host.key_name,
                key.noun(),
                key.fingerprint()
            ))),
            Verdict::Unknown => self.meet(&key, endpoint),
        }
    }

    fn changed(&self, key: &PublicKey, known: &PublicKey, origin: &str) -> Error {
        denied(format!(
            "the key of {name} has changed: it shows {} {}, and {} {} is known from {origin}; this can be an attack; if the server was reinstalled: ssh-keygen -R '{name}'{}",
            key.noun(),
            key.fingerprint(),
            known.noun(),
            known.fingerprint(),
            self.file_option(origin),
            name = self.host.key_name,
        ))
    }

    /// Returns the option that names the file to ssh-keygen, which by default uses another one.
    fn file_option(&self, origin: &str) -> String {
        let file = origin.rsplit_once(':').map_or(origin, |(file, _)| file);
        format!(" -f {file}")
    }

    /// Decides whether to trust an unknown key.
    fn meet(&self, key: &PublicKey, endpoint: &Endpoint) -> Result<()> {
        // The lock ensures that only one question is shown at a time, and each only once.
        let mut memory = endpoint.memory();
        if memory.met.contains(&key.0) {
            return Ok(());
        }
        match self.host.strict {
            Strict::Yes => return Err(self.unknown(key)),
            Strict::AcceptNew => {}
            Strict::Ask if self.is_accepted(key, endpoint.ask())? => {}
            Strict::Ask => return Err(self.unknown(key)),
        }
        memory.met.push(key.0.clone());
        let Some(file) = self.host.user_known_hosts.first() else {
            return Ok(());
        };
        let recorded = known_hosts::record(file, &self.host.key_name, key, self.host.names);
        if let Err(cause) = recorded {
            let doing = format!(
                "record the key of {} in {}",
                self.host.key_name,
                file.display()
            );
            endpoint.notice(&cause.during(doing));
        }
        Ok(())
    }

    /// Asks the user whether `key` is correct.
    fn is_accepted(&self, key: &PublicKey, ask: &Ask) -> Result<bool> {
        for attempt in 0..TRIES {
            let question = Question::HostKey {
                host: self.host.key_name.clone(),
                kind: key.noun().to_owned(),
                fingerprint: key.fingerprint(),
                is_repeated: attempt > 0,
            };
            let Some(answer) = ask(&question)? else {
                return Ok(false);
            };
            match answer.trim() {
                answer if answer == key.fingerprint() => return Ok(true),
                answer if answer.eq_ignore_ascii_case("yes") => return Ok(true),
                answer if answer.eq_ignore_ascii_case("no") => return Ok(false),
                _ => {}
            }
        }
        Ok(false)
    }

    fn unknown(&self, key: &PublicKey) -> Error {
        let mut command = "ssh".to_owned();
        if let Some(config) = &self.options.config {
            command += &format!(" -F {}", config.display());
        }
        if let Some(file) = &self.options.known_hosts {
            command += &format!(" -o UserKnownHostsFile={}", file.display());
        }
        if self.host.port != super::PORT {
            command += &format!(" -p {}", self.host.port);
        }
        denied(format!(
            "the key of {} is not known: {} {}; to check and record it: {command} {}@{}",
            self.host.key_name,
            key.noun(),
            key.fingerprint(),
            self.host.user,
            self.host.alias,
        ))
    }
}

fn denied(cause: String) -> Error {
    Error::new(Kind::Denied, cause)
}
