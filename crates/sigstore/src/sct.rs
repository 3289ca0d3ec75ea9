//! Signed certificate timestamps: a log of certificates has a certificate (RFC 6962, 3.2 and 3.3).

use der::Encode as _;

use crate::certificate::{Certificate, SCT_LIST};
use crate::error::{Error, Result, at_most};
use crate::keys::Hash;
use crate::trusted_root::TrustedRoot;

/// The largest number of SCTs in a certificate.
pub const SCTS_LIMIT: usize = 32;

/// Checks that a trusted log of certificates signed one of the embedded SCTs. `issuer` is that of the verified chain.
pub(crate) fn expect(certificate: &Certificate, issuer: &Certificate, root: &TrustedRoot) -> Result<()> {
    let list = certificate.extensions.scts.as_deref();
    let list = list.ok_or_else(|| Error::Certificate("no log of certificates has it".to_owned()))?;
    let timestamps = read(list).ok_or_else(|| Error::malformed("SCT of the certificate", "its lengths are wrong"))?;
    at_most(timestamps.len(), SCTS_LIMIT, "certificate", "SCTS_LIMIT")?;
    let precertificate = precertificate(certificate)?;
    let key_hash = issuer.key_hash()?;
    let is_trusted = |timestamp: &Timestamp<'_>| {
        let seconds = i64::try_from(timestamp.milliseconds / 1000).unwrap_or(i64::MAX);
        let hash = match timestamp.hash {
            4 => Hash::Sha256,
            5 => Hash::Sha384,
            6 => Hash::Sha512,
            _ => return false,
        };
        let Some(signed) = timestamp.signed(&key_hash, &precertificate) else { return false };
        let mut logs = root.certificate_logs.iter().filter(|log| log.id == timestamp.log_id);
        logs.any(|log| log.valid.contains(seconds) && log.key.verify_hashed(hash, &signed, timestamp.signature))
    };
    if timestamps.iter().any(is_trusted) {
        return Ok(());
    }
    Err(Error::Certificate("no trusted log of certificates has it".to_owned()))
}

/// Returns the signed part of a certificate without its SCTs.
fn precertificate(certificate: &Certificate) -> Result<Vec<u8>> {
    let mut tbs = certificate.parsed.tbs_certificate.clone();
    if let Some(extensions) = &mut tbs.extensions {
        extensions.retain(|extension| extension.extn_id != SCT_LIST);
    }
    tbs.to_der().map_err(|error| Error::malformed("certificate", error))
}

struct Timestamp<'a> {
    log_id: &'a [u8],
    milliseconds: u64,
    extensions: &'a [u8],
    hash: u8,
    signature: &'a [u8],
}

impl Timestamp<'_> {
    /// Returns the bytes that the log signed, unless a length does not fit.
    fn signed(&self, key_hash: &[u8; 32], precertificate: &[u8]) -> Option<Vec<u8>> {
        let length = u32::try_from(precertificate.len()).ok().filter(|length| *length < 1 << 24)?.to_be_bytes();
        let extensions_length = u16::try_from(self.extensions.len()).ok()?.to_be_bytes();
        // Version 1, the signature of a certificate's timestamp.
        let mut bytes = vec![0, 0];
        bytes.extend_from_slice(&self.milliseconds.to_be_bytes());
        // An entry for a precertificate.
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(key_hash);
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(precertificate);
        bytes.extend_from_slice(&extensions_length);
        bytes.extend_from_slice(self.extensions);
        Some(bytes)
    }
}

/// Reads the TLS encoding of a list. Returns `None` if a length is wrong.
fn read(list: &[u8]) -> Option<Vec<Timestamp<'_>>> {
    let (mut list, rest) = prefixed(list)?;
    let mut timestamps = Vec::new();
    while !list.is_empty() {
        let (one, after) = prefixed(list)?;
        timestamps.extend(timestamp(one)?);
        list = after;
    }
    rest.is_empty().then_some(timestamps)
}

/// Reads one timestamp. One of another version than 1 is ignored.
fn timestamp(bytes: &[u8]) -> Option<Option<Timestamp<'_>>> {
    let (version, bytes) = bytes.split_first()?;
    if *version != 0 {
        return Some(None);
    }
    let (log_id, bytes) = bytes.split_at_checked(32)?;
    let (time, bytes) = bytes.split_at_checked(8)?;
    let (extensions, bytes) = prefixed(bytes)?;
    let (&[hash, _algorithm], bytes) = bytes.split_first_chunk::<2>()?;
    let (signature, rest) = prefixed(bytes)?;
    let milliseconds = u64::from_be_bytes(time.try_into().ok()?);
    rest.is_empty().then_some(Some(Timestamp { log_id, milliseconds, extensions, hash, signature }))
}

/// Splits bytes with their length in two bytes from the rest.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
