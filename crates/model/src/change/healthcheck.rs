//! `HEALTHCHECK` of a Dockerfile.

use crate::Healthcheck;

use super::words;

/// The shortest time that Docker accepts, in nanoseconds: 1 ms. 0 is the default.
const SHORTEST: i64 = 1_000_000;

pub(super) fn parse(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    let mut has_options = false;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').ok_or_else(|| format!("--{option} needs =VALUE"))?;
        match name {
            "interval" => check.interval = time(value)?,
            "timeout" => check.timeout = time(value)?,
            "start-period" => check.start_period = time(value)?,
            "start-interval" => check.start_interval = time(value)?,
            "retries" => check.retries = retries(value)?,
            _ => return Err(format!("--{name} is unknown")),
        }
        (rest, has_options) = (after.trim_start(), true);
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() && !has_options => check.test = vec!["NONE".to_owned()],
        "NONE" => return Err("NONE takes no options and no command".to_owned()),
        "CMD" if command.is_empty() => return Err("a command is missing after CMD".to_owned()),
        "CMD" => check.test = test(command),
        _ => return Err("write NONE, or CMD and a command".to_owned()),
    }
    Ok(check)
}

fn test(command: &str) -> Vec<String> {
    match words::json_list(command) {
        Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
        None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
    }
}

fn retries(text: &str) -> Result<i64, String> {
    match text.parse::<i32>() {
        Ok(count) if count >= 0 => Ok(i64::from(count)),
        _ => Err(format!("--retries={text} is not a number from 0")),
    }
}

/// Parses a time in Go's form, such as `1m30s` or `1.5h`, into nanoseconds.
fn time(text: &str) -> Result<i64, String> {
    let invalid = || format!("{text:?} is not a time such as 30s or 1m30s");
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').ok_or_else(invalid)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(invalid()),
        };
        total += number.parse::<f64>().map_err(|_| invalid())? * unit;
        rest = after;
    }
    if text.is_empty() || total >= i64::MAX as f64 {
        return Err(invalid());
    }
    let time = total.round() as i64;
    if time != 0 && time < SHORTEST { Err(format!("{text:?} is shorter than 1ms")) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_commands_are_parsed() {
        let check = parse("--interval=1m30s --timeout=0.5s --retries=3 --start-period=2h  CMD curl x").unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl x"]);
        assert_eq!((check.interval, check.timeout, check.retries), (90_000_000_000, 500_000_000, 3));
        assert_eq!((check.start_period, check.start_interval), (7_200_000_000_000, 0));
        assert_eq!(parse("CMD [\"a\",\"b\"]").unwrap().test, ["CMD", "a", "b"]);
        assert_eq!(parse("none").unwrap().test, ["NONE"]);
    }

    #[test]
    fn wrong_health_checks_are_refused() {
        for text in [
            "x",
            "CMD",
            "NONE x",
            "--interval=1s NONE",
            "--interval CMD x",
            "--retries=-1 CMD x",
            "--retries=x CMD x",
            "--interval=1 CMD x",
            "--interval=1q CMD x",
            "--interval=1us CMD x",
            "--interval= CMD x",
            "--interval=9999999999h CMD x",
            "--interval=1.2.3s CMD x",
            "--other=1 CMD x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
