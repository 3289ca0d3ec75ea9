//! Patterns of names, as Go's `path.Match` has them.

use vmroot_model::Reference;

/// The beginning of the full names of Docker Hub.
const DOCKER_HUB: &str = "docker.io/";

/// The beginning of the names of images that podman and buildah have built.
const LOCAL: &str = "localhost/";

/// A pattern of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// Whether the pattern is of full names of Docker Hub, which Docker prints without their registry.
    is_full: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Char(char),
    /// Any character but `/`.
    One,
    /// Any number of characters but `/`.
    Many,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Part {
    fn fits(&self, char: char) -> bool {
        match self {
            Self::Char(own) => *own == char,
            Self::One | Self::Many => char != '/',
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
            }
        }
    }
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a name or a pattern of names".to_owned());
        }
        let mut chars = text.chars();
        let mut parts = Vec::new();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '*' => Part::Many,
                '?' => Part::One,
                '[' => parse_set(&mut chars)?,
                '\\' => Part::Char(chars.next().ok_or("\\ is the last character of the pattern")?),
                char => Part::Char(char),
            });
        }
        Ok(Self { parts, is_full: text.starts_with(DOCKER_HUB) })
    }

    /// Returns whether the pattern matches a name with its tag or digest, or the name alone. An image under `localhost/`
    /// is found by its short name too.
    pub(super) fn fits(&self, reference: &Reference) -> bool {
        let tagged = match reference.tag_or_default() {
            Some(tag) if reference.tag().is_none() => reference.with_tag(tag).unwrap_or_else(|_| reference.clone()),
            _ => reference.clone(),
        };
        let text = if self.is_full { tagged.to_string() } else { tagged.familiar() };
        let is_match = |text: &str| self.matches(text) || self.matches(name_of(text));
        is_match(&text) || text.strip_prefix(LOCAL).is_some_and(is_match)
    }

    /// Returns whether the pattern matches the whole text.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // The part after the last `*`, and the place in the text where it was tried last.
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.parts.get(part) {
                Some(Part::Many) => {
                    retry = Some((part + 1, at));
                    part += 1;
                    continue;
                }
                Some(fixed) if fixed.fits(text[at]) => {
                    (at, part) = (at + 1, part + 1);
                    continue;
                }
                _ => {}
            }
            // The last `*` takes one character more.
            match retry {
                Some((after, from)) if text[from] != '/' => {
                    retry = Some((after, from + 1));
                    (at, part) = (from + 1, after);
                }
                _ => return false,
            }
        }
        self.parts[part..].iter().all(|part| *part == Part::Many)
    }
}

/// Returns a name without its tag and digest.
fn name_of(text: &str) -> &str {
    let text = text.split_once('@').map_or(text, |(name, _)| name);
    // A colon before the last slash belongs to a port.
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    text[last..].find(':').map_or(text, |colon| &text[..last + colon])
}

/// Parses the rest of a set of characters, after `[`.
fn parse_set(chars: &mut std::str::Chars<'_>) -> Result<Part, String> {
    let unfinished = || "[ has no ] to end it".to_owned();
    let mut rest = chars.as_str();
    let negated = rest.starts_with('^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        rest = chars.as_str();
        if rest.starts_with(']') && !ranges.is_empty() {
            chars.next();
            return Ok(Part::Set { negated, ranges });
        }
        let low = parse_bound(chars)?.ok_or_else(unfinished)?;
        let mut high = low;
        if chars.as_str().starts_with('-') {
            chars.next();
            high = parse_bound(chars)?.ok_or_else(unfinished)?;
        }
        ranges.push((low, high));
    }
}

/// Parses a bound of a range. Returns `None` at the end of the text.
fn parse_bound(chars: &mut std::str::Chars<'_>) -> Result<Option<char>, String> {
    match chars.next() {
        Some('\\') => Ok(chars.next()),
        Some(bound @ ('-' | ']')) => Err(format!("{bound} in [ ] needs a \\ before it")),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of Go's documentation of `path.Match`.
    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, matches) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "aäb", true),
            ("a[^a]b", "aäb", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "x", true),
            ("[x\\-]", "-", true),
            ("*x", "xxx", true),
            ("a**", "abc", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), matches, "{pattern} {text}");
        }
        for malformed in ["", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "\\", "[\\"] {
            assert!(Pattern::parse(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn names_match_in_both_forms() {
        let reference = Reference::parse("alpine:3.20").unwrap();
        for (pattern, fits) in [
            ("alpine", true),
            ("alpine:3.20", true),
            ("alpine:3.*", true),
            ("al*", true),
            ("docker.io/library/alpine", true),
            ("docker.io/library/*:3.20", true),
            ("library/alpine", false),
            ("alpin", false),
            ("alpine:3", false),
            ("*/*", false),
            ("*/*/*", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().fits(&reference), fits, "{pattern}");
        }
        let local = Reference::parse("localhost:5000/a/b").unwrap();
        for (pattern, fits) in [("localhost:5000/a/b", true), ("localhost:5000/*/b:latest", true), ("*/a/b", true)] {
            assert_eq!(Pattern::parse(pattern).unwrap().fits(&local), fits, "{pattern}");
        }
    }
}
