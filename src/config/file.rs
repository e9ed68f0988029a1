//! The bytes of one file, from and to the disk.
//!
//! A reader never sees half a file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// Larger files are a mistake: thousands of names fit.
const LIMIT_BYTES: u64 = 1 << 20;
/// Permission bits that let others than the owner read a file.
const READABLE_BY_OTHERS: u32 = 0o044;

/// What a file holds.
pub(super) struct Contents {
    pub(super) text: Zeroizing<String>,
    /// Whether others than its owner may read it.
    pub(super) is_exposed: bool,
}

/// The file at `path`, if there is one.
///
/// # Errors
/// [`Kind::Unsupported`] for one that is too large or no text.
pub(super) fn read(path: &Path) -> Result<Option<Contents>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::Unsupported, "not a regular file"));
    }
    if metadata.len() > LIMIT_BYTES {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{} bytes: longer than {LIMIT_BYTES}", metadata.len()),
        ));
    }
    // With its capacity from the start, since a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT_BYTES as usize + 64));
    file.take(LIMIT_BYTES).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|cause| {
        let line = 1 + bytes[..cause.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Error::new(Kind::Unsupported, format!("line {line}: not text in UTF-8"))
    })?;
    Ok(Some(Contents {
        text: Zeroizing::new(text.to_owned()),
        is_exposed: metadata.permissions().mode() & READABLE_BY_OTHERS != 0,
    }))
}
