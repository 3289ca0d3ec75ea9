//! Executes a template, as Go's `text/template/exec.go` does.

mod field;
mod operand;

use std::collections::BTreeMap;
use std::fmt;

use crate::ast::{Branch, Command, Node, Operand, Pipeline};
use crate::print::print_value;
use crate::schema::Type;
use crate::value::Value;
use crate::{DEPTH_LIMIT, Error, OUTPUT_LIMIT, Result, STEPS_LIMIT};

/// A template and where messages say it is.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) definitions: &'a BTreeMap<String, Vec<Node>>,
}

/// Executes nodes on data, and returns the output.
pub(crate) fn execute<'a>(source: Source<'a>, nodes: &'a [Node], data: Value<'a>) -> Result<Vec<u8>> {
    let mut machine = Machine {
        source,
        executing: source.name,
        variables: vec![("$", data.clone())],
        output: Vec::new(),
        depth: 0,
        steps: 0,
        place: Place::Start,
    };
    machine.list(nodes, &data)?;
    Ok(machine.output)
}

/// The part of a template that messages name.
#[derive(Clone, Copy)]
enum Place<'a> {
    Start,
    Action(&'a Pipeline),
    Pipeline(&'a Pipeline),
    Command(&'a Command),
    Operand(&'a Operand),
    Template(&'a str, usize, Option<&'a Pipeline>),
}

impl Place<'_> {
    fn position(&self) -> usize {
        match self {
            Self::Start => 0,
            Self::Action(pipeline) | Self::Pipeline(pipeline) => pipeline.position,
            Self::Command(command) => command.position,
            Self::Operand(operand) => operand.position,
            Self::Template(_, position, _) => *position,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => Ok(()),
            Self::Action(pipeline) => write!(f, "{{{{{pipeline}}}}}"),
            Self::Pipeline(pipeline) => write!(f, "{pipeline}"),
            Self::Command(command) => write!(f, "{command}"),
            Self::Operand(operand) => write!(f, "{operand}"),
            Self::Template(name, _, None) => write!(f, "{{{{template {name:?}}}}}"),
            Self::Template(name, _, Some(pipeline)) => write!(f, "{{{{template {name:?} {pipeline}}}}}"),
        }
    }
}

/// The way that a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Machine<'a> {
    source: Source<'a>,
    /// The name of the template or definition that executes.
    executing: &'a str,
    variables: Vec<(&'a str, Value<'a>)>,
    output: Vec<u8>,
    /// The number of enclosing lists, pipelines and templates.
    depth: usize,
    /// The number of nodes and commands that were executed.
    steps: usize,
    place: Place<'a>,
}

impl<'a> Machine<'a> {
    fn error(&self, message: impl Into<String>) -> Error {
        let before = &self.source.text[..self.place.position()];
        Error::Execute {
            name: self.source.name.to_owned(),
            line: 1 + before.matches('\n').count(),
            column: before.len() - before.rfind('\n').map_or(0, |at| at + 1),
            executing: self.executing.to_owned(),
            context: self.place.to_string(),
            message: message.into(),
        }
    }

    fn limit(&self, limit: &'static str, value: usize) -> Error {
        Error::Limit { name: self.source.name.to_owned(), limit, value }
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > STEPS_LIMIT { Err(self.limit("STEPS_LIMIT", STEPS_LIMIT)) } else { Ok(()) }
    }

    /// Runs `work` one level deeper.
    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.limit("DEPTH_LIMIT", DEPTH_LIMIT));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.output.len() + bytes.len() > OUTPUT_LIMIT {
            return Err(self.limit("OUTPUT_LIMIT", OUTPUT_LIMIT));
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn list(&mut self, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow> {
        self.deeper(|machine| {
            for node in nodes {
                match machine.node(node, dot)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                }
            }
            Ok(Flow::Next)
        })
    }

    fn node(&mut self, node: &'a Node, dot: &Value<'a>) -> Result<Flow> {
        self.step()?;
        match node {
            Node::Text(text) => self.write(text.as_bytes())?,
            Node::Action(pipeline) => {
                self.place = Place::Action(pipeline);
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.print(&value)?;
                }
            }
            Node::If(branch) => return self.condition(branch, dot, false),
            Node::With(branch) => return self.condition(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template { name, position, pipeline } => self.template(name, *position, pipeline.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Value<'a>) -> Result<()> {
        match value {
            Value::Missing => self.write(b"<no value>"),
            Value::Nil(Type::Any) => self.write(b"<no value>"),
            value => {
                let mut text = Vec::new();
                print_value(&mut text, value);
                self.write(&text)
            }
        }
    }

    /// Executes `if`, or `with`, which changes the dot.
    fn condition(&mut self, branch: &'a Branch, dot: &Value<'a>, is_with: bool) -> Result<Flow> {
        let variables = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let flow = if value.is_true() {
            self.list(&branch.body, if is_with { &value } else { dot })
        } else {
            branch.otherwise.as_ref().map_or(Ok(Flow::Next), |otherwise| self.list(otherwise, dot))
        };
        self.variables.truncate(variables);
        flow
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow> {
        let variables = self.variables.len();
        let flow = self.range_items(branch, dot);
        self.variables.truncate(variables);
        flow
    }

    fn range_items(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow> {
        let value = self.pipeline(&branch.pipeline, dot)?;
        let count = match &value {
            Value::List(list) => list.len(),
            Value::Map(object, _) => object.map_or(0, serde_json::Map::len),
            Value::Int(_) if branch.pipeline.variables.len() > 1 => {
                return Err(self.error(format!("can't use {} to iterate over more than one variable", shown(&value))));
            }
            Value::Int(count) => usize::try_from(*count).unwrap_or_default(),
            Value::Missing | Value::Nil(_) => 0,
            value => return Err(self.error(format!("range can't iterate over {}", shown(value)))),
        };
        if count == 0 {
            return branch.otherwise.as_ref().map_or(Ok(Flow::Next), |otherwise| self.list(otherwise, dot));
        }
        let mark = self.variables.len();
        let mut entries = match &value {
            Value::Map(Some(object), _) => Some(object.iter()),
            _ => None,
        };
        for index in 0..count {
            let number = i64::try_from(index).map_or(Value::Missing, Value::Int);
            let (key, item) = match &value {
                Value::List(list) => (number, list.get(index).unwrap_or(Value::Missing)),
                Value::Map(_, of) => match entries.as_mut().and_then(Iterator::next) {
                    Some((key, item)) => (Value::Text(key.as_bytes().into()), Value::new(item, of)),
                    None => break,
                },
                _ => (number.clone(), number),
            };
            self.step()?;
            self.set_range_variables(&branch.pipeline, key, item.clone());
            let flow = self.list(&branch.body, &item)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Sets the variables of a range, which the pipeline has declared.
    fn set_range_variables(&mut self, pipeline: &'a Pipeline, key: Value<'a>, item: Value<'a>) {
        match &pipeline.variables[..] {
            [one] => self.assign(one, item),
            [first, second] => {
                self.assign(first, key);
                self.assign(second, item);
            }
            _ => {}
        }
    }

    /// Assigns a variable. The parser has checked that it is declared.
    fn assign(&mut self, name: &str, value: Value<'a>) {
        if let Some((_, slot)) = self.variables.iter_mut().rev().find(|(variable, _)| *variable == name) {
            *slot = value;
        }
    }

    fn template(
        &mut self,
        name: &'a str,
        position: usize,
        pipeline: Option<&'a Pipeline>,
        dot: &Value<'a>,
    ) -> Result<()> {
        self.place = Place::Template(name, position, pipeline);
        let Some(body) = self.source.definitions.get(name) else {
            return Err(self.error(format!("template {name:?} not defined")));
        };
        let dot = pipeline.map_or(Ok(Value::Missing), |pipeline| self.pipeline(pipeline, dot))?;
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let executing = std::mem::replace(&mut self.executing, name);
        self.list(body, &dot)?;
        self.variables = variables;
        self.executing = executing;
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value<'a>) -> Result<Value<'a>> {
        self.deeper(|machine| {
            machine.place = Place::Pipeline(pipeline);
            let mut value = None;
            for command in &pipeline.commands {
                value = Some(machine.command(command, dot, value)?.dig());
            }
            let value = value.unwrap_or(Value::Missing);
            for name in &pipeline.variables {
                match pipeline.assigns {
                    true => machine.assign(name, value.clone()),
                    false => machine.variables.push((name, value.clone())),
                }
            }
            Ok(value)
        })
    }
}

/// Prints a value for a message.
fn shown(value: &Value<'_>) -> String {
    let mut text = Vec::new();
    print_value(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}
