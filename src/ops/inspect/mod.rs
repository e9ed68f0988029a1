//! Inspection of a store in detail, to diagnose damage.
//!
//! | question | module |
//! |---|---|
//! | which packs exist, and what does one contain | [`packs`] |
//! | where are the chunks of a file or a directory | [`chunks`] |
//! | where is this chunk, and is it intact there | [`search`] |
//! | what do the index objects contain, and does the local cache agree | [`index`] |
//! | which snapshot is in which object, and what do all snapshots contain | [`snapshots`] |
//!
//! Nothing is changed. Results are passed on as they are found: only the names of all objects are
//! held at the same time. Damage is a normal result: the caller gets it with the name of the damaged
//! object, and then the rest. An error ends the inspection.

pub mod chunks;
pub mod index;
pub mod packs;
pub mod search;
pub mod snapshots;

use crate::error::{During, Error, Kind, Result};
use crate::store::{Area, Object, Store};
use crate::util::Id;
use crate::util::id::ID_BYTES;

/// Maximum number of names in an error about an ambiguous prefix.
const NAMED_LIMIT: usize = 8;

/// A prefix of an id, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    digits: Vec<u8>,
}

impl Prefix {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`Kind::Usage`] unless it is 1 to 64 hex digits.
    pub fn parse(text: &str) -> Result<Prefix> {
        let digit = |letter: char| {
            letter
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
        match digits {
            Some(digits) if (1..=2 * ID_BYTES).contains(&digits.len()) => Ok(Prefix { digits }),
            _ => Err(Error::usage(format!(
                "{text:?} is not the beginning of an id"
            ))),
        }
    }

    /// Whether `id` begins with this prefix.
    pub fn fits(&self, id: &Id) -> bool {
        let halves = id.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        self.digits.iter().zip(halves).all(|(a, b)| *a == b)
    }

    fn digits(&self) -> usize {
        self.digits.len()
    }

    /// The smallest id that begins with this prefix.
    fn least(&self) -> Id {
        let mut id = Id::default();
        for (at, digit) in self.digits.iter().enumerate() {
            id.0[at / 2] |= digit << (4 * (1 - at % 2));
        }
        id
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.digits
            .iter()
            .try_for_each(|digit| write!(f, "{digit:x}"))
    }
}

/// The only object of `area` whose name begins with `prefix`.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::Usage`] if there are several, with their names.
pub fn object(store: &dyn Store, area: Area, prefix: &Prefix) -> Result<Object> {
    let mut found = Vec::new();
    let mut take = |object: Object| {
        if prefix.fits(&object.id) && found.len() <= NAMED_LIMIT {
            found.push(object);
        }
        Ok(())
    };
    let listed = store.list(area, &mut take);
    listed.during(|| format!("list {}", area.name()))?;
    only(prefix, area.name(), found, |object| object.id.to_string())
}

/// The only item of `found`, all of which begin with `prefix`. `what` is their plural noun for
/// messages.
fn only<T>(
    prefix: &Prefix,
    what: &str,
    mut found: Vec<T>,
    name: impl Fn(&T) -> String,
) -> Result<T> {
    match found.len() {
        0 => Err(Error::new(
            Kind::NotFound,
            format!("nothing in {what} begins with {prefix}"),
        )),
        1 => Ok(found.remove(0)),
        count => {
            let more = if count > NAMED_LIMIT { ", …" } else { "" };
            let named: Vec<String> = found.iter().take(NAMED_LIMIT).map(name).collect();
            let named = named.join(", ");
            Err(Error::usage(format!(
                "{prefix} is the beginning of several in {what}: {named}{more}"
            )))
        }
    }
}

/// Every object of `area`, sorted by name. Holds only names, sizes and times.
fn listed(store: &dyn Store, area: Area) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let mut take = |object| {
        objects.push(object);
        Ok(())
    };
    let listed = store.list(area, &mut take);
    listed.during(|| format!("list {}", area.name()))?;
    objects.sort_by_key(|object| object.id);
    Ok(objects)
}

/// Separates damage of one object, which is a result, from errors that end the inspection. An object
/// that was removed since it was listed is not damage: it is skipped (`None`).
fn answered<T>(outcome: Result<T>) -> Result<Option<Result<T>>> {
    match outcome {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) if error.is_of_one_object() => Ok(Some(Err(error))),
        Err(error) => Err(error),
        Ok(value) => Ok(Some(Ok(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_fits_what_begins_like_it_and_nothing_else() {
        let id = Id([0xab; ID_BYTES]);
        for (text, fits) in [
            ("a", true),
            ("AB", true),
            ("aba", true),
            ("b", false),
            ("abb", false),
        ] {
            assert_eq!(Prefix::parse(text).unwrap().fits(&id), fits, "{text}");
        }
        let whole = Prefix::parse(&id.to_string()).unwrap();
        assert_eq!((whole.least(), whole.to_string()), (id, id.to_string()));
        assert_eq!(
            Prefix::parse("abc").unwrap().least().0[..3],
            [0xab, 0xc0, 0]
        );
        for text in ["", "xyz", "é", &"a".repeat(65)] {
            assert_eq!(
                Prefix::parse(text).unwrap_err().kind(),
                Kind::Usage,
                "{text}"
            );
        }
    }

    #[test]
    fn several_are_named_and_none_is_not_found() {
        let prefix = Prefix::parse("a").unwrap();
        let of = |found: Vec<u32>| only(&prefix, "packs", found, u32::to_string);
        assert_eq!(of(vec![7]).unwrap(), 7);
        assert_eq!(of(vec![]).unwrap_err().kind(), Kind::NotFound);
        let several = of(vec![1, 2]).unwrap_err();
        assert_eq!(several.kind(), Kind::Usage);
        assert!(several.to_string().ends_with("packs: 1, 2"), "{several}");
    }
}
