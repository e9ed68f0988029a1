//! The requested range of an object (RFC 9110, section 14).

/// The meaning of a `Range` field for an object of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole object: no range, several ranges, or an unknown or malformed one.
    All,
    /// `length` bytes, at least one, starting at `offset`.
    Part { offset: u64, length: u64 },
    /// A range beyond the end of the object.
    Beyond,
}

/// Interprets `field` for an object of `size` bytes.
pub(super) fn wanted(field: &str, size: u64) -> Wanted {
    let Some((unit, range)) = field.split_once('=') else {
        return Wanted::All;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Wanted::All;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::All;
    }
    match (number(first), number(last)) {
        (Number::None, Number::Is(length)) => part(size.saturating_sub(length), size, size),
        (Number::Is(first), Number::None) => part(first, size, size),
        (Number::Is(first), Number::Is(last)) if first <= last => {
            part(first, last.saturating_add(1), size)
        }
        _ => Wanted::All,
    }
}

/// The range from `first` to before `end`, limited to the object.
fn part(first: u64, end: u64, size: u64) -> Wanted {
    match end.min(size).checked_sub(first) {
        None | Some(0) => Wanted::Beyond,
        Some(length) => Wanted::Part {
            offset: first,
            length,
        },
    }
}

/// The start or end of a range.
enum Number {
    None,
    Is(u64),
    Wrong,
}

/// Parses a number. One that overflows is beyond the end of every object.
fn number(text: &str) -> Number {
    match text.is_empty() {
        true => Number::None,
        false if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Number::Is(text.parse().unwrap_or(u64::MAX))
        }
        false => Number::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_cut_to_what_there_is() {
        let part = |offset, length| Wanted::Part { offset, length };
        for (field, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("Bytes=2-4", part(2, 3)),
            ("bytes=2-", part(2, 8)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=99999999999999999999999-", Wanted::Beyond),
            (
                "bytes=18446744073709551615-18446744073709551615",
                Wanted::Beyond,
            ),
            ("bytes=4-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes", Wanted::All),
        ] {
            assert_eq!(wanted(field, 10), expected, "{field}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Beyond);
        assert_eq!(wanted("bytes=-1", 0), Wanted::Beyond);
    }
}
