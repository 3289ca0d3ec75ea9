//! The bytes of an `EnvelopedData`.

use crate::Result;
use crate::asn1::{INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, SET, compound, element, malformed};
use crate::keys::{Certificate, OID_RSA};

const NONCE_LENGTH: usize = 12;
pub(super) const TAG_LENGTH: usize = 16;

/// id-envelopedData (RFC 5652, section 6.1).
const ENVELOPED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
/// id-data (RFC 5652, section 4).
const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// id-aes128-GCM and id-aes256-GCM (RFC 5084, section 3.2).
const AES_128_GCM: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x06";
const AES_256_GCM: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2e";

const EXPLICIT: u8 = 0xa0;
const IMPLICIT: u8 = 0x80;

/// The tags of ocicrypt's parameters of GCM: a sequence that is not marked as compound, and a nonce with the tag 4 of the
/// context.
const BARE_SEQUENCE: u8 = 0x10;
const TAGGED_NONCE: u8 = 0x84;

/// An `EnvelopedData`.
pub(super) struct Envelope<'a> {
    pub(super) keys: Vec<WrappedKey<'a>>,
    /// The length of the content key in bytes.
    pub(super) key_length: usize,
    pub(super) nonce: [u8; NONCE_LENGTH],
    /// The ciphertext and its tag.
    pub(super) ciphertext: Vec<u8>,
}

/// A content key that is wrapped for a certificate.
pub(super) struct WrappedKey<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    pub(super) key: &'a [u8],
}

impl WrappedKey<'_> {
    pub(super) fn is_for(&self, certificate: &Certificate) -> bool {
        self.issuer == certificate.issuer && self.serial == certificate.serial
    }
}

impl<'a> Envelope<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self> {
        let mut outer = Reader::new(der).inside(SEQUENCE)?;
        if outer.content(OID)? != ENVELOPED {
            return Err(malformed());
        }
        let mut fields = outer.inside(EXPLICIT)?.inside(SEQUENCE)?;
        fields.content(INTEGER)?; // the version
        let mut recipients = fields.inside(SET)?;
        let mut keys = Vec::new();
        while !recipients.is_empty() {
            // Recipients without a certificate have other tags.
            let recipient = recipients.any()?;
            if recipient.tag == SEQUENCE {
                keys.extend(wrapped_key(recipient.inside())?);
            }
        }
        let mut content = fields.inside(SEQUENCE)?;
        content.content(OID)?; // the type of the content
        let mut algorithm = content.inside(SEQUENCE)?;
        let key_length = match algorithm.content(OID)? {
            AES_128_GCM => 16,
            AES_256_GCM => 32,
            _ => return Err(malformed()),
        };
        let nonce = nonce(algorithm)?;
        Ok(Self { keys, key_length, nonce, ciphertext: ciphertext(content)? })
    }
}

/// Reads a `KeyTransRecipientInfo`. Returns `None` for one with another algorithm or without an issuer.
fn wrapped_key<'a>(mut fields: Reader<'a>) -> Result<Option<WrappedKey<'a>>> {
    fields.content(INTEGER)?; // the version
    let identifier = fields.any()?;
    if identifier.tag != SEQUENCE {
        return Ok(None);
    }
    let mut identifier = identifier.inside();
    let (issuer, serial) = (identifier.any()?.whole, identifier.content(INTEGER)?);
    let is_rsa = fields.inside(SEQUENCE)?.content(OID)? == OID_RSA;
    let key = fields.content(OCTET_STRING)?;
    Ok(is_rsa.then_some(WrappedKey { issuer, serial, key }))
}

/// Reads the nonce from the parameters of GCM, in any of their forms. The length of the tag must be 16 bytes.
fn nonce(mut algorithm: Reader<'_>) -> Result<[u8; NONCE_LENGTH]> {
    let parameters = algorithm.any()?;
    let mut fields = match parameters.tag {
        SEQUENCE | BARE_SEQUENCE => parameters.inside(),
        _ => return Err(malformed()),
    };
    if fields.peek() == Some(SEQUENCE) {
        fields = fields.inside(SEQUENCE)?;
    }
    let nonce = fields.any()?;
    let length = fields.unsigned()?;
    match nonce.tag {
        OCTET_STRING | TAGGED_NONCE if length == [TAG_LENGTH as u8] => {
            nonce.content.try_into().map_err(|_| malformed())
        }
        _ => Err(malformed()),
    }
}

/// Reads the ciphertext: the content itself, or OCTET STRINGs inside it.
fn ciphertext(mut content: Reader<'_>) -> Result<Vec<u8>> {
    let element = content.any()?;
    match element.tag {
        IMPLICIT => Ok(element.content.to_vec()),
        EXPLICIT => {
            let (mut parts, mut bytes) = (element.inside(), Vec::new());
            while !parts.is_empty() {
                bytes.extend_from_slice(parts.content(OCTET_STRING)?);
            }
            Ok(bytes)
        }
        _ => Err(malformed()),
    }
}

/// Returns the message with wrapped keys and a ciphertext, in the form of ocicrypt.
pub(super) fn write(keys: &[(&Certificate, Vec<u8>)], nonce: &[u8; NONCE_LENGTH], ciphertext: &[u8]) -> Vec<u8> {
    let version = element(INTEGER, &[0]);
    let rsa = compound(SEQUENCE, &[&element(OID, OID_RSA), &element(NULL, &[])]);
    let recipient = |(certificate, key): &(&Certificate, Vec<u8>)| {
        let identifier = compound(SEQUENCE, &[&certificate.issuer, &element(INTEGER, &certificate.serial)]);
        compound(SEQUENCE, &[&version, &identifier, &rsa, &element(OCTET_STRING, key)])
    };
    let recipients: Vec<u8> = keys.iter().flat_map(recipient).collect();
    let tag_length = element(INTEGER, &[TAG_LENGTH as u8]);
    let parameters = compound(SEQUENCE, &[&element(TAGGED_NONCE, nonce), &tag_length]);
    let algorithm = compound(SEQUENCE, &[&element(OID, AES_128_GCM), &element(BARE_SEQUENCE, &parameters)]);
    let encrypted = element(EXPLICIT, &element(OCTET_STRING, ciphertext));
    let content = compound(SEQUENCE, &[&element(OID, DATA), &algorithm, &encrypted]);
    let enveloped = compound(SEQUENCE, &[&version, &element(SET, &recipients), &content]);
    compound(SEQUENCE, &[&element(OID, ENVELOPED), &element(EXPLICIT, &enveloped)])
}
