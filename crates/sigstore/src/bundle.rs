//! Sigstore bundles, version 0.3.

mod identity;
mod read;
mod sign;
mod verify;

use std::time::SystemTime;

use crate::certificate::Certificate;
use crate::error::Result;
use crate::keys::{Hash, PrivateKey, PublicKey};
use crate::log::LogEntry;
use crate::statement::Statement;
use crate::trusted_root::TrustedRoot;

pub use identity::{CertificateIdentity, Matcher};

/// The largest length of a bundle in bytes.
pub const BUNDLE_LIMIT: usize = 16 << 20;
/// The largest number of entries of logs in a bundle.
pub const ENTRIES_LIMIT: usize = 32;
/// The largest number of timestamps in a bundle.
pub const TIMESTAMPS_LIMIT: usize = 32;

/// The media type of a bundle.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The older spelling of [`BUNDLE_MEDIA_TYPE`].
pub const BUNDLE_MEDIA_TYPE_OLDER: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

/// A bundle that was read. No part of it is trusted before a verification succeeds.
#[derive(Debug, Clone)]
pub struct Bundle {
    material: Material,
    entries: Vec<LogEntry>,
    timestamps: Vec<Vec<u8>>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Material {
    /// A key that the verifier has. The hint is not trusted, so all accepted keys are tried.
    Key,
    Certificate(Box<Certificate>),
}

#[derive(Debug, Clone)]
enum Content {
    Envelope { payload: Vec<u8>, payload_type: String, signature: Vec<u8> },
    Message { digest: Option<(Hash, Vec<u8>)>, signature: Vec<u8> },
}

/// The signers that a verification accepts.
#[derive(Debug, Clone, Copy)]
pub enum BundleTrust<'a> {
    /// Any of these keys. A bundle with a certificate is refused.
    Keys {
        /// The keys.
        keys: &'a [PublicKey],
        /// If given, one of its logs must have an entry of the signature.
        log: Option<&'a TrustedRoot>,
    },
    /// Certificates of an identity. A bundle with a key is refused.
    Certificates {
        /// The authorities, logs and time stampers.
        root: &'a TrustedRoot,
        /// The identity.
        identity: &'a CertificateIdentity,
    },
}

/// The signer of a verified bundle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Signer {
    /// The key that verified the signature.
    Key(PublicKey),
    /// The certificate whose key verified the signature.
    Certificate(Box<Certificate>),
}

/// A time that a log or a time stamper proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedTime {
    /// The kind of its source.
    pub source: TimeSource,
    /// Seconds since 1970.
    pub seconds: i64,
}

/// The source of a verified time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeSource {
    /// The promise of a transparency log.
    Log,
    /// A time stamper of RFC 3161.
    TimeStamper,
}

/// A verified statement with its signer.
#[derive(Debug, Clone)]
pub struct VerifiedBundle {
    /// The statement. Its subjects were not compared with any image.
    pub statement: Statement,
    /// The bytes of the statement, as they were signed.
    pub payload: Vec<u8>,
    /// The signer.
    pub signer: Signer,
    /// The proven times, at most one for each log and time stamper.
    pub times: Vec<VerifiedTime>,
}

/// A verified signature of a message, with its signer.
#[derive(Debug, Clone)]
pub struct VerifiedMessage {
    /// The signer.
    pub signer: Signer,
    /// The proven times, at most one for each log and time stamper.
    pub times: Vec<VerifiedTime>,
}

impl Bundle {
    /// Reads a bundle of version 0.3. Unknown and duplicate members are errors.
    ///
    /// # Errors
    ///
    /// - [`Error::Json`](crate::Error::Json): it is malformed, or has more than [`BUNDLE_LIMIT`] bytes.
    /// - [`Error::Malformed`](crate::Error::Malformed): it has another version, or not exactly one signature.
    /// - [`Error::TooLarge`](crate::Error::TooLarge): it has too many entries or timestamps.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        read::bundle(bytes)
    }

    /// Verifies the bundle of a statement.
    ///
    /// The caller compares the subjects with the image's digest, and calls [`Statement::expect_signature`] if only a
    /// signature counts.
    ///
    /// # Errors
    ///
    /// Any error but those of private keys. [`Error::Material`](crate::Error::Material): the bundle has a certificate
    /// and `trust` keys, or the reverse, or it signs a message instead of a statement.
    pub fn verify(&self, trust: &BundleTrust<'_>, now: SystemTime) -> Result<VerifiedBundle> {
        verify::statement(self, trust, crate::seconds_of(now))
    }

    /// Verifies the bundle of a message, such as the bytes of a manifest.
    ///
    /// # Errors
    ///
    /// Those of [`Bundle::verify`]. [`Error::Material`](crate::Error::Material) if it signs a statement.
    pub fn verify_message(&self, trust: &BundleTrust<'_>, message: &[u8], now: SystemTime) -> Result<VerifiedMessage> {
        verify::message(self, trust, message, crate::seconds_of(now))
    }

    /// Signs a statement with a key, and returns the JSON of the bundle. It has no entry of a log and no timestamp.
    ///
    /// # Errors
    ///
    /// Those of [`Statement::parse`]: the bytes are no statement that a verification accepts.
    pub fn sign(key: &PrivateKey, statement: &[u8]) -> Result<Vec<u8>> {
        sign::statement(key, statement)
    }
}
