//! In-toto statements, and the envelope that is signed around them (DSSE).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result, at_most};
use crate::strict_json::{self, Object};

/// The largest length of a statement in bytes.
pub const STATEMENT_LIMIT: usize = 12 << 20;
/// The largest number of subjects of a statement.
pub const SUBJECTS_LIMIT: usize = 1024;
/// The largest number of digests of a subject.
pub const DIGESTS_LIMIT: usize = 32;

/// The type of a statement, version 1.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// The type of a statement, version 0.1. It counts for attestations only.
pub const STATEMENT_V0_1: &str = "https://in-toto.io/Statement/v0.1";
/// The predicate type of an image's signature.
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The media type of a statement in an envelope.
pub const STATEMENT_MEDIA_TYPE: &str = "application/vnd.in-toto+json";

/// A verified statement about subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// [`STATEMENT_V1`] or [`STATEMENT_V0_1`].
    pub type_: String,
    /// The subjects, at least one.
    pub subjects: Vec<Subject>,
    /// The type of the predicate, a URI.
    pub predicate_type: String,
    /// The predicate, which can be any JSON value.
    pub predicate: Value,
}

/// A subject of a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// A name. It proves nothing about the place that an image comes from.
    pub name: Option<String>,
    /// Lower-case hexadecimal digits by the name of the algorithm, such as `sha256`.
    pub digests: BTreeMap<String, String>,
    /// Signed annotations. Those whose value is not a text are kept as JSON text.
    pub annotations: BTreeMap<String, String>,
}

impl Statement {
    /// Reads a statement strictly: unknown and duplicate members are errors.
    ///
    /// # Errors
    ///
    /// - [`Error::Json`], [`Error::TooLarge`].
    /// - [`Error::Statement`]: the type is not one of the two, there is no subject, or a digest is not lower-case
    ///   hexadecimal.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut object = strict_json::parse_object(bytes, "statement", STATEMENT_LIMIT)?;
        let type_ = object.string("_type")?;
        if type_ != STATEMENT_V1 && type_ != STATEMENT_V0_1 {
            return Err(Error::Statement(format!("its type is {type_:.100?}")));
        }
        let subjects = object.array("subject")?;
        at_most(subjects.len(), SUBJECTS_LIMIT, "statement", "SUBJECTS_LIMIT")?;
        if subjects.is_empty() {
            return Err(Error::Statement("it has no subject".to_owned()));
        }
        let place = object.place_of("subject");
        let subjects = subjects.into_iter().map(|value| Subject::read(Object::of(value, &place)?));
        let subjects = subjects.collect::<Result<_>>()?;
        let predicate_type = object.string("predicateType")?;
        let predicate = object.take("predicate").unwrap_or(Value::Null);
        object.finish()?;
        Ok(Self { type_, subjects, predicate_type, predicate })
    }

    /// Returns whether a subject has this SHA-256, as 64 lower-case hexadecimal digits.
    pub fn is_about_sha256(&self, hex: &str) -> bool {
        self.subjects.iter().any(|subject| subject.digests.get("sha256").is_some_and(|digest| digest == hex))
    }

    /// Checks that the statement is the signature of an image, and not another attestation about it.
    ///
    /// `cosign verify` does not check this: it takes any attestation for a signature.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`]: the predicate's type is not [`SIGNATURE_PREDICATE`], or the statement's not
    /// [`STATEMENT_V1`].
    pub fn expect_signature(&self) -> Result<()> {
        if self.predicate_type != SIGNATURE_PREDICATE {
            return Err(Error::Statement(format!("it is an attestation of type {:.100?}", self.predicate_type)));
        }
        if self.type_ != STATEMENT_V1 {
            return Err(Error::Statement("a signature has version 1 of the statement".to_owned()));
        }
        Ok(())
    }
}

impl Subject {
    fn read(mut object: Object) -> Result<Self> {
        let name = object.optional_string("name")?;
        let digests = object.object("digest")?.into_members();
        at_most(digests.len(), DIGESTS_LIMIT, "subject of the statement", "DIGESTS_LIMIT")?;
        let digests = digests.into_iter().map(digest).collect::<Result<BTreeMap<_, _>>>()?;
        let annotations = object.optional_object("annotations")?.map(Object::into_members).unwrap_or_default();
        let text = |(name, value): (String, Value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        };
        let annotations = annotations.into_iter().map(text).collect();
        for known in ["uri", "content", "downloadLocation", "mediaType"] {
            object.take(known);
        }
        object.finish()?;
        Ok(Self { name, digests, annotations })
    }
}

fn digest((algorithm, value): (String, Value)) -> Result<(String, String)> {
    let is_hex = |digits: &String| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match value {
        Value::String(digits) if !digits.is_empty() && is_hex(&digits) => Ok((algorithm, digits)),
        _ => Err(Error::Statement(format!("the digest {algorithm:.100?} is not in lower-case hexadecimal digits"))),
    }
}

/// Returns the statement of an image's signature, as cosign 3 writes it: one subject without a name.
///
/// `sha256` has 64 lower-case hexadecimal digits. `annotations` are signed.
pub fn signature_statement(sha256: &str, annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let mut subject = Map::new();
    subject.insert("digest".to_owned(), json!({ "sha256": sha256 }));
    if !annotations.is_empty() {
        subject.insert("annotations".to_owned(), json!(annotations));
    }
    let statement =
        json!({"_type": STATEMENT_V1, "subject": [subject], "predicateType": SIGNATURE_PREDICATE, "predicate": {}});
    statement.to_string().into_bytes()
}

/// Returns the statement of an attestation about an image. `name` is that of the subject.
pub fn attestation_statement(name: &str, sha256: &str, predicate_type: &str, predicate: &Value) -> Vec<u8> {
    let subject = json!([{"name": name, "digest": {"sha256": sha256}}]);
    json!({"_type": STATEMENT_V1, "subject": subject, "predicateType": predicate_type, "predicate": predicate})
        .to_string()
        .into_bytes()
}

/// Returns the bytes that are signed for a payload: the pre-authentication encoding of DSSE.
pub(crate) fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
