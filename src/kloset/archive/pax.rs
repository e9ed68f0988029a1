//! Headers of tar: the block of 512 bytes that each member begins with, and the extended
//! header before it that has what the block has no room for (POSIX.1-2024, pax,
//! "pax Interchange Format" and "ustar Interchange Format").
//!
//! ```text
//! 0 name 100  mode 108  uid 116  gid 124  size 136  mtime 148  checksum 156 kind
//! 157 target 257  "ustar\0" "00" 265  user 297  group 329  major 337  minor 345  prefix 500
//! ```
//!
//! Numbers are octal. One that has too many digits is also written as big-endian bytes
//! after 0x80, as GNU tar does, for readers that pass over extended headers.

use std::ops::Range;

/// The length of a header, and what everything else is filled up to.
pub(super) const BLOCK_BYTES: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const TARGET: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

/// The name of extended headers, for readers that do not know them.
const EXTENDED_NAME: &[u8] = b"PaxHeaders";
const NANOSECONDS: u64 = 1_000_000_000;

/// What a member is, by the letter that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Type {
    File = b'0',
    Link = b'1',
    Symlink = b'2',
    CharDevice = b'3',
    BlockDevice = b'4',
    Directory = b'5',
    Fifo = b'6',
    Extended = b'x',
}

/// The header of one member, put together piece by piece. What does not fit goes into the
/// extended header.
pub(super) struct Header {
    block: [u8; BLOCK_BYTES],
    records: Vec<u8>,
    /// Whether a record is neither UTF-8 nor meant to be bytes.
    is_binary: bool,
}

impl Header {
    /// The header of a member of type `kind`.
    pub(super) fn new(kind: Type) -> Header {
        let mut block = [0; BLOCK_BYTES];
        block[KIND] = kind as u8;
        block[MAGIC].copy_from_slice(b"ustar\x0000");
        let mut header = Header {
            block,
            records: Vec::new(),
            is_binary: false,
        };
        header.number(MODE, 0);
        header.number(UID, 0);
        header.number(GID, 0);
        header.number(SIZE, 0);
        header.number(MTIME, 0);
        header.number(MAJOR, 0);
        header.number(MINOR, 0);
        header
    }

    /// The name of the member.
    pub(super) fn name(&mut self, name: &[u8]) {
        let (prefix, rest) = split(name).unwrap_or((b"", &name[..name.len().min(NAME.len())]));
        self.bytes(PREFIX, prefix);
        self.bytes(NAME, rest);
        if split(name).is_none() || is_foreign(name) {
            self.text("path", name);
        }
    }

    /// The name of a member that is not the file itself: its real name is in a record.
    pub(super) fn stand_in_name(&mut self, name: &[u8]) {
        self.bytes(NAME, &name[..name.len().min(NAME.len())]);
    }

    /// Where a link points, or which member it is another name of.
    pub(super) fn target(&mut self, target: &[u8]) {
        self.bytes(TARGET, &target[..target.len().min(TARGET.len())]);
        if target.len() > TARGET.len() || is_foreign(target) {
            self.text("linkpath", target);
        }
    }

    /// Permission bits.
    pub(super) fn mode(&mut self, mode: u32) {
        self.number(MODE, u64::from(mode));
    }

    /// The length of what follows the header.
    pub(super) fn size(&mut self, size_bytes: u64) {
        self.number_or_record(SIZE, "size", size_bytes);
    }

    /// Owner and group, by number and, where they are known, by name.
    pub(super) fn owner(&mut self, ids: (u32, u32), names: (Option<&str>, Option<&str>)) {
        self.number_or_record(UID, "uid", u64::from(ids.0));
        self.number_or_record(GID, "gid", u64::from(ids.1));
        self.owner_name(USER, "uname", names.0.unwrap_or_default());
        self.owner_name(GROUP, "gname", names.1.unwrap_or_default());
    }

    /// Which device it is.
    pub(super) fn device(&mut self, major: u32, minor: u32) {
        self.number(MAJOR, u64::from(major));
        self.number(MINOR, u64::from(minor));
    }

    /// The time of the last change, in nanoseconds since 1970.
    pub(super) fn mtime(&mut self, time_ns: i64) {
        let whole = time_ns.unsigned_abs() / NANOSECONDS;
        let fraction = time_ns.unsigned_abs() % NANOSECONDS;
        let is_plain = time_ns >= 0 && fraction == 0 && fits(MTIME, whole);
        if time_ns >= 0 {
            self.number(MTIME, whole);
        }
        if !is_plain {
            let sign = if time_ns < 0 { "-" } else { "" };
            let digits = format!("{sign}{whole}.{fraction:09}");
            self.record(
                "mtime",
                digits
                    .trim_end_matches('0')
                    .trim_end_matches('.')
                    .as_bytes(),
            );
        }
    }

    /// An extended attribute, in the way of Schily's star. Its name must not have `=` in it.
    pub(super) fn xattr(&mut self, name: &[u8], value: &[u8]) {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in name {
            match byte {
                b'=' => key.extend(b"%3D"),
                b'%' => key.extend(b"%25"),
                byte => key.push(*byte),
            }
        }
        append(&mut self.records, &key, value);
    }

    /// A record of digits or other plain letters.
    pub(super) fn record(&mut self, key: &str, value: &[u8]) {
        append(&mut self.records, key.as_bytes(), value);
    }

    /// A record of text, which may be no text.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.is_binary |= std::str::from_utf8(value).is_err();
        self.record(key, value);
    }

    /// The extended header if it takes one, and the block.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.records.is_empty() {
            let mut records = Vec::new();
            if self.is_binary {
                append(&mut records, b"hdrcharset", b"BINARY");
            }
            records.append(&mut self.records);
            let mut extended = Header::new(Type::Extended);
            extended.stand_in_name(EXTENDED_NAME);
            extended.mode(0o644);
            extended.number(SIZE, records.len() as u64);
            bytes.extend(extended.sealed());
            records.resize(records.len().next_multiple_of(BLOCK_BYTES), 0);
            bytes.append(&mut records);
        }
        bytes.extend(self.sealed());
        bytes
    }

    /// The block with its checksum: the sum of its bytes, its own being blanks.
    fn sealed(mut self) -> [u8; BLOCK_BYTES] {
        self.block[CHECKSUM].fill(b' ');
        let sum: u32 = self.block.iter().map(|byte| u32::from(*byte)).sum();
        let digits = format!("{sum:06o}\0 ");
        self.block[CHECKSUM].copy_from_slice(digits.as_bytes());
        self.block
    }

    /// Puts `bytes`, which fit, into `field`.
    fn bytes(&mut self, field: Range<usize>, bytes: &[u8]) {
        self.block[field][..bytes.len()].copy_from_slice(bytes);
    }

    /// Puts `value` into `field`.
    fn number(&mut self, field: Range<usize>, value: u64) {
        let field_bytes = field.len();
        if fits(field.clone(), value) {
            let digits = format!("{value:0width$o}", width = field_bytes - 1);
            return self.bytes(field, digits.as_bytes());
        }
        self.block[field.clone()].fill(0);
        let bytes = value.to_be_bytes();
        let taken = bytes.len().min(field_bytes - 1);
        self.block[field.end - taken..field.end].copy_from_slice(&bytes[bytes.len() - taken..]);
        self.block[field.start] = 0x80;
    }

    fn number_or_record(&mut self, field: Range<usize>, key: &str, value: u64) {
        self.number(field.clone(), value);
        if !fits(field, value) {
            self.record(key, value.to_string().as_bytes());
        }
    }

    fn owner_name(&mut self, field: Range<usize>, key: &str, name: &str) {
        match name.len() < field.len() && name.is_ascii() {
            true => self.bytes(field, name.as_bytes()),
            false => self.record(key, name.as_bytes()),
        }
    }
}

/// Whether `value` has no more octal digits than `field` takes.
fn fits(field: Range<usize>, value: u64) -> bool {
    value < 1 << (3 * (field.len() - 1))
}

/// Whether a name is text that only an extended header tells the encoding of. What is no
/// text at all is as well off without one.
fn is_foreign(name: &[u8]) -> bool {
    !name.is_ascii() && std::str::from_utf8(name).is_ok()
}

/// `name` as prefix and name of a block, cut at a slash, if it fits.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME.len() {
        return Some((b"", name));
    }
    let least = name.len().checked_sub(NAME.len() + 1)?;
    // A directory ends with a slash, which is no place to cut it.
    let within = name.get(least..name.len() - 1)?;
    let at = least + within.iter().position(|byte| *byte == b'/')?;
    (at > 0 && at <= PREFIX.len()).then(|| (&name[..at], &name[at + 1..]))
}

/// Appends `LENGTH KEY=VALUE\n`, whose length counts its own digits.
fn append(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..2000 {
            let mut records = Vec::new();
            append(&mut records, b"key", &vec![b'x'; length]);
            let told = records.split(|byte| *byte == b' ').next().unwrap();
            let told: usize = std::str::from_utf8(told).unwrap().parse().unwrap();
            assert_eq!(told, records.len());
        }
    }

    #[test]
    fn names_are_cut_at_slashes_or_told_in_full() {
        let long = |name: &str| name.repeat(60);
        let name = format!("{}/{}", long("ab"), long("c"));
        assert_eq!(
            split(name.as_bytes()).map(|(prefix, _)| prefix.len()),
            Some(120)
        );
        for unfit in [
            long("ab"),
            format!("{}/{}", long("abc"), long("c")),
            long("ab") + "/",
        ] {
            assert_eq!(split(unfit.as_bytes()), None);
            let mut header = Header::new(Type::File);
            header.name(unfit.as_bytes());
            let told = format!(" path={unfit}\n");
            let bytes = header.finish();
            assert!(
                bytes
                    .windows(told.len())
                    .any(|window| window == told.as_bytes())
            );
            assert_eq!(bytes.len() % BLOCK_BYTES, 0);
        }
    }

    #[test]
    fn large_numbers_are_told_twice() {
        let mut header = Header::new(Type::File);
        header.size(9 << 30);
        header.owner((4_000_000_000, 1), (None, Some("users")));
        let bytes = header.finish();
        let text = String::from_utf8_lossy(&bytes[BLOCK_BYTES..2 * BLOCK_BYTES]);
        assert!(text.contains("size=9663676416\n") && text.contains("uid=4000000000\n"));
        let block = &bytes[2 * BLOCK_BYTES..];
        assert_eq!(block[SIZE], [0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 0]);
        assert_eq!(block[UID], [0x80, 0, 0, 0, 0xee, 0x6b, 0x28, 0]);
        assert_eq!(&block[GID], b"0000001\0");
    }

    #[test]
    fn times_have_the_digits_that_matter() {
        let told = |time_ns: i64| {
            let mut header = Header::new(Type::File);
            header.mtime(time_ns);
            String::from_utf8(header.records).unwrap()
        };
        assert_eq!(told(5_000_000_000), "");
        assert_eq!(told(5_120_000_000), "14 mtime=5.12\n");
        assert_eq!(told(-1), "22 mtime=-0.000000001\n");
        assert_eq!(told(-2_000_000_000), "12 mtime=-2\n");
    }
}
