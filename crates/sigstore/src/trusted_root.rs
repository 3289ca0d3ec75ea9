//! Trusted roots: the logs, authorities and time stampers of a sigstore deployment (`trusted_root.json`).

use der::DateTime;
use serde_json::Value;

use crate::certificate::Certificate;
use crate::encoding::either;
use crate::error::{Error, Result, at_most};
use crate::keys::PublicKey;
use crate::strict_json::{self, Object};

/// The largest length of a trusted root in bytes.
pub const TRUSTED_ROOT_LIMIT: usize = 4 << 20;
/// The largest number of logs, authorities or time stampers, each.
pub const INSTANCES_LIMIT: usize = 256;
/// The largest number of certificates of an authority.
const AUTHORITY_CHAIN_LIMIT: usize = 16;

const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// The logs, authorities and time stampers that a verification trusts.
///
/// Members that this crate does not know are ignored, and so are logs whose keys have an unknown algorithm: later
/// versions of the document add some.
#[derive(Debug, Clone)]
pub struct TrustedRoot {
    pub(crate) logs: Vec<TrustedLog>,
    pub(crate) certificate_logs: Vec<TrustedLog>,
    pub(crate) authorities: Vec<Authority>,
    pub(crate) stampers: Vec<Authority>,
}

/// A log of signatures or of certificates.
#[derive(Debug, Clone)]
pub(crate) struct TrustedLog {
    pub(crate) id: Vec<u8>,
    pub(crate) key: PublicKey,
    pub(crate) valid: Period,
    /// The host and port of the log's URL.
    pub(crate) host: String,
}

/// An authority for certificates of signers or of time stampers.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// From the first one, which may be that of the time stamper itself, to the trusted one.
    pub(crate) chain: Vec<Certificate>,
    pub(crate) valid: Period,
}

/// A period in seconds since 1970, inclusive at both ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    start: i64,
    end: Option<i64>,
}

impl Period {
    pub(crate) fn contains(&self, time: i64) -> bool {
        time >= self.start && self.end.is_none_or(|end| time <= end)
    }
}

impl TrustedRoot {
    /// Reads a `trusted_root.json` of version 0.1 or 0.2.
    ///
    /// # Errors
    ///
    /// - [`Error::Json`]: it is malformed, has a member twice, or more than [`TRUSTED_ROOT_LIMIT`] bytes.
    /// - [`Error::TooLarge`]: it has more than [`INSTANCES_LIMIT`] instances of a kind.
    /// - [`Error::Malformed`], [`Error::Key`]: a certificate, a period or base64 text is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut root = strict_json::parse_object(bytes, "trusted root", TRUSTED_ROOT_LIMIT)?.without_nulls();
        let media_type = root.string("mediaType")?;
        if !MEDIA_TYPES.contains(&media_type.as_str()) {
            return Err(malformed(format!("its media type is {media_type:?}")));
        }
        Ok(Self {
            logs: instances(&mut root, "tlogs", log)?.into_iter().flatten().collect(),
            certificate_logs: instances(&mut root, "ctlogs", log)?.into_iter().flatten().collect(),
            authorities: instances(&mut root, "certificateAuthorities", authority)?,
            stampers: instances(&mut root, "timestampAuthorities", authority)?,
        })
    }
}

fn malformed(reason: impl ToString) -> Error {
    Error::malformed("trusted root", reason)
}

fn instances<T>(root: &mut Object, name: &str, read: fn(Object) -> Result<T>) -> Result<Vec<T>> {
    let values = root.optional_array(name)?.unwrap_or_default();
    at_most(values.len(), INSTANCES_LIMIT, "trusted root", "INSTANCES_LIMIT")?;
    let place = root.place_of(name);
    values.into_iter().map(|value| read(Object::of(value, &place)?.without_nulls())).collect()
}

fn log(mut instance: Object) -> Result<Option<TrustedLog>> {
    let mut public_key = instance.object("publicKey")?.without_nulls();
    let valid = period(public_key.object("validFor")?)?;
    let der = either(&public_key.string("rawBytes")?, "trusted root")?;
    let Ok(key) = PublicKey::from_der(&der) else { return Ok(None) };
    let id = match instance.optional_object("logId")? {
        Some(mut id) => either(&id.string("keyId")?, "trusted root")?,
        None => key.id().to_vec(),
    };
    let url = instance.optional_string("baseUrl")?.unwrap_or_default();
    let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).split('/').next().unwrap_or_default();
    Ok(Some(TrustedLog { id, key, valid, host: host.to_owned() }))
}

fn authority(mut instance: Object) -> Result<Authority> {
    let valid = period(instance.object("validFor")?)?;
    let mut chain = instance.object("certChain")?;
    let certificates = chain.array("certificates")?;
    at_most(certificates.len(), AUTHORITY_CHAIN_LIMIT, "authority of the trusted root", "AUTHORITY_CHAIN_LIMIT")?;
    let place = chain.place_of("certificates");
    let chain: Vec<_> = certificates.into_iter().map(|value| certificate(value, &place)).collect::<Result<_>>()?;
    if chain.is_empty() {
        return Err(malformed("an authority has no certificate"));
    }
    Ok(Authority { chain, valid })
}

/// Reads `{"rawBytes": BASE64}`.
pub(crate) fn certificate(value: Value, place: &str) -> Result<Certificate> {
    let mut object = Object::of(value, place)?.without_nulls();
    let certificate = Certificate::from_der(&either(&object.string("rawBytes")?, "certificate")?)?;
    object.finish()?;
    Ok(certificate)
}

fn period(object: Object) -> Result<Period> {
    let mut object = object.without_nulls();
    let start = seconds(&object.string("start")?)?;
    let end = object.optional_string("end")?.map(|text| seconds(&text)).transpose()?;
    Ok(Period { start, end })
}

/// Reads a time of RFC 3339 in UTC, and returns the seconds since 1970. Fractions are dropped.
fn seconds(text: &str) -> Result<i64> {
    let invalid = || malformed(format!("{text:.40?} is not a time of RFC 3339 in UTC"));
    let whole = text.strip_suffix('Z').ok_or_else(invalid)?;
    let (whole, fraction) = whole.split_once('.').unwrap_or((whole, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(invalid());
    }
    let time: DateTime = format!("{whole}Z").parse().map_err(|_| invalid())?;
    i64::try_from(time.unix_duration().as_secs()).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("2022-10-20T00:00:00Z"), Ok(1_666_224_000));
        assert_eq!(seconds("1970-01-01T00:00:01.999Z"), Ok(1));
        for text in ["", "Z", "2022-10-20", "2022-10-20T00:00:00", "2022-13-20T00:00:00Z", "2022-10-20T00:00:00.Z"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
