//! Times in the form that Go writes.

/// The time that Go writes for a missing one.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// Returns an RFC 3339 time as Go's `time.Time` writes it after reading it: with at most nine digits of a second's
/// fraction, without zeros at its end, and with `Z` for UTC. Other text stays as it is.
pub(crate) fn normalised(time: &str) -> String {
    rewrite(time).unwrap_or_else(|| time.to_owned())
}

/// Returns a time as Go writes it where it writes one always: a missing one as the zero time.
pub(crate) fn or_zero(time: Option<&str>) -> String {
    time.filter(|it| !it.is_empty()).map_or_else(|| ZERO.to_owned(), normalised)
}

fn rewrite(time: &str) -> Option<String> {
    const PATTERN: &[u8] = b"0000-00-00T00:00:00";
    let (seconds, rest) = time.split_at_checked(PATTERN.len())?;
    let fits = |(byte, pattern): (u8, &u8)| if *pattern == b'0' { byte.is_ascii_digit() } else { byte == *pattern };
    if !seconds.bytes().zip(PATTERN).all(fits) {
        return None;
    }
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(zone_at);
    let digits = match fraction.strip_prefix(['.', ',']) {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) => digits,
        None if fraction.is_empty() => "",
        _ => return None,
    };
    let digits = digits[..digits.len().min(9)].trim_end_matches('0');
    let zone = if is_utc(zone)? { "Z" } else { zone };
    let point = if digits.is_empty() { "" } else { "." };
    Some(format!("{seconds}{point}{digits}{zone}"))
}

/// Returns whether a zone is UTC, or `None` if it is not valid.
fn is_utc(zone: &str) -> Option<bool> {
    if zone == "Z" {
        return Some(true);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let is_number = |it: &str| it.len() == 2 && it.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(hours) && is_number(minutes)).then_some(hours == "00" && minutes == "00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_go() {
        for (time, go) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.000000000Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.120Z", "2024-01-02T03:04:05.12Z"),
            ("2024-01-02T03:04:05.1234567899Z", "2024-01-02T03:04:05.123456789Z"),
            ("2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.10-00:00", "2024-01-02T03:04:05.1Z"),
            ("2024-01-02T03:04:05.5+02:00", "2024-01-02T03:04:05.5+02:00"),
            ("yesterday", "yesterday"),
            ("2024-01-02 03:04:05Z", "2024-01-02 03:04:05Z"),
            ("2024-01-02T03:04:05.Z", "2024-01-02T03:04:05.Z"),
            ("2024-01-02T03:04:05+0200", "2024-01-02T03:04:05+0200"),
            ("", ""),
        ] {
            assert_eq!(normalised(time), go, "{time}");
        }
    }
}
