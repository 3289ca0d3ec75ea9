//! Regular expressions of Go (RE2), which sync files contain.
//!
//! The syntax of the crate `regex` is nearly the same. The few differences are translated.

use std::fmt;

use regex::Regex;

/// A regular expression that a tag contains a match of. `^` and `$` bind it to the whole tag.
///
/// ```
/// use vmroot_copy::sync::TagPattern;
///
/// let pattern = TagPattern::parse(r"^3\.\d+$").unwrap();
/// assert!(pattern.matches("3.20"));
/// assert!(!pattern.matches("3.20.1"));
/// ```
#[derive(Debug, Clone)]
pub struct TagPattern {
    text: String,
    regex: Regex,
}

/// A regular expression that is malformed or too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a regular expression: {reason}")]
pub struct InvalidPattern {
    /// The regular expression.
    pub text: String,
    /// The reason.
    pub reason: String,
}

impl TagPattern {
    /// Parses a regular expression of Go.
    ///
    /// # Errors
    /// [`InvalidPattern`]: it is malformed, or its machine is too large.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let regex = Regex::new(&translate(text)).map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            InvalidPattern { text: text.to_owned(), reason }
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Returns whether a tag contains a match.
    pub fn matches(&self, tag: &str) -> bool {
        self.regex.is_match(tag)
    }
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TagPattern {}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Translates a regular expression of Go for the crate `regex`: `\Q…\E`, a brace that begins no repetition, and
/// brackets and doubled operators within a class, which Go takes as characters.
fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            rest = after;
            continue;
        }
        let length = match next {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' if in_class && rest.starts_with("[:") && rest.contains(":]") => rest.find(":]").unwrap_or(0) + 2,
            next => next.len_utf8(),
        };
        match next {
            '[' if in_class && length == 1 => out.push('\\'),
            '[' if !in_class => {
                // A bracket right after the opening one, or after its `^`, is a character.
                let negated = rest[1..].starts_with('^');
                let start = 1 + usize::from(negated);
                let bracket = usize::from(rest[start..].starts_with(']'));
                out.push_str(&rest[..start]);
                out.push_str(if bracket > 0 { "\\]" } else { "" });
                rest = &rest[start + bracket..];
                in_class = true;
                continue;
            }
            ']' if in_class => in_class = false,
            '&' | '~' | '-' if in_class && rest[1..].starts_with(next) => out.push('\\'),
            '{' if !in_class && !is_repetition(rest) => out.push('\\'),
            _ => {}
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// Returns whether a text begins with `{3}`, `{3,}` or `{3,5}`.
fn is_repetition(text: &str) -> bool {
    let Some((inner, _)) = text[1..].split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once(',') {
        None => is_number(inner),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, matching, other) in [
            ("^3", "3.20", "v3"),
            ("3", "v3", "v2"),
            (r"^\d+\.\d+$", "3.20", "3.20.1"),
            (r"^1\.13\.[12]-alpine-perl$", "1.13.1-alpine-perl", "1.13.3-alpine-perl"),
            ("(?i)^LATEST$", "latest", "late"),
            (r"\Qa.b\E$", "a.b", "axb"),
            (r"\Qa.b", "a.b", "axb"),
            ("^a{2,3}$", "aa", "a"),
            ("[[:digit:]]", "a1", "a"),
            ("^[[:alpha:]._-]+$", "a.b_c-", "a1"),
            ("^[^a-c]$", "d", "b"),
            ("(?:a|b)c", "bc", "c"),
            (r"\.", "1.2", "12"),
            ("", "anything", "\0"),
        ] {
            let pattern = TagPattern::parse(pattern).unwrap();
            assert!(pattern.matches(matching), "{pattern} {matching}");
            assert!(other == "\0" || !pattern.matches(other), "{pattern} {other}");
        }
    }

    /// These are characters in Go, and operators of the crate `regex`.
    #[test]
    fn other_syntax_is_translated() {
        for (pattern, matching) in [
            ("^[[a]$", "["),
            ("^[a&&b]$", "&"),
            ("^[]a]$", "]"),
            ("^[^]]$", "x"),
            ("a{", "a{"),
            ("x{,5}", "x{,5}"),
            ("^[a~~b]$", "~"),
        ] {
            assert!(TagPattern::parse(pattern).unwrap().matches(matching), "{pattern} {}", translate(pattern));
        }
        let error = TagPattern::parse("a(").unwrap_err();
        assert_eq!(error.to_string(), "\"a(\" is not a regular expression: unclosed group");
        for pattern in ["[", "a**", "\\", "(?<x", "a{9999}{9999}", "[z-a]", "[\\", "\\Q", "[[:x", "[-"] {
            let _ = TagPattern::parse(pattern);
        }
    }
}
