//! Strings and numbers as Go writes them.

use crate::ast::Number;

/// Returns the bytes of a string in double quotes or backquotes, or `None` if it is malformed.
pub(crate) fn unquote(text: &str) -> Option<Vec<u8>> {
    if let Some(raw) = text.strip_prefix('`') {
        // Go leaves out carriage returns of raw strings.
        return Some(raw.strip_suffix('`')?.replace('\r', "").into_bytes());
    }
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        if next == '\\' {
            rest = escape(rest, '"', &mut bytes)?;
        } else {
            bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Some(bytes)
}

/// Reads an escape after its backslash, and returns the rest.
fn escape<'a>(text: &'a str, quote: char, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let next = text.chars().next()?;
    let rest = &text[next.len_utf8()..];
    let simple = match next {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        next if next == quote => next as u8,
        'x' => return escaped_byte(rest, 2, 16, bytes),
        '0'..='7' => return escaped_byte(text, 3, 8, bytes),
        'u' => return escaped_character(rest, 4, bytes),
        'U' => return escaped_character(rest, 8, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

fn escaped_byte<'a>(text: &'a str, digits: usize, radix: u32, bytes: &mut Vec<u8>) -> Option<&'a str> {
    bytes.push(u8::try_from(parse_digits(text.get(..digits)?, radix)?).ok()?);
    text.get(digits..)
}

fn escaped_character<'a>(text: &'a str, digits: usize, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let character = char::from_u32(parse_digits(text.get(..digits)?, 16)?)?;
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    text.get(digits..)
}

fn parse_digits(text: &str, radix: u32) -> Option<u32> {
    text.chars().all(|digit| digit.is_digit(radix)).then(|| u32::from_str_radix(text, radix).ok())?
}

/// Parses a number or a character.
pub(crate) fn number(text: &str) -> Result<Number, String> {
    if text.starts_with('\'') {
        return character(text)
            .map(|code| Number::Int(i64::from(code)))
            .ok_or_else(|| format!("malformed character constant: {text}"));
    }
    let malformed = || format!("bad number syntax: {text:?}");
    let (sign, magnitude) = match text.as_bytes()[0] {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let digits = remove_underscores(magnitude).ok_or_else(malformed)?;
    if let Some(value) = integer(&digits) {
        return match (value, sign < 0.0) {
            (Some(value), false) => Ok(i64::try_from(value).map_or(Number::TooLarge, Number::Int)),
            // Go has no unsigned form of a negative number.
            (Some(value), true) => 0_i64.checked_sub_unsigned(value).map(Number::Int).ok_or_else(malformed),
            (None, _) => Err(format!("integer overflow: {text:?}")),
        };
    }
    let float = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => hexadecimal_float(digits),
        None => digits.parse().ok(),
    };
    float.filter(|float: &f64| float.is_finite()).map(|float| Number::Float(sign * float)).ok_or_else(malformed)
}

/// Parses an integer with a prefix of its radix. The inner `None` is an overflow.
fn integer(digits: &str) -> Option<Option<u64>> {
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_str() {
        text if text.starts_with("0x") => (16, &text[2..]),
        text if text.starts_with("0o") => (8, &text[2..]),
        text if text.starts_with("0b") => (2, &text[2..]),
        text if text.len() > 1 && text.starts_with('0') => (8, &text[1..]),
        text => (10, text),
    };
    let is_integer = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    is_integer.then(|| u64::from_str_radix(digits, radix).ok())
}

/// Removes underscores, which may only be between digits or after a prefix.
fn remove_underscores(text: &str) -> Option<String> {
    let misplaced = text.starts_with('_') || text.ends_with('_') || text.contains("__") || text.contains("._");
    // `1_000` is an integer with a prefix in Go, but only base prefixes permit underscores there. Templates permit
    // both.
    (!misplaced).then(|| text.replace('_', ""))
}

/// Parses `1.8p3` after `0x`.
fn hexadecimal_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // 13 digits fill the mantissa of a 64-bit float.
    if digits.is_empty() || digits.len() > 13 {
        return None;
    }
    let value = u64::from_str_radix(&digits, 16).ok()? as f64;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    Some(value * 2f64.powi(shift))
}

/// Parses `'a'`.
fn character(text: &str) -> Option<u32> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut characters = inner.chars();
    let first = characters.next()?;
    if first != '\\' {
        return characters.next().is_none().then_some(first as u32);
    }
    let mut bytes = Vec::new();
    let rest = escape(&inner[1..], '\'', &mut bytes)?;
    if !rest.is_empty() {
        return None;
    }
    match bytes[..] {
        [byte] => Some(u32::from(byte)),
        _ => Some(std::str::from_utf8(&bytes).ok()?.chars().next()? as u32),
    }
}
