//! Base64, hexadecimal text and PEM.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

use crate::error::{Error, Result, at_most};

/// The largest number of blocks of a PEM text.
pub const PEM_BLOCKS_LIMIT: usize = 1000;
/// The largest length of a PEM text in bytes.
pub const PEM_LIMIT: usize = 4 << 20;

/// Decodes standard base64 with padding.
pub(crate) fn standard(text: &str, part: &'static str) -> Result<Vec<u8>> {
    general_purpose::STANDARD.decode(text).map_err(|error| Error::malformed(part, error))
}

/// Decodes standard or URL-safe base64, with or without padding, as ProtoJSON and DSSE allow.
pub(crate) fn either(text: &str, part: &'static str) -> Result<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet, config).decode(text).map_err(|error| Error::malformed(part, error))
}

/// Encodes as standard base64 with padding.
pub(crate) fn to_standard(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Encodes as lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A block of a PEM text.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads the blocks of a PEM text (RFC 7468). Text between blocks is ignored, as Go does.
pub(crate) fn pem_blocks(text: &[u8], part: &'static str) -> Result<Vec<Block>> {
    at_most(text.len(), PEM_LIMIT, part, "PEM_LIMIT")?;
    let text = std::str::from_utf8(text).map_err(|_| Error::malformed(part, "it is not text"))?;
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let label = line.strip_prefix("-----BEGIN ").and_then(|line| line.strip_suffix("-----"));
        let Some(label) = label else { continue };
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => body.push_str(line.trim()),
                None => return Err(Error::malformed(part, "a PEM block has no end")),
            }
        }
        blocks.push(Block { label: label.to_owned(), bytes: standard(&body, part)? });
        at_most(blocks.len(), PEM_BLOCKS_LIMIT, part, "PEM_BLOCKS_LIMIT")?;
    }
    Ok(blocks)
}

/// Returns the only block of a PEM text.
pub(crate) fn pem_block(text: &[u8], part: &'static str) -> Result<Block> {
    let mut blocks = pem_blocks(text, part)?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(block), true) => Ok(block),
        (None, _) => Err(Error::malformed(part, "it has no PEM block")),
        (Some(_), false) => Err(Error::malformed(part, "it has several PEM blocks")),
    }
}

/// Writes one block of PEM, with lines of 64 characters.
pub(crate) fn to_pem(label: &str, bytes: &[u8]) -> String {
    let body = to_standard(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_read_as_it_was_written() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = format!("A comment\n{}\r\nafter", to_pem("X Y", &bytes));
        let block = pem_block(text.as_bytes(), "x").unwrap();
        assert_eq!((block.label.as_str(), block.bytes), ("X Y", bytes));
        for broken in ["", "-----BEGIN X-----\nAAAA\n", "-----BEGIN X-----\nA*AA\n-----END X-----\n"] {
            assert!(pem_block(broken.as_bytes(), "x").is_err(), "{broken}");
        }
        assert!(pem_block(format!("{text}\n{text}").as_bytes(), "x").is_err());
    }

    #[test]
    fn either_alphabet_of_base64_is_read_but_no_mixture() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(either(text, "x").unwrap(), [0xfb, 0xff], "{text}");
        }
        for text in ["+_8=", "+/9=", "+/8=\n", "+"] {
            assert!(either(text, "x").is_err(), "{text}");
        }
        assert!(standard("-_8=", "x").is_err());
        assert_eq!(to_hex(&[0, 0xaf]), "00af");
    }
}
