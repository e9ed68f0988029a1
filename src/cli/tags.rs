//! Parses lists of tags, separated by commas.

use std::ffi::{OsStr, OsString};

use lexopt::ValueExt;

use crate::error::{Error, Result};

/// The maximum length of a tag in bytes. A tag is a word and is shown in listings.
const LIMIT_BYTES: usize = 255;

/// Parses `lists` into tags, sorted, without duplicates.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for tags that `-tag` cannot select: a tag that begins with `!`,
/// which means *without* in a query, or one that contains characters which cannot be typed.
pub fn parse<'a>(lists: impl IntoIterator<Item = &'a OsStr>) -> Result<Vec<String>> {
    let mut tags = Vec::new();
    for list in lists {
        let list = OsString::from(list).string();
        let list = list.map_err(|cause| Error::usage(cause.to_string()))?;
        let words = list.split(',').map(str::trim);
        tags.extend(words.filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    tags.iter().try_for_each(|tag| check(tag))?;
    tags.sort();
    tags.dedup();
    Ok(tags)
}

fn check(tag: &str) -> Result<()> {
    let cause = match tag {
        _ if tag.starts_with('!') => "begins with !, which means \"without\" in a query",
        _ if tag.chars().any(char::is_control) => "holds a control character",
        _ if tag.len() > LIMIT_BYTES => "is longer than 255 bytes",
        _ => return Ok(()),
    };
    Err(Error::usage(format!("the tag {tag:?} {cause}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_each_there_once() {
        let lists = ["b, a,,", "a", ""].map(OsStr::new);
        assert_eq!(parse(lists).unwrap(), ["a", "b"]);
    }

    #[test]
    fn what_no_query_could_ask_for_is_no_tag() {
        for tag in ["!a", "a\tb", &"a".repeat(256)] {
            assert!(parse([OsStr::new(tag)]).is_err(), "{tag:?}");
        }
    }
}
