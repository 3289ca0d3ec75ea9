//! Values while a template executes: the data with its types, literals, and results of functions.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map as Object, Value as Json};

use crate::schema::{Struct, Type};
use crate::time::Time;

pub(crate) static ANY: Type = Type::Any;
static NULL: Json = Json::Null;

/// A value. Clones are cheap, except for texts that functions made.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    /// No value, as from a missing key of a map.
    Missing,
    /// A value of the type `interface {}`. Messages name this type. Pipelines and functions use the value inside.
    Interface(Box<Self>),
    /// A nil interface or a nil pointer.
    Nil(&'a Type),
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A string, in bytes because functions may cut a character.
    Text(Cow<'a, [u8]>),
    /// A string with the methods of a digest.
    Digest(&'a str),
    /// A time, and whether it is behind a pointer.
    Time(Time, bool),
    List(List<'a>),
    Map(Option<&'a Object<String, Json>>, &'a Type),
    Struct(Option<&'a Object<String, Json>>, &'a Struct),
}

/// A slice of Go.
#[derive(Debug, Clone)]
pub(crate) enum List<'a> {
    Json(&'a [Json], &'a Type),
    /// Interfaces that hold values of a type.
    Dynamic(&'a [Json], &'a Type),
    Texts(Rc<[Vec<u8>]>),
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(items, _) | Self::Dynamic(items, _) => items.len(),
            Self::Texts(items) => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items, of) => items.get(index).map(|item| Value::new(item, of)),
            Self::Dynamic(items, of) => {
                items.get(index).map(|item| Value::Interface(Box::new(Value::new(item, of).dig())))
            }
            Self::Texts(items) => items.get(index).map(|item| Value::Text(Cow::Owned(item.clone()))),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a, '_> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Returns the items from `start` to `end`, or `None` if these are out of bounds.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Option<Self> {
        Some(match self {
            Self::Json(items, of) => Self::Json(items.get(start..end)?, of),
            Self::Dynamic(items, of) => Self::Dynamic(items.get(start..end)?, of),
            Self::Texts(items) => Self::Texts(items.get(start..end)?.into()),
        })
    }
}

impl<'a> Value<'a> {
    /// Returns JSON as a value of a Go type. JSON of another shape is taken as it is.
    pub(crate) fn new(json: &'a Json, of: &'a Type) -> Self {
        match (of, json) {
            (Type::Any, json) if !json.is_null() => Self::Interface(Box::new(Self::decoded(json))),
            (Type::Any | Type::Pointer(_), Json::Null) => Self::Nil(of),
            (Type::Pointer(of), json) => match Self::new(json, of) {
                Self::Time(time, _) => Self::Time(time, true),
                value => value,
            },
            (Type::Bool, Json::Null) => Self::Bool(false),
            (Type::Int, Json::Null) => Self::Int(0),
            (Type::String, Json::Null) => Self::Text(Cow::Borrowed(b"")),
            (Type::Digest, Json::Null) => Self::Digest(""),
            (Type::Digest, Json::String(text)) => Self::Digest(text),
            (Type::Time, Json::Null) => Self::Time(Time::default(), false),
            (Type::Time, Json::String(text)) => match Time::parse(text) {
                Some(time) => Self::Time(time, false),
                None => Self::Text(Cow::Borrowed(text.as_bytes())),
            },
            (Type::Slice(of), Json::Null) => Self::List(List::Json(&[], of)),
            (Type::Slice(of), Json::Array(items)) => Self::List(List::Json(items, of)),
            (Type::Map(of), Json::Null) => Self::Map(None, of),
            (Type::Map(of), Json::Object(object)) => Self::Map(Some(object), of),
            (Type::Struct(of), Json::Null) => Self::Struct(None, of),
            (Type::Struct(of), Json::Object(object)) => Self::Struct(Some(object), of),
            (_, json) => Self::decoded(json),
        }
    }

    /// Returns JSON as Go decodes it without a type.
    fn decoded(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Nil(&ANY),
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text.as_bytes())),
            Json::Array(items) => Self::List(List::Json(items, &ANY)),
            Json::Object(object) => Self::Map(Some(object), &ANY),
        }
    }

    /// Returns the value inside an interface.
    pub(crate) fn dig(self) -> Self {
        match self {
            Self::Interface(inner) => *inner,
            value => value,
        }
    }

    /// Returns the value inside an interface.
    pub(crate) fn dug(&self) -> &Self {
        match self {
            Self::Interface(inner) => inner,
            value => value,
        }
    }

    /// Returns the value of a key of a map.
    pub(crate) fn map_entry(object: Option<&'a Object<String, Json>>, of: &'a Type, key: &str) -> Option<Self> {
        object?.get(key).map(|json| Self::new(json, of))
    }

    /// Returns the zero value of a type.
    pub(crate) fn zero(of: &'a Type) -> Self {
        Self::new(&NULL, of)
    }

    /// Returns the value of a field of a struct.
    pub(crate) fn struct_field(object: Option<&'a Object<String, Json>>, of: &'a Struct, name: &str) -> Option<Self> {
        let field = of.field(name)?;
        Some(match (field.key, &field.of) {
            (None, Type::Struct(embedded)) => Self::Struct(object, embedded),
            (key, of) => Self::new(key.and_then(|key| object?.get(key)).unwrap_or(&NULL), of),
        })
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into().into_bytes()))
    }

    /// Returns the bytes of a string.
    pub(crate) fn as_text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Digest(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// Returns whether a condition with this value holds.
    pub(crate) fn is_true(&self) -> bool {
        match self.dug() {
            Self::Interface(_) => true,
            Self::Missing | Self::Nil(_) => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Digest(text) => !text.is_empty(),
            Self::Time(..) | Self::Struct(..) => true,
            Self::List(list) => list.len() > 0,
            Self::Map(object, _) => object.is_some_and(|object| !object.is_empty()),
        }
    }

    /// Returns the name of the value's type in Go.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Self::Missing => "<nil>".to_owned(),
            Self::Interface(_) => ANY.name(),
            Self::Nil(of) => of.name(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::Text(_) => "string".to_owned(),
            Self::Digest(_) => "digest.Digest".to_owned(),
            Self::Time(_, false) => "time.Time".to_owned(),
            Self::Time(_, true) => "*time.Time".to_owned(),
            Self::List(List::Json(_, of)) => format!("[]{}", of.name()),
            Self::List(List::Dynamic(..)) => format!("[]{}", ANY.name()),
            Self::List(List::Texts(_)) => "[]string".to_owned(),
            Self::Map(_, of) => format!("map[string]{}", of.name()),
            Self::Struct(_, of) => of.name.to_owned(),
        }
    }
}
