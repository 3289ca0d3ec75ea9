//! Commands, operands and calls of functions.

use std::borrow::Cow;

use super::{Machine, Place};
use crate::Result;
use crate::ast::{Command, Number, Operand, OperandKind};
use crate::functions::{self, Function, Parameter};
use crate::schema::Type;
use crate::value::{ANY, Value};

impl<'a> Machine<'a> {
    /// Executes a command. `last` is the result of the previous one, and the last argument of this one.
    pub(super) fn command(
        &mut self,
        command: &'a Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        self.step()?;
        let (first, arguments) = (&command.operands[0], &command.operands[1..]);
        let has_arguments = !arguments.is_empty() || last.is_some();
        match &first.kind {
            OperandKind::Field(fields) => {
                self.place = Place::Operand(first);
                self.fields(dot.clone(), fields, dot, arguments, last)
            }
            OperandKind::Variable(name, fields) => {
                self.place = Place::Operand(first);
                let value = self.variable(name);
                if fields.is_empty() && has_arguments {
                    return Err(self.not_a_function(first));
                }
                self.fields(value, fields, dot, arguments, last)
            }
            OperandKind::Chain(inner, fields) => {
                self.place = Place::Operand(first);
                if matches!(inner.kind, OperandKind::Nil) {
                    return Err(self.error(format!("indirection through explicit nil in {first}")));
                }
                let value = self.argument(inner, dot)?;
                self.fields(value, fields, dot, arguments, last)
            }
            OperandKind::Identifier(name) => {
                self.place = Place::Operand(first);
                self.call(name, Place::Command(command), arguments, dot, last)
            }
            OperandKind::Pipeline(_) if has_arguments => Err(self.not_a_function(first)),
            OperandKind::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            kind => {
                self.place = Place::Operand(first);
                match kind {
                    _ if has_arguments => Err(self.not_a_function(first)),
                    OperandKind::Nil => Err(self.error("nil is not a command")),
                    _ => self.argument(first, dot),
                }
            }
        }
    }

    fn not_a_function(&self, operand: &Operand) -> crate::Error {
        self.error(format!("can't give argument to non-function {operand}"))
    }

    fn variable(&self, name: &str) -> Value<'a> {
        let found = self.variables.iter().rev().find(|(variable, _)| *variable == name);
        found.map_or(Value::Missing, |(_, value)| value.clone())
    }

    /// Evaluates an operand that has no arguments.
    fn argument(&mut self, operand: &'a Operand, dot: &Value<'a>) -> Result<Value<'a>> {
        self.place = Place::Operand(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil(&ANY)),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Number(Number::Int(value), _) => Ok(Value::Int(*value)),
            OperandKind::Number(Number::Float(value), _) => Ok(Value::Float(*value)),
            OperandKind::Number(Number::TooLarge, text) => Err(self.error(format!("{text} overflows int"))),
            OperandKind::Text(text, _) => Ok(Value::Text(Cow::Borrowed(text))),
            OperandKind::Field(fields) => self.fields(dot.clone(), fields, dot, &[], None),
            OperandKind::Variable(name, fields) => self.fields(self.variable(name), fields, dot, &[], None),
            OperandKind::Identifier(name) => self.call(name, Place::Operand(operand), &[], dot, None),
            OperandKind::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            OperandKind::Chain(inner, fields) => {
                if matches!(inner.kind, OperandKind::Nil) {
                    return Err(self.error(format!("indirection through explicit nil in {operand}")));
                }
                let value = self.argument(inner, dot)?;
                self.fields(value, fields, dot, &[], None)
            }
        }
    }

    /// Calls a function. `place` is where its errors are.
    fn call(
        &mut self,
        name: &str,
        place: Place<'a>,
        operands: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>> {
        let Some(function) = functions::find(name) else {
            return Err(self.error(format!("{name:?} is not a defined function")));
        };
        self.check_count(function, operands.len(), usize::from(last.is_some()))?;
        // Go evaluates the arguments of these up to the one that decides.
        let decides = |value: &Value<'_>| match name {
            "and" => !value.is_true(),
            "or" => value.is_true(),
            _ => false,
        };
        let mut values = Vec::with_capacity(operands.len() + 1);
        for (index, operand) in operands.iter().enumerate() {
            let value = self.typed_argument(operand, parameter(function, index), dot)?;
            if decides(&value) {
                return Ok(value);
            }
            values.push(value);
        }
        if let Some(last) = last {
            values.push(self.convert(last, parameter(function, operands.len()))?);
        }
        (function.call)(&values).map_err(|reason| {
            self.place = place;
            self.error(format!("error calling {name}: {reason}"))
        })
    }

    fn check_count(&self, function: &Function, operands: usize, last: usize) -> Result<()> {
        let (name, wanted, got) = (function.name, function.parameters.len(), operands + last);
        match function.variadic {
            Some(_) if got < wanted => {
                Err(self.error(format!("wrong number of args for {name}: want at least {wanted} got {operands}")))
            }
            None if got != wanted => {
                Err(self.error(format!("wrong number of args for {name}: want {wanted} got {got}")))
            }
            _ => Ok(()),
        }
    }

    fn typed_argument(&mut self, operand: &'a Operand, wanted: Parameter, dot: &Value<'a>) -> Result<Value<'a>> {
        self.place = Place::Operand(operand);
        let expected = match (wanted, &operand.kind) {
            (Parameter::Text, OperandKind::Bool(_) | OperandKind::Number(..)) => "string",
            (
                Parameter::Int,
                OperandKind::Bool(_) | OperandKind::Text(..) | OperandKind::Number(Number::Float(_), _),
            ) => "integer",
            (Parameter::Texts, OperandKind::Bool(_) | OperandKind::Text(..) | OperandKind::Number(..)) => {
                return Err(self.error(format!("can't handle {operand} for arg of type []string")));
            }
            (Parameter::Text, OperandKind::Nil) => return Err(self.error("cannot assign nil to string")),
            (Parameter::Int, OperandKind::Nil) => return Err(self.error("cannot assign nil to int")),
            _ => {
                let value = self.argument(operand, dot)?;
                return self.convert(value, wanted);
            }
        };
        Err(self.error(format!("expected {expected}; found {operand}")))
    }

    /// Returns the one argument of a method that takes a text.
    pub(super) fn text_arguments(
        &mut self,
        operands: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Vec<u8>> {
        let value = match (operands.first(), last) {
            (Some(operand), _) => self.typed_argument(operand, Parameter::Text, dot)?,
            (None, last) => self.convert(last.unwrap_or(Value::Missing), Parameter::Text)?,
        };
        Ok(value.as_text().unwrap_or_default().to_vec())
    }

    /// Checks that a value has the type of a parameter.
    fn convert(&self, value: Value<'a>, wanted: Parameter) -> Result<Value<'a>> {
        let value = value.dig();
        let expected = match (wanted, &value) {
            // No value is a nil interface for a function.
            (Parameter::Any, _) => return Ok(value),
            (Parameter::Text, Value::Text(_) | Value::Digest(_)) | (Parameter::Int, Value::Int(_)) => return Ok(value),
            (Parameter::Texts, Value::List(list)) if functions::is_list_of_texts(list) => return Ok(value),
            (Parameter::Texts, Value::Missing | Value::Nil(Type::Any)) => return Ok(value),
            (Parameter::Text, _) => "string",
            (Parameter::Int, _) => "int",
            (Parameter::Texts, _) => "[]string",
        };
        Err(self.error(match value {
            Value::Missing | Value::Nil(Type::Any) => format!("invalid value; expected {expected}"),
            value => format!("wrong type for value; expected {expected}; got {}", value.type_name()),
        }))
    }
}

fn parameter(function: &Function, index: usize) -> Parameter {
    function.parameters.get(index).copied().or(function.variadic).unwrap_or(Parameter::Any)
}
