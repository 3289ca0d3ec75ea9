//! Times of images, and the times and ages of the condition `until`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmroot_model::{parse_duration, unix_time};

use crate::Record;

/// A time in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(u64, u32);

impl Instant {
    /// Returns the time when an image was built. `None` if its config has none, a malformed one, or one before 1970.
    pub(super) fn of(record: &Record) -> Option<Self> {
        Self::parse(record.created.as_deref()?)
    }

    pub(super) fn of_time(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs(), since.subsec_nanos())
    }

    fn parse(text: &str) -> Option<Self> {
        let seconds = unix_time(text)?;
        let fraction = text.get(19..).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).chain(std::iter::repeat(b'0')).take(9);
        Some(Self(seconds, digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))))
    }
}

/// Parses a time, or an age before `now`.
pub(super) fn parse_until(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let invalid = || "expected a time such as 2026-11-29T10:00:00Z, or an age such as 24h or 7d".to_owned();
    if let Some(age) = parse_duration(text) {
        return now.checked_sub(age).ok_or_else(invalid);
    }
    let since_1970 = match parse_seconds(text) {
        Some(since) => since,
        None => {
            let Instant(seconds, nanoseconds) = parse_time(text).ok_or_else(invalid)?;
            Duration::new(seconds, nanoseconds)
        }
    };
    UNIX_EPOCH.checked_add(since_1970).ok_or_else(invalid)
}

/// Parses seconds since 1970, with or without a fraction.
fn parse_seconds(text: &str) -> Option<Duration> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    (is_number(seconds) && is_number(fraction) && fraction.len() <= 9)
        .then(|| Some(Duration::new(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?)))?
}

/// Parses a time in RFC 3339's form, of which the end may be missing. Without a zone it is in UTC.
fn parse_time(text: &str) -> Option<Instant> {
    let is_digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    let (moment, zone) = match text.get(10..).and_then(|time| time.find(['Z', '+', '-'])) {
        Some(at) => text.split_at(at + 10),
        None => (text, "Z"),
    };
    let has_form = moment.bytes().zip("0000-00-00T00:00:00".bytes()).all(|(own, form)| match form {
        b'0' => own.is_ascii_digit(),
        _ => own == form,
    });
    let completed = match moment.len() {
        10 => format!("{moment}T00:00:00"),
        13 => format!("{moment}:00:00"),
        16 => format!("{moment}:00"),
        19 => moment.to_owned(),
        20.. if moment.as_bytes()[19] == b'.' && moment.is_char_boundary(20) && is_digits(&moment[20..]) => {
            moment.to_owned()
        }
        _ => return None,
    };
    has_form.then(|| Instant::parse(&(completed + zone)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_parsed() {
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let seconds = |text: &str| {
            parse_until(text, now).ok().and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64()))
        };
        for (text, expected) in [
            ("24h", 2_000_000_000.0 - 86_400.0),
            ("1h30m", 2_000_000_000.0 - 5400.0),
            ("1.5h", 2_000_000_000.0 - 5400.0),
            ("7d", 2_000_000_000.0 - 7.0 * 86_400.0),
            ("500ms", 2_000_000_000.0 - 0.5),
            ("1709208000", 1_709_208_000.0),
            ("1709208000.5", 1_709_208_000.5),
            ("2024-02-29", 1_709_164_800.0),
            ("2024-02-29T12", 1_709_208_000.0),
            ("2024-02-29T12:00", 1_709_208_000.0),
            ("2024-02-29T12:00:00", 1_709_208_000.0),
            ("2024-02-29T12:00:00Z", 1_709_208_000.0),
            ("2024-02-29T12:00:00.25Z", 1_709_208_000.25),
            ("2024-02-29T14:00:00+02:00", 1_709_208_000.0),
            ("2024-02-29T10:00-02:00", 1_709_208_000.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "h", "24", "24x", "2024", "2024-13-01", "2024-02-29 12:00", "yesterday", "1.2.3h"] {
            // Digits alone are seconds.
            assert_eq!(seconds(text).is_some(), matches!(text, "24" | "2024"), "{text}");
        }
    }

    #[test]
    fn fractions_of_a_second_count() {
        let parse = |text: &str| Instant::parse(text).unwrap();
        assert!(parse("2024-02-29T12:00:00Z") < parse("2024-02-29T12:00:00.000000001Z"));
        assert!(parse("2024-02-29T12:00:00.2Z") > parse("2024-02-29T12:00:00.19+00:00"));
        assert_eq!(Instant::parse("0001-01-01T00:00:00Z"), None);
    }
}
