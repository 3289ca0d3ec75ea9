//! Verifies and makes sigstore signatures of images: bytes in, a verdict out.
//!
//! The crate uses no network, no files, no environment and no clock. The time of a verification is a parameter.

mod attachment;
mod bundle;
mod certificate;
mod encoding;
mod error;
mod keys;
mod log;
mod sct;
mod statement;
pub mod strict_json;
mod timestamp;
mod trusted_root;

use std::time::SystemTime;

pub use attachment::{
    ANNOTATION_LIMIT, Attachment, BUNDLE_ANNOTATION, CERTIFICATE_ANNOTATION, CHAIN_ANNOTATION, Fulcio, KEYS_LIMIT,
    PAYLOAD_LIMIT, PAYLOAD_TYPE, Pki, SIGNATURE_ANNOTATION, VerifiedAttachment, sign_payload,
};
pub use bundle::{
    BUNDLE_LIMIT, BUNDLE_MEDIA_TYPE, BUNDLE_MEDIA_TYPE_OLDER, Bundle, BundleTrust, CertificateIdentity, ENTRIES_LIMIT,
    Matcher, Signer, TIMESTAMPS_LIMIT, TimeSource, VerifiedBundle, VerifiedMessage, VerifiedTime,
};
pub use certificate::{
    AlternativeName, CERTIFICATE_LIMIT, CERTIFICATES_LIMIT, CHAIN_LIMIT, Certificate, SIGNATURE_CHECKS_LIMIT,
};
pub use encoding::{PEM_BLOCKS_LIMIT, PEM_LIMIT};
pub use error::{Error, Result};
pub use keys::{KeyKind, PRIVATE_KEY_LIMIT, PrivateKey, PublicKey, RSA_BITS_MAX, RSA_BITS_MIN, SCRYPT_N};
pub use log::PROOF_HASHES_LIMIT;
pub use sct::SCTS_LIMIT;
pub use statement::{
    DIGESTS_LIMIT, SIGNATURE_PREDICATE, STATEMENT_LIMIT, STATEMENT_MEDIA_TYPE, STATEMENT_V0_1, STATEMENT_V1,
    SUBJECTS_LIMIT, Statement, Subject, attestation_statement, signature_statement,
};
pub use timestamp::TIMESTAMP_LIMIT;
pub use trusted_root::{INSTANCES_LIMIT, TRUSTED_ROOT_LIMIT, TrustedRoot};

/// Returns the seconds since 1970.
pub(crate) fn seconds_of(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    }
}
