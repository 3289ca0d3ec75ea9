//! Timestamps of RFC 3161.

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{AnyRef, Int, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use crate::certificate::{Candidates, Certificate, Usage, verify_with_algorithm};
use crate::error::{Error, Result, at_most};
use crate::keys::Hash;
use crate::trusted_root::{Authority, TrustedRoot};

/// The largest length of a timestamp in bytes.
pub const TIMESTAMP_LIMIT: usize = 64 << 10;
/// The largest number of certificates in a timestamp.
const TIMESTAMP_CERTIFICATES_LIMIT: usize = 16;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");

/// Returns the times of all timestamps of `signature` that a trusted time stamper made, one for each time stamper.
///
/// # Errors
///
/// The reason for which the last timestamp does not count, if there are timestamps and none counts.
pub(crate) fn proven(timestamps: &[Vec<u8>], root: &TrustedRoot, signature: &[u8]) -> Result<Vec<i64>> {
    let mut times: Vec<Option<i64>> = vec![None; root.stampers.len()];
    let mut reason = None;
    for bytes in timestamps {
        match Token::read(bytes).and_then(|token| token.find(root, signature)) {
            Ok((stamper, time)) => times[stamper] = times[stamper].or(Some(time)),
            Err(error) => reason = Some(error),
        }
    }
    let times: Vec<_> = times.into_iter().flatten().collect();
    match reason {
        Some(error) if times.is_empty() => Err(error),
        _ => Ok(times),
    }
}

/// A token whose signature was not verified yet.
struct Token {
    content: Vec<u8>,
    info: Info,
    signer: SignerInfo,
    certificates: Vec<Certificate>,
}

/// The part of TSTInfo that matters (RFC 3161, 2.4.2).
struct Info {
    hash: Hash,
    imprint: Vec<u8>,
    /// Seconds since 1970.
    time: i64,
}

impl Token {
    fn read(bytes: &[u8]) -> Result<Self> {
        at_most(bytes.len(), TIMESTAMP_LIMIT, "timestamp", "TIMESTAMP_LIMIT")?;
        let content = ContentInfo::from_der(token_of_response(bytes)?).map_err(malformed)?;
        if content.content_type != SIGNED_DATA {
            return Err(malformed("it is not signed"));
        }
        let data: SignedData = content.content.decode_as().map_err(malformed)?;
        let inner = &data.encap_content_info;
        let octets = inner.econtent.as_ref().filter(|_| inner.econtent_type == TST_INFO);
        let octets = octets.ok_or_else(|| malformed("it has no content"))?;
        let content = AnyRef::from(octets).decode_as::<OctetStringRef<'_>>().map_err(malformed)?.as_bytes().to_vec();
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(malformed("it has not exactly one signer"));
        };
        let mut certificates = Vec::new();
        for choice in data.certificates.iter().flat_map(|set| set.0.iter()).take(TIMESTAMP_CERTIFICATES_LIMIT) {
            if let CertificateChoices::Certificate(certificate) = choice {
                certificates.push(Certificate::from_der(&certificate.to_der().map_err(malformed)?)?);
            }
        }
        Ok(Self { info: Info::read(&content)?, signer: signer.clone(), content, certificates })
    }

    /// Returns the position of the time stamper that made the token for this signature, and the time.
    fn find(&self, root: &TrustedRoot, signature: &[u8]) -> Result<(usize, i64)> {
        if self.info.hash.of(signature) != self.info.imprint {
            return Err(Error::Timestamp("it is for another signature".to_owned()));
        }
        let mut reason = Error::Timestamp("no time stamper is trusted".to_owned());
        for (index, stamper) in root.stampers.iter().enumerate() {
            match self.verify(stamper) {
                Ok(()) => return Ok((index, self.info.time)),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    fn verify(&self, stamper: &Authority) -> Result<()> {
        let time = self.info.time;
        if !stamper.valid.contains(time) {
            return Err(Error::Timestamp("its time stamper was not trusted at that time".to_owned()));
        }
        let Some((anchor, others)) = stamper.chain.split_last() else {
            return Err(Error::Timestamp("its time stamper has no certificate".to_owned()));
        };
        // The chain of a time stamper may or may not begin with its own certificate.
        let own = stamper.chain.first().filter(|first| !matches!(first.extensions.basic, Some((true, _))));
        let mut signers = match own {
            Some(own) => std::slice::from_ref(own),
            None => self.certificates.as_slice(),
        }
        .iter()
        .filter(|certificate| is_signer(certificate, &self.signer.sid));
        let signer = signers.next().ok_or_else(|| Error::Timestamp("its signer is not trusted".to_owned()))?;
        let is_for_timestamps = |usages: &[ObjectIdentifier]| *usages == [Usage::TimeStamping.oid()];
        if !signer.extensions.usages.as_ref().is_some_and(|(usages, critical)| *critical && is_for_timestamps(usages)) {
            return Err(Error::Timestamp("its certificate is not only for timestamps".to_owned()));
        }
        let is_anchor = others.is_empty() && own.is_some();
        if is_anchor && !signer.is_valid_at(time) {
            return Err(Error::Timestamp("its certificate was not valid at that time".to_owned()));
        }
        if !is_anchor {
            let intermediates = [others, self.certificates.as_slice()].concat();
            let candidates = Candidates { anchors: std::slice::from_ref(anchor), intermediates: &intermediates };
            candidates.chain(signer, time, Usage::TimeStamping)?;
        }
        self.expect_signed_by(signer)
    }

    /// Checks the signed attributes and the signature (RFC 5652, 5.4).
    fn expect_signed_by(&self, signer: &Certificate) -> Result<()> {
        let wrong = |reason: &str| Error::Timestamp(reason.to_owned());
        let attributes = self.signer.signed_attrs.as_ref().ok_or_else(|| wrong("it has no signed attributes"))?;
        let value = |kind: ObjectIdentifier| {
            let mut found = attributes.iter().filter(|attribute| attribute.oid == kind);
            match (found.next().map(|attribute| attribute.values.as_slice()), found.next()) {
                (Some([value]), None) => Ok(value),
                _ => Err(wrong("a signed attribute is missing, or there twice")),
            }
        };
        let content_type: ObjectIdentifier = value(CONTENT_TYPE)?.decode_as().map_err(malformed)?;
        let digest = AnyRef::from(value(MESSAGE_DIGEST)?).decode_as::<OctetStringRef<'_>>().map_err(malformed)?;
        let hash = hash_of(self.signer.digest_alg.oid)?;
        if content_type != TST_INFO || digest.as_bytes() != hash.of(&self.content) {
            return Err(wrong("its signed attributes are for another content"));
        }
        let signed = attributes.to_der().map_err(malformed)?;
        let (key, bytes) = (signer.public_key()?, self.signer.signature.as_bytes());
        let algorithm = self.signer.signature_algorithm.oid;
        let is_signed = if algorithm == crate::keys::RSA {
            key.kind() == crate::KeyKind::Rsa && key.verify_hashed(hash, &signed, bytes)
        } else {
            verify_with_algorithm(&key, algorithm, &signed, bytes)
        };
        if is_signed { Ok(()) } else { Err(wrong("its signature does not verify")) }
    }
}

/// Returns the token of a response (RFC 3161, 2.4.2).
fn token_of_response(bytes: &[u8]) -> Result<&[u8]> {
    let mut reader = SliceReader::new(bytes).map_err(malformed)?;
    let read = reader.sequence(|reader| {
        let status = reader.sequence(|reader| {
            let status: u8 = reader.decode()?;
            reader.read_slice(reader.remaining_len())?;
            Ok(status)
        })?;
        Ok((status, reader.tlv_bytes()?))
    });
    let (status, token) = read.map_err(malformed)?;
    reader.finish(()).map_err(malformed)?;
    if status > 1 {
        return Err(malformed("the time stamper refused it"));
    }
    Ok(token)
}

impl Info {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = SliceReader::new(bytes).map_err(malformed)?;
        let read = reader.sequence(|reader| {
            let version: u8 = reader.decode()?;
            let _policy: ObjectIdentifier = reader.decode()?;
            let imprint = reader.sequence(|reader| {
                let algorithm: x509_cert::spki::AlgorithmIdentifierOwned = reader.decode()?;
                let digest: OctetStringRef<'_> = reader.decode()?;
                Ok((algorithm.oid, digest.as_bytes().to_vec()))
            })?;
            let _serial: Int = reader.decode()?;
            let time: AnyRef<'_> = reader.decode()?;
            reader.read_slice(reader.remaining_len())?;
            Ok((version, imprint, time))
        });
        let (version, (algorithm, imprint), time) = read.map_err(malformed)?;
        reader.finish(()).map_err(malformed)?;
        if version != 1 || time.tag() != Tag::GeneralizedTime {
            return Err(malformed("it has another version"));
        }
        Ok(Self { hash: hash_of(algorithm)?, imprint, time: seconds(time.value())? })
    }
}

/// Reads a GeneralizedTime in UTC, possibly with a fraction of a second, which is dropped.
fn seconds(text: &[u8]) -> Result<i64> {
    let invalid = || malformed("its time is not a GeneralizedTime in UTC");
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    let whole = text.strip_suffix('Z').ok_or_else(invalid)?;
    let (digits, fraction) = whole.split_once('.').unwrap_or((whole, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if digits.len() != 14 || !is_number(digits) || !is_number(fraction) {
        return Err(invalid());
    }
    let number = |range: std::ops::Range<usize>| digits[range].parse::<u8>().map_err(|_| invalid());
    let year = digits[..4].parse().map_err(|_| invalid())?;
    let time = der::DateTime::new(year, number(4..6)?, number(6..8)?, number(8..10)?, number(10..12)?, number(12..14)?);
    i64::try_from(time.map_err(|_| invalid())?.unix_duration().as_secs()).map_err(|_| invalid())
}

fn is_signer(certificate: &Certificate, identifier: &SignerIdentifier) -> bool {
    let tbs = &certificate.parsed.tbs_certificate;
    match identifier {
        SignerIdentifier::IssuerAndSerialNumber(one) => {
            one.issuer == tbs.issuer && one.serial_number == tbs.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(one) => {
            matches!(tbs.get::<SubjectKeyIdentifier>(), Ok(Some((_, found))) if found == *one)
        }
    }
}

fn hash_of(algorithm: ObjectIdentifier) -> Result<Hash> {
    match algorithm.to_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Ok(Hash::Sha256),
        "2.16.840.1.101.3.4.2.2" => Ok(Hash::Sha384),
        "2.16.840.1.101.3.4.2.3" => Ok(Hash::Sha512),
        other => Err(malformed(format!("its hash {other} is not supported"))),
    }
}

fn malformed(reason: impl ToString) -> Error {
    Error::malformed("timestamp", reason)
}
