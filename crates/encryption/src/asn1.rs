//! A reader and a writer of DER (X.690) that do not look at the order or the minimal form of elements.
//!
//! ocicrypt's PKCS #7 is not valid DER, so strict readers refuse it.

use crate::{Error, Result};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The most bytes of a length.
const LENGTH_BYTES: usize = 4;

/// An element: its tag and its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// The element with its tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Returns a reader of the elements inside.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader { bytes: self.content }
    }
}

/// Reads elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the tag of the next element; `None` at the end.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// Reads the next element.
    pub(crate) fn any(&mut self) -> Result<Element<'a>> {
        let bytes = self.bytes;
        let (&tag, rest) = bytes.split_first().ok_or_else(malformed)?;
        // Tags of several bytes and indefinite lengths occur in none of the formats.
        let (&first, mut rest) = rest.split_first().filter(|_| tag & 0x1f != 0x1f).ok_or_else(malformed)?;
        let length = match first {
            0..0x80 => usize::from(first),
            _ => {
                let count = usize::from(first & 0x7f);
                if count == 0 || count > LENGTH_BYTES {
                    return Err(malformed());
                }
                let (digits, after) = rest.split_at_checked(count).ok_or_else(malformed)?;
                rest = after;
                digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
            }
        };
        let (content, after) = rest.split_at_checked(length).ok_or_else(malformed)?;
        self.bytes = after;
        Ok(Element { tag, content, whole: &bytes[..bytes.len() - after.len()] })
    }

    /// Reads the next element, which must have a tag, and returns its content.
    pub(crate) fn content(&mut self, tag: u8) -> Result<&'a [u8]> {
        let element = self.any()?;
        if element.tag == tag { Ok(element.content) } else { Err(malformed()) }
    }

    /// Reads the next element, which must have a tag, and returns a reader of its content.
    pub(crate) fn inside(&mut self, tag: u8) -> Result<Self> {
        self.content(tag).map(Self::new)
    }

    /// Reads a positive integer, without leading zeros.
    pub(crate) fn unsigned(&mut self) -> Result<&'a [u8]> {
        let content = self.content(INTEGER)?;
        match content.first() {
            Some(first) if *first < 0x80 => Ok(without_zeros(content)),
            _ => Err(malformed()),
        }
    }
}

/// Removes the zeros before a number.
pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

pub(crate) fn malformed() -> Error {
    Error::key("it is malformed")
}

/// Returns an element with a content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        length @ 0..0x80 => bytes.push(length as u8),
        length => {
            let digits = length.to_be_bytes();
            let digits = without_zeros(&digits);
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend_from_slice(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Returns an element with several elements inside.
pub(crate) fn compound(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(tag, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![9; length];
            let bytes = element(OCTET_STRING, &content);
            let mut reader = Reader::new(&bytes);
            let read = reader.any().unwrap();
            assert_eq!((read.tag, read.content, read.whole), (OCTET_STRING, &content[..], &bytes[..]));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn malformed_elements_are_errors() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x01", b"\x30\x80", b"\x30\x85\0\0\0\0\x01", b"\x3f\x01\0", b"\x30\x82\x01"]
        {
            assert!(Reader::new(bytes).any().is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn negative_numbers_are_errors() {
        assert_eq!(Reader::new(b"\x02\x03\0\0\x07").unsigned().unwrap(), [7]);
        assert!(Reader::new(b"\x02\x01\x80").unsigned().is_err());
        assert!(Reader::new(b"\x02\0").unsigned().is_err());
    }
}
