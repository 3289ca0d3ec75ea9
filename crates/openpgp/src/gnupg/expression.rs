//! S-expressions, as libgcrypt writes them: canonical (`3:abc`) or advanced (`abc`, `"abc"`, `#616263#`).

/// The most lists inside each other.
const DEPTH_LIMIT: usize = 16;

/// A text or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Atom(Vec<u8>),
    List(Vec<Self>),
}

impl Expression {
    /// Parses one expression. Only whitespace and zeros may follow it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: bytes };
        let expression = reader.expression(0)?;
        reader.rest.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0).then_some(expression)
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) => Some(elements),
            Self::Atom(_) => None,
        }
    }

    pub(super) fn atom(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(text) => Some(text),
            Self::List(_) => None,
        }
    }

    /// Returns the list among the elements that starts with a word.
    pub(super) fn find(&self, word: &str) -> Option<&[Self]> {
        self.list()?.iter().filter_map(Self::list).find(|list| is_headed(list, word))
    }

    /// Returns the second element of the list that starts with a word.
    pub(super) fn value(&self, word: &str) -> Option<&[u8]> {
        self.find(word)?.get(1)?.atom()
    }

    /// Returns this list without the lists that start with a word.
    pub(super) fn without(&self, word: &str) -> Self {
        let elements = self.list().unwrap_or_default();
        let is_other = |element: &&Self| !element.list().is_some_and(|list| is_headed(list, word));
        Self::List(elements.iter().filter(is_other).cloned().collect())
    }

    /// Returns the canonical form.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Atom(text) => {
                bytes.extend_from_slice(format!("{}:", text.len()).as_bytes());
                bytes.extend_from_slice(text);
            }
            Self::List(elements) => {
                bytes.push(b'(');
                elements.iter().for_each(|element| element.write(bytes));
                bytes.push(b')');
            }
        }
    }
}

fn is_headed(list: &[Expression], word: &str) -> bool {
    list.first().and_then(Expression::atom) == Some(word.as_bytes())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn expression(&mut self, depth: usize) -> Option<Expression> {
        self.rest = self.rest.trim_ascii_start();
        match *self.rest.first()? {
            b'(' if depth < DEPTH_LIMIT => {
                self.byte();
                let mut elements = Vec::new();
                loop {
                    self.rest = self.rest.trim_ascii_start();
                    if self.rest.first() == Some(&b')') {
                        self.byte();
                        return Some(Expression::List(elements));
                    }
                    elements.push(self.expression(depth + 1)?);
                }
            }
            b'#' => self.hex().map(Expression::Atom),
            b'"' => self.quoted().map(Expression::Atom),
            b'0'..=b'9' => self.counted().map(Expression::Atom),
            _ => self.token().map(Expression::Atom),
        }
    }

    fn hex(&mut self) -> Option<Vec<u8>> {
        self.byte();
        let end = self.rest.iter().position(|&byte| byte == b'#')?;
        let digits: Vec<u8> = self.rest[..end].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        self.rest = &self.rest[end + 1..];
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let pairs = digits.chunks(2);
        pairs.map(|pair| Some(value(*pair.first()?)? << 4 | value(*pair.get(1)?)?)).collect()
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.byte();
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                b'"' => return Some(text),
                b'\\' => text.extend(self.escape()?),
                byte => text.push(byte),
            }
        }
    }

    /// Returns the byte that an escape stands for. A line that is continued gives none.
    fn escape(&mut self) -> Option<Option<u8>> {
        Some(Some(match self.byte()? {
            b'b' => 0x08,
            b't' => b'\t',
            b'v' => 0x0b,
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'x' => self.number(2, 16)?,
            b'\n' | b'\r' => return Some(None),
            first @ b'0'..=b'3' => self.number(2, 8)? | (first - b'0') << 6,
            other => other,
        }))
    }

    fn number(&mut self, digits: usize, radix: u32) -> Option<u8> {
        let text = std::str::from_utf8(self.rest.get(..digits)?).ok()?;
        let number = u8::from_str_radix(text, radix).ok().filter(|_| !text.starts_with('+'))?;
        self.rest = &self.rest[digits..];
        Some(number)
    }

    fn counted(&mut self) -> Option<Vec<u8>> {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let length: usize = std::str::from_utf8(&self.rest[..end]).ok()?.parse().ok()?;
        if self.rest[end] != b':' {
            return None;
        }
        let text = self.rest[end + 1..].get(..length)?.to_vec();
        self.rest = &self.rest[end + 1 + length..];
        Some(text)
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        let is_in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-./_:*+=".contains(byte);
        let end = self.rest.iter().position(|byte| !is_in_token(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then(|| token.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let advanced = b"(private-key (rsa (n #00 9E#)\n (e \"a\\\"\\x41\\101\\\n\")) )\n";
        let canonical = b"(11:private-key(3:rsa(1:n2:\x00\x9e)(1:e4:a\"AA)))";
        let expression = Expression::parse(advanced).unwrap();
        assert_eq!(expression.canonical(), canonical);
        assert_eq!(Expression::parse(canonical).unwrap(), expression);
        let rsa = Expression::List(expression.find("rsa").unwrap().to_vec());
        assert_eq!(rsa.value("n"), Some(&[0, 0x9e][..]));
        assert_eq!(rsa.without("n").canonical(), b"(3:rsa(1:e4:a\"AA))");
    }

    #[test]
    fn damaged_expressions_are_refused() {
        for bytes in
            [&b""[..], b"(", b")", b"(a", b"(a))", b"(#0#)", b"(\"a)", b"(3:ab)", b"(9999999999999999999999:a)"]
        {
            assert!(Expression::parse(bytes).is_none(), "{bytes:?}");
        }
        assert!(Expression::parse(&b"(".repeat(100_000)).is_none());
    }
}
