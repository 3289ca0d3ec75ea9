//! Parses the tokens of a template, as Go's `text/template/parse/parse.go` does.

mod literal;

use std::collections::BTreeMap;

use crate::ast::{Branch, Command, Node, Operand, OperandKind, Pipeline};
use crate::lex::{Keyword, Kind, Token, lex};
use crate::{DEPTH_LIMIT, Error, Result};

/// A parsed template and the templates that it defines.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) root: Vec<Node>,
    pub(crate) definitions: BTreeMap<String, Vec<Node>>,
}

/// Parses a template. `is_function` returns whether a function exists.
pub(crate) fn parse(name: &str, text: &str, is_function: &dyn Fn(&str) -> bool) -> Result<Parsed> {
    let mut parser = Parser {
        name,
        tokens: lex(text),
        next: 0,
        action_line: 0,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        definitions: BTreeMap::new(),
        is_function,
    };
    let root = parser.root()?;
    Ok(Parsed { root, definitions: parser.definitions })
}

/// The reason for the end of a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminator {
    End,
    Else,
}

impl Terminator {
    fn text(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// A part of a list of nodes.
enum Item {
    Node(Node),
    Terminator(Terminator),
}

struct Parser<'a> {
    name: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
    /// The line of the current action, or 0.
    action_line: usize,
    /// The names of the variables in scope.
    variables: Vec<String>,
    /// The number of enclosing ranges.
    ranges: usize,
    /// The number of enclosing lists and parentheses.
    depth: usize,
    definitions: BTreeMap<String, Vec<Node>>,
    is_function: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    /// Returns a token. Those past the end are the last one, which is the end or an error.
    fn token(&self, index: usize) -> &Token<'a> {
        &self.tokens[index.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> Kind {
        self.token(self.next).kind
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Kind::Space {
            self.next += 1;
        }
    }

    fn peek_non_space(&mut self) -> Kind {
        self.skip_spaces();
        self.peek()
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.token(self.next).clone();
        self.next += 1;
        token
    }

    fn take_non_space(&mut self) -> Token<'a> {
        self.skip_spaces();
        self.take()
    }

    fn error(&self, message: impl Into<String>) -> Error {
        let line = self.token(self.next.saturating_sub(1)).line;
        Error::Parse { name: self.name.to_owned(), line, message: message.into() }
    }

    fn unexpected(&self, token: &Token<'a>, context: &str) -> Error {
        if token.kind != Kind::Error {
            return self.error(format!("unexpected {} in {context}", describe(token)));
        }
        let mut message = token.text.clone().into_owned();
        if self.action_line != 0 && self.action_line != token.line {
            let noun = if message.ends_with(" action") { "" } else { " in action" };
            message = format!("{message}{noun} started at {}:{}", self.name, self.action_line);
        }
        self.error(message)
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token<'a>> {
        let token = self.take_non_space();
        if token.kind == kind { Ok(token) } else { Err(self.unexpected(&token, context)) }
    }

    /// Runs `parse` one level deeper.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH_LIMIT {
            return Err(Error::Limit { name: self.name.to_owned(), limit: "DEPTH_LIMIT", value: DEPTH_LIMIT });
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn root(&mut self) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek() != Kind::End {
            if self.peek() == Kind::LeftDelimiter {
                let start = self.next;
                self.take();
                if self.take_non_space().kind == Kind::Keyword(Keyword::Define) {
                    self.definition()?;
                    continue;
                }
                self.next = start;
            }
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::Terminator(terminator) => return Err(self.error(format!("unexpected {}", terminator.text()))),
            }
        }
        Ok(nodes)
    }

    /// Parses `"name"}}…{{end}}` after `define`.
    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let name = self.template_name(CONTEXT)?;
        self.expect(Kind::RightDelimiter, CONTEXT)?;
        let body = self.separate_body(CONTEXT)?;
        self.define(name, body)
    }

    /// Parses the body of a template, which does not see the variables outside.
    fn separate_body(&mut self, context: &str) -> Result<Vec<Node>> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (body, terminator) = self.list()?;
        (self.variables, self.ranges) = (variables, ranges);
        match terminator {
            Terminator::End => Ok(body),
            Terminator::Else => Err(self.error(format!("unexpected {} in {context}", terminator.text()))),
        }
    }

    /// Adds a definition. An empty one replaces none.
    fn define(&mut self, name: String, body: Vec<Node>) -> Result<()> {
        let is_empty = |body: &[Node]| {
            body.iter()
                .all(|node| matches!(node, Node::Text(text) if text.trim_matches(crate::lex::is_space).is_empty()))
        };
        match self.definitions.get(&name) {
            Some(existing) if !is_empty(existing) && !is_empty(&body) => {
                return Err(self.error(format!("template: multiple definition of template {name:?}")));
            }
            Some(existing) if !is_empty(existing) => {}
            _ => {
                self.definitions.insert(name, body);
            }
        }
        Ok(())
    }

    fn template_name(&mut self, context: &str) -> Result<String> {
        let token = self.take_non_space();
        match token.kind {
            Kind::String | Kind::RawString => {
                let text = literal::unquote(&token.text).ok_or_else(|| self.error("invalid syntax"))?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => Err(self.unexpected(&token, context)),
        }
    }

    /// Parses nodes up to `{{end}}` or `{{else}}`.
    fn list(&mut self) -> Result<(Vec<Node>, Terminator)> {
        self.deeper(|parser| {
            let mut nodes = Vec::new();
            while parser.peek_non_space() != Kind::End {
                match parser.text_or_action()? {
                    Item::Node(node) => nodes.push(node),
                    Item::Terminator(terminator) => return Ok((nodes, terminator)),
                }
            }
            parser.take();
            Err(parser.error("unexpected EOF"))
        })
    }

    fn text_or_action(&mut self) -> Result<Item> {
        let token = self.take_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text.into_owned()))),
            Kind::LeftDelimiter => {
                self.action_line = token.line;
                let item = self.action()?;
                self.action_line = 0;
                Ok(item)
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Result<Item> {
        let start = self.next;
        let token = self.take_non_space();
        let Kind::Keyword(keyword) = token.kind else {
            self.next = start;
            return Ok(Item::Node(Node::Action(self.pipeline("command", Kind::RightDelimiter)?)));
        };
        Ok(Item::Node(match keyword {
            Keyword::Block => self.block()?,
            Keyword::Break => self.loop_control("{{break}}", Node::Break)?,
            Keyword::Continue => self.loop_control("{{continue}}", Node::Continue)?,
            Keyword::Else => return self.otherwise(),
            Keyword::End => {
                self.expect(Kind::RightDelimiter, "end")?;
                return Ok(Item::Terminator(Terminator::End));
            }
            Keyword::If => Node::If(self.branch("if")?),
            Keyword::Range => Node::Range(self.branch("range")?),
            Keyword::With => Node::With(self.branch("with")?),
            Keyword::Template => self.template()?,
            Keyword::Define | Keyword::Nil => {
                self.next = start;
                return Ok(Item::Node(Node::Action(self.pipeline("command", Kind::RightDelimiter)?)));
            }
        }))
    }

    fn loop_control(&mut self, name: &str, node: Node) -> Result<Node> {
        self.expect(Kind::RightDelimiter, name)?;
        match self.ranges {
            0 => Err(self.error(format!("{name} outside {{{{range}}}}"))),
            _ => Ok(node),
        }
    }

    /// Parses the rest of `{{else}}`. The `if` of `{{else if …}}` is left.
    fn otherwise(&mut self) -> Result<Item> {
        if !matches!(self.peek_non_space(), Kind::Keyword(Keyword::If | Keyword::With)) {
            self.expect(Kind::RightDelimiter, "else")?;
        }
        Ok(Item::Terminator(Terminator::Else))
    }

    /// Parses `if`, `range` or `with`.
    fn branch(&mut self, context: &str) -> Result<Branch> {
        let variables = self.variables.len();
        let pipeline = self.pipeline(context, Kind::RightDelimiter)?;
        let is_range = usize::from(context == "range");
        self.ranges += is_range;
        let (body, terminator) = self.list()?;
        self.ranges -= is_range;
        let otherwise = match terminator {
            Terminator::End => None,
            Terminator::Else => Some(self.else_list(context)?),
        };
        self.variables.truncate(variables);
        Ok(Branch { pipeline, body, otherwise })
    }

    fn else_list(&mut self, context: &str) -> Result<Vec<Node>> {
        match (context, self.peek()) {
            ("if", Kind::Keyword(Keyword::If)) => {
                self.take();
                Ok(vec![Node::If(self.deeper(|parser| parser.branch("if"))?)])
            }
            ("with", Kind::Keyword(Keyword::With)) => {
                self.take();
                Ok(vec![Node::With(self.deeper(|parser| parser.branch("with"))?)])
            }
            _ => match self.list()? {
                (list, Terminator::End) => Ok(list),
                (_, terminator) => Err(self.error(format!("expected end; found {}", terminator.text()))),
            },
        }
    }

    fn block(&mut self) -> Result<Node> {
        const CONTEXT: &str = "block clause";
        self.skip_spaces();
        let position = self.token(self.next).position;
        let name = self.template_name(CONTEXT)?;
        let pipeline = self.pipeline(CONTEXT, Kind::RightDelimiter)?;
        let body = self.separate_body(CONTEXT)?;
        self.define(name.clone(), body)?;
        Ok(Node::Template { name, position, pipeline: Some(pipeline) })
    }

    fn template(&mut self) -> Result<Node> {
        const CONTEXT: &str = "template clause";
        self.skip_spaces();
        let position = self.token(self.next).position;
        let name = self.template_name(CONTEXT)?;
        let start = self.next;
        let pipeline = match self.take_non_space().kind {
            Kind::RightDelimiter => None,
            _ => {
                self.next = start;
                Some(self.pipeline(CONTEXT, Kind::RightDelimiter)?)
            }
        };
        Ok(Node::Template { name, position, pipeline })
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipeline> {
        self.skip_spaces();
        let position = self.token(self.next).position;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            let start = self.next;
            let token = self.take_non_space();
            if token.kind == end {
                break;
            }
            if !starts_operand(token.kind) {
                return Err(self.unexpected(&token, context));
            }
            self.next = start;
            commands.push(self.command()?);
        }
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if is_constant(&command.operands[0].kind) {
                return Err(self.error(format!("non executable command in pipeline stage {}", index + 1)));
            }
        }
        Ok(Pipeline { position, variables, assigns, commands })
    }

    /// Parses `$x :=`, `$x =`, or `$i, $x :=` of a range. Leaves a variable that is an operand.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool)> {
        let mut variables = Vec::new();
        loop {
            let start = self.next;
            if self.peek_non_space() != Kind::Variable {
                return Ok((variables, false));
            }
            let name = self.take().text.into_owned();
            match self.peek_non_space() {
                kind @ (Kind::Assign | Kind::Declare) => {
                    self.take();
                    variables.push(name.clone());
                    self.variables.push(name);
                    return Ok((variables, kind == Kind::Assign));
                }
                Kind::Char if self.token(self.next).text == "," => {
                    self.take();
                    variables.push(name.clone());
                    self.variables.push(name);
                    if context != "range" || variables.len() > 1 {
                        return Err(self.error(format!("too many declarations in {context}")));
                    }
                    match self.peek_non_space() {
                        Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis => {}
                        _ => return Err(self.error("range can only initialize variables")),
                    }
                }
                _ => {
                    self.next = start;
                    return Ok((variables, false));
                }
            }
        }
    }

    fn command(&mut self) -> Result<Command> {
        self.skip_spaces();
        let position = self.token(self.next).position;
        let mut operands = Vec::new();
        loop {
            self.skip_spaces();
            operands.extend(self.operand()?);
            let token = self.take();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParenthesis => {
                    self.next -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&token, "operand")),
            }
        }
        if operands.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(Command { position, operands })
    }

    /// Parses a term and the fields after it.
    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(mut term) = self.term()? else { return Ok(None) };
        if self.peek() != Kind::Field {
            return Ok(Some(term));
        }
        let position = self.token(self.next).position;
        let mut fields = Vec::new();
        while self.peek() == Kind::Field {
            fields.push(self.take().text[1..].to_owned());
        }
        match &mut term.kind {
            OperandKind::Field(own) | OperandKind::Variable(_, own) => {
                own.append(&mut fields);
                Ok(Some(Operand { position, ..term }))
            }
            kind if is_constant(kind) => Err(self.error(format!("unexpected . after term {:?}", term.to_string()))),
            _ => Ok(Some(Operand { position, kind: OperandKind::Chain(Box::new(term), fields) })),
        }
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let token = self.take_non_space();
        let kind = match token.kind {
            Kind::Identifier if !(self.is_function)(&token.text) => {
                return Err(self.error(format!("function {:?} not defined", token.text)));
            }
            Kind::Identifier => OperandKind::Identifier(token.text.into_owned()),
            Kind::Dot => OperandKind::Dot,
            Kind::Keyword(Keyword::Nil) => OperandKind::Nil,
            Kind::Variable if !self.variables.iter().any(|name| *name == token.text) => {
                return Err(self.error(format!("undefined variable {:?}", token.text)));
            }
            Kind::Variable => OperandKind::Variable(token.text.into_owned(), Vec::new()),
            Kind::Field => OperandKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Number => {
                let number = literal::number(&token.text).map_err(|message| self.error(message))?;
                OperandKind::Number(number, token.text.into_owned())
            }
            Kind::LeftParenthesis => {
                let pipeline =
                    self.deeper(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParenthesis))?;
                OperandKind::Pipeline(Box::new(pipeline))
            }
            Kind::String | Kind::RawString => {
                let text = literal::unquote(&token.text).ok_or_else(|| self.error("invalid syntax"))?;
                OperandKind::Text(text, token.text.into_owned())
            }
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { kind, position: token.position }))
    }
}

fn starts_operand(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Bool
            | Kind::CharConstant
            | Kind::Dot
            | Kind::Field
            | Kind::Identifier
            | Kind::Number
            | Kind::Keyword(Keyword::Nil)
            | Kind::RawString
            | Kind::String
            | Kind::Variable
            | Kind::LeftParenthesis
    )
}

/// Returns whether an operand cannot take the result of a pipeline, and has no fields.
fn is_constant(kind: &OperandKind) -> bool {
    matches!(
        kind,
        OperandKind::Bool(_) | OperandKind::Dot | OperandKind::Nil | OperandKind::Number(..) | OperandKind::Text(..)
    )
}

/// Describes a token as Go does: a keyword in angle brackets, other text in quotes, cut after ten characters.
fn describe(token: &Token<'_>) -> String {
    match token.kind {
        Kind::End => "EOF".to_owned(),
        Kind::Error => token.text.clone().into_owned(),
        Kind::Keyword(Keyword::Nil) => "<nil>".to_owned(),
        Kind::Keyword(_) => format!("<{}>", token.text),
        _ if token.text.len() > 10 => {
            format!("{}...", crate::printf::quote(token.text.chars().take(10).collect::<String>().as_bytes()))
        }
        _ => crate::printf::quote(token.text.as_bytes()),
    }
}
