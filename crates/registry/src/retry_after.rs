//! The `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date.

use std::time::{Duration, SystemTime};

/// Returns the time to wait from `now` on, or `None` if the value is malformed.
pub(crate) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date in the past means no wait.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        assert_eq!(parse("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(90)));
        // The obsolete forms, which a recipient must accept.
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:37 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(parse("Sun Nov  6 08:49:37 1994", now), Some(Duration::from_secs(90)));
        assert_eq!(parse("Tue, 29 Feb 2000 00:00:00 GMT", UNIX_EPOCH), Some(Duration::from_secs(951_782_400)));
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT", now), Some(Duration::ZERO));
    }

    #[test]
    fn nonsense_is_none() {
        let now = SystemTime::now();
        for value in ["soon", "-1", "1e9", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 99 Nov 1994 08:49:37 GMT", ", ", "a, b"]
        {
            assert_eq!(parse(value, now), None, "{value}");
        }
        assert_eq!(parse("99999999999999999999999", now), None);
    }
}
