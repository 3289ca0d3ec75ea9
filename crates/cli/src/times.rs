//! Times in JSON and in tables.

use std::time::{SystemTime, UNIX_EPOCH};

use vmroot::go_template::Time;

/// The seconds since 1970 of the years 1 to 9999, which RFC 3339 can express.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Returns a time in UTC in the format of RFC 3339, or `None` outside the years 1 to 9999.
pub(crate) fn rfc3339(seconds: i64, nanoseconds: u32) -> Option<String> {
    YEARS.contains(&seconds).then(|| Time::from_unix(seconds, nanoseconds).to_rfc3339())
}

/// Returns the time of a whole second.
pub(crate) fn rfc3339_of_seconds(seconds: u64) -> Option<String> {
    rfc3339(i64::try_from(seconds).ok()?, 0)
}

/// Returns a time from 1970 on.
pub(crate) fn rfc3339_of(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    rfc3339(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())
}

/// Returns a time for people: `2024-02-29 23:59:59`, in UTC. Outside the years 1 to 9999, it is the number of seconds.
pub(crate) fn readable(seconds: i64) -> String {
    match rfc3339(seconds, 0) {
        Some(text) => text.trim_end_matches('Z').replace('T', " "),
        None => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_of_the_calendar_are_numbers() {
        assert_eq!(rfc3339(1_600_000_000, 123_456_789).unwrap(), "2020-09-13T12:26:40.123456789Z");
        assert_eq!(rfc3339(-1, 0).unwrap(), "1969-12-31T23:59:59Z");
        assert_eq!((rfc3339(i64::MAX, 0), rfc3339(i64::MIN, 0)), (None, None));
        assert_eq!(readable(1_600_000_000), "2020-09-13 12:26:40");
        assert_eq!(readable(i64::MIN), i64::MIN.to_string());
        assert_eq!(rfc3339_of_seconds(u64::MAX), None);
    }
}
