//! Errors of templates, worded as Go words them.

use thiserror::Error;

/// The result of parsing or executing a template.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in a template, or in applying it to data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The template is malformed.
    #[error("template: {name}:{line}: {message}")]
    Parse {
        /// The name of the template.
        name: String,
        /// The line in the template, counting from 1.
        line: usize,
        /// The reason.
        message: String,
    },
    /// The template does not fit the data.
    #[error("template: {name}:{line}:{column}: executing {executing:?} at <{context}>: {message}")]
    Execute {
        /// The name of the template that was parsed.
        name: String,
        /// The line in the template, counting from 1.
        line: usize,
        /// The offset in the line in bytes, counting from 0.
        column: usize,
        /// The name of the template or of the `define` that was executing.
        executing: String,
        /// The part of the template that failed.
        context: String,
        /// The reason.
        message: String,
    },
    /// The template names a field that the value does not have.
    #[error(
        "template: {name}:{line}:{column}: executing {executing:?} at <{context}>: can't evaluate field {field} in type {of}"
    )]
    UnknownField {
        /// The name of the template that was parsed.
        name: String,
        /// The line in the template, counting from 1.
        line: usize,
        /// The offset in the line in bytes, counting from 0.
        column: usize,
        /// The name of the template or of the `define` that was executing.
        executing: String,
        /// The part of the template that failed.
        context: String,
        /// The name of the field.
        field: String,
        /// Go's name of the type.
        of: String,
        /// The fields and methods that the value has. Empty for a value without any.
        known: Vec<&'static str>,
    },
    /// The template, its output or its work exceeds a limit.
    #[error("template: {name}: exceeds the limit {limit} of {value}")]
    Limit {
        /// The name of the template.
        name: String,
        /// The name of the limit: a constant of this crate.
        limit: &'static str,
        /// The value of the limit.
        value: usize,
    },
}
