//! PEM (RFC 7468), with the headers of RFC 1421.

use zeroize::Zeroizing;

use crate::encoding::standard;

/// A block of a PEM file.
pub(crate) struct Block {
    pub(crate) label: String,
    /// The headers before the base64 text.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

impl Block {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the first block whose label satisfies a condition.
pub(crate) fn first_block(text: &[u8], is_wanted: impl Fn(&str) -> bool) -> Option<Block> {
    let text = str::from_utf8(text).ok()?;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        if is_wanted(label) {
            return parse(label, &body);
        }
    }
    None
}

fn parse(label: &str, body: &[&str]) -> Option<Block> {
    let header =
        |line: &&&str| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    let headers: Vec<_> = body.iter().map_while(|line| header(&line)).collect();
    let base64 = Zeroizing::new(body[headers.len()..].concat());
    Some(Block { label: label.to_owned(), headers, bytes: Zeroizing::new(standard(&base64)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_labels() {
        let text = b"text\r\n-----BEGIN A-----\r\nAAAA\r\n-----END A-----\n-----BEGIN B-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,00\n\nAQID\nBA==\n-----END B-----\n";
        let block = first_block(text, |label| label == "B").unwrap();
        assert_eq!((block.label.as_str(), block.bytes.as_slice()), ("B", &[1, 2, 3, 4][..]));
        assert_eq!(block.header("DEK-Info"), Some("X,00"));
        assert_eq!(first_block(text, |_| true).unwrap().bytes.as_slice(), [0, 0, 0]);
        assert!(first_block(text, |label| label == "C").is_none());
        assert!(first_block(b"-----BEGIN A-----\n?\n-----END A-----", |_| true).is_none());
    }
}
