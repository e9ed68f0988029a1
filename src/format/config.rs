//! CONFIG: the public facts of a store, authenticated with its key.
//!
//! Flat TOML: no value is a table or an array, so that no other parser can read a pair of a nested
//! table as one of the top level. The last line, `mac = "…"`, is a keyed BLAKE3 hash of every byte
//! before that line. It shows anyone who opens the store whether CONFIG was modified. The file is
//! written once and never changed.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::chunker::Parameters;
use super::codec;
use super::master::{Key, Purpose, random};
use crate::error::{Error, Kind, Result};
use crate::util::{Id, human};

/// The format version that this program writes. It is the only one that it reads.
pub const FORMAT: u32 = 1;
/// First line of the file, for human readers.
const HEADING: &str = "# A Kloset store. Not to be edited: the last line authenticates the rest.\n";
/// Minimum for the smallest tree chunk. With smaller chunks, lists of chunks would be too deep.
const TREE_CHUNK_FLOOR_BYTES: u32 = 1 << 10;
/// The beginning of the last line.
const MAC: &str = "mac = \"";

/// The facts of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The format version: [`FORMAT`].
    pub format: u32,
    /// A UUID (RFC 9562, version 4) that identifies the store and its cache.
    pub store_id: String,
    /// Identifies the master key without revealing anything about it. Siblings have the same one.
    pub key_id: String,
    /// Creation time, RFC 3339 in UTC.
    pub created: String,
    /// The default zstd level of backups.
    pub compression: i32,
    /// Minimum size of a file chunk, in bytes.
    pub chunk_minimum: u32,
    /// Average size of a file chunk, in bytes.
    pub chunk_average: u32,
    /// Maximum size of a file chunk, in bytes.
    pub chunk_maximum: u32,
    /// Minimum size of a tree chunk, in bytes.
    pub tree_chunk_minimum: u32,
    /// Average size of a tree chunk, in bytes.
    pub tree_chunk_average: u32,
    /// Maximum size of a tree chunk, in bytes.
    pub tree_chunk_maximum: u32,
    /// The master key in plain text, in a store created with `-plaintext`. Such a store has no
    /// secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plaintext_master_key: Option<String>,
}

impl Config {
    /// The facts of a new store that is created now.
    pub fn new(compression: i32) -> Result<Config> {
        Ok(Config {
            format: FORMAT,
            store_id: uuid(random()?),
            key_id: Id(random()?).to_string(),
            created: now(),
            compression,
            chunk_minimum: 64 << 10,
            chunk_average: 256 << 10,
            chunk_maximum: 1 << 20,
            tree_chunk_minimum: 4 << 10,
            tree_chunk_average: 16 << 10,
            tree_chunk_maximum: 64 << 10,
            plaintext_master_key: None,
        })
    }

    /// The facts of a new store that is created now, with the same key and the same parameters.
    pub fn sibling(&self) -> Result<Config> {
        Ok(Config {
            store_id: uuid(random()?),
            created: now(),
            ..self.clone()
        })
    }

    /// Chunking parameters for files.
    pub fn chunking(&self) -> Parameters {
        Parameters {
            min_bytes: self.chunk_minimum,
            average_bytes: self.chunk_average,
            max_bytes: self.chunk_maximum,
        }
    }

    /// Chunking parameters for trees.
    pub fn tree_chunking(&self) -> Parameters {
        Parameters {
            min_bytes: self.tree_chunk_minimum,
            average_bytes: self.tree_chunk_average,
            max_bytes: self.tree_chunk_maximum,
        }
    }

    /// The parsed `key_id`.
    pub fn key_id(&self) -> Result<Id> {
        self.key_id
            .parse()
            .map_err(|_| Error::corrupt("key_id is not 64 hex digits"))
    }

    /// The master key of an unencrypted store; `None` if the store is encrypted.
    pub fn plaintext_key(&self) -> Result<Option<Key>> {
        let parse = |digits: &String| digits.parse::<Id>().map(|id| Key::new(id.0));
        self.plaintext_master_key
            .as_ref()
            .map(parse)
            .transpose()
            .map_err(|_| Error::corrupt("the master key is malformed"))
    }

    /// Encodes CONFIG and authenticates it with `master`.
    pub fn encode(&self, master: &Key) -> Result<Vec<u8>> {
        let body = toml::to_string(self)
            .map_err(|cause| Error::new(Kind::Failed, cause.to_string()).during("write CONFIG"))?;
        let text = format!("{HEADING}{body}");
        let mac = mac(master, text.as_bytes());
        Ok(format!("{text}{MAC}{mac}\"\n").into_bytes())
    }

    /// Decodes CONFIG. The result is not authenticated: see [`Config::authenticate`].
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for malformed content, [`Kind::Unsupported`] for an unknown format
    /// version.
    pub fn decode(bytes: &[u8]) -> Result<Config> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::corrupt("not text"))?;
        let malformed = |cause: toml::de::Error| Error::corrupt(one_line(cause.message()));
        let Version { format } = toml::from_str(text).map_err(malformed)?;
        if format != FORMAT {
            return Err(Error::new(
                Kind::Unsupported,
                format!("store format {format}; this program knows {FORMAT}"),
            ));
        }
        let table: toml::Table = toml::from_str(text).map_err(malformed)?;
        let is_nested = |value: &toml::Value| value.is_table() || value.is_array();
        if let Some((key, _)) = table.iter().find(|(_, value)| is_nested(value)) {
            return Err(Error::corrupt(format!("{key} is not a single value")));
        }
        let config: Config = toml::from_str(text).map_err(malformed)?;
        config.check()?;
        Ok(config)
    }

    /// # Errors
    /// [`Kind::Corrupt`] unless the bytes were written by a holder of `master`.
    pub fn authenticate(bytes: &[u8], master: &Key) -> Result<()> {
        let forged =
            || Error::corrupt("does not authenticate: it was changed by someone without the key");
        let text = std::str::from_utf8(bytes).map_err(|_| forged())?;
        let at = text
            .rfind(MAC)
            .filter(|at| text[..*at].ends_with('\n'))
            .ok_or_else(forged)?;
        let claimed = text[at + MAC.len()..]
            .strip_suffix("\"\n")
            .ok_or_else(forged)?;
        match bool::from(
            mac(master, &text.as_bytes()[..at])
                .as_bytes()
                .ct_eq(claimed.as_bytes()),
        ) {
            true => Ok(()),
            false => Err(forged()),
        }
    }

    /// Checks that the values are plausible. Before authentication they are untrusted.
    fn check(&self) -> Result<()> {
        let hexadecimal = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
        if self.store_id.len() != 36 || !self.store_id.chars().all(hexadecimal) {
            return Err(Error::corrupt("store_id is not a UUID"));
        }
        if !codec::LEVELS.contains(&self.compression) {
            return Err(Error::corrupt(format!(
                "compression level {}",
                self.compression
            )));
        }
        if self.tree_chunk_minimum < TREE_CHUNK_FLOOR_BYTES {
            return Err(Error::corrupt(format!(
                "tree chunks of {} bytes",
                self.tree_chunk_minimum
            )));
        }
        self.key_id()?;
        self.chunking().check()?;
        self.tree_chunking().check()
    }
}

/// The current time in the format of CONFIG, with a precision of one second.
fn now() -> String {
    let seconds = jiff::Timestamp::now().as_second();
    human::time(seconds.saturating_mul(1_000_000_000))
}

/// The MAC of `text` in hexadecimal digits.
fn mac(master: &Key, text: &[u8]) -> String {
    let key = master.derive(Purpose::ConfigMac);
    blake3::keyed_hash(key.bytes(), text).to_hex().to_string()
}

/// The message of a parser, on one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Formats 122 random bits as a UUID (RFC 9562, section 5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_round_trips_and_authenticates() {
        let config = Config::new(3).unwrap();
        let key = Key::new([1; 32]);
        let bytes = config.encode(&key).unwrap();
        assert_eq!(Config::decode(&bytes).unwrap(), config);
        Config::authenticate(&bytes, &key).unwrap();
        assert!(Config::authenticate(&bytes, &Key::new([2; 32])).is_err());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let key = Key::new([1; 32]);
        let bytes = Config::new(3).unwrap().encode(&key).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Config::authenticate(&bad, &key).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        assert_eq!(
            Config::decode(b"format = 2\n").unwrap_err().kind(),
            Kind::Unsupported
        );
        assert_eq!(Config::decode(b"form").unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(Config::decode(b"").unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn pairs_lie_at_the_top_level_only() {
        let key = Key::new([1; 32]);
        let bytes = Config::new(3).unwrap().encode(&key).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for (more, kind) in [
            ("later = 1.5\n", None),
            ("[table]\n", Some(Kind::Corrupt)),
            ("[[array]]\n", Some(Kind::Corrupt)),
            ("a.b = 1\n", Some(Kind::Corrupt)),
            ("a = [1]\n", Some(Kind::Corrupt)),
            ("format = 1\n", Some(Kind::Corrupt)),
        ] {
            let changed = text.replace("mac = ", &format!("{more}mac = "));
            let outcome = Config::decode(changed.as_bytes());
            assert_eq!(outcome.err().map(|error| error.kind()), kind, "{more}");
        }
        let later = Config::decode(b"format = 2\n[table]\n").unwrap_err();
        assert_eq!(later.kind(), Kind::Unsupported);
    }
}
