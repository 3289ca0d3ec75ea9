//! Tests of encrypted layers. The keys in `tests/keys` were made by OpenSSL 3.0 and GnuPG 2.2.

mod bounds;
mod keys;
mod layers;
mod mutations;
mod skopeo;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use vmroot_encryption::{DecryptionKeys, Encrypting, Error, Recipients, Result};

/// The password of all encrypted keys.
const PASSWORD: &[u8] = b"secret";

/// The annotations of an encrypted layer.
type Annotations = BTreeMap<String, String>;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

/// Returns the content of a file in `tests/keys`.
fn file(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Returns the keys of files.
fn keys(names: &[&str]) -> DecryptionKeys {
    let mut keys = DecryptionKeys::new();
    for name in names {
        keys.add(&file(name), Some(PASSWORD)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    keys
}

/// Returns recipients, in the notation of `--encryption-key`.
fn recipients(names: &[&str]) -> Recipients {
    let mut recipients = Recipients::new();
    for name in names {
        let (scheme, name) = name.split_once(':').unwrap();
        let added = match scheme {
            "jwe" => recipients.add_jwe(&file(name)),
            "pkcs7" => recipients.add_pkcs7(&file(name)),
            _ => recipients.add_pgp(&file("ring.pgp"), Some(name)),
        };
        added.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    recipients
}

fn encrypt(plain: &[u8], recipients: &Recipients) -> (Vec<u8>, Annotations) {
    let mut encrypting = Encrypting::new(plain);
    let mut ciphertext = Vec::new();
    encrypting.read_to_end(&mut ciphertext).unwrap();
    (ciphertext, encrypting.finish(recipients).unwrap().annotations)
}

fn decrypt(ciphertext: &[u8], annotations: &Annotations, keys: &DecryptionKeys) -> Result<Vec<u8>> {
    let key = keys.layer_key(annotations)?;
    key.verify(ciphertext)?;
    let mut plain = Vec::new();
    key.decrypt(ciphertext).read_to_end(&mut plain).map_err(Error::Io)?;
    Ok(plain)
}
