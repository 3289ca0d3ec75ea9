//! Reads the JSON of a bundle (ProtoJSON).

use serde_json::Value;

use super::TIMESTAMPS_LIMIT;
use super::{BUNDLE_LIMIT, BUNDLE_MEDIA_TYPE, BUNDLE_MEDIA_TYPE_OLDER, Bundle, Content, ENTRIES_LIMIT, Material};
use crate::encoding::either;
use crate::error::{Error, Result, at_most};
use crate::keys::Hash;
use crate::log::LogEntry;
use crate::strict_json::{self, Object};
use crate::trusted_root;

pub(super) fn bundle(bytes: &[u8]) -> Result<Bundle> {
    let mut bundle = strict_json::parse_object(bytes, "bundle", BUNDLE_LIMIT)?.without_nulls();
    let media_type = bundle.string("mediaType")?;
    if media_type != BUNDLE_MEDIA_TYPE && media_type != BUNDLE_MEDIA_TYPE_OLDER {
        return Err(malformed(format!("its media type {media_type:.100?} is not of version 0.3")));
    }
    let mut material = bundle.object("verificationMaterial")?.without_nulls();
    let (envelope, message) = (bundle.optional_object("dsseEnvelope")?, bundle.optional_object("messageSignature")?);
    bundle.finish()?;
    let content = match (envelope, message) {
        (Some(envelope), None) => self::envelope(envelope.without_nulls())?,
        (None, Some(message)) => self::message(message.without_nulls())?,
        _ => return Err(malformed("it has not exactly one of an envelope and a message's signature")),
    };
    let entries = array_of(&mut material, "tlogEntries", ENTRIES_LIMIT, "ENTRIES_LIMIT", LogEntry::read)?;
    let timestamps = match material.optional_object("timestampVerificationData")? {
        Some(data) => {
            let mut data = data.without_nulls();
            let stamps = array_of(&mut data, "rfc3161Timestamps", TIMESTAMPS_LIMIT, "TIMESTAMPS_LIMIT", timestamp)?;
            data.finish()?;
            stamps
        }
        None => Vec::new(),
    };
    let material = self::material(material)?;
    Ok(Bundle { material, entries, timestamps, content })
}

fn material(mut material: Object) -> Result<Material> {
    let key = material.optional_object("publicKey")?;
    let place = material.place_of("certificate");
    let certificate = material.take("certificate");
    material.finish()?;
    match (key, certificate) {
        (Some(key), None) => {
            let mut key = key.without_nulls();
            key.optional_string("hint")?;
            key.finish()?;
            Ok(Material::Key)
        }
        (None, Some(value)) => Ok(Material::Certificate(Box::new(trusted_root::certificate(value, &place)?))),
        _ => Err(malformed("it has not exactly one of a key and a certificate")),
    }
}

fn envelope(mut envelope: Object) -> Result<Content> {
    let payload = either(&envelope.string("payload")?, "payload of the bundle")?;
    let payload_type = envelope.string("payloadType")?;
    let mut signatures = envelope.array("signatures")?;
    let place = envelope.place_of("signatures");
    envelope.finish()?;
    let (Some(signature), true) = (signatures.pop(), signatures.is_empty()) else {
        return Err(malformed("its envelope has not exactly one signature"));
    };
    let mut signature = Object::of(signature, &place)?.without_nulls();
    let bytes = either(&signature.string("sig")?, "signature of the bundle")?;
    signature.optional_string("keyid")?;
    signature.finish()?;
    Ok(Content::Envelope { payload, payload_type, signature: bytes })
}

fn message(mut message: Object) -> Result<Content> {
    let signature = either(&message.string("signature")?, "signature of the bundle")?;
    let digest = message.optional_object("messageDigest")?.map(message_digest).transpose()?;
    message.finish()?;
    Ok(Content::Message { digest, signature })
}

fn message_digest(digest: Object) -> Result<(Hash, Vec<u8>)> {
    let mut digest = digest.without_nulls();
    let hash = match digest.string("algorithm")?.as_str() {
        "SHA2_256" => Hash::Sha256,
        "SHA2_384" => Hash::Sha384,
        "SHA2_512" => Hash::Sha512,
        other => return Err(malformed(format!("its hash {other:.40?} is not supported"))),
    };
    let bytes = either(&digest.string("digest")?, "digest of the bundle")?;
    digest.finish()?;
    Ok((hash, bytes))
}

fn timestamp(object: Object) -> Result<Vec<u8>> {
    let mut object = object;
    let bytes = either(&object.string("signedTimestamp")?, "timestamp of the bundle")?;
    object.finish()?;
    Ok(bytes)
}

fn array_of<T>(
    object: &mut Object,
    name: &str,
    maximum: usize,
    limit: &'static str,
    read: fn(Object) -> Result<T>,
) -> Result<Vec<T>> {
    let values: Vec<Value> = object.optional_array(name)?.unwrap_or_default();
    at_most(values.len(), maximum, "bundle", limit)?;
    let place = object.place_of(name);
    values.into_iter().map(|value| read(Object::of(value, &place)?.without_nulls())).collect()
}

fn malformed(reason: impl ToString) -> Error {
    Error::malformed("bundle", reason)
}
