//! CONFIG: what anyone may know of a store, authenticated for those who have its key.
//!
//! Flat TOML: pairs whose values are neither tables nor arrays, so that another parser cannot read
//! a pair of some table as one of the store's. Its last line, `mac = "…"`, is keyed BLAKE3 over every byte before that
//! line, so whoever opens the store learns whether somebody turned a knob in it. It
//! is written once and never changed.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::chunker::Parameters;
use super::codec;
use super::master::{Key, Purpose, random};
use crate::error::{Error, Kind, Result};
use crate::util::{Id, human};

/// The version of the format that this program writes, and the only one it reads.
pub const FORMAT: u32 = 1;
/// First line of the file, for the person who opens it.
const HEADING: &str = "# A Kloset store. Not to be edited: the last line authenticates the rest.\n";
/// Smaller chunks of trees would make lists of chunks too deep.
const TREE_CHUNK_FLOOR_BYTES: u32 = 1 << 10;
/// What the last line starts with.
const MAC: &str = "mac = \"";

/// The facts of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// [`FORMAT`].
    pub format: u32,
    /// A UUID (RFC 9562, version 4) that names the store, and its cache.
    pub store_id: String,
    /// Names the master key without telling anything of it; siblings share it.
    pub key_id: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The zstd level of backups that ask for none.
    pub compression: i32,
    /// Smallest chunk of a file, in bytes.
    pub chunk_minimum: u32,
    /// Usual chunk of a file, in bytes.
    pub chunk_average: u32,
    /// Largest chunk of a file, in bytes.
    pub chunk_maximum: u32,
    /// Smallest chunk of a tree, in bytes.
    pub tree_chunk_minimum: u32,
    /// Usual chunk of a tree, in bytes.
    pub tree_chunk_average: u32,
    /// Largest chunk of a tree, in bytes.
    pub tree_chunk_maximum: u32,
    /// The master key in clear, in a store made with `-plaintext`: no secret is kept from anyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plaintext_master_key: Option<String>,
}

impl Config {
    /// The facts of a new store, made now.
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

    /// The facts of a new store, made now, that has the same key and is used alike.
    pub fn sibling(&self) -> Result<Config> {
        Ok(Config {
            store_id: uuid(random()?),
            created: now(),
            ..self.clone()
        })
    }

    /// How files are cut.
    pub fn chunking(&self) -> Parameters {
        Parameters {
            min_bytes: self.chunk_minimum,
            average_bytes: self.chunk_average,
            max_bytes: self.chunk_maximum,
        }
    }

    /// How trees are cut.
    pub fn tree_chunking(&self) -> Parameters {
        Parameters {
            min_bytes: self.tree_chunk_minimum,
            average_bytes: self.tree_chunk_average,
            max_bytes: self.tree_chunk_maximum,
        }
    }

    /// The id of the key.
    pub fn key_id(&self) -> Result<Id> {
        self.key_id
            .parse()
            .map_err(|_| Error::corrupt("key_id is not 64 hex digits"))
    }

    /// The master key, in a store that does not hide it.
    pub fn plaintext_key(&self) -> Result<Option<Key>> {
        let parse = |digits: &String| digits.parse::<Id>().map(|id| Key::new(id.0));
        self.plaintext_master_key
            .as_ref()
            .map(parse)
            .transpose()
            .map_err(|_| Error::corrupt("the master key is malformed"))
    }

    /// The bytes of CONFIG, authenticated with `master`.
    pub fn encode(&self, master: &Key) -> Result<Vec<u8>> {
        let body = toml::to_string(self)
            .map_err(|cause| Error::new(Kind::Failed, cause.to_string()).during("write CONFIG"))?;
        let text = format!("{HEADING}{body}");
        let mac = mac(master, text.as_bytes());
        Ok(format!("{text}{MAC}{mac}\"\n").into_bytes())
    }

    /// Reads CONFIG, without telling yet whether it is authentic.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], or [`Kind::Unsupported`] for a version that is not ours.
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
    /// [`Kind::Corrupt`] unless whoever wrote these bytes had `master`.
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

    /// Whether the values make sense; they may be anyone's until they are authenticated.
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

/// The time, to the second, as CONFIG tells it.
fn now() -> String {
    let seconds = jiff::Timestamp::now().as_second();
    human::time(seconds.saturating_mul(1_000_000_000))
}

/// Hex digits of the MAC over `text`.
fn mac(master: &Key, text: &[u8]) -> String {
    let key = master.derive(Purpose::ConfigMac);
    blake3::keyed_hash(key.bytes(), text).to_hex().to_string()
}

/// A parser's words on one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// 122 random bits in the shape of RFC 9562, section 5.4.
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
