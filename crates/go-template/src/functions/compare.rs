//! `eq`, `lt` and the other comparisons.

use std::cmp::Ordering;

use crate::print::print_value;
use crate::value::Value;

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// Returns whether a value equals one of the others.
pub(crate) fn equal(value: &Value<'_>, others: &[Value<'_>]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal_one(value, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_one(value: &Value<'_>, other: &Value<'_>) -> Result<bool, String> {
    match (value, other) {
        (Value::Missing | Value::Nil(_), Value::Missing | Value::Nil(_)) => Ok(true),
        (Value::Missing | Value::Nil(_), _) | (_, Value::Missing | Value::Nil(_)) => Ok(false),
        (Value::Bool(one), Value::Bool(two)) => Ok(one == two),
        (Value::Time(one, _), Value::Time(two, _)) => Ok(one == two),
        (Value::List(_) | Value::Map(..), Value::List(_) | Value::Map(..)) => Err(not_comparable(value)),
        _ => order(value, other).map(|order| order == Some(Ordering::Equal)).ok_or_else(|| INCOMPATIBLE.to_owned()),
    }
}

/// Returns the order of two values of one kind, or `None` for other values. The inner `None` is for NaN.
fn order(one: &Value<'_>, two: &Value<'_>) -> Option<Option<Ordering>> {
    match (one, two) {
        (Value::Int(one), Value::Int(two)) => Some(Some(one.cmp(two))),
        (Value::Float(one), Value::Float(two)) => Some(one.partial_cmp(two)),
        _ => Some(Some(one.as_text()?.cmp(two.as_text()?))),
    }
}

fn not_comparable(value: &Value<'_>) -> String {
    let mut shown = Vec::new();
    print_value(&mut shown, value);
    format!("non-comparable type {}: {}", String::from_utf8_lossy(&shown), value.type_name())
}

fn is_ordered(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_)) || value.as_text().is_some()
}

fn ordered(one: &Value<'_>, two: &Value<'_>) -> Result<Option<Ordering>, String> {
    let is_basic = |value: &Value<'_>| is_ordered(value) || matches!(value, Value::Bool(_));
    match (is_basic(one) && is_basic(two), order(one, two)) {
        (_, Some(order)) => Ok(order),
        (true, None) if !matches!((one, two), (Value::Bool(_), Value::Bool(_))) => Err(INCOMPATIBLE.to_owned()),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

/// Returns whether a value is less than another.
pub(crate) fn less(one: &Value<'_>, two: &Value<'_>) -> Result<bool, String> {
    ordered(one, two).map(|order| order == Some(Ordering::Less))
}

/// Returns whether a value is at most another.
pub(crate) fn less_or_equal(one: &Value<'_>, two: &Value<'_>) -> Result<bool, String> {
    ordered(one, two).map(|order| matches!(order, Some(Ordering::Less | Ordering::Equal)))
}
