//! `printf` with the verbs and flags of Go's package `fmt`.

use crate::print::{shortest, signed, special, walk};
use crate::value::Value;

/// The largest width and precision. Go has the same.
const WIDTH_LIMIT: usize = 1_000_000;

#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    verb: char,
}

/// The arguments of a call.
struct Arguments<'v, 'a> {
    values: &'v [Value<'a>],
    next: usize,
    /// Whether `%[n]` chose arguments, so that unused ones are no error.
    reordered: bool,
    bad_index: bool,
}

impl<'v, 'a> Arguments<'v, 'a> {
    fn take(&mut self) -> Option<&'v Value<'a>> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        Some(value)
    }

    /// Reads `[n]`, and returns the rest of the format.
    fn index<'f>(&mut self, format: &'f str) -> &'f str {
        let Some(rest) = format.strip_prefix('[') else { return format };
        self.reordered = true;
        let Some((number, rest)) = rest.split_once(']') else {
            self.bad_index = true;
            return rest;
        };
        match number.parse::<usize>() {
            Ok(number) if (1..=self.values.len()).contains(&number) => self.next = number - 1,
            _ => self.bad_index = true,
        }
        rest
    }
}

/// Formats values.
pub(crate) fn sprintf(format: &[u8], values: &[Value<'_>]) -> Vec<u8> {
    let format = String::from_utf8_lossy(format);
    let mut rest = &*format;
    let mut out = Vec::new();
    let mut arguments = Arguments { values, next: 0, reordered: false, bad_index: false };
    while let Some(at) = rest.find('%') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = directive(&rest[at + 1..], &mut arguments, &mut out);
    }
    out.extend_from_slice(rest.as_bytes());
    if !arguments.reordered && arguments.next < values.len() {
        extra(&mut out, &values[arguments.next..]);
    }
    out
}

fn extra(out: &mut Vec<u8>, values: &[Value<'_>]) {
    out.extend_from_slice(b"%!(EXTRA ");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        typed(out, value);
    }
    out.push(b')');
}

/// Appends `type=value`.
fn typed(out: &mut Vec<u8>, value: &Value<'_>) {
    if matches!(value, Value::Nil(_) | Value::Missing) {
        out.extend_from_slice(b"<nil>");
        return;
    }
    out.extend_from_slice(value.dug().type_name().as_bytes());
    out.push(b'=');
    crate::print::print_value(out, value);
}

/// Formats one directive after its `%`, and returns the rest of the format.
fn directive<'f>(format: &'f str, arguments: &mut Arguments<'_, '_>, out: &mut Vec<u8>) -> &'f str {
    let mut spec = Spec::default();
    let mut rest = format;
    arguments.bad_index = false;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    spec.zero &= !spec.minus;
    rest = arguments.index(rest);
    rest = width(rest, &mut spec, arguments, out);
    if let Some(after) = rest.strip_prefix('.') {
        rest = precision(arguments.index(after), &mut spec, arguments, out);
    }
    rest = arguments.index(rest);
    let Some(verb) = rest.chars().next() else {
        out.extend_from_slice(b"%!(NOVERB)");
        return "";
    };
    rest = &rest[verb.len_utf8()..];
    spec.verb = verb;
    match verb {
        '%' => out.push(b'%'),
        verb if arguments.bad_index => out.extend_from_slice(format!("%!{verb}(BADINDEX)").as_bytes()),
        verb => match arguments.take() {
            Some(value) => print_argument(out, spec, value),
            None => out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes()),
        },
    }
    rest
}

fn width<'f>(format: &'f str, spec: &mut Spec, arguments: &mut Arguments<'_, '_>, out: &mut Vec<u8>) -> &'f str {
    if let Some(rest) = format.strip_prefix('*') {
        match arguments.take().map(Value::dug) {
            Some(Value::Int(width)) if width.unsigned_abs() <= WIDTH_LIMIT as u64 => {
                spec.minus |= *width < 0;
                spec.width = usize::try_from(width.unsigned_abs()).ok();
            }
            _ => out.extend_from_slice(b"%!(BADWIDTH)"),
        }
        return rest;
    }
    let (number, rest) = leading_number(format);
    spec.width = number;
    rest
}

fn precision<'f>(format: &'f str, spec: &mut Spec, arguments: &mut Arguments<'_, '_>, out: &mut Vec<u8>) -> &'f str {
    if let Some(rest) = format.strip_prefix('*') {
        match arguments.take().map(Value::dug) {
            Some(Value::Int(value)) if (0..=WIDTH_LIMIT as i64).contains(value) => {
                spec.precision = usize::try_from(*value).ok();
            }
            Some(Value::Int(value)) if *value < 0 => {}
            _ => out.extend_from_slice(b"%!(BADPREC)"),
        }
        return rest;
    }
    let (number, rest) = leading_number(format);
    spec.precision = Some(number.unwrap_or(0));
    rest
}

/// Splits a number from the start of a format. One above the limit counts as no number, as in Go.
fn leading_number(format: &str) -> (Option<usize>, &str) {
    let length = format.bytes().take_while(u8::is_ascii_digit).count();
    let number = format[..length].parse().ok().filter(|number| *number <= WIDTH_LIMIT);
    (number, &format[length..])
}

fn print_argument(out: &mut Vec<u8>, spec: Spec, value: &Value<'_>) {
    if spec.verb == 'T' {
        let name = match value {
            Value::Nil(_) | Value::Missing => "<nil>".to_owned(),
            value => value.dug().type_name(),
        };
        pad(out, spec, name.as_bytes());
        return;
    }
    walk(out, value, &mut |out, scalar| print_scalar(out, spec, scalar));
}

fn print_scalar(out: &mut Vec<u8>, spec: Spec, value: &Value<'_>) {
    let formatted = match value {
        Value::Nil(_) | Value::Missing if spec.verb == 'v' => Some(b"<nil>".to_vec()),
        Value::Bool(value) if matches!(spec.verb, 't' | 'v') => Some(value.to_string().into_bytes()),
        Value::Int(value) => return integer(out, spec, *value),
        Value::Float(value) => return float(out, spec, *value),
        Value::Time(time, _) => text(spec, time.to_string().as_bytes()),
        value => value.as_text().and_then(|bytes| text(spec, bytes)),
    };
    match formatted {
        Some(formatted) => pad(out, spec, &formatted),
        None => bad_verb(out, spec, value),
    }
}

fn bad_verb(out: &mut Vec<u8>, spec: Spec, value: &Value<'_>) {
    out.extend_from_slice(format!("%!{}(", spec.verb).as_bytes());
    typed(out, value);
    out.push(b')');
}

/// Formats a string, or returns `None` for a verb that strings do not have.
fn text(spec: Spec, bytes: &[u8]) -> Option<Vec<u8>> {
    let cut = || match spec.precision {
        Some(precision) => {
            let text = String::from_utf8_lossy(bytes);
            text.chars().take(precision).collect::<String>().into_bytes()
        }
        None => bytes.to_vec(),
    };
    Some(match spec.verb {
        'v' if spec.sharp => quote(bytes).into_bytes(),
        'v' | 's' => cut(),
        'q' => quote(&cut()).into_bytes(),
        'x' | 'X' => hexadecimal(spec, &bytes[..spec.precision.unwrap_or(usize::MAX).min(bytes.len())]),
        _ => return None,
    })
}

fn hexadecimal(spec: Spec, bytes: &[u8]) -> Vec<u8> {
    let prefix = if spec.sharp && !bytes.is_empty() { "0x" } else { "" };
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let separator = if spec.space { format!(" {prefix}") } else { String::new() };
    let text = format!("{prefix}{}", digits.join(&separator));
    if spec.verb == 'X' { text.to_uppercase().into_bytes() } else { text.into_bytes() }
}

fn integer(out: &mut Vec<u8>, spec: Spec, value: i64) {
    let magnitude = value.unsigned_abs();
    let character = u32::try_from(value).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let (prefix, digits) = match spec.verb {
        'd' | 'v' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => return number(out, spec, value < 0, "0o", &format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' => return pad(out, spec, character.to_string().as_bytes()),
        'q' => return pad(out, spec, format!("'{}'", quote_content(&character.to_string(), '\'')).as_bytes()),
        'U' => {
            let shown = if spec.sharp { format!(" '{character}'") } else { String::new() };
            return pad(out, spec, format!("U+{value:04X}{shown}").as_bytes());
        }
        _ => return bad_verb(out, spec, &Value::Int(value)),
    };
    number(out, spec, value < 0, if spec.sharp { prefix } else { "" }, &digits);
}

/// Appends a sign, a prefix, and digits with zeros before them.
fn number(out: &mut Vec<u8>, spec: Spec, is_negative: bool, prefix: &str, digits: &str) {
    let sign = match (is_negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    let filled = match (spec.precision, spec.zero, spec.width) {
        (Some(precision), ..) => precision,
        (None, true, Some(width)) => width.saturating_sub(sign.len() + prefix.len()),
        _ => 0,
    };
    let zeros = "0".repeat(filled.saturating_sub(digits.len()));
    pad(out, Spec { zero: false, ..spec }, format!("{sign}{prefix}{zeros}{digits}").as_bytes());
}

fn float(out: &mut Vec<u8>, spec: Spec, value: f64) {
    let magnitude = value.abs();
    let digits = match spec.verb {
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'v' if !value.is_finite() => {
            special(magnitude).trim_start_matches('+').to_owned()
        }
        'e' | 'E' => exponential(magnitude, spec.precision.unwrap_or(6)),
        'f' | 'F' => format!("{magnitude:.*}", spec.precision.unwrap_or(6)),
        'g' | 'G' | 'v' => match spec.precision {
            None => shortest(magnitude, 'e'),
            Some(precision) => general(magnitude, precision.max(1)),
        },
        _ => return bad_verb(out, spec, &Value::Float(value)),
    };
    let digits = if spec.verb.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
    let is_negative = value.is_sign_negative() && !value.is_nan();
    let zero = spec.zero && value.is_finite();
    let plus = spec.plus || value.is_infinite() && spec.verb == 'v';
    number(out, Spec { precision: None, zero, plus, ..spec }, is_negative, "", &digits);
}

fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}e{}", signed(power.parse().unwrap_or_default()))
}

/// Formats `%.3g`: this many significant digits, without trailing zeros.
fn general(value: f64, precision: usize) -> String {
    let text = format!("{value:.*e}", precision - 1);
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let digits = i32::try_from(precision).unwrap_or(i32::MAX);
    if power < -4 || power >= digits {
        return format!("{}e{}", trim(mantissa), signed(power));
    }
    trim(&format!("{value:.*}", usize::try_from(digits - 1 - power).unwrap_or_default()))
}

/// Appends text, filled to the width with spaces, or with zeros.
fn pad(out: &mut Vec<u8>, spec: Spec, text: &[u8]) {
    let length = String::from_utf8_lossy(text).chars().count();
    let fill = spec.width.unwrap_or_default().saturating_sub(length);
    let (before, after) = if spec.minus { (0, fill) } else { (fill, 0) };
    out.extend(std::iter::repeat_n(if spec.zero { b'0' } else { b' ' }, before));
    out.extend_from_slice(text);
    out.extend(std::iter::repeat_n(b' ', after));
}

/// Quotes a string as Go does.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        text.push_str(&quote_content(chunk.valid(), '"'));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text.push('"');
    text
}

fn quote_content(text: &str, quote: char) -> String {
    let mut out = String::new();
    for next in text.chars() {
        match next {
            '\\' => out.push_str("\\\\"),
            next if next == quote => out.extend(['\\', next]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            next if next < ' ' || next == '\u{7f}' => out.push_str(&format!("\\x{:02x}", next as u32)),
            next if is_printable(next) => out.push(next),
            next if u32::from(next) > 0xffff => out.push_str(&format!("\\U{:08x}", next as u32)),
            next => out.push_str(&format!("\\u{:04x}", next as u32)),
        }
    }
    out
}

/// Returns whether a character is one that Go's `strconv.IsPrint` accepts. Rust's escapes for debugging follow the same
/// categories of Unicode.
pub(crate) fn is_printable(character: char) -> bool {
    character == '\'' || character == '"' || character == '\\' || character.escape_debug().count() == 1
}
