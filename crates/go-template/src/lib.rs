//! Go's [text/template](https://pkg.go.dev/text/template) over JSON values, for the `--format` options of skopeo,
//! docker and podman.
//!
//! ```
//! use serde_json::json;
//! use vmroot_go_template::{Template, Type};
//!
//! let template = Template::parse("list", "{{range .Tags}}{{.}} {{else}}none{{end}}").unwrap();
//! let output = template.execute(&json!({"Tags": ["3.19", "3.20"]}), &Type::Any).unwrap();
//! assert_eq!(output, b"3.19 3.20 ");
//! ```
//!
//! JSON alone is too little for a template: Go treats structs, maps, times and pointers differently. A [`Type`] says
//! which Go type a value stands for. So an unknown field of a struct is an error, and a missing key of a map prints as
//! `<no value>`.
//!
//! # Scope
//!
//! The syntax is complete: actions, pipelines, variables, `if`, `range`, `with`, `break`, `continue`, `define`,
//! `template`, `block`, comments and trim markers. The functions are Go's own, except that there are no values for
//! `call`, and those of docker and podman: `json`, `join`, `split`, `lower`, `upper`, `title`, `pad` and `truncate`.
//! Errors have Go's words. Complex numbers are not supported.
//!
//! [`Report`] adds the conventions of the tools around a template, and [`to_json`] writes JSON as Go does.
//!
//! # Limits
//!
//! [`TEMPLATE_LIMIT`], [`DEPTH_LIMIT`], [`STEPS_LIMIT`], [`TEXT_LIMIT`] and [`OUTPUT_LIMIT`] bound the memory and the
//! time that a template takes. Functions do not panic for any template and data.

mod ast;
mod error;
mod eval;
mod functions;
mod json;
mod lex;
mod parse;
mod print;
mod printf;
mod report;
mod schema;
mod time;
mod value;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use error::{Error, Result};
pub use json::{JsonStyle, to_json};
pub use report::{Report, align_columns, is_json};
pub use schema::{Field, Omit, Struct, Type};
pub use time::Time;

use crate::ast::Node;
use crate::eval::Source;
use crate::value::Value;

/// The largest length of a template in bytes.
pub const TEMPLATE_LIMIT: usize = 1 << 20;
/// The largest depth of nested actions, parentheses and templates.
pub const DEPTH_LIMIT: usize = 200;
/// The largest number of executed actions, commands and iterations.
pub const STEPS_LIMIT: usize = 1_000_000;
/// The largest length in bytes of a text that a function returns.
pub const TEXT_LIMIT: usize = 4 << 20;
/// The largest length of the output in bytes.
pub const OUTPUT_LIMIT: usize = 64 << 20;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: String,
    root: Vec<Node>,
    definitions: BTreeMap<String, Vec<Node>>,
}

impl Template {
    /// Parses a template. Messages contain `name`.
    ///
    /// # Errors
    /// - [`Error::Parse`]: the template is malformed, or names a function or a variable that does not exist.
    /// - [`Error::Limit`]: the template is longer than [`TEMPLATE_LIMIT`] or nested deeper than [`DEPTH_LIMIT`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        if text.len() > TEMPLATE_LIMIT {
            return Err(Error::Limit { name: name.to_owned(), limit: "TEMPLATE_LIMIT", value: TEMPLATE_LIMIT });
        }
        let parsed = parse::parse(name, text, &|function| functions::find(function).is_some())?;
        let (root, definitions) = (parsed.root, parsed.definitions);
        Ok(Self { name: name.to_owned(), text: text.to_owned(), root, definitions })
    }

    /// Executes the template on data of a type, and returns the output, which is UTF-8 unless a function cuts a
    /// character.
    ///
    /// # Errors
    /// - [`Error::Execute`]: the template does not fit the data.
    /// - [`Error::Limit`]: the output or the work exceeds a limit.
    pub fn execute(&self, data: &Json, of: &Type) -> Result<Vec<u8>> {
        self.run(Value::new(data, of).dig())
    }

    /// Executes the template on a list whose items are interfaces, as `[]interface {}` with values of a type.
    pub(crate) fn execute_dynamic(&self, data: &Json, of: &Type) -> Result<Vec<u8>> {
        self.run(match (data, of) {
            (Json::Array(items), Type::Slice(of)) => Value::List(value::List::Dynamic(items, of)),
            _ => Value::new(data, of).dig(),
        })
    }

    fn run(&self, data: Value<'_>) -> Result<Vec<u8>> {
        let source = Source { name: &self.name, text: &self.text, definitions: &self.definitions };
        eval::execute(source, &self.root, data)
    }
}
