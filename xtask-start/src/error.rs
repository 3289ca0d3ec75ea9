//! Errors as text. A crate for errors would have to be compiled before the first line of a task.

use std::fmt::{self, Display};

/// The message of an error and of its causes.
#[derive(Debug)]
pub struct Error(String);

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error of a message.
    pub fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

/// Adds the thing that failed to an error.
pub trait Context<T> {
    /// Returns the value, or an error that begins with `what`.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Error(format!("{what}: {error}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl Display) -> Result<T> {
        self.ok_or_else(|| Error::new(what))
    }
}
