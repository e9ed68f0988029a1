//! Zip as specified by PKWARE's APPNOTE 6.3, with Info-ZIP's extra fields for Unix metadata.
//!
//! ```text
//! member, member, ... , directory of members [, ZIP64 end, ZIP64 locator], end
//! member   header, name, extra fields, contents [, CRC and lengths]
//! ```
//!
//! Contents are compressed as they arrive, so their CRC and lengths follow them. The directory at the
//! end repeats every header. Until then it is kept compressed in memory, about 30 bytes per member.
//! [`record`] defines the headers.
//!
//! The crate `zip` (9.8.1) is not used: it keeps about 220 bytes per member until the end (66 MiB for
//! 300,000 members with names of 40 bytes, 220 MiB for a million), which small machines do not have,
//! and it accepts only names that are text.
//!
//! A member has its mode, its owner and group ids and its time in seconds. A symbolic link is a file
//! that contains its target. Other metadata cannot be represented.

mod record;

use std::io::{Read, Write};

use flate2::Compression;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::out::Out;
use super::{Holes, Members, Missing};
use crate::connector::FileKind;
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;

use record::{Lengths, Member, Method, end};

/// Compressed bytes that are passed on at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A zip archive that is being written.
pub(super) struct Zip<'a> {
    out: Out<'a>,
    deflate: DeflateEncoder<Vec<u8>>,
    /// The member whose contents are being written.
    open: Option<Open>,
    directory: DeflateEncoder<Vec<u8>>,
    directory_bytes: u64,
    members: u64,
}

/// A member whose contents are being written.
struct Open {
    member: Member,
    crc: Crc,
    size_bytes: u64,
    compressed_bytes: u64,
}

impl<'a> Zip<'a> {
    /// Creates an empty archive.
    pub(super) fn new(out: Out<'a>) -> Zip<'a> {
        let deflate = || DeflateEncoder::new(Vec::new(), Compression::default());
        Zip {
            out,
            deflate: deflate(),
            open: None,
            directory: deflate(),
            directory_bytes: 0,
            members: 0,
        }
    }

    /// Adds a member whose contents are known, without compression.
    fn stored(&mut self, name: Vec<u8>, entry: &Entry, contents: &[u8]) -> Result<()> {
        let member = Member::new(name, entry, Method::Stored, self.out.position())?;
        let mut crc = Crc::new();
        crc.update(contents);
        let lengths = Lengths {
            crc: crc.sum(),
            compressed_bytes: contents.len() as u64,
            size_bytes: contents.len() as u64,
        };
        self.out.write(&member.header(lengths))?;
        self.out.write(contents)?;
        self.note(&member, lengths)
    }

    /// Adds a member whose contents are written to the directory.
    fn note(&mut self, member: &Member, lengths: Lengths) -> Result<()> {
        let line = member.line(lengths);
        self.directory.write_all(&line).during(|| "compress")?;
        self.directory_bytes += line.len() as u64;
        self.members += 1;
        Ok(())
    }

    /// Passes on the compressed bytes of the open member, if there are at least `enough`.
    fn hand_on(&mut self, enough: usize) -> Result<()> {
        let waiting = self.deflate.get_mut();
        if waiting.len() < enough {
            return Ok(());
        }
        if let Some(open) = &mut self.open {
            open.compressed_bytes += waiting.len() as u64;
        }
        self.out.write(waiting)?;
        waiting.clear();
        Ok(())
    }
}

impl Members for Zip<'_> {
    fn takes(&self, kind: FileKind) -> bool {
        matches!(
            kind,
            FileKind::File | FileKind::Directory | FileKind::Symlink
        )
    }

    fn miss(&self, entry: &Entry, missing: &mut Missing) {
        missing.xattrs += u64::from(!entry.details.xattrs.is_empty());
        missing.flags += u64::from(entry.details.flags != 0);
    }

    fn has_links(&self) -> bool {
        false
    }

    fn node(&mut self, name: &[u8], entry: &Entry) -> Result<()> {
        match entry.is_dir() {
            true => self.stored([name, b"/"].concat(), entry, b""),
            false => self.stored(name.to_vec(), entry, &entry.details.target),
        }
    }

    fn link(&mut self, _name: &[u8], _entry: &Entry, _first: &[u8]) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "zip has no hard links"))
    }

    fn file(&mut self, name: &[u8], entry: &Entry) -> Result<Holes> {
        if entry.metadata.size_bytes == 0 {
            self.stored(name.to_vec(), entry, b"")?;
            return Ok(Holes::Zeros);
        }
        let member = Member::new(name.to_vec(), entry, Method::Deflated, self.out.position())?;
        self.out.write(&member.header(Lengths::default()))?;
        self.open = Some(Open {
            member,
            crc: Crc::new(),
            size_bytes: 0,
            compressed_bytes: 0,
        });
        Ok(Holes::Zeros)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.crc.update(bytes);
        open.size_bytes += bytes.len() as u64;
        self.deflate.write_all(bytes).during(|| "compress")?;
        self.hand_on(PIECE_BYTES)
    }

    fn end(&mut self) -> Result<()> {
        if self.open.is_none() {
            return Ok(());
        }
        self.deflate.try_finish().during(|| "compress")?;
        self.hand_on(0)?;
        let waiting = std::mem::take(self.deflate.get_mut());
        self.deflate.reset(waiting).during(|| "compress")?;
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let lengths = Lengths {
            crc: open.crc.sum(),
            compressed_bytes: open.compressed_bytes,
            size_bytes: open.size_bytes,
        };
        self.out.write(&open.member.lengths(lengths))?;
        self.note(&open.member, lengths)
    }

    fn finish(&mut self) -> Result<u64> {
        let position = self.out.position();
        self.directory.try_finish().during(|| "compress")?;
        let directory = std::mem::take(self.directory.get_mut());
        let mut lines = DeflateDecoder::new(&directory[..]);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match lines.read(&mut piece).during(|| "decompress")? {
                0 => break,
                length => self.out.write(&piece[..length])?,
            }
        }
        self.out
            .write(&end(self.members, self.directory_bytes, position))?;
        self.out.finish()
    }
}
