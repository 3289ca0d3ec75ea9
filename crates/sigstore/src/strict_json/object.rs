//! Objects whose members are taken one by one.

use serde_json::{Map, Value};

use super::Error;

/// The members of an object that were not taken yet.
///
/// A member with the value `null` is a member of the wrong type, unless [`Object::without_nulls`] removed it.
#[derive(Debug, Clone)]
pub struct Object {
    place: String,
    members: Map<String, Value>,
}

impl Object {
    /// Returns `value` as an object. Errors call it `place`.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the value is not an object.
    pub fn of(value: Value, place: &str) -> Result<Self, Error> {
        match value {
            Value::Object(members) => Ok(Self { place: place.to_owned(), members }),
            _ => Err(wrong_type(place, "an object")),
        }
    }

    /// Removes the members whose value is `null`. ProtoJSON gives them the meaning of absent members.
    #[must_use]
    pub fn without_nulls(mut self) -> Self {
        self.members.retain(|_, value| !value.is_null());
        self
    }

    /// Returns the path of this object in its document, for errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the path of a member of this object, for errors.
    pub fn place_of(&self, name: &str) -> String {
        format!("{}.{}", self.place, shortened(name))
    }

    /// Returns whether the member exists and was not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Returns the names of the members that were not taken yet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Takes a member of any type.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// Takes a member of any type that must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub fn required(&mut self, name: &str) -> Result<Value, Error> {
        self.take(name).ok_or_else(|| Error::Missing { place: self.place.clone(), name: name.to_owned() })
    }

    /// Takes a text.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::Type`].
    pub fn string(&mut self, name: &str) -> Result<String, Error> {
        let value = self.required(name)?;
        self.as_string(name, value)
    }

    /// Takes a text if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the member is not a string.
    pub fn optional_string(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.take(name).map(|value| self.as_string(name, value)).transpose()
    }

    /// Takes an object.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::Type`].
    pub fn object(&mut self, name: &str) -> Result<Self, Error> {
        let value = self.required(name)?;
        Self::of(value, &self.place_of(name))
    }

    /// Takes an object if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the member is not an object.
    pub fn optional_object(&mut self, name: &str) -> Result<Option<Self>, Error> {
        self.take(name).map(|value| Self::of(value, &self.place_of(name))).transpose()
    }

    /// Takes an array.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::Type`].
    pub fn array(&mut self, name: &str) -> Result<Vec<Value>, Error> {
        let value = self.required(name)?;
        self.as_array(name, value)
    }

    /// Takes an array if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the member is not an array.
    pub fn optional_array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Error> {
        self.take(name).map(|value| self.as_array(name, value)).transpose()
    }

    /// Takes an array of texts if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the member is not an array of strings.
    pub fn optional_strings(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(values) = self.optional_array(name)? else { return Ok(None) };
        let texts = values.into_iter().enumerate().map(|(index, value)| match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong_type(&format!("{}[{index}]", self.place_of(name)), "a string")),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    /// Takes an integer.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::Type`]: the member is not an integer of 64 bits. `1.0` is not one.
    pub fn integer(&mut self, name: &str) -> Result<i64, Error> {
        let value = self.required(name)?;
        value.as_i64().ok_or_else(|| wrong_type(&self.place_of(name), "an integer"))
    }

    /// Takes an integer if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the member is not an integer of 64 bits.
    pub fn optional_integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        if self.has(name) { self.integer(name).map(Some) } else { Ok(None) }
    }

    /// Takes a boolean if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the member is not a boolean.
    pub fn optional_boolean(&mut self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong_type(&self.place_of(name), "true or false"))
    }

    /// Takes all members that are left, sorted by name.
    pub fn into_members(self) -> Map<String, Value> {
        self.members
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]: a member was not taken.
    pub fn finish(self) -> Result<(), Error> {
        match self.members.keys().next() {
            Some(name) => Err(Error::Unknown { place: self.place, name: shortened(name) }),
            None => Ok(()),
        }
    }

    fn as_string(&self, name: &str, value: Value) -> Result<String, Error> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong_type(&self.place_of(name), "a string")),
        }
    }

    fn as_array(&self, name: &str, value: Value) -> Result<Vec<Value>, Error> {
        match value {
            Value::Array(values) => Ok(values),
            _ => Err(wrong_type(&self.place_of(name), "an array")),
        }
    }
}

fn wrong_type(place: &str, expected: &'static str) -> Error {
    Error::Type { place: place.to_owned(), expected }
}

/// Returns at most 100 characters of a name, for an error.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse_object;

    #[test]
    fn members_have_types_and_places() {
        let text = br#"{"a":{"b":"x","c":null},"n":1.0,"l":["y",2],"u":7,"t":true}"#;
        let mut object = parse_object(text, "doc", 1000).unwrap();
        let mut inner = object.object("a").unwrap();
        assert_eq!(inner.string("c").unwrap_err().to_string(), "doc.a.c is not a string");
        assert_eq!(inner.string("d").unwrap_err().to_string(), "doc.a has no member \"d\"");
        assert_eq!(inner.finish().unwrap_err().to_string(), "doc.a has the unknown member \"b\"");
        assert_eq!(object.integer("n").unwrap_err().to_string(), "doc.n is not an integer");
        assert_eq!(object.optional_strings("l").unwrap_err().to_string(), "doc.l[1] is not a string");
        assert_eq!(object.optional_integer("u"), Ok(Some(7)));
        assert_eq!(object.optional_boolean("t"), Ok(Some(true)));
        assert_eq!(object.optional_boolean("t"), Ok(None));
        assert_eq!(object.finish(), Ok(()));
    }

    #[test]
    fn nulls_are_absent_only_on_request() {
        let object = parse_object(br#"{"a":null}"#, "doc", 1000).unwrap();
        assert!(object.clone().finish().is_err());
        assert!(object.clone().optional_string("a").is_err());
        assert!(object.without_nulls().finish().is_ok());
    }
}
