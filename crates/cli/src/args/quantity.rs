//! Parsers of quantities: seconds and bytes.

use std::time::Duration;

use vmroot::model;

/// Parses a positive number of seconds, with or without a fraction.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time longer than 0".to_owned()),
    }
}

/// Parses a time as Go writes it, such as `1m30s` or `500ms`, or a number of seconds. It may be 0.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || "expected a time such as 30s, 1m30s or 500ms".to_owned();
    match seconds(text) {
        Some(seconds) => seconds,
        None => model::parse_duration(text).filter(|_| !text.contains(['d', 'w'])).ok_or_else(invalid),
    }
}

/// Parses a time with units, among them days (`d`) and weeks (`w`), or 0. A number without a unit is refused: a reader of
/// `--older-than 7` may mean days, and images would be removed.
pub(super) fn parse_duration_with_days(text: &str) -> Result<Duration, String> {
    let invalid = || "expected a time with a unit, such as 7d, 12h, 1d12h or 30m".to_owned();
    match text {
        "0" => Ok(Duration::ZERO),
        _ => model::parse_duration(text).ok_or_else(invalid),
    }
}

/// Parses a number of seconds. Returns `None` for a text with other characters.
fn seconds(text: &str) -> Option<Result<Duration, String>> {
    let seconds = text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit() || it == b'.'))?;
    Some(Duration::try_from_secs_f64(seconds).map_err(|_| "too long a time".to_owned()))
}

/// Parses a number of bytes with an optional K, M, G or T, in powers of 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than 2^64 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_days_and_weeks() {
        const DAY: u64 = 24 * 3600;
        for (text, seconds) in [
            ("7d", 7 * DAY),
            ("1w", 7 * DAY),
            ("1w2d3h", 9 * DAY + 3 * 3600),
            ("1d12h", DAY + DAY / 2),
            ("1.5d", DAY + DAY / 2),
            ("90s", 90),
            ("0", 0),
        ] {
            assert_eq!(parse_duration_with_days(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "1x", "-1d", "999999999999999d", "1dd"] {
            assert!(parse_duration_with_days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("0", 0),
            ("5", 5000),
            ("1.5", 1500),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h0.5s", 3_600_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5x", "-5s", "5s1", "1..5s", ".", "inf", "nan", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
