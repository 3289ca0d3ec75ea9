//! Escaping text of an image for a terminal.
//!
//! An attacker can choose the names, labels and messages of an image. An escape sequence in one could set the window's
//! title, clear the screen or send input. A change of writing direction could make one name look like another.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The form in which line breaks and tabs in a text are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineBreaks {
    /// Escaped, as parts of a name or a value.
    Escaped,
    /// Unchanged, for text of several lines.
    Kept,
}

/// Escapes control characters, invisible characters, changes of writing direction and invalid UTF-8, in Rust's
/// notation.
///
/// A backslash is not escaped: names with one are common, and the result is for people, not for programs.
pub(crate) fn escape(bytes: &[u8], breaks: LineBreaks) -> Cow<'_, [u8]> {
    if bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Cow::Borrowed(bytes);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' if breaks == LineBreaks::Kept => text.push(c),
                c if is_unprintable(c) && c.is_ascii() => text.extend((c as u8).escape_ascii().map(char::from)),
                c if is_unprintable(c) => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    Cow::Owned(text.into_bytes())
}

/// Escapes the same characters in serialised JSON, in JSON's notation, so that the value stays the same.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    // A raw line break is indentation: within strings the serialiser has escaped it.
    if !json.chars().any(|c| is_unprintable(c) && c != '\n') {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unprintable(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(text, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// Returns whether a character is a control character, a separator of lines, or invisible.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_format(c)
}

/// Returns whether a character has Unicode's general category Cf: changes of writing direction, joiners, byte order
/// marks, tags. Such a character is invisible, so a name with one looks like the name without it.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> String {
        String::from_utf8(escape(bytes, LineBreaks::Escaped).into_owned()).unwrap()
    }

    /// Tests C0, DEL, C1, changes of direction, separators, and invalid UTF-8.
    #[test]
    fn unprintable_characters_are_escaped() {
        for (bytes, expected) in [
            (&b"plain name"[..], "plain name"),
            ("Grüße 世界 🚀 ❤\u{fe0f} e\u{301}".as_bytes(), "Grüße 世界 🚀 ❤\u{fe0f} e\u{301}"),
            (b"back\\slash", "back\\slash"),
            (b"\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
            (b"a\nb\rc\td\x00\x7f", r"a\nb\rc\td\x00\x7f"),
            ("c1 \u{9b}2J \u{85}".as_bytes(), r"c1 \u{9b}2J \u{85}"),
            (b"raw c1 \x9b2J", r"raw c1 \x9b2J"),
            ("gnp.\u{202e}exe\u{2066}\u{200f}".as_bytes(), r"gnp.\u{202e}exe\u{2066}\u{200f}"),
            ("a\u{2028}b".as_bytes(), r"a\u{2028}b"),
            // Invisible: `paypal` with a zero-width space, a byte order mark, joiners, a soft hyphen, tags.
            ("pay\u{200b}pal \u{feff}x".as_bytes(), r"pay\u{200b}pal \u{feff}x"),
            ("\u{200c}\u{200d}\u{ad}\u{2060}\u{2064}".as_bytes(), r"\u{200c}\u{200d}\u{ad}\u{2060}\u{2064}"),
            ("\u{e0001}\u{e0061}\u{e007f}\u{1d173}".as_bytes(), r"\u{e0001}\u{e0061}\u{e007f}\u{1d173}"),
            ("\u{202a}\u{202b}\u{202c}\u{202d}".as_bytes(), r"\u{202a}\u{202b}\u{202c}\u{202d}"),
            ("\u{2066}\u{2067}\u{2068}\u{2069}\u{61c}".as_bytes(), r"\u{2066}\u{2067}\u{2068}\u{2069}\u{61c}"),
            (b"\xff\xc3(\xe2\x80", r"\xff\xc3(\xe2\x80"),
        ] {
            assert_eq!(line(bytes), expected);
        }
        assert_eq!(&*escape(b"a\n\tb\x1b\n", LineBreaks::Kept), b"a\n\tb\\x1b\n");
    }

    #[test]
    fn escaped_json_keeps_its_value() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}[2J\u{7f}\u{202e}\u{feff}\u{e0061}\n", "list": [1]});
        let json = serde_json::to_string_pretty(&value).unwrap();
        let text = escape_json(&json);
        assert!(text.chars().all(|c| c == '\n' || !is_unprintable(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
