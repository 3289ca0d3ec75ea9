//! The functions of templates: Go's own, and those that docker and podman add.

mod compare;
mod escape;
mod strings;

use std::borrow::Cow;

use crate::TEXT_LIMIT;
use crate::print::{sprint, sprintln};
use crate::value::{List, Value};

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Any,
    Int,
    Text,
    /// `[]string`
    Texts,
}

/// The result of a function. An error is the reason alone.
pub(crate) type Called<'a> = Result<Value<'a>, String>;

/// A function. `and` and `or` are evaluated by the caller, because they do not need all arguments.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// The type of further arguments.
    pub(crate) variadic: Option<Parameter>,
    pub(crate) call: for<'a> fn(&[Value<'a>]) -> Called<'a>,
}

/// Returns a function by its name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const ANY: &[Parameter] = &[Parameter::Any];
const TWO: &[Parameter] = &[Parameter::Any, Parameter::Any];
const TEXT: &[Parameter] = &[Parameter::Text];

macro_rules! functions {
    ($($name:literal $parameters:expr, $variadic:expr => $call:expr;)*) => {
        static FUNCTIONS: &[Function] =
            &[$(Function { name: $name, parameters: $parameters, variadic: $variadic, call: $call }),*];
    };
}

functions! {
    "and" ANY, Some(Parameter::Any) => |arguments| Ok(last(arguments));
    "or" ANY, Some(Parameter::Any) => |arguments| Ok(last(arguments));
    "not" ANY, None => |arguments| Ok(Value::Bool(!arguments[0].is_true()));
    "call" ANY, Some(Parameter::Any) => |arguments| Err(not_a_function(&arguments[0]));
    "len" ANY, None => |arguments| length(&arguments[0]);
    "index" ANY, Some(Parameter::Any) => |arguments| index(&arguments[0], &arguments[1..]);
    "slice" ANY, Some(Parameter::Any) => |arguments| slice(&arguments[0], &arguments[1..]);
    "print" &[], Some(Parameter::Any) => |arguments| text(sprint(arguments));
    "println" &[], Some(Parameter::Any) => |arguments| text(sprintln(arguments));
    "printf" TEXT, Some(Parameter::Any) => |arguments| {
        text(crate::printf::sprintf(arguments[0].as_text().unwrap_or_default(), &arguments[1..]))
    };
    "html" &[], Some(Parameter::Any) => |arguments| text(escape::html(&joined(arguments)));
    "js" &[], Some(Parameter::Any) => |arguments| text(escape::js(&joined(arguments)));
    "urlquery" &[], Some(Parameter::Any) => |arguments| text(escape::url_query(&joined(arguments)));
    "eq" ANY, Some(Parameter::Any) => |arguments| compare::equal(&arguments[0], &arguments[1..]).map(Value::Bool);
    "ne" TWO, None => |arguments| compare::equal(&arguments[0], &arguments[1..]).map(|equal| Value::Bool(!equal));
    "lt" TWO, None => |arguments| compare::less(&arguments[0], &arguments[1]).map(Value::Bool);
    "le" TWO, None => |arguments| compare::less_or_equal(&arguments[0], &arguments[1]).map(Value::Bool);
    "gt" TWO, None => |arguments| {
        compare::less_or_equal(&arguments[0], &arguments[1]).map(|holds| Value::Bool(!holds))
    };
    "ge" TWO, None => |arguments| compare::less(&arguments[0], &arguments[1]).map(|holds| Value::Bool(!holds));
    "json" ANY, None => |arguments| text(strings::json(&arguments[0]).into_bytes());
    "join" &[Parameter::Texts, Parameter::Text], None => |arguments| strings::join(&arguments[0], &arguments[1]);
    "split" &[Parameter::Text, Parameter::Text], None => |arguments| strings::split(&arguments[0], &arguments[1]);
    "lower" TEXT, None => |arguments| text(strings::text_of(&arguments[0]).to_lowercase().into_bytes());
    "upper" TEXT, None => |arguments| text(strings::text_of(&arguments[0]).to_uppercase().into_bytes());
    "title" TEXT, None => |arguments| text(strings::title(&strings::text_of(&arguments[0])).into_bytes());
    "pad" &[Parameter::Text, Parameter::Int, Parameter::Int], None => |arguments| {
        strings::pad(&arguments[0], &arguments[1], &arguments[2])
    };
    "truncate" &[Parameter::Text, Parameter::Int], None => |arguments| {
        strings::truncate(&arguments[0], &arguments[1])
    };
}

fn last<'a>(arguments: &[Value<'a>]) -> Value<'a> {
    arguments.last().cloned().unwrap_or(Value::Missing)
}

/// Returns a text, unless it exceeds [`TEXT_LIMIT`].
fn text<'a>(bytes: Vec<u8>) -> Called<'a> {
    match bytes.len() > TEXT_LIMIT {
        true => Err(format!("a text of {} bytes exceeds the limit TEXT_LIMIT of {TEXT_LIMIT}", bytes.len())),
        false => Ok(Value::Text(Cow::Owned(bytes))),
    }
}

/// Returns the arguments of an escaping function as one text.
fn joined(arguments: &[Value<'_>]) -> Vec<u8> {
    match arguments {
        [one] if one.as_text().is_some() => one.as_text().unwrap_or_default().to_vec(),
        several => sprint(several),
    }
}

fn not_a_function(value: &Value<'_>) -> String {
    match value {
        Value::Missing | Value::Nil(_) => "call of nil".to_owned(),
        value => format!("non-function of type {}", value.type_name()),
    }
}

fn length<'a>(value: &Value<'a>) -> Called<'a> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Digest(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(object, _) => object.map_or(0, serde_json::Map::len),
        Value::Nil(crate::Type::Pointer(_)) => return Err("len of nil pointer".to_owned()),
        // The text of Go, which does not check for this case.
        Value::Missing | Value::Nil(_) => return Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        value => return Err(format!("len of type {}", value.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// Returns an index that is at most `limit`.
fn index_argument(index: &Value<'_>, limit: usize) -> Result<usize, String> {
    match index {
        Value::Int(index) => {
            let valid = usize::try_from(*index).ok().filter(|index| *index <= limit);
            valid.ok_or_else(|| format!("index out of range: {index}"))
        }
        Value::Missing | Value::Nil(_) => Err("cannot index slice/array with nil".to_owned()),
        index => Err(format!("cannot index slice/array with type {}", index.type_name())),
    }
}

fn index<'a>(value: &Value<'a>, indexes: &[Value<'a>]) -> Called<'a> {
    let mut value = value.clone();
    if matches!(value, Value::Missing | Value::Nil(_)) {
        return Err("index of untyped nil".to_owned());
    }
    for index in indexes {
        value = match value.dig() {
            Value::List(list) => {
                list.get(index_argument(index, list.len())?).ok_or("reflect: slice index out of range")?
            }
            Value::Map(object, of) => {
                let key = index.as_text().ok_or_else(|| match index {
                    Value::Missing | Value::Nil(_) => "value is nil; should be of type string".to_owned(),
                    index => format!("value has type {}; should be string", index.type_name()),
                })?;
                let entry = Value::map_entry(object, of, &String::from_utf8_lossy(key));
                entry.unwrap_or_else(|| Value::zero(of))
            }
            Value::Missing | Value::Nil(_) => return Err("index of nil pointer".to_owned()),
            value => match value.as_text() {
                Some(text) => {
                    let byte = text.get(index_argument(index, text.len())?);
                    Value::Int(i64::from(*byte.ok_or("reflect: string index out of range")?))
                }
                None => return Err(format!("can't index item of type {}", value.type_name())),
            },
        };
    }
    Ok(value)
}

fn slice<'a>(value: &Value<'a>, indexes: &[Value<'a>]) -> Called<'a> {
    if matches!(value, Value::Missing | Value::Nil(_)) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match value {
        Value::List(list) => list.len(),
        value => match value.as_text() {
            Some(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".to_owned()),
            Some(text) => text.len(),
            None => return Err(format!("can't slice item of type {}", value.type_name())),
        },
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = index_argument(index, length)?;
    }
    let [start, end, capacity] = bounds;
    if start > end || end > capacity {
        let (low, high) = if start > end { (start, end) } else { (end, capacity) };
        return Err(format!("invalid slice index: {low} > {high}"));
    }
    match value {
        Value::List(list) => list.slice(start, end).map(Value::List),
        value => value.as_text().and_then(|text| text.get(start..end)).map(|text| Value::Text(text.to_vec().into())),
    }
    .ok_or_else(|| "index out of range".to_owned())
}

/// Returns the items of a list that holds only strings.
pub(crate) fn is_list_of_texts(list: &List<'_>) -> bool {
    match list {
        List::Texts(_) => true,
        List::Json(_, of) => matches!(of, crate::Type::String),
        List::Dynamic(..) => false,
    }
}
