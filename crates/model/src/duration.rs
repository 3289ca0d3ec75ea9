//! Durations as people write them.

use std::time::Duration;

/// Parses a duration: numbers with units, such as `7d`, `1h30m` or `1.5h`. The units are those of Go (`h`, `m`, `s`,
/// `ms`, `us`, `ns`), days (`d`) and weeks (`w`). Returns `None` for any other text.
///
/// ```
/// use std::time::Duration;
///
/// let parsed = vmroot_model::parse_duration("1d12h");
/// assert_eq!(parsed, Some(Duration::from_secs(36 * 3600)));
/// assert_eq!(vmroot_model::parse_duration("90"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|it: char| !is_of_number(it))?);
        let (unit, after) = after.split_at(after.find(is_of_number).unwrap_or(after.len()));
        let scale = match unit {
            "w" => 7.0 * 86_400.0,
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn is_of_number(character: char) -> bool {
    character.is_ascii_digit() || character == '.'
}
