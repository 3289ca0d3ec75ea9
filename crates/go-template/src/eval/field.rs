//! Fields of structs, keys of maps, and methods of times and digests.

use super::Machine;
use crate::ast::Operand;
use crate::schema::Type;
use crate::time::Time;
use crate::value::Value;
use crate::{Error, Result};

impl<'a> Machine<'a> {
    /// Evaluates `.A.B` of a value. The arguments are those of the last field.
    pub(super) fn fields(
        &mut self,
        mut value: Value<'a>,
        fields: &'a [String],
        dot: &Value<'a>,
        arguments: &'a [Operand],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let Some((name, path)) = fields.split_last() else { return Ok(value) };
        for field in path {
            value = self.field(value, field, dot, &[], None)?;
        }
        self.field(value, name, dot, arguments, last)
    }

    fn field(
        &mut self,
        value: Value<'a>,
        name: &str,
        dot: &Value<'a>,
        arguments: &'a [Operand],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let has_arguments = !arguments.is_empty() || last.is_some();
        let type_name = value.type_name();
        let value = value.dig();
        let known = known_fields(&value);
        match value {
            Value::Missing => return Ok(Value::Missing),
            Value::Nil(Type::Pointer(of)) if matches!(&**of, Type::Struct(of) if of.field(name).is_none()) => {}
            Value::Nil(_) => return Err(self.error(format!("nil pointer evaluating {type_name}.{name}"))),
            Value::Struct(object, of) => {
                if let Some(value) = Value::struct_field(object, of, name) {
                    return match has_arguments {
                        true => Err(self.error(format!("{name} has arguments but cannot be invoked as function"))),
                        false => Ok(value),
                    };
                }
            }
            Value::Map(object, of) => {
                return match has_arguments {
                    true => Err(self.error(format!("{name} is not a method but has arguments"))),
                    false => Ok(Value::map_entry(object, of, name).unwrap_or(Value::Missing)),
                };
            }
            Value::Time(time, _) if name == "Format" => return self.format(time, dot, arguments, last),
            Value::Time(time, _) => {
                if let Some(value) = time_method(time, name) {
                    return self.without_arguments(name, value, arguments.len() + usize::from(last.is_some()));
                }
            }
            Value::Digest(digest) => {
                let (algorithm, encoded) = digest.split_once(':').unwrap_or_default();
                let part = match name {
                    "Algorithm" => Some(algorithm),
                    "Encoded" | "Hex" => Some(encoded),
                    "String" => Some(digest),
                    _ => None,
                };
                if let Some(part) = part {
                    let value = Value::Text(part.as_bytes().into());
                    return self.without_arguments(name, value, arguments.len() + usize::from(last.is_some()));
                }
            }
            _ => {}
        }
        Err(self.unknown_field(name, type_name.to_string(), known))
    }

    fn unknown_field(&self, field: &str, of: String, known: Vec<&'static str>) -> Error {
        match self.error("") {
            Error::Execute { name, line, column, executing, context, .. } => {
                Error::UnknownField { name, line, column, executing, context, field: field.to_owned(), of, known }
            }
            error => error,
        }
    }

    fn without_arguments(&self, name: &str, value: Value<'a>, count: usize) -> Result<Value<'a>> {
        match count {
            0 => Ok(value),
            count => Err(self.error(format!("wrong number of args for {name}: want 0 got {count}"))),
        }
    }

    fn format(
        &mut self,
        time: Time,
        dot: &Value<'a>,
        arguments: &'a [Operand],
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let count = arguments.len() + usize::from(last.is_some());
        if count != 1 {
            return Err(self.error(format!("wrong number of args for Format: want 1 got {count}")));
        }
        let layout = self.text_arguments(arguments, dot, last)?;
        Ok(Value::text(time.format(&String::from_utf8_lossy(&layout))))
    }
}

/// Returns the names of the fields and methods of a value.
fn known_fields(value: &Value<'_>) -> Vec<&'static str> {
    match value {
        Value::Struct(_, of) => of.names(),
        Value::Nil(Type::Pointer(of)) => match &**of {
            Type::Struct(of) => of.names(),
            _ => Vec::new(),
        },
        Value::Time(..) => vec!["Format", "Unix", "String", "UTC", "IsZero", "Year", "Month", "Day", "Weekday"],
        Value::Digest(_) => vec!["Algorithm", "Encoded", "Hex", "String"],
        _ => Vec::new(),
    }
}

fn time_method<'a>(time: Time, name: &str) -> Option<Value<'a>> {
    if let Some(number) = time.number(name) {
        return Some(Value::Int(number));
    }
    Some(match name {
        "String" => Value::text(time.to_string()),
        "UTC" | "Local" => Value::Time(time.utc(), false),
        "IsZero" => Value::Bool(time == Time::default()),
        "Month" => Value::text(time.month_name()),
        "Weekday" => Value::text(time.day_name()),
        _ => return None,
    })
}
