//! Patterns for host and user names, as in ssh_config(5) and sshd(8): `*`, `?`, and lists with
//! patterns negated by `!`.

/// Whether a pattern of `list` matches `name` and no pattern negated by `!` does.
pub(super) fn list_matches<'a>(list: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let mut is_matched = false;
    for pattern in list {
        match pattern.strip_prefix('!') {
            Some(denied) if matches(denied, name) => return false,
            Some(_) => {}
            None => is_matched |= matches(pattern, name),
        }
    }
    is_matched
}

/// Whether `pattern` matches the whole of `name`. The comparison ignores case.
///
/// Backtracks only to the last `*`, so the running time is at most the product of both lengths.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut reached) = (0, 0);
    // Where to continue if the part after the last star does not match here.
    let mut star: Option<(usize, usize)> = None;
    while reached < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, reached));
                at += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[reached]) => {
                at += 1;
                reached += 1;
            }
            _ => match star {
                Some((after, begun)) => {
                    star = Some((after, begun + 1));
                    (at, reached) = (after, begun + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_marks_match_as_in_ssh() {
        for (pattern, name) in [
            ("*", "nas"),
            ("nas", "NAS"),
            ("n?s", "nas"),
            ("*.example.org", "a.b.example.org"),
            ("*a*b*", "xaybz"),
            ("192.168.0.?", "192.168.0.1"),
            ("nas*", "nas"),
            ("*", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("nas", "nas2"), ("n?s", "ns"), ("*.org", "org"), ("", "x")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_denied_matches_nothing() {
        assert!(list_matches(["*.org", "!bad.org"], "a.org"));
        assert!(!list_matches(["*.org", "!bad.org"], "bad.org"));
        assert!(!list_matches(["!bad.org"], "a.org"));
    }
}
