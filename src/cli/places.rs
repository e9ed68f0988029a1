//! The places of this machine that a backup is given.
//!
//! A place is a path, or `fs:` or `file:` and a path; it need not be UTF-8. Links in it
//! are followed, the last name included: whoever names a link to a directory wants what
//! is in that. What is recorded is the path that no link is in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::escape::printable;
use crate::error::{During, Error, Kind, Result};

/// The places that `words` name, absolute, sorted, each once; the current directory if
/// there are none.
///
/// # Errors
/// [`Kind::NotFound`] for a place that is not there, [`Kind::Usage`] for a URL that
/// nobody here understands.
pub fn resolved(words: &[OsString]) -> Result<Vec<Vec<u8>>> {
    let here = [OsString::from(".")];
    let words = if words.is_empty() { &here } else { words };
    let mut places: Vec<Vec<u8>> = words
        .iter()
        .map(|word| place(word))
        .collect::<Result<_>>()?;
    places.sort();
    places.dedup();
    Ok(places)
}

/// The absolute path of one place.
fn place(word: &OsStr) -> Result<Vec<u8>> {
    let path = path_of(word.as_bytes())?;
    let absolute = fs::canonicalize(OsStr::from_bytes(path));
    let absolute = absolute.during(|| printable(word.as_bytes()))?;
    Ok(absolute.into_os_string().into_vec())
}

/// The path that `word` spells.
fn path_of(word: &[u8]) -> Result<&[u8]> {
    if let Some(name) = word.strip_prefix(b"@") {
        let message = format!("no source named {}", printable(name));
        return Err(Error::new(Kind::NotFound, message));
    }
    for scheme in [&b"fs:"[..], b"file:"] {
        if let Some(path) = word.strip_prefix(scheme) {
            return Ok(path.strip_prefix(b"//").unwrap_or(path));
        }
    }
    let scheme = word.windows(3).position(|letters| letters == b"://");
    match scheme.map(|length| &word[..length]) {
        Some(scheme) if scheme.iter().all(u8::is_ascii_alphanumeric) => Err(Error::usage(format!(
            "no source speaks {}://",
            printable(scheme)
        ))),
        _ => Ok(word),
    }
}

/// Device and inode of what is at `path`, if anything is: no backup enters it, by
/// whatever name it comes along.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_however_it_is_spelt() {
        for spelling in [
            "/tmp",
            "fs:/tmp",
            "fs:///tmp",
            "file:///tmp",
            "/tmp/../tmp/.",
        ] {
            assert_eq!(
                resolved(&[spelling.into()]).unwrap(),
                [b"/tmp"],
                "{spelling}"
            );
        }
        assert_eq!(resolved(&["/tmp".into(), "/tmp/".into()]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_there_or_not_understood_is_told() {
        let kind = |word: &str| resolved(&[word.into()]).unwrap_err().kind();
        assert_eq!(kind("/no/such/place"), Kind::NotFound);
        assert_eq!(kind("@home"), Kind::NotFound);
        assert_eq!(kind("sftp://nas/home"), Kind::Usage);
    }
}
