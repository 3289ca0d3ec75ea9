//! The signed payload of an image (containers-signature(5)): JSON with the digest and the name.

use std::time::{Duration, SystemTime};

use vmroot_model::Digest;
use vmroot_sigstore::strict_json::{self, Object};

use crate::{Error, Result};

/// The largest payload in bytes.
pub const PAYLOAD_LIMIT: usize = 4 << 20;

/// The form of signature that a payload is in. Its `type` differs, so that one cannot pass for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// An OpenPGP message: `atomic container signature`.
    Simple,
    /// A sigstore attachment: `cosign container image signature`.
    Sigstore,
}

impl PayloadKind {
    fn type_(self) -> &'static str {
        match self {
            Self::Simple => "atomic container signature",
            Self::Sigstore => "cosign container image signature",
        }
    }
}

/// What a signature says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The name of the image, as it was signed. It need not be a valid reference.
    pub reference: String,
    /// The program that made the signature.
    pub creator: Option<String>,
    /// The time of the signature, in whole seconds since 1970. It may be negative.
    pub timestamp: Option<i64>,
}

impl Payload {
    /// Returns the payload for an image, with the name and version of the program that makes it.
    pub fn new(digest: Digest, reference: &str, creator: &str, now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            digest,
            reference: reference.to_owned(),
            creator: Some(creator.to_owned()),
            timestamp: i64::try_from(since.as_secs()).ok(),
        }
    }

    /// Parses a payload. The caller has verified the signature over these bytes before.
    ///
    /// `critical` and the document itself must have exactly the known members. Unknown members of `optional` are
    /// ignored. A member that is repeated anywhere is an error.
    ///
    /// # Errors
    /// [`Error::Payload`] for any other document.
    pub fn parse(bytes: &[u8], kind: PayloadKind) -> Result<Self> {
        read(bytes, kind).map_err(|reason| Error::Payload { reason })
    }

    /// Returns the bytes to sign.
    pub fn to_bytes(&self, kind: PayloadKind) -> Vec<u8> {
        let mut optional = serde_json::Map::new();
        if let Some(creator) = &self.creator {
            optional.insert("creator".to_owned(), creator.as_str().into());
        }
        if let Some(timestamp) = self.timestamp {
            optional.insert("timestamp".to_owned(), timestamp.into());
        }
        let payload = serde_json::json!({
            "critical": {
                "identity": { "docker-reference": self.reference },
                "image": { "docker-manifest-digest": self.digest.to_string() },
                "type": kind.type_(),
            },
            "optional": optional,
        });
        payload.to_string().into_bytes()
    }
}

fn read(bytes: &[u8], kind: PayloadKind) -> std::result::Result<Payload, String> {
    let text = |error: strict_json::Error| error.to_string();
    let mut document = strict_json::parse_object(bytes, "payload", PAYLOAD_LIMIT).map_err(text)?;
    let mut critical = document.object("critical").map_err(text)?;
    let optional = document.required("optional").map_err(text)?;
    document.finish().map_err(text)?;
    let (creator, timestamp) = match optional {
        // cosign writes null if there are no annotations.
        serde_json::Value::Null if kind == PayloadKind::Sigstore => (None, None),
        value => optional_part(Object::of(value, "payload.optional").map_err(text)?)?,
    };
    let type_ = critical.string("type").map_err(text)?;
    if type_ != kind.type_() {
        return Err(format!("its type is {type_:?}, not {:?}", kind.type_()));
    }
    let mut image = critical.object("image").map_err(text)?;
    let mut identity = critical.object("identity").map_err(text)?;
    critical.finish().map_err(text)?;
    let digest = image.string("docker-manifest-digest").map_err(text)?;
    image.finish().map_err(text)?;
    let reference = identity.string("docker-reference").map_err(text)?;
    identity.finish().map_err(text)?;
    let digest = Digest::parse(&digest).map_err(|error| error.to_string())?;
    Ok(Payload { digest, reference, creator, timestamp })
}

fn optional_part(mut optional: Object) -> std::result::Result<(Option<String>, Option<i64>), String> {
    let creator = optional.optional_string("creator").map_err(|error| error.to_string())?;
    let timestamp = match optional.take("timestamp") {
        None => None,
        Some(value) => Some(whole_seconds(&value).ok_or("payload.optional.timestamp is not an integer")?),
    };
    Ok((creator, timestamp))
}

/// Returns a number that is whole, in any notation: other tools read `1e9` as an integer.
#[expect(clippy::cast_possible_truncation, reason = "a float that is whole and in range is converted exactly")]
fn whole_seconds(value: &serde_json::Value) -> Option<i64> {
    let is_exact = |float: &f64| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| value.as_f64().filter(is_exact).map(|float| float as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn document() -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"a/b:1"}},"image":{{"docker-manifest-digest":"{DIGEST}"}},"type":"atomic container signature"}},"optional":{{"creator":"x","timestamp":5}}}}"#
        )
    }

    #[test]
    fn a_payload_is_written_as_it_is_read() {
        let payload = Payload::parse(document().as_bytes(), PayloadKind::Simple).unwrap();
        assert_eq!((payload.reference.as_str(), payload.timestamp), ("a/b:1", Some(5)));
        assert_eq!(payload.to_bytes(PayloadKind::Simple), document().as_bytes());
        let sigstore = payload.to_bytes(PayloadKind::Sigstore);
        assert_eq!(Payload::parse(&sigstore, PayloadKind::Sigstore).unwrap(), payload);
        assert!(Payload::parse(&sigstore, PayloadKind::Simple).is_err());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        assert_eq!(Payload::new(payload.digest, "a", "b", now).timestamp, Some(7));
    }

    #[test]
    fn other_documents_are_refused() {
        for (from, to) in [
            ("\"optional\"", "\"Optional\""),
            ("\"critical\":{", "\"x\":1,\"critical\":{"),
            ("\"critical\":{", "\"critical\":{\"x\":1,"),
            ("\"image\":{", "\"image\":{\"x\":1,"),
            ("\"identity\":{", "\"identity\":{\"x\":1,"),
            ("\"identity\":{", "\"identity\":{\"docker-reference\":\"c/d:1\","),
            ("\"optional\":{", "\"optional\":{\"y\":1,\"y\":1,"),
            ("\"optional\":{\"creator\":\"x\",\"timestamp\":5}", "\"optional\":null"),
            ("\"creator\":\"x\"", "\"creator\":1"),
            ("\"timestamp\":5", "\"timestamp\":5.5"),
            ("\"timestamp\":5", "\"timestamp\":\"5\""),
            ("\"timestamp\":5", "\"timestamp\":1e300"),
            ("\"docker-reference\":\"a/b:1\"", "\"docker-reference\":1"),
            ("e3b0", "E3B0"),
            ("sha256", "md5"),
            ("atomic", "cosign"),
            ("}}", "}}x"),
        ] {
            let changed = document().replacen(from, to, 1);
            assert_ne!(changed, document());
            assert!(Payload::parse(changed.as_bytes(), PayloadKind::Simple).is_err(), "{changed}");
        }
    }

    #[test]
    fn unknown_optional_members_and_other_notations_are_accepted() {
        for (to, timestamp) in
            [("\"timestamp\":5,\"z\":{}", 5), ("\"timestamp\":5.0", 5), ("\"timestamp\":-1e3", -1000)]
        {
            let changed = document().replacen("\"timestamp\":5", to, 1);
            let payload = Payload::parse(changed.as_bytes(), PayloadKind::Simple).unwrap();
            assert_eq!(payload.timestamp, Some(timestamp));
        }
        let cosign = document().replace("atomic container", "cosign container image");
        let cosign = cosign.replace("{\"creator\":\"x\",\"timestamp\":5}", "null");
        assert!(Payload::parse(cosign.as_bytes(), PayloadKind::Sigstore).is_ok());
    }
}
