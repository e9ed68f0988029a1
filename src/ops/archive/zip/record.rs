//! The records of zip: the header of a member, the lengths that follow its contents, its line in the
//! directory, and the end. All numbers are little-endian.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::connector::FileKind;
use crate::error::{Error, Kind, Result};
use crate::format::entry::Entry;

const MEMBER: u32 = 0x0403_4b50;
const LENGTHS: u32 = 0x0807_4b50;
const DIRECTORY: u32 = 0x0201_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
/// Extra field: 64-bit lengths and positions.
const EXTRA_64: u16 = 0x0001;
/// Extra field: times in seconds since 1970 (Info-ZIP, `UT`).
const EXTRA_TIME: u16 = 0x5455;
/// Extra field: owner and group (Info-ZIP, `ux`).
const EXTRA_OWNER: u16 = 0x7875;

/// The first version with ZIP64.
const VERSION_64: u16 = 45;
/// The first version with directories and deflate.
const VERSION: u16 = 20;
/// Creating system: Unix, so that readers use the modes.
const UNIX: u16 = 3 << 8;
/// Flag: CRC and lengths follow the contents.
const LENGTHS_FOLLOW: u16 = 1 << 3;
/// Flag: the name is UTF-8.
const UTF8: u16 = 1 << 11;
/// MS-DOS attribute of a directory, in the lower half of the attributes.
const DOS_DIRECTORY: u32 = 0x10;
/// 1980-01-01 00:00, the earliest MS-DOS time.
const DOS_BEGINNING: (u16, u16) = (0, 1 << 5 | 1);

/// Replaces a value that is in an [`EXTRA_64`].
const ELSEWHERE: u32 = u32::MAX;
/// Contents of at least this length get 64-bit lengths, since compression may enlarge them slightly.
const LARGE_BYTES: u64 = 0xf000_0000;
/// The encoding of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Method {
    /// Uncompressed; CRC and lengths are known when the header is written.
    Stored = 0,
    /// Compressed; CRC and lengths follow the contents.
    Deflated = 8,
}

/// The values that both the header of a member and the directory contain.
pub(super) struct Member {
    name: Vec<u8>,
    flags: u16,
    method: Method,
    /// MS-DOS time and date, in UTC.
    dos: (u16, u16),
    /// Unix mode and kind in the upper half, MS-DOS attributes in the lower half.
    attributes: u32,
    extra: Vec<u8>,
    position: u64,
    /// Whether the lengths have 64 bits.
    is_large: bool,
}

/// CRC and lengths of contents.
#[derive(Clone, Copy, Default)]
pub(super) struct Lengths {
    /// The CRC-32 of the contents.
    pub(super) crc: u32,
    /// The compressed length, in bytes.
    pub(super) compressed_bytes: u64,
    /// The uncompressed length, in bytes.
    pub(super) size_bytes: u64,
}

impl Member {
    /// A member for the file, directory or link `entry`, which begins at `position` of the archive.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a name that is too long.
    pub(super) fn new(
        name: Vec<u8>,
        entry: &Entry,
        method: Method,
        position: u64,
    ) -> Result<Member> {
        if name.len() > usize::from(u16::MAX) {
            let cause = format!("zip has no names longer than {} bytes", u16::MAX);
            return Err(Error::new(Kind::Unsupported, cause));
        }
        let is_text = std::str::from_utf8(&name).is_ok();
        let lengths_follow = match method {
            Method::Stored => 0,
            Method::Deflated => LENGTHS_FOLLOW,
        };
        Ok(Member {
            flags: lengths_follow | if is_text { UTF8 } else { 0 },
            method,
            dos: dos_time(entry.metadata.mtime_ns),
            attributes: attributes(entry),
            extra: extra(entry),
            position,
            is_large: entry.is_file() && entry.metadata.size_bytes >= LARGE_BYTES,
            name,
        })
    }

    /// The header before the contents, with the lengths that are known.
    pub(super) fn header(&self, lengths: Lengths) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.is_large {
            let both = [lengths.size_bytes, lengths.compressed_bytes];
            put_extra(&mut extra, EXTRA_64, &both.map(u64::to_le_bytes).concat());
        }
        extra.extend_from_slice(&self.extra);
        let mut bytes = MEMBER.to_le_bytes().to_vec();
        self.put_common(&mut bytes, self.is_large);
        match self.is_large {
            true => put(
                &mut bytes,
                &[[0; 4], ELSEWHERE.to_le_bytes(), ELSEWHERE.to_le_bytes()],
            ),
            false => put_lengths(&mut bytes, lengths),
        }
        put(&mut bytes, &[length(&self.name), length(&extra)]);
        bytes.extend_from_slice(&self.name);
        bytes.append(&mut extra);
        bytes
    }

    /// The record after contents whose lengths were not known before.
    pub(super) fn lengths(&self, lengths: Lengths) -> Vec<u8> {
        let mut bytes = LENGTHS.to_le_bytes().to_vec();
        match self.is_large {
            true => {
                put(&mut bytes, &[lengths.crc.to_le_bytes()]);
                let both = [lengths.compressed_bytes, lengths.size_bytes];
                put(&mut bytes, &both.map(u64::to_le_bytes));
            }
            false => put_lengths(&mut bytes, lengths),
        }
        bytes
    }

    /// The line of the member in the directory.
    pub(super) fn line(&self, lengths: Lengths) -> Vec<u8> {
        let wide = |value: u64| value >= u64::from(ELSEWHERE);
        let numbers = [lengths.size_bytes, lengths.compressed_bytes, self.position];
        let elsewhere: Vec<[u8; 8]> = numbers
            .into_iter()
            .filter(|number| wide(*number))
            .map(u64::to_le_bytes)
            .collect();
        let mut extra = Vec::new();
        if !elsewhere.is_empty() {
            put_extra(&mut extra, EXTRA_64, &elsewhere.concat());
        }
        extra.extend_from_slice(&self.extra);
        let is_large = !elsewhere.is_empty() || self.is_large;
        let version = if is_large { VERSION_64 } else { VERSION };
        let mut bytes = DIRECTORY.to_le_bytes().to_vec();
        put(&mut bytes, &[(UNIX | version).to_le_bytes()]);
        self.put_common(&mut bytes, is_large);
        put_lengths(&mut bytes, lengths);
        put(&mut bytes, &[length(&self.name), length(&extra)]);
        // No comment, first disk, no internal attributes.
        put(&mut bytes, &[[0; 2]; 3]);
        put(
            &mut bytes,
            &[self.attributes.to_le_bytes(), narrow(self.position)],
        );
        bytes.extend_from_slice(&self.name);
        bytes.append(&mut extra);
        bytes
    }

    /// Appends version, flags, method and time.
    fn put_common(&self, bytes: &mut Vec<u8>, is_large: bool) {
        let version = if is_large { VERSION_64 } else { VERSION };
        let (time, date) = self.dos;
        let fields = [version, self.flags, self.method as u16, time, date];
        put(bytes, &fields.map(u16::to_le_bytes));
    }
}

/// The end of an archive whose directory has `members` lines and `directory_bytes` bytes and begins
/// at `position`.
pub(super) fn end(members: u64, directory_bytes: u64, position: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = u16::try_from(members).unwrap_or(u16::MAX);
    let is_large = count == u16::MAX || directory_bytes.max(position) >= u64::from(ELSEWHERE);
    if is_large {
        // The rest of the record has 44 bytes.
        put(&mut bytes, &[END_64.to_le_bytes(), [44, 0, 0, 0], [0; 4]]);
        put(
            &mut bytes,
            &[(UNIX | VERSION_64).to_le_bytes(), VERSION_64.to_le_bytes()],
        );
        put(&mut bytes, &[[0; 4]; 2]);
        let numbers = [members, members, directory_bytes, position];
        put(&mut bytes, &numbers.map(u64::to_le_bytes));
        put(&mut bytes, &[LOCATOR_64.to_le_bytes(), [0; 4]]);
        put(&mut bytes, &[(position + directory_bytes).to_le_bytes()]);
        put(&mut bytes, &[1u32.to_le_bytes()]);
    }
    put(&mut bytes, &[END.to_le_bytes(), [0; 4]]);
    put(&mut bytes, &[count, count].map(u16::to_le_bytes));
    put(&mut bytes, &[narrow(directory_bytes), narrow(position)]);
    put(&mut bytes, &[[0; 2]]);
    bytes
}

/// Appends CRC and 32-bit lengths.
fn put_lengths(bytes: &mut Vec<u8>, lengths: Lengths) {
    let fields = [
        lengths.crc.to_le_bytes(),
        narrow(lengths.compressed_bytes),
        narrow(lengths.size_bytes),
    ];
    put(bytes, &fields);
}

/// Appends all of `fields`.
fn put<const N: usize>(bytes: &mut Vec<u8>, fields: &[[u8; N]]) {
    fields
        .iter()
        .for_each(|field| bytes.extend_from_slice(field));
}

/// Appends a short extra field.
fn put_extra(bytes: &mut Vec<u8>, id: u16, value: &[u8]) {
    put(bytes, &[id.to_le_bytes(), length(value)]);
    bytes.extend_from_slice(value);
}

/// The length of a name or of extra fields, which was validated before.
fn length(bytes: &[u8]) -> [u8; 2] {
    let length = u16::try_from(bytes.len()).expect("names were checked, extra fields are short");
    length.to_le_bytes()
}

/// `value` as 32 bits, or the marker for a value that is in an [`EXTRA_64`].
fn narrow(value: u64) -> [u8; 4] {
    u32::try_from(value).unwrap_or(ELSEWHERE).to_le_bytes()
}

/// Kind and mode in the format of the directory.
fn attributes(entry: &Entry) -> u32 {
    let kind = match entry.metadata.kind {
        FileKind::Directory => 0o040_000,
        FileKind::Symlink => 0o120_000,
        _ => 0o100_000,
    };
    let dos = if entry.is_dir() { DOS_DIRECTORY } else { 0 };
    (kind | entry.metadata.mode) << 16 | dos
}

/// The extra fields for the owner and, if it fits, the time.
fn extra(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    let seconds = entry.metadata.mtime_ns.div_euclid(1_000_000_000);
    if let Ok(seconds) = i32::try_from(seconds) {
        // 1: of the possible times, only the modification time.
        let value = [&[1][..], &seconds.to_le_bytes()].concat();
        put_extra(&mut bytes, EXTRA_TIME, &value);
    }
    let (uid, gid) = (
        entry.metadata.uid.to_le_bytes(),
        entry.metadata.gid.to_le_bytes(),
    );
    // Version 1, and two numbers of 4 bytes.
    let value = [&[1, 4][..], &uid, &[4], &gid].concat();
    put_extra(&mut bytes, EXTRA_OWNER, &value);
    bytes
}

/// Time and date in the MS-DOS format, with a resolution of two seconds.
fn dos_time(time_ns: i64) -> (u16, u16) {
    let seconds = time_ns.div_euclid(1_000_000_000);
    let Ok(moment) = Timestamp::from_second(seconds) else {
        return DOS_BEGINNING;
    };
    let moment = TimeZone::UTC.to_datetime(moment);
    let years = match u16::try_from(moment.year() - 1980) {
        Ok(years) if years < 128 => years,
        _ => return DOS_BEGINNING,
    };
    let field = |value: i8| u16::from(value.unsigned_abs());
    let date = years << 9 | field(moment.month()) << 5 | field(moment.day());
    let half_seconds = field(moment.second()) / 2;
    let time = field(moment.hour()) << 11 | field(moment.minute()) << 5 | half_seconds;
    (time, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_ms_dos() {
        assert_eq!(dos_time(0), DOS_BEGINNING);
        assert_eq!(dos_time(i64::MAX), DOS_BEGINNING, "after 2107");
        // 2001-02-03 04:05:07
        assert_eq!(
            dos_time(981_173_107_999_999_999),
            (4 << 11 | 5 << 5 | 3, 21 << 9 | 2 << 5 | 3)
        );
    }

    #[test]
    fn numbers_that_do_not_fit_stand_elsewhere() {
        let plain = end(3, 100, 1000);
        assert_eq!((plain.len(), &plain[8..12]), (22, &[3, 0, 3, 0][..]));
        for large in [end(65_535, 100, 1000), end(3, 100, 1 << 32)] {
            assert_eq!(large.len(), 56 + 20 + 22);
            let at = u64::from_le_bytes(large[64..72].try_into().unwrap());
            let begun = u64::from_le_bytes(large[48..56].try_into().unwrap());
            assert_eq!(at, begun + 100);
        }
    }
}
