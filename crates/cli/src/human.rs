//! Amounts, rates and times for people.

use std::time::Duration;

/// The units of bytes, each 1024 times the one before.
const BYTE_UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// The units of time for ages, the largest first.
const AGE_UNITS: [(u64, &str); 6] =
    [(365 * 86_400, "year"), (7 * 86_400, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];

/// Formats a number of bytes with a unit that is a power of 1024.
pub(crate) fn format_bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut amount = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.999 would be printed as 1024.00.
    while amount >= 1023.995 && unit + 1 < BYTE_UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.2} {}", BYTE_UNITS[unit])
}

/// Formats a count with a noun, which is in the plural unless there is one: `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Formats an age with one unit, of which it has at least one and a half: `90 seconds`, `2 minutes`.
pub(crate) fn format_age(age: Duration) -> String {
    let seconds = age.as_secs_f64();
    for (length, name) in AGE_UNITS {
        let length = length as f64;
        if seconds >= 1.5 * length || name == "second" {
            let count = (seconds / length).round() as u64;
            return self::count(count, name);
        }
    }
    unreachable!("the last unit fits always")
}

/// Formats the remaining time of work in at most six characters: `12s`, `3m05s`, `2h05m`. Returns `None` for four days
/// and longer, which is no useful estimate.
pub(crate) fn format_remaining(time: Duration) -> Option<String> {
    let seconds = time.as_secs();
    match seconds {
        0..60 => Some(format!("{seconds}s")),
        60..3600 => Some(format!("{}m{:02}s", seconds / 60, seconds % 60)),
        3600..360_000 => Some(format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_digits_and_a_binary_unit() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (1 << 20, "1.00 MiB"),
            (5 << 30, "5.00 GiB"),
            (u64::MAX, "16.00 EiB"),
        ] {
            assert_eq!(format_bytes(count), expected);
        }
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (89, "89 seconds"),
            (90, "2 minutes"),
            (3600, "60 minutes"),
            (5400, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 14, "2 weeks"),
            (86_400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(format_age(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn remaining_times_are_short() {
        for (seconds, expected) in
            [(0, Some("0s")), (59, Some("59s")), (65, Some("1m05s")), (7500, Some("2h05m")), (360_000, None)]
        {
            assert_eq!(format_remaining(Duration::from_secs(seconds)).as_deref(), expected);
        }
    }
}
