//! Splits a template into tokens, as Go's `text/template/parse/lex.go` does.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParenthesis,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Keyword(Keyword),
}

/// A word with a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// A token: a part of the template.
#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// The offset in the template in bytes.
    pub(crate) position: usize,
    /// The line in the template, counting from 1.
    pub(crate) line: usize,
    /// The text, or the message of an error.
    pub(crate) text: std::borrow::Cow<'a, str>,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";

/// Splits a template into tokens. The last one is the end or an error.
pub(crate) fn lex(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, position: 0, start: 0, line: 1, parentheses: 0, tokens: Vec::new() };
    if let Err(message) = lexer.text() {
        let token = Token { kind: Kind::Error, position: lexer.start, line: lexer.line, text: message.into() };
        lexer.tokens.push(token);
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    /// The offset of the next character.
    position: usize,
    /// The offset of the current token.
    start: usize,
    /// The line of `start`.
    line: usize,
    parentheses: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.position += next.len_utf8();
        Some(next)
    }

    fn accept(&mut self, valid: impl Fn(char) -> bool) -> bool {
        let accepted = self.peek().is_some_and(valid);
        if accepted {
            self.advance();
        }
        accepted
    }

    fn accept_run(&mut self, valid: impl Fn(char) -> bool + Copy) {
        while self.accept(valid) {}
    }

    /// Leaves out the text since the start of the token.
    fn ignore(&mut self) {
        self.line += self.text[self.start..self.position].matches('\n').count();
        self.start = self.position;
    }

    fn emit(&mut self, kind: Kind) {
        let text = self.text[self.start..self.position].into();
        self.tokens.push(Token { kind, position: self.start, line: self.line, text });
        self.ignore();
    }

    /// Reads text and actions to the end of the template.
    fn text(&mut self) -> Result<(), String> {
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                self.position = self.text.len();
                self.emit_text(self.position);
                self.emit(Kind::End);
                return Ok(());
            };
            let delimiter = self.position + length;
            let trims = has_left_trim_marker(&self.text[delimiter + LEFT.len()..]);
            self.position = delimiter;
            let before = &self.text[self.start..delimiter];
            let kept = if trims { before.trim_end_matches(is_space).len() } else { before.len() };
            self.emit_text(self.start + kept);
            self.left_delimiter(if trims { 2 } else { 0 })?;
        }
    }

    /// Emits the text up to `end`, and leaves out the rest up to the position.
    fn emit_text(&mut self, end: usize) {
        if end > self.start {
            let text = self.text[self.start..end].into();
            self.tokens.push(Token { kind: Kind::Text, position: self.start, line: self.line, text });
        }
        self.ignore();
    }

    fn left_delimiter(&mut self, marker: usize) -> Result<(), String> {
        self.position += LEFT.len();
        if self.text[self.position + marker..].starts_with(LEFT_COMMENT) {
            self.position += marker;
            self.ignore();
            return self.comment();
        }
        self.emit(Kind::LeftDelimiter);
        self.position += marker;
        self.ignore();
        self.parentheses = 0;
        self.action()
    }

    fn comment(&mut self) -> Result<(), String> {
        self.position += LEFT_COMMENT.len();
        let length = self.rest().find(RIGHT_COMMENT).ok_or("unclosed comment")?;
        self.position += length + RIGHT_COMMENT.len();
        let trims = self.right_delimiter().ok_or("comment ends before closing delimiter")?;
        self.position += if trims { 2 } else { 0 } + RIGHT.len();
        if trims {
            self.accept_run(is_space);
        }
        self.ignore();
        Ok(())
    }

    /// Returns whether the closing delimiter is next, and whether it trims the following spaces.
    fn right_delimiter(&self) -> Option<bool> {
        match self.rest() {
            rest if has_right_trim_marker(rest) => Some(true),
            rest if rest.starts_with(RIGHT) => Some(false),
            _ => None,
        }
    }

    fn action(&mut self) -> Result<(), String> {
        loop {
            if let Some(trims) = self.right_delimiter() {
                if self.parentheses > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.position += if trims { 2 } else { 0 };
                self.ignore();
                self.position += RIGHT.len();
                self.emit(Kind::RightDelimiter);
                if trims {
                    self.accept_run(is_space);
                    self.ignore();
                }
                return Ok(());
            }
            self.token()?;
        }
    }

    /// Reads one token of an action.
    fn token(&mut self) -> Result<(), String> {
        let Some(next) = self.advance() else { return Err("unclosed action".to_owned()) };
        match next {
            next if is_space(next) => self.spaces(),
            '=' => self.emit(Kind::Assign),
            ':' => {
                if !self.accept(|next| next == '=') {
                    return Err("expected :=".to_owned());
                }
                self.emit(Kind::Declare);
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', "unterminated quoted string", Kind::String)?,
            '`' => self.raw_string()?,
            '\'' => self.quoted('\'', "unterminated character constant", Kind::CharConstant)?,
            '$' => self.field_or_variable(Kind::Variable, Kind::Variable)?,
            '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field, Kind::Dot)?;
            }
            next if next == '.' || next == '+' || next == '-' || next.is_ascii_digit() => {
                self.position -= next.len_utf8();
                self.number()?;
            }
            next if is_alphanumeric(next) => self.word()?,
            '(' => {
                self.parentheses += 1;
                self.emit(Kind::LeftParenthesis);
            }
            ')' => {
                self.parentheses = self.parentheses.checked_sub(1).ok_or("unexpected right paren")?;
                self.emit(Kind::RightParenthesis);
            }
            next if next.is_ascii_graphic() => self.emit(Kind::Char),
            next => return Err(format!("unrecognized character in action: {}", code_point(next))),
        }
        Ok(())
    }

    /// Reads spaces, but not the one of a closing delimiter that trims.
    fn spaces(&mut self) {
        loop {
            let last = self.position - 1;
            if self.text.as_bytes()[last].is_ascii() && has_right_trim_marker(&self.text[last..]) {
                self.position = last;
                break;
            }
            if !self.accept(is_space) {
                break;
            }
        }
        if self.position > self.start {
            self.emit(Kind::Space);
        }
    }

    fn quoted(&mut self, quote: char, unterminated: &str, kind: Kind) -> Result<(), String> {
        loop {
            match self.advance() {
                Some('\\') if self.peek().is_some_and(|next| next != '\n') => {
                    self.advance();
                }
                None | Some('\n' | '\\') => return Err(unterminated.to_owned()),
                Some(next) if next == quote => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn raw_string(&mut self) -> Result<(), String> {
        let length = self.rest().find('`').ok_or("unterminated raw quoted string")?;
        self.position += length + 1;
        self.emit(Kind::RawString);
        Ok(())
    }

    fn field_or_variable(&mut self, named: Kind, alone: Kind) -> Result<(), String> {
        if self.at_terminator() {
            self.emit(alone);
            return Ok(());
        }
        self.accept_run(is_alphanumeric);
        self.check_terminator()?;
        self.emit(named);
        Ok(())
    }

    fn word(&mut self) -> Result<(), String> {
        self.accept_run(is_alphanumeric);
        self.check_terminator()?;
        self.emit(match &self.text[self.start..self.position] {
            "true" | "false" => Kind::Bool,
            "block" => Kind::Keyword(Keyword::Block),
            "break" => Kind::Keyword(Keyword::Break),
            "continue" => Kind::Keyword(Keyword::Continue),
            "define" => Kind::Keyword(Keyword::Define),
            "else" => Kind::Keyword(Keyword::Else),
            "end" => Kind::Keyword(Keyword::End),
            "if" => Kind::Keyword(Keyword::If),
            "nil" => Kind::Keyword(Keyword::Nil),
            "range" => Kind::Keyword(Keyword::Range),
            "template" => Kind::Keyword(Keyword::Template),
            "with" => Kind::Keyword(Keyword::With),
            _ => Kind::Identifier,
        });
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        self.accept(|next| next == '+' || next == '-');
        let mut radix = 10;
        if self.accept(|next| next == '0') {
            radix = match self.peek() {
                Some('x' | 'X') => 16,
                Some('o' | 'O') => 8,
                Some('b' | 'B') => 2,
                _ => 10,
            };
            if radix != 10 {
                self.advance();
            }
        }
        let is_digit = move |next: char| next.is_digit(radix) || next == '_';
        self.accept_run(is_digit);
        if self.accept(|next| next == '.') {
            self.accept_run(is_digit);
        }
        if radix == 10 && self.accept(|next| next == 'e' || next == 'E') {
            self.accept(|next| next == '+' || next == '-');
            self.accept_run(|next| next.is_ascii_digit() || next == '_');
        }
        if radix == 16 && self.accept(|next| next == 'p' || next == 'P') {
            self.accept(|next| next == '+' || next == '-');
            self.accept_run(|next| next.is_ascii_digit() || next == '_');
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
            return Err(format!("bad number syntax: {:?}", &self.text[self.start..self.position]));
        }
        self.emit(Kind::Number);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(next) => is_space(next) || ".,|:)(".contains(next) || self.rest().starts_with(RIGHT),
        }
    }

    fn check_terminator(&self) -> Result<(), String> {
        match self.peek() {
            Some(next) if !self.at_terminator() => Err(format!("bad character {}", code_point(next))),
            _ => Ok(()),
        }
    }
}

/// Returns whether a character is a space in Go's templates.
pub(crate) fn is_space(next: char) -> bool {
    matches!(next, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(next: char) -> bool {
    next == '_' || next.is_alphabetic() || next.is_numeric()
}

fn has_left_trim_marker(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn has_right_trim_marker(text: &str) -> bool {
    let rest = text.strip_prefix(is_space).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.starts_with(RIGHT))
}

/// Formats a character as `U+0021 '!'`.
fn code_point(character: char) -> String {
    format!("U+{:04X} '{character}'", character as u32)
}
