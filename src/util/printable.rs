//! Escaping of file names for output: a file name may contain any byte, and a terminal interprets
//! some of them.
//!
//! A user who can create a file that is backed up could otherwise move the cursor, recolor or
//! retitle the terminal of the user who lists it, or make two names look equal. Therefore
//! characters that a terminal interprets or does not show are never printed.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns `bytes` as one printable line. Escapes control characters, invisible characters,
/// characters that reorder text, and bytes that are not UTF-8. A backslash is not escaped, so a
/// printable line remains unchanged.
pub fn printable(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for letter in part.valid().chars() {
            match letter.is_control() || is_invisible(letter) {
                true => shown.extend(letter.escape_default()),
                false => shown.push(letter),
            }
        }
        for byte in part.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Like [`printable`], for a path.
pub fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Whether `letter` is invisible or changes how other characters are displayed: the Unicode
/// property `Default_Ignorable_Code_Point`, which includes zero-width characters, bidirectional
/// controls (UAX
/// #9), variation selectors and tags; line separators; and annotations.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_receives_no_control_character() {
        assert_eq!(printable(b"plain \xc3\xa9 a\\b"), "plain é a\\b");
        assert_eq!(printable(b"\x1b]0;owned\x07\n"), "\\u{1b}]0;owned\\u{7}\\n");
        assert_eq!(
            printable("\u{9b}31m\u{202e}".as_bytes()),
            "\\u{9b}31m\\u{202e}"
        );
        assert_eq!(printable(b"caf\xe9"), "caf\\xe9");
        assert_eq!(printable_path(Path::new("/é\t")), "/é\\t");
    }

    #[test]
    fn invisible_characters_are_escaped_and_visible_ones_are_not() {
        for invisible in [
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{202a}',
            '\u{2028}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0000}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
        ] {
            let code = u32::from(invisible);
            assert_eq!(
                printable(format!("a{invisible}b").as_bytes()),
                format!("a\\u{{{code:x}}}b")
            );
        }
        let visible = "naïve Ω 日本語 עברית 👍🏽 e\u{301}\u{a0}\u{fffd}";
        assert_eq!(printable(visible.as_bytes()), visible);
    }

    #[test]
    fn what_is_printable_stays_the_same() {
        let once = printable(b"a\x1b\xff\\\xe2\x80\xae");
        assert_eq!(printable(once.as_bytes()), once);
    }
}
