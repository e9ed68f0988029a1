//! The headers of a member of a tar archive: the block of 512 bytes at its beginning, preceded by
//! records for values that do not fit in the block (POSIX.1-2024, pax).
//!
//! The crate `tar` encodes both. It writes contents from readers, but here contents arrive in parts;
//! so it encodes only the headers, in memory. This module corrects three of its results:
//!
//! - It leaves the name of the records header empty. Busybox interprets this as the end of the
//!   archive, and the records as a damaged header.
//! - It truncates the leading digits of large device numbers.
//! - It refuses names that do not fit. This module stores the beginning of the name, for readers that
//!   ignore records.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use ::tar::{Builder, EntryType, Header as Block};

/// The length of a header. Everything else is padded to a multiple of it.
pub(super) const BLOCK_BYTES: usize = 512;
/// The name of the records header, for readers that do not know records.
const RECORDS_NAME: &[u8] = b"PaxHeaders";
/// The length of the field for the name of an owner.
const OWNER_NAME_BYTES: usize = 32;
const NANOSECONDS: u64 = 1_000_000_000;

/// Sets the field for the name of an owner.
type SetName = fn(&mut Block, &str) -> io::Result<()>;

/// Builder for the headers of one member.
pub(super) struct Header {
    block: Block,
    records: Vec<(String, Vec<u8>)>,
    /// Whether a record that should be UTF-8 is not.
    is_binary: bool,
}

impl Header {
    /// Creates the header of a member of type `kind`.
    pub(super) fn new(kind: EntryType) -> Header {
        let mut block = Block::new_ustar();
        block.set_entry_type(kind);
        block.set_size(0);
        Header {
            block,
            records: Vec::new(),
            is_binary: false,
        }
    }

    /// Sets the name of the member.
    pub(super) fn name(&mut self, name: &[u8]) {
        let mut block = self.block.clone();
        let fits = block.set_path(OsStr::from_bytes(name)).is_ok();
        match fits {
            true => self.block = block,
            false => self.stand_in_name(name),
        }
        if !fits || is_foreign(name) {
            self.text("path", name);
        }
    }

    /// Sets the name of a member whose real name is in a record. A long name is truncated.
    pub(super) fn stand_in_name(&mut self, name: &[u8]) {
        fill(&mut self.block.as_old_mut().name, name);
    }

    /// Sets the target of a link, or the member to which a further name refers.
    pub(super) fn target(&mut self, target: &[u8]) {
        let fits = fill(&mut self.block.as_old_mut().linkname, target);
        if !fits || is_foreign(target) {
            self.text("linkpath", target);
        }
    }

    /// Sets the permission bits.
    pub(super) fn mode(&mut self, mode: u32) {
        self.block.set_mode(mode);
    }

    /// Sets the length of the contents, in bytes.
    pub(super) fn size(&mut self, size_bytes: u64) {
        self.block.set_size(size_bytes);
        self.large_number("size", size_bytes, self.block.as_old().size[0]);
    }

    /// Sets owner and group, by number and, where known, by name.
    pub(super) fn owner(&mut self, ids: (u32, u32), names: (Option<&str>, Option<&str>)) {
        self.block.set_uid(ids.0.into());
        self.block.set_gid(ids.1.into());
        self.large_number("uid", ids.0.into(), self.block.as_old().uid[0]);
        self.large_number("gid", ids.1.into(), self.block.as_old().gid[0]);
        self.owner_name("uname", names.0, Block::set_username);
        self.owner_name("gname", names.1, Block::set_groupname);
    }

    /// Sets the device number.
    pub(super) fn device(&mut self, major: u32, minor: u32) {
        // The field for the owner has the same form, and there the crate keeps every digit.
        let field = |number: u32| {
            let mut block = Block::new_ustar();
            block.set_uid(number.into());
            block.as_old().uid
        };
        let block = self.block.as_ustar_mut().expect("it was made as one");
        (block.dev_major, block.dev_minor) = (field(major), field(minor));
    }

    /// Sets the modification time, in nanoseconds since 1970.
    pub(super) fn mtime(&mut self, time_ns: i64) {
        let whole = time_ns.unsigned_abs() / NANOSECONDS;
        let fraction = time_ns.unsigned_abs() % NANOSECONDS;
        if time_ns >= 0 {
            self.block.set_mtime(whole);
        }
        if time_ns < 0 || fraction > 0 || is_large(self.block.as_old().mtime[0]) {
            let sign = if time_ns < 0 { "-" } else { "" };
            let digits = format!("{sign}{whole}.{fraction:09}");
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            self.record("mtime", digits.as_bytes());
        }
    }

    /// Adds an extended attribute, in the format of Schily's star.
    pub(super) fn xattr(&mut self, name: &str, value: &[u8]) {
        let name = name.replace('%', "%25").replace('=', "%3D");
        self.record(&format!("SCHILY.xattr.{name}"), value);
    }

    /// Adds a record of digits or raw bytes.
    pub(super) fn record(&mut self, key: &str, value: &[u8]) {
        self.records.push((key.to_owned(), value.to_owned()));
    }

    /// Adds a record of text, which may turn out to be invalid UTF-8.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.is_binary |= std::str::from_utf8(value).is_err();
        self.record(key, value);
    }

    /// The encoded headers: the records, if any are needed, and the block.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut bytes = self.sealed_records();
        self.block.set_cksum();
        bytes.extend(self.block.as_bytes());
        bytes
    }

    fn sealed_records(&self) -> Vec<u8> {
        let binary = self.is_binary.then_some(("hdrcharset", &b"BINARY"[..]));
        let others = self.records.iter();
        let others = others.map(|(key, value)| (key.as_str(), value.as_slice()));
        let mut builder = Builder::new(Vec::new());
        let written = builder.append_pax_extensions(binary.into_iter().chain(others));
        written.expect("memory takes what is written to it");
        let mut bytes = std::mem::take(builder.get_mut());
        if let Some(first) = bytes.get_mut(..BLOCK_BYTES) {
            let mut block = Block::from_byte_slice(first).clone();
            fill(&mut block.as_old_mut().name, RECORDS_NAME);
            block.set_mode(0o644);
            block.set_uid(0);
            block.set_gid(0);
            block.set_cksum();
            first.copy_from_slice(block.as_bytes());
        }
        bytes
    }

    /// Puts a name into its field with `set` if it fits with the terminating zero; otherwise into a
    /// record.
    fn owner_name(&mut self, key: &str, name: Option<&str>, set: SetName) {
        let name = name.unwrap_or_default();
        let fits = name.is_ascii() && name.len() < OWNER_NAME_BYTES;
        if !fits || set(&mut self.block, name).is_err() {
            self.record(key, name.as_bytes());
        }
    }

    /// Adds a record for a number that is not octal in its field, which begins with `first`.
    fn large_number(&mut self, key: &str, value: u64, first: u8) {
        if is_large(first) {
            self.record(key, value.to_string().as_bytes());
        }
    }
}

/// Whether a field that begins with `first` holds a number with too many octal digits.
fn is_large(first: u8) -> bool {
    first & 0x80 != 0
}

/// Copies as much of `bytes` into `field` as fits. Returns whether all of it fit.
fn fill(field: &mut [u8], bytes: &[u8]) -> bool {
    let fitting = bytes.len().min(field.len());
    field[..fitting].copy_from_slice(&bytes[..fitting]);
    fitting == bytes.len()
}

/// Whether a name is non-ASCII text, whose encoding only a record can declare. A record does not help
/// a name that is not valid UTF-8.
fn is_foreign(name: &[u8]) -> bool {
    !name.is_ascii() && std::str::from_utf8(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_told_in_full() {
        let long = |name: &str| name.repeat(60);
        for (name, has_record) in [
            (format!("{}/{}", long("ab"), long("c")), false),
            (long("ab"), true),
            (format!("{}/{}", long("abc"), long("c")), true),
            (long("ab") + "/", true),
        ] {
            let mut header = Header::new(EntryType::Regular);
            header.name(name.as_bytes());
            let told = header.records.first().map(|(_, value)| value.as_slice());
            assert_eq!(told, has_record.then_some(name.as_bytes()));
            let bytes = header.finish();
            assert_eq!(bytes.len(), BLOCK_BYTES * if has_record { 3 } else { 1 });
            assert!(bytes.chunks(BLOCK_BYTES).all(|block| block[0] != 0));
        }
    }

    #[test]
    fn large_numbers_are_told_twice() {
        let mut header = Header::new(EntryType::Block);
        header.size(9 << 30);
        header.owner((4_000_000_000, 1), (None, Some("users")));
        header.device(1, u32::MAX);
        let bytes = header.finish();
        let text = String::from_utf8_lossy(&bytes[BLOCK_BYTES..2 * BLOCK_BYTES]);
        assert!(text.contains("size=9663676416\n") && text.contains("uid=4000000000\n"));
        let block = Block::from_byte_slice(&bytes[2 * BLOCK_BYTES..]);
        let fields = block.as_ustar().unwrap();
        assert_eq!(fields.size, [0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 0]);
        assert_eq!(fields.uid, [0x80, 0, 0, 0, 0xee, 0x6b, 0x28, 0]);
        assert_eq!(&fields.gid, b"0000001\0");
        assert_eq!(&fields.dev_major, b"0000001\0");
        assert_eq!(fields.dev_minor, [0x80, 0, 0, 0, 255, 255, 255, 255]);
    }

    #[test]
    fn times_have_the_digits_that_matter() {
        let told = |time_ns: i64| {
            let mut header = Header::new(EntryType::Regular);
            header.mtime(time_ns);
            header.records.pop()
        };
        let record = |digits: &str| Some(("mtime".to_owned(), digits.into()));
        assert_eq!(told(5_000_000_000), None);
        assert_eq!(told(5_120_000_000), record("5.12"));
        assert_eq!(told(-1), record("-0.000000001"));
        assert_eq!(told(-2_000_000_000), record("-2"));
    }
}
