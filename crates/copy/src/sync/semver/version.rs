//! Versions.

use std::cmp::Ordering;

/// A semantic version, read leniently: a `v` before it and missing parts are accepted, as `v1.2` for `1.2.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    /// Empty for a release.
    pre_release: String,
}

impl Version {
    /// Parses a version, or returns `None` if the text is none. Numbers with leading zeros are accepted, except in a
    /// pre-release. Metadata after `+` is checked and left out, because it does not count in comparisons.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, metadata) = match text.split_once('+') {
            Some((text, metadata)) => (text, Some(metadata)),
            None => (text, None),
        };
        let (numbers, pre_release) = match text.split_once('-') {
            Some((numbers, pre_release)) => (numbers, Some(pre_release)),
            None => (text, None),
        };
        let is_identifier =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_padded = |part: &str| part.len() > 1 && part.starts_with('0') && is_number(part);
        if !metadata.is_none_or(|metadata| metadata.split('.').all(is_identifier)) {
            return None;
        }
        if !pre_release.is_none_or(|text| text.split('.').all(|part| is_identifier(part) && !is_padded(part))) {
            return None;
        }
        let mut values = [0; 3];
        for (index, part) in numbers.split('.').enumerate() {
            let digits = Some(part).filter(|part| !part.is_empty() && is_number(part))?;
            *values.get_mut(index)? = digits.parse().ok()?;
        }
        let [major, minor, patch] = values;
        Some(Self { major, minor, patch, pre_release: pre_release.unwrap_or_default().to_owned() })
    }

    /// Returns whether the version is a pre-release, such as `1.2.3-rc.1`.
    pub fn is_pre_release(&self) -> bool {
        !self.pre_release.is_empty()
    }

    /// Compares two versions by the precedence of semantic versioning.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.is_pre_release(), other.is_pre_release()) {
            (false, false) => Ordering::Equal,
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (true, true) => self.compare_pre_release(other),
        })
    }

    /// Compares the pre-releases alone. An empty one is the least.
    pub(super) fn compare_pre_release(&self, other: &Self) -> Ordering {
        let mut others = other.pre_release.split('.');
        for own in self.pre_release.split('.') {
            let Some(other) = others.next() else { return Ordering::Greater };
            let order = match (own.parse::<u64>(), other.parse::<u64>()) {
                (Ok(own), Ok(other)) => own.cmp(&other),
                (Ok(_), Err(_)) if !other.is_empty() => Ordering::Less,
                (Err(_), Ok(_)) if !own.is_empty() => Ordering::Greater,
                _ => own.cmp(other),
            };
            if order.is_ne() {
                return order;
            }
        }
        if others.next().is_some() { Ordering::Less } else { Ordering::Equal }
    }
}
