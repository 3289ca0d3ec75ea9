//! The frames of packets (RFC 9580, section 4.2): a tag, a length and a body.

use std::borrow::Cow;

/// Compressed data.
pub(crate) const COMPRESSED: u8 = 8;
/// A signature.
pub(crate) const SIGNATURE: u8 = 2;
/// A one-pass signature.
pub(crate) const ONE_PASS: u8 = 4;
/// A secret key.
pub(crate) const SECRET_KEY: u8 = 5;
/// A public key.
pub(crate) const PUBLIC_KEY: u8 = 6;
/// A secret subkey.
pub(crate) const SECRET_SUBKEY: u8 = 7;
/// A marker, which is ignored.
pub(crate) const MARKER: u8 = 10;
/// Literal data.
pub(crate) const LITERAL: u8 = 11;
/// A user id.
pub(crate) const USER_ID: u8 = 13;
/// A public subkey.
pub(crate) const PUBLIC_SUBKEY: u8 = 14;
/// A user attribute: a picture.
pub(crate) const USER_ATTRIBUTE: u8 = 17;

/// A packet.
#[derive(Debug, Clone)]
pub(crate) struct Packet<'a> {
    pub(crate) tag: u8,
    pub(crate) body: Cow<'a, [u8]>,
}

/// Reads packets one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("a packet is longer than the data")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, length: usize) -> Result<usize, String> {
        Ok(self.take(length)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn read(&mut self) -> Result<Packet<'a>, String> {
        let header = self.byte()?;
        match header {
            0xc0.. => Ok(Packet { tag: header & 0x3f, body: self.new_body(header & 0x3f)? }),
            0x80..=0xbf => Ok(Packet { tag: (header >> 2) & 0xf, body: self.old_body(header & 3)?.into() }),
            _ => Err(format!("the byte {header:#04x} does not start a packet")),
        }
    }

    fn old_body(&mut self, length_type: u8) -> Result<&'a [u8], String> {
        let length = match length_type {
            0 => self.number(1)?,
            1 => self.number(2)?,
            2 => self.number(4)?,
            // An indeterminate length goes to the end of the data.
            _ => self.rest.len(),
        };
        self.take(length)
    }

    fn new_body(&mut self, tag: u8) -> Result<Cow<'a, [u8]>, String> {
        let mut parts = match self.new_length()? {
            Length::Whole(length) => return Ok(self.take(length)?.into()),
            // RFC 9580, section 4.2.1.4: only data may have partial lengths.
            Length::Part(_) if !matches!(tag, COMPRESSED | LITERAL) => {
                return Err(format!("a packet with tag {tag} has a partial length"));
            }
            Length::Part(length) => self.take(length)?.to_vec(),
        };
        loop {
            match self.new_length()? {
                Length::Whole(length) => {
                    parts.extend_from_slice(self.take(length)?);
                    return Ok(parts.into());
                }
                Length::Part(length) => parts.extend_from_slice(self.take(length)?),
            }
        }
    }

    fn new_length(&mut self) -> Result<Length, String> {
        let first = self.byte()?;
        Ok(match first {
            0..=191 => Length::Whole(usize::from(first)),
            192..=223 => Length::Whole((usize::from(first) - 192) * 256 + usize::from(self.byte()?) + 192),
            224..=254 => Length::Part(1 << (first & 0x1f)),
            255 => Length::Whole(self.number(4)?),
        })
    }
}

enum Length {
    Whole(usize),
    Part(usize),
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.read();
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

/// Writes a packet with a header of the new format.
pub(crate) fn write(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0xc0 | tag, 0xff][..], &length, body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
        Packets::new(bytes).map(|packet| packet.map(|packet| (packet.tag, packet.body.into_owned()))).collect()
    }

    #[test]
    fn every_form_of_length_is_read() {
        let long = [[1].repeat(256), [2].repeat(3)].concat();
        let two_octets = [&[0xcb, 192, 67], &long[..]].concat();
        let four_octets = [&[0xcb, 255, 0, 0, 1, 3], &long[..]].concat();
        let parts = [&[0xcb, 0xe8], &long[..256], &[3], &long[256..]].concat();
        let old = [&[0xad, 1, 3], &long[..]].concat();
        let indeterminate = [&[0xaf], &long[..]].concat();
        for bytes in [two_octets, four_octets, parts, old, indeterminate, write(LITERAL, &long)] {
            assert_eq!(read(&bytes).unwrap(), [(LITERAL, long.clone())], "{:x?}", &bytes[..4]);
        }
        assert_eq!(read(&[0xc2, 1, 9, 0x88, 0]).unwrap(), [(2, vec![9]), (2, vec![])]);
    }

    #[test]
    fn invalid_frames_are_errors() {
        for bytes in [&[0x12][..], &[0xc2], &[0xc2, 2, 1], &[0xc2, 255, 0, 0], &[0xcb, 0xe0, 1], &[0xc2, 0xe0, 1, 0]] {
            assert!(read(bytes).is_err(), "{bytes:x?}");
        }
    }
}
