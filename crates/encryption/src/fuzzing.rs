//! Entrances for the fuzz targets, which see the public API only.

use std::collections::BTreeMap;

use crate::encoding::to_standard;
use crate::{DecryptionKeys, Recipients};

/// Reads bytes as each kind of key.
#[doc(hidden)]
pub fn fuzz_keys(bytes: &[u8]) {
    let _ = DecryptionKeys::new().add(bytes, Some(b"password"));
    let mut recipients = Recipients::new();
    let _ = recipients.add_jwe(bytes);
    let _ = recipients.add_pkcs7(bytes);
    let _ = recipients.add_pgp(bytes, None);
}

/// Reads bytes as each form of a wrapped key, with keys that do not fit.
#[doc(hidden)]
pub fn fuzz_wrapped(keys: &DecryptionKeys, bytes: &[u8]) {
    for scheme in ["jwe", "pkcs7", "pgp"] {
        let annotations = BTreeMap::from([
            (format!("org.opencontainers.image.enc.keys.{scheme}"), to_standard(bytes)),
            ("org.opencontainers.image.enc.pubopts".to_owned(), crate::options::write_public(&[0; 32])),
        ]);
        assert!(keys.layer_key(&annotations).is_err(), "nobody can make a key without the recipient's public key");
    }
}
