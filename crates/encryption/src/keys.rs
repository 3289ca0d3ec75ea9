//! Keys and certificates of files.

mod certificate;
mod elliptic;
mod jwk;
mod legacy_pem;
mod pem;
mod private;
mod public;
mod rsa_key;

pub(crate) use certificate::Certificate;
pub(crate) use elliptic::{Curve, EcPublicKey, EcSecretKey};
pub(crate) use jwk::EcJwk;
pub(crate) use private::{PrivateKey, read_private};
pub(crate) use public::{PublicKey, read_public};

/// rsaEncryption (RFC 8017, appendix C).
pub(crate) const OID_RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

/// id-ecPublicKey (RFC 5480, section 2.1.1).
const OID_EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
