//! Parses the conditions of one alternative.

use super::{Condition, Open, Operator, Version};

const OPERATORS: [(&str, Operator); 12] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
    ("", Operator::Equal),
];

/// Parses conditions that are separated by commas or spaces.
pub(super) fn conditions(text: &str) -> Result<Vec<Condition>, String> {
    let mut conditions = Vec::new();
    let mut rest = text.trim_ascii_start();
    loop {
        let (operator_text, operator) = operator(rest);
        let after = rest[operator_text.len()..].trim_ascii_start();
        let (first, after) = version(after)?;
        let range = if operator_text.is_empty() { range_end(after)? } else { None };
        let is_range = range.is_some();
        rest = match range {
            Some((last, after)) => {
                conditions.push(condition(Operator::GreaterOrEqual, first)?);
                conditions.push(condition(Operator::LessOrEqual, last)?);
                after
            }
            None => {
                conditions.push(condition(operator, first)?);
                after
            }
        };
        let trimmed = rest.trim_ascii_start();
        let after_comma = trimmed.strip_prefix(',');
        if trimmed.is_empty() {
            return Ok(conditions);
        }
        if after_comma.is_none() && trimmed.len() == rest.len() && !is_range {
            return Err(format!("a comma or a space is missing before {trimmed:?}"));
        }
        rest = after_comma.unwrap_or(trimmed).trim_ascii_start();
    }
}

fn operator(text: &str) -> (&'static str, Operator) {
    OPERATORS.into_iter().find(|(operator, _)| text.starts_with(operator)).unwrap_or(("", Operator::Equal))
}

/// Parses ` - VERSION`.
fn range_end(text: &str) -> Result<Option<(Parts<'_>, &str)>, String> {
    let Some(rest) = text.trim_ascii_start().strip_prefix('-') else { return Ok(None) };
    let after = rest.trim_ascii_start();
    if text.starts_with('-') || after.len() == rest.len() {
        return Ok(None);
    }
    version(after).map(Some)
}

/// The text of a version: up to three numbers or wildcards, and the rest from the hyphen on.
struct Parts<'a> {
    numbers: Vec<&'a str>,
    suffix: &'a str,
}

/// Splits a version from the start of a text.
fn version(text: &str) -> Result<(Parts<'_>, &str), String> {
    let missing = || match text {
        "" => "a version is missing".to_owned(),
        text => format!("{text:?} does not begin with a version"),
    };
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*');
    let mut rest = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        let digits = match numbers.is_empty() {
            true => rest,
            false => match rest.strip_prefix('.') {
                Some(digits) if digits.bytes().next().is_some_and(is_number) => digits,
                _ => break,
            },
        };
        let length = digits.bytes().take_while(|byte| is_number(*byte)).count();
        if length == 0 {
            return Err(missing());
        }
        numbers.push(&digits[..length]);
        rest = &digits[length..];
    }
    let suffix = rest;
    for marker in ['-', '+'] {
        if let Some(identifiers) = rest.strip_prefix(marker) {
            let length = identifiers_length(identifiers);
            if length == 0 {
                break;
            }
            rest = &identifiers[length..];
        }
    }
    Ok((Parts { numbers, suffix: &suffix[..suffix.len() - rest.len()] }, rest))
}

/// Returns the length of identifiers with dots between them.
fn identifiers_length(text: &str) -> usize {
    let mut length = 0;
    for part in text.split('.') {
        let own = part.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
        if own == 0 {
            return length;
        }
        length += own + usize::from(length > 0);
        if own < part.len() {
            break;
        }
    }
    length
}

fn condition(operator: Operator, parts: Parts<'_>) -> Result<Condition, String> {
    let is_wildcard = |part: Option<&&str>| matches!(part, None | Some(&("x" | "X" | "*")));
    // The parts after a wildcard do not count.
    let (open, kept) = match () {
        () if is_wildcard(parts.numbers.first()) => (Open::Major, 0),
        () if is_wildcard(parts.numbers.get(1)) => (Open::Minor, 1),
        () if is_wildcard(parts.numbers.get(2)) => (Open::Patch, 2),
        () => (Open::Nothing, 3),
    };
    let zeros = ["0"; 3];
    let numbers = [&parts.numbers[..kept], &zeros[kept..]].concat().join(".");
    // The metadata of a version with an open part is not kept, because it has no meaning.
    let suffix = if kept == 3 { parts.suffix } else { parts.suffix.split('+').next().unwrap_or_default() };
    let text = format!("{numbers}{suffix}");
    let version = Version::parse(&text).ok_or_else(|| format!("{text:?} is not a version"))?;
    Ok(Condition { operator, version, open })
}
