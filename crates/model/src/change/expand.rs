//! Quotes, escapes and variables in the words of a Dockerfile.

use std::iter::Peekable;
use std::str::Chars;

/// The deepest nesting of `${a:-${b:-…}}`.
const MAX_DEPTH: usize = 32;

/// Removes quotes and escapes from a word, and replaces `$name`, `${name}`, `${name:-default}`, `${name:+other}` and
/// `${name:?message}`, and the same without the colon. A variable that is not set is empty.
pub(super) fn expand(word: &str, variables: &[(String, String)]) -> Result<String, String> {
    Expander { input: word.chars().peekable(), variables, depth: 0 }.until(None)
}

struct Expander<'a> {
    input: Peekable<Chars<'a>>,
    variables: &'a [(String, String)],
    depth: usize,
}

impl Expander<'_> {
    /// Expands up to the end, or up to a character that ends the substitution.
    fn until(&mut self, stop: Option<char>) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.input.next() {
                end if end == stop => return Ok(text),
                None => return Err("a } is missing".to_owned()),
                Some('\'') => self.single_quoted(&mut text)?,
                Some('"') => self.double_quoted(&mut text)?,
                Some('$') => text.push_str(&self.variable()?),
                // A backslash at the end escapes nothing.
                Some('\\') => text.extend(self.input.next()),
                Some(character) => text.push(character),
            }
        }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), String> {
        loop {
            match self.input.next() {
                None => return Err("a closing ' is missing".to_owned()),
                Some('\'') => return Ok(()),
                Some(character) => text.push(character),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), String> {
        loop {
            match self.input.next() {
                None => return Err("a closing \" is missing".to_owned()),
                Some('"') => return Ok(()),
                Some('$') => text.push_str(&self.variable()?),
                Some('\\') => match self.input.peek() {
                    Some('"' | '$' | '\\') => text.extend(self.input.next()),
                    // Before other characters, a backslash in double quotes stands for itself.
                    Some(_) => text.push('\\'),
                    None => {}
                },
                Some(character) => text.push(character),
            }
        }
    }

    /// Expands what follows a `$`.
    fn variable(&mut self) -> Result<String, String> {
        if self.input.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        let name = self.name();
        if name.is_empty() {
            return Err("${ must be followed by a name".to_owned());
        }
        let value = self.value(&name);
        let counts_empty = self.input.next_if_eq(&':').is_none();
        let value = value.filter(|value| counts_empty || !value.is_empty());
        let modifier = match self.input.next() {
            Some('}') if counts_empty => return Ok(value.unwrap_or_default()),
            Some(modifier @ ('-' | '+' | '?')) => modifier,
            Some(other) => return Err(format!("${{{name}…{other} is not supported")),
            None => return Err("a } is missing".to_owned()),
        };
        let word = self.nested()?;
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) if word.is_empty() => Err(format!("the variable {name} is not set")),
            (_, None) => Err(format!("{name}: {word}")),
        }
    }

    fn nested(&mut self) -> Result<String, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("substitutions are nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let word = self.until(Some('}'));
        self.depth -= 1;
        word
    }

    /// Reads a name: letters, digits and `_`, or one of the special parameters of a shell.
    fn name(&mut self) -> String {
        let is_special = |it: &char| it.is_ascii_digit() || "@*#?-$!".contains(*it);
        if let Some(special) = self.input.next_if(is_special) {
            return special.to_string();
        }
        let mut name = String::new();
        while let Some(character) = self.input.next_if(|it| it.is_alphanumeric() || *it == '_') {
            name.push(character);
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_expand(word: &str) -> Result<String, String> {
        let variables = [("A", "1"), ("PATH", "/bin"), ("EMPTY", "")];
        expand(word, &variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn quotes_escapes_and_variables_are_those_of_docker() {
        for (word, expanded) in [
            ("plain", "plain"),
            ("$A", "1"),
            ("${A}b", "1b"),
            ("$Ab", ""),
            ("'$A'", "$A"),
            ("\"$A b\"", "1 b"),
            (r"\$A", "$A"),
            (r#""\$A""#, "$A"),
            (r#""\n""#, r"\n"),
            (r"a\ b\\", r"a b\"),
            ("$PATH:/x", "/bin:/x"),
            ("${NONE:-x}", "x"),
            ("${NONE-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY-x}", ""),
            ("${A:-x}", "1"),
            ("${A:+y}", "y"),
            ("${EMPTY:+y}", ""),
            ("${NONE:+y}", ""),
            ("${A:?no}", "1"),
            ("${NONE:-${A}$PATH}", "1/bin"),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("\"\"", ""),
        ] {
            assert_eq!(try_expand(word).as_deref(), Ok(expanded), "{word}");
        }
    }

    #[test]
    fn broken_words_are_refused() {
        for word in ["'a", "\"a", "${A", "${", "${}", "${A:}", "${A:=x}", "${NONE:?}", "${NONE:?text}"] {
            assert!(try_expand(word).is_err(), "{word}");
        }
        assert!(try_expand(&"${NONE:-".repeat(100_000)).is_err());
    }
}
