//! Go types of JSON values.

/// The Go type that a JSON value stands for.
///
/// Go's templates treat a struct and a map differently: a missing key of a map has no value, but a missing field of a
/// struct is an error. JSON has objects for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`: decoded JSON. Objects are maps. Numbers without a fraction are integers.
    Any,
    /// `bool`
    Bool,
    /// `int64`
    Int,
    /// `string`
    String,
    /// `digest.Digest`: a string with the methods `Algorithm`, `Encoded`, `Hex` and `String`.
    Digest,
    /// `time.Time`: an RFC 3339 string with methods such as `Format` and `Unix`.
    Time,
    /// A pointer. `null` is the nil pointer.
    Pointer(Box<Type>),
    /// A slice. `null` is the nil slice.
    Slice(Box<Type>),
    /// A map with string keys. `null` is the nil map.
    Map(Box<Type>),
    /// A struct.
    Struct(Struct),
}

/// A struct type of Go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struct {
    /// The name with its package, such as `inspect.Output`.
    pub name: &'static str,
    /// The fields in their order.
    pub fields: Vec<Field>,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name of the field in Go, which templates use.
    pub name: &'static str,
    /// The key in the JSON object, or `None` for an embedded struct, whose keys are in the same object.
    pub key: Option<&'static str>,
    /// The type of the field.
    pub of: Type,
    /// Whether the field is left out of JSON.
    pub omit: Omit,
}

/// When a field is left out of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Omit {
    /// Never.
    #[default]
    Never,
    /// If it is false, 0, nil, or an empty string, slice or map (`omitempty`). A struct is never empty.
    Empty,
    /// If it is the zero value of its type (`omitzero`). An empty slice or map is not, a struct of zero values is.
    Zero,
}

impl Field {
    /// Returns a field whose key in JSON is its name.
    pub fn new(name: &'static str, of: Type) -> Self {
        Self { name, key: Some(name), of, omit: Omit::Never }
    }

    /// Returns a field with another key in JSON.
    pub fn with_key(name: &'static str, key: &'static str, of: Type) -> Self {
        Self { name, key: Some(key), of, omit: Omit::Never }
    }

    /// Returns the field with `omitempty`.
    pub fn omit_empty(self) -> Self {
        Self { omit: Omit::Empty, ..self }
    }

    /// Returns the field with `omitzero`.
    pub fn omit_zero(self) -> Self {
        Self { omit: Omit::Zero, ..self }
    }

    /// Returns an embedded struct. Templates can leave out its name.
    pub fn embedded(name: &'static str, of: Struct) -> Self {
        Self { name, key: None, of: Type::Struct(of), omit: Omit::Never }
    }
}

impl Struct {
    /// Finds a field of the struct, or else of the structs that it embeds.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let own = self.fields.iter().find(|field| field.name == name);
        own.or_else(|| {
            self.fields.iter().filter(|field| field.key.is_none()).find_map(|field| field.embedded_field(name))
        })
    }
}

impl Struct {
    /// Returns the names of its fields, with those of the structs that it embeds in their place.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let names = self.fields.iter().flat_map(|field| match (&field.of, field.key) {
            (Type::Struct(embedded), None) => embedded.names(),
            _ => vec![field.name],
        });
        names.collect()
    }
}

impl Field {
    fn embedded_field(&self, name: &str) -> Option<&Field> {
        match &self.of {
            Type::Struct(of) => of.field(name),
            _ => None,
        }
    }
}

impl Type {
    /// Returns a slice of this type.
    pub fn slice(self) -> Self {
        Self::Slice(Box::new(self))
    }

    /// Returns a map from strings to this type.
    pub fn map(self) -> Self {
        Self::Map(Box::new(self))
    }

    /// Returns a pointer to this type.
    pub fn pointer(self) -> Self {
        Self::Pointer(Box::new(self))
    }

    /// Returns the name of the type in Go, for messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Any => "interface {}".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int64".to_owned(),
            Self::String => "string".to_owned(),
            Self::Digest => "digest.Digest".to_owned(),
            Self::Time => "time.Time".to_owned(),
            Self::Pointer(of) => format!("*{}", of.name()),
            Self::Slice(of) => format!("[]{}", of.name()),
            Self::Map(of) => format!("map[string]{}", of.name()),
            Self::Struct(of) => of.name.to_owned(),
        }
    }
}
