//! The tree of a parsed template. Its parts print as Go prints them in messages.

use std::fmt::{self, Display, Formatter};

/// A number in a template, which is several types at once until it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    /// An integer above the largest `int`.
    TooLarge,
    Float(f64),
}

/// An operand.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) kind: OperandKind,
    /// The offset in the template in bytes.
    pub(crate) position: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number, String),
    /// The value, and the text with its quotes.
    Text(Vec<u8>, String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// A function.
    Identifier(String),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
    /// `(pipeline).A.B`, or a function with fields of its result.
    Chain(Box<Operand>, Vec<String>),
}

/// An operand with arguments.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) position: usize,
    /// At least one.
    pub(crate) operands: Vec<Operand>,
}

/// Commands, each with the result of the previous one as its last argument.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) position: usize,
    pub(crate) variables: Vec<String>,
    /// Whether the variables are assigned, not declared.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(String),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { name: String, position: usize, pipeline: Option<Pipeline> },
    Break,
    Continue,
}

/// A part with a body.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) pipeline: Pipeline,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Option<Vec<Node>>,
}

fn write_fields(f: &mut Formatter<'_>, fields: &[String]) -> fmt::Result {
    fields.iter().try_for_each(|field| write!(f, ".{field}"))
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(_, text) | OperandKind::Text(_, text) => f.write_str(text),
            OperandKind::Field(fields) => write_fields(f, fields),
            OperandKind::Variable(name, fields) => {
                f.write_str(name)?;
                write_fields(f, fields)
            }
            OperandKind::Identifier(name) => f.write_str(name),
            OperandKind::Pipeline(pipeline) => write!(f, "{pipeline}"),
            OperandKind::Chain(operand, fields) => {
                write!(f, "{}", Argument(operand))?;
                write_fields(f, fields)
            }
        }
    }
}

/// An operand within a command: a pipeline there has parentheses.
struct Argument<'a>(&'a Operand);

impl Display for Argument<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            OperandKind::Pipeline(pipeline) => write!(f, "({pipeline})"),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_joined(f, self.operands.iter().map(Argument), " ")
    }
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write_joined(f, self.variables.iter(), ", ")?;
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        write_joined(f, self.commands.iter(), " | ")
    }
}

fn write_joined(f: &mut Formatter<'_>, parts: impl Iterator<Item = impl Display>, separator: &str) -> fmt::Result {
    for (index, part) in parts.enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{part}")?;
    }
    Ok(())
}
