//! `time.Time`: parsed from RFC 3339, printed in Go's default form and in layouts.

use std::fmt::{self, Display, Formatter};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const SECONDS_PER_DAY: i64 = 86_400;

/// A point in time with an offset from UTC. The default is Go's zero time, at the start of the year 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC.
    seconds: i64,
    /// Nanoseconds of the second.
    nanoseconds: u32,
    /// Seconds east of UTC.
    offset: i32,
}

impl Default for Time {
    fn default() -> Self {
        Self { seconds: days_from_civil(1, 1, 1) * SECONDS_PER_DAY, nanoseconds: 0, offset: 0 }
    }
}

/// The fields of a date and a time of day.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Time {
    /// Parses a time of RFC 3339, such as `2024-05-01T10:20:30.5+02:00`, as Go's JSON decoder does. Fractions of a
    /// second have up to nine digits; further ones are cut.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|(at, separator)| bytes.get(*at) != Some(separator)) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        if day < 1 || day > days_of_month(year, month) {
            return None;
        }
        let (nanoseconds, zone) = fraction(text.get(19..)?)?;
        let offset = parse_offset(zone)?;
        let days = days_from_civil(year, month, day);
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - i64::from(offset);
        Some(Self { seconds, nanoseconds, offset })
    }

    /// Formats the time as Go's JSON encoder does: RFC 3339 without trailing zeros in the fraction.
    pub fn to_rfc3339(&self) -> String {
        let zone = match self.offset {
            0 => "Z".to_owned(),
            offset => offset_text(offset, ":"),
        };
        let Civil { year, month, day, hour, minute, second } = self.civil();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}{zone}", self.fraction_text())
    }

    /// Returns the time after this many seconds since 1970-01-01 UTC, and nanoseconds below 1 000 000 000.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        // The years of four digits: more do not fit into RFC 3339, and might overflow.
        let (least, most) = (-62_135_596_800, 253_402_300_799);
        Self { seconds: seconds.clamp(least, most), nanoseconds: nanoseconds.min(999_999_999), offset: 0 }
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn unix(&self) -> i64 {
        self.seconds
    }

    /// Returns the same time in UTC.
    pub(crate) fn utc(self) -> Self {
        Self { offset: 0, ..self }
    }

    /// Returns a number that a method of Go's time has.
    pub(crate) fn number(&self, method: &str) -> Option<i64> {
        let civil = self.civil();
        Some(match method {
            "Unix" => self.seconds,
            "UnixNano" => self.seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(self.nanoseconds)),
            "UnixMilli" => self.seconds * 1000 + i64::from(self.nanoseconds / 1_000_000),
            "Year" => civil.year,
            "Day" => civil.day,
            "Hour" => civil.hour,
            "Minute" => civil.minute,
            "Second" => civil.second,
            "Nanosecond" => i64::from(self.nanoseconds),
            "YearDay" => self.local_day() - days_from_civil(civil.year, 1, 1) + 1,
            _ => return None,
        })
    }

    /// Returns the name of the month.
    pub(crate) fn month_name(&self) -> &'static str {
        MONTHS.get(usize::try_from(self.civil().month - 1).unwrap_or_default()).copied().unwrap_or_default()
    }

    /// Returns the name of the day.
    pub(crate) fn day_name(&self) -> &'static str {
        // 1970-01-01 was a Thursday.
        DAYS[usize::try_from((self.local_day() + 4).rem_euclid(7)).unwrap_or_default()]
    }

    fn local_day(&self) -> i64 {
        (self.seconds + i64::from(self.offset)).div_euclid(SECONDS_PER_DAY)
    }

    fn civil(&self) -> Civil {
        let second_of_day = (self.seconds + i64::from(self.offset)).rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(self.local_day());
        Civil {
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    fn fraction_text(&self) -> String {
        let digits = format!(".{:09}", self.nanoseconds);
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    fn zone_name(&self) -> String {
        if self.offset == 0 { "UTC".to_owned() } else { offset_text(self.offset, "") }
    }

    /// Formats the time in a layout of Go, which shows how `Mon Jan 2 15:04:05 MST 2006` would look.
    pub(crate) fn format(&self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while let Some(next) = rest.chars().next() {
            let length = match self.format_element(rest) {
                Some((text, length)) => {
                    out.push_str(&text);
                    length
                }
                None => {
                    out.push(next);
                    next.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        out
    }

    /// Formats the element at the start of a layout. Returns the text and the length of the element.
    fn format_element(&self, layout: &str) -> Option<(String, usize)> {
        let civil = self.civil();
        let hour12 = (civil.hour + 11) % 12 + 1;
        let zone = |separator| offset_text(self.offset, separator);
        let or_utc = |text: String| if self.offset == 0 { "Z".to_owned() } else { text };
        // A longer element precedes those that are its start.
        let elements: [(&str, &dyn Fn() -> String); 33] = [
            ("January", &|| self.month_name().to_owned()),
            ("Jan", &|| self.month_name()[..3].to_owned()),
            ("Monday", &|| self.day_name().to_owned()),
            ("Mon", &|| self.day_name()[..3].to_owned()),
            ("MST", &|| self.zone_name()),
            ("2006", &|| format!("{:04}", civil.year)),
            ("002", &|| format!("{:03}", self.number("YearDay").unwrap_or_default())),
            ("01", &|| format!("{:02}", civil.month)),
            ("02", &|| format!("{:02}", civil.day)),
            ("03", &|| format!("{hour12:02}")),
            ("04", &|| format!("{:02}", civil.minute)),
            ("05", &|| format!("{:02}", civil.second)),
            ("06", &|| format!("{:02}", civil.year % 100)),
            ("15", &|| format!("{:02}", civil.hour)),
            ("1", &|| civil.month.to_string()),
            ("2", &|| civil.day.to_string()),
            ("_2", &|| format!("{:2}", civil.day)),
            ("3", &|| hour12.to_string()),
            ("4", &|| civil.minute.to_string()),
            ("5", &|| civil.second.to_string()),
            ("PM", &|| if civil.hour >= 12 { "PM" } else { "AM" }.to_owned()),
            ("pm", &|| if civil.hour >= 12 { "pm" } else { "am" }.to_owned()),
            ("-070000", &|| format!("{}00", zone(""))),
            ("-07:00:00", &|| format!("{}:00", zone(":"))),
            ("-0700", &|| zone("")),
            ("-07:00", &|| zone(":")),
            ("-07", &|| zone("")[..3].to_owned()),
            ("Z070000", &|| or_utc(format!("{}00", zone("")))),
            ("Z07:00:00", &|| or_utc(format!("{}:00", zone(":")))),
            ("Z0700", &|| or_utc(zone(""))),
            ("Z07:00", &|| or_utc(zone(":"))),
            ("Z07", &|| or_utc(zone("")[..3].to_owned())),
            ("__2", &|| format!("{:3}", self.number("YearDay").unwrap_or_default())),
        ];
        if let Some(fraction) = self.format_fraction(layout) {
            return Some(fraction);
        }
        // `Jan` and `Mon` are elements only if no small letter follows.
        let is_word = |name: &str| layout[name.len()..].starts_with(|next: char| next.is_ascii_lowercase());
        let (name, text) = elements
            .iter()
            .find(|(name, _)| layout.starts_with(name) && !(matches!(*name, "Jan" | "Mon") && is_word(name)))?;
        Some((text(), name.len()))
    }

    /// Formats `.000`, which has all its digits, or `.999`, which has no trailing zeros.
    fn format_fraction(&self, layout: &str) -> Option<(String, usize)> {
        let rest = layout.strip_prefix(['.', ','])?;
        let digit = rest.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
        let count = rest.chars().take_while(|next| *next == digit).count();
        if rest[count..].starts_with(|next: char| next.is_ascii_digit()) || count > 9 {
            return None;
        }
        let digits = &format!("{:09}", self.nanoseconds)[..count];
        let digits = if digit == '9' { digits.trim_end_matches('0') } else { digits };
        let text = if digits.is_empty() { String::new() } else { format!("{}{digits}", &layout[..1]) };
        Some((text, count + 1))
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self.civil();
        let (fraction, offset, zone) = (self.fraction_text(), offset_text(self.offset, ""), self.zone_name());
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction} {offset} {zone}")
    }
}

fn offset_text(offset: i32, separator: &str) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

/// Splits a fraction of a second from the zone after it.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return None;
    }
    let digits = &rest[..length.min(9)];
    let scale = 10u32.pow(9 - u32::try_from(digits.len()).ok()?);
    Some((digits.parse::<u32>().ok()? * scale, &rest[length..]))
}

fn parse_offset(zone: &str) -> Option<i32> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str, largest: i32| -> Option<i32> {
        let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
        digits.then(|| text.parse().ok())?.filter(|value| *value <= largest)
    };
    Some(sign * (number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the number of days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that
/// the leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_in_go() {
        for (text, default, json) in [
            ("2026-01-01T00:00:00Z", "2026-01-01 00:00:00 +0000 UTC", "2026-01-01T00:00:00Z"),
            ("1970-01-01T00:00:00.120Z", "1970-01-01 00:00:00.12 +0000 UTC", "1970-01-01T00:00:00.12Z"),
            (
                "2024-02-29T23:59:59.123456789+05:30",
                "2024-02-29 23:59:59.123456789 +0530 +0530",
                "2024-02-29T23:59:59.123456789+05:30",
            ),
            ("1969-12-31T20:00:00-04:00", "1969-12-31 20:00:00 -0400 -0400", "1969-12-31T20:00:00-04:00"),
            ("2020-01-01T00:00:00+00:00", "2020-01-01 00:00:00 +0000 UTC", "2020-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC", "0001-01-01T00:00:00Z"),
        ] {
            let time = Time::parse(text).unwrap();
            assert_eq!((time.to_string().as_str(), time.to_rfc3339().as_str()), (default, json));
        }
        assert_eq!(Time::parse("0001-01-01T00:00:00Z"), Some(Time::default()));
        for text in ["", "2020-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2020-01-01T24:00:00Z", "2020-01-01 00:00:00Z"]
        {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn layouts() {
        let time = Time::parse("2024-03-05T16:07:08.090Z").unwrap();
        for (layout, expected) in [
            ("2006-01-02 15:04:05", "2024-03-05 16:07:08"),
            ("Mon Jan _2 15:04:05 2006", "Tue Mar  5 16:07:08 2024"),
            ("Monday, 2 January 06 3:4:5PM MST", "Tuesday, 5 March 24 4:7:8PM UTC"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2024-03-05T16:07:08.09Z"),
            ("15:04:05.000 -0700", "16:07:08.090 +0000"),
            ("Month 002", "Month 065"),
        ] {
            assert_eq!(time.format(layout), expected, "{layout}");
        }
    }
}
