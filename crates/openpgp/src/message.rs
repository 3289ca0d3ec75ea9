//! Signed messages (RFC 9580, section 10.3): one signature around literal data, perhaps compressed.

use std::io::Read;

use pgp::packet::{PacketHeader, Signature, SignatureType};
use pgp::types::Tag;

use crate::packet::{COMPRESSED, LITERAL, MARKER, ONE_PASS, Packet, Packets, SIGNATURE};
use crate::{Error, MESSAGE_LIMIT, NESTING_LIMIT, Result};

/// The parts of a signed message. Nothing of it is verified.
pub(crate) struct Message {
    /// The body of the literal data.
    pub(crate) content: Vec<u8>,
    pub(crate) signature: Signature,
}

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MESSAGE_LIMIT {
            return Err(too_large("the message"));
        }
        if bytes.is_empty() {
            return Err(Error::Message("it is empty".to_owned()));
        }
        unpack(bytes, 0)
    }
}

fn unpack(bytes: &[u8], depth: usize) -> Result<Message> {
    let packets: Vec<_> = Packets::new(bytes)
        .filter(|packet| !matches!(packet, Ok(Packet { tag: MARKER, body }) if **body == *b"PGP"))
        .take(4)
        .collect::<Result<_, _>>()
        .map_err(Error::Message)?;
    let tags: Vec<_> = packets.iter().map(|packet| packet.tag).collect();
    match (&tags[..], &packets[..]) {
        ([COMPRESSED], [compressed]) => {
            if depth == NESTING_LIMIT {
                let name = "NESTING_LIMIT";
                return Err(Error::TooLarge {
                    what: "the message",
                    name,
                    limit: NESTING_LIMIT,
                    unit: "compressed packets",
                });
            }
            unpack(&decompress(&compressed.body)?, depth + 1)
        }
        ([ONE_PASS, LITERAL, SIGNATURE], [one_pass, content, signature]) => {
            let signature = parse_signature(&signature.body)?;
            check_one_pass(&one_pass.body, &signature)?;
            Ok(Message { content: literal(&content.body)?, signature })
        }
        ([SIGNATURE, LITERAL], [signature, content]) => {
            Ok(Message { content: literal(&content.body)?, signature: parse_signature(&signature.body)? })
        }
        _ => Err(Error::Message(describe(&tags))),
    }
}

/// Returns why packets with these tags are not a message with one signature.
fn describe(tags: &[u8]) -> String {
    let signatures = tags.iter().filter(|&&tag| tag == SIGNATURE).count();
    let what = match tags {
        [] => "it has no packets",
        [SIGNATURE] => "it is a detached signature",
        [LITERAL] => "it has no signature",
        [1 | 3 | 9 | 18 | 20, ..] => "it is encrypted",
        [ONE_PASS, ONE_PASS, ..] | [SIGNATURE, SIGNATURE, ..] => "it has several signatures",
        _ if signatures > 1 => "it has several signatures",
        [ONE_PASS | SIGNATURE | COMPRESSED, ..] => "data is before, between or after its parts",
        _ => "it has other packets",
    };
    format!("{what} (packets with the tags {tags:?})")
}

fn too_large(what: &'static str) -> Error {
    Error::TooLarge { what, name: "MESSAGE_LIMIT", limit: MESSAGE_LIMIT, unit: "bytes" }
}

fn decompress(body: &[u8]) -> Result<Vec<u8>> {
    let (&algorithm, data) = body.split_first().ok_or_else(|| Error::Message("a packet is empty".to_owned()))?;
    match algorithm {
        0 => Ok(data.to_vec()),
        1 => read_limited(flate2::bufread::DeflateDecoder::new(data), |decoder| decoder.into_inner()),
        2 => read_limited(flate2::bufread::ZlibDecoder::new(data), |decoder| decoder.into_inner()),
        3 => read_limited(bzip2::bufread::BzDecoder::new(data), |decoder| decoder.into_inner()),
        other => Err(Error::Message(format!("the compression {other} is unknown"))),
    }
}

/// Reads all of a decoder's output. Bytes of the input that the decoder leaves are an error.
fn read_limited<'a, R: Read>(mut decoder: R, rest: impl FnOnce(R) -> &'a [u8]) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    let read = decoder.by_ref().take(MESSAGE_LIMIT as u64 + 1).read_to_end(&mut data);
    read.map_err(|error| Error::Message(format!("its compression is damaged: {error}")))?;
    if data.len() > MESSAGE_LIMIT {
        return Err(too_large("the unpacked message"));
    }
    // GnuPG ends a raw deflate stream with a byte that it does not need itself.
    match rest(decoder) {
        [] | [_] => Ok(data),
        _ => Err(Error::Message("data follows its compressed part".to_owned())),
    }
}

/// Returns the body of literal data. Its name and date are not signed, and ignored.
fn literal(body: &[u8]) -> Result<Vec<u8>> {
    let name_length = body.get(1).copied().map(usize::from);
    let content = name_length.and_then(|length| body.get(2 + length + 4..));
    content.map(<[u8]>::to_vec).ok_or_else(|| Error::Message("its literal data is cut off".to_owned()))
}

/// Parses the body of a signature packet.
pub(crate) fn parse_signature(body: &[u8]) -> Result<Signature> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = PacketHeader::new_fixed(Tag::Signature, length);
    Signature::try_from_reader(header, body).map_err(|error| Error::Signature(format!("it cannot be read: {error}")))
}

/// Checks that the packet before the data announces the signature after it (RFC 9580, section 5.4).
fn check_one_pass(body: &[u8], signature: &Signature) -> Result<()> {
    let fields = (body.first(), body.get(1), body.get(2));
    let (Some(&version), Some(&type_), Some(&hash)) = fields else {
        return Err(Error::Message("its one-pass signature is cut off".to_owned()));
    };
    let is_last = body.last() == Some(&1);
    let matches = matches!(version, 3 | 6)
        && is_last
        && signature.typ().map(|typ| SignatureType::from(type_) == typ) == Some(true)
        && signature.hash_alg().map(u8::from) == Some(hash);
    if matches { Ok(()) } else { Err(Error::Message("its one-pass signature announces another signature".to_owned())) }
}
