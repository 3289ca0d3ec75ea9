//! Prints values as Go's `fmt.Print` does, which is the verb `%v`.

use crate::schema::Type;
use crate::value::Value;

/// Appends a value in its default form.
pub(crate) fn print_value(out: &mut Vec<u8>, value: &Value<'_>) {
    walk(out, value, &mut |out, scalar| match scalar {
        Value::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Float(value) => out.extend_from_slice(shortest(*value, 'e').as_bytes()),
        Value::Time(time, _) => out.extend_from_slice(time.to_string().as_bytes()),
        scalar => out.extend_from_slice(scalar.as_text().unwrap_or(b"<nil>")),
    });
}

/// Appends a value. Calls `print` for scalars; lists, maps and structs have Go's brackets.
pub(crate) fn walk(out: &mut Vec<u8>, value: &Value<'_>, print: &mut dyn FnMut(&mut Vec<u8>, &Value<'_>)) {
    match value.dug() {
        Value::List(list) => {
            out.push(b'[');
            for (index, item) in list.iter().enumerate() {
                separate(out, index);
                walk(out, &item, print);
            }
            out.push(b']');
        }
        Value::Map(object, of) => {
            out.extend_from_slice(b"map[");
            // The keys of the object are sorted, as Go sorts them.
            for (index, (key, item)) in object.iter().flat_map(|object| object.iter()).enumerate() {
                separate(out, index);
                print(out, &Value::text(key.as_str()));
                out.push(b':');
                walk(out, &Value::new(item, of), print);
            }
            out.push(b']');
        }
        Value::Struct(object, of) => {
            out.push(b'{');
            for (index, field) in of.fields.iter().enumerate() {
                separate(out, index);
                match (&field.of, field.key) {
                    (Type::Struct(embedded), None) => walk(out, &Value::Struct(*object, embedded), print),
                    _ => {
                        let item = Value::struct_field(*object, of, field.name).unwrap_or(Value::Missing);
                        walk(out, &item, print);
                    }
                }
            }
            out.push(b'}');
        }
        scalar => print(out, scalar),
    }
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b' ');
    }
}

/// Returns the operands of `fmt.Sprint`: a space is between two operands of which neither is a string.
pub(crate) fn sprint(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 && value.as_text().is_none() && values[index - 1].as_text().is_none() {
            out.push(b' ');
        }
        print_value(&mut out, value);
    }
    out
}

/// Returns the operands of `fmt.Sprintln`.
pub(crate) fn sprintln(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, value) in values.iter().enumerate() {
        separate(&mut out, index);
        print_value(&mut out, value);
    }
    out.push(b'\n');
    out
}

/// The exponent from which `%g` and `%v` write an exponent.
const SHORTEST_DIGITS: i32 = 6;

/// Formats a number with the fewest digits that identify it (`%g`): with an exponent below -4 or from
/// [`SHORTEST_DIGITS`] on.
pub(crate) fn shortest(value: f64, exponent: char) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let scientific = format!("{value:e}");
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    if (-4..SHORTEST_DIGITS).contains(&power) {
        format!("{value}")
    } else {
        format!("{mantissa}{exponent}{}", signed(power))
    }
}

/// Formats an infinity or NaN.
pub(crate) fn special(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value > 0.0 => "+Inf".to_owned(),
        _ => "-Inf".to_owned(),
    }
}

/// Formats an exponent with a sign and at least two digits.
pub(crate) fn signed(power: i32) -> String {
    format!("{}{:02}", if power < 0 { '-' } else { '+' }, power.unsigned_abs())
}
