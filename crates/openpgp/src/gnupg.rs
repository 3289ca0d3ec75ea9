//! Keys in a home of GnuPG, without its programs.

mod expression;
mod keybox;
mod private_key;

use std::io::Read as _;
use std::path::Path;

use pgp::ser::Serialize;
use pgp::types::KeyDetails;

use crate::{Error, KEYRING_LIMIT, Keyring, Result};

use private_key::PrivateKey;

/// The most files of `private-keys-v1.d` that are read.
pub const PRIVATE_KEYS_LIMIT: usize = 10_000;

/// The largest file of a secret key in bytes.
pub const PRIVATE_KEY_LIMIT: usize = 1 << 20;

/// The files of a home of GnuPG that have keys.
#[derive(Debug, Clone, Default)]
pub struct GnupgHome {
    /// Packets of certificates.
    pub(crate) certificates: Vec<u8>,
    keys: Vec<PrivateKey>,
}

impl GnupgHome {
    /// Reads the keys of a directory: `pubring.kbx` or `pubring.gpg`, and `private-keys-v1.d`.
    ///
    /// # Errors
    /// - [`Error::SecretKey`] if a file or directory cannot be read. Files of keys that are damaged, or that are on a
    ///   card, are left out.
    /// - [`Error::TooLarge`] for more than [`KEYRING_LIMIT`] bytes of certificates, or more than
    ///   [`PRIVATE_KEYS_LIMIT`] files.
    pub fn read(directory: &Path) -> Result<Self> {
        let keybox = read_if_exists(&directory.join("pubring.kbx"), "KEYRING_LIMIT", KEYRING_LIMIT)?;
        let ring = match keybox {
            Some(ring) => ring,
            None => read_if_exists(&directory.join("pubring.gpg"), "KEYRING_LIMIT", KEYRING_LIMIT)?.unwrap_or_default(),
        };
        let mut files = Vec::new();
        let private = directory.join("private-keys-v1.d");
        let entries = std::fs::read_dir(&private).map_err(|error| cannot_read(&private, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| cannot_read(&private, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                if files.len() == PRIVATE_KEYS_LIMIT {
                    return Err(too_large("private-keys-v1.d", "PRIVATE_KEYS_LIMIT", PRIVATE_KEYS_LIMIT, "keys"));
                }
                files.extend(read_if_exists(&path, "PRIVATE_KEY_LIMIT", PRIVATE_KEY_LIMIT)?);
            }
        }
        Ok(Self::from_parts(&ring, &files))
    }

    /// Returns the certificates, to verify messages with.
    ///
    /// # Errors
    /// Those of [`Keyring::read`].
    pub fn keyring(&self) -> Result<Keyring> {
        Keyring::read(&self.certificates)
    }

    /// Reads the contents of `pubring.kbx` or `pubring.gpg`, and of the files of `private-keys-v1.d`. Files that are
    /// damaged are left out.
    pub fn from_parts(ring: &[u8], private_keys: &[Vec<u8>]) -> Self {
        let certificates = if keybox::is_keybox(ring) { keybox::certificates(ring) } else { ring.to_vec() };
        Self { certificates, keys: private_keys.iter().filter_map(|file| PrivateKey::parse(file)).collect() }
    }

    /// Returns the secret numbers of a public key, as they are in a packet, or `None` if the home does not have them.
    pub(crate) fn secret_of(&self, key: &impl KeyDetails, passphrase: Option<&[u8]>) -> Option<Result<Vec<u8>>> {
        let parameters = key.public_params().to_bytes().ok()?;
        let is_of =
            |private: &&PrivateKey| private.public_number().is_some_and(|number| contains_number(&parameters, number));
        self.keys.iter().find(is_of).map(|private| private.secret_numbers(passphrase))
    }
}

/// Returns whether the parameters of a public key contain a number. It is long enough to be in no other key.
fn contains_number(parameters: &[u8], number: &[u8]) -> bool {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let number = &number[start..];
    number.len() >= 32 && parameters.windows(number.len()).any(|window| window == number)
}

fn read_if_exists(path: &Path, name: &'static str, limit: usize) -> Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_read(path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot_read(path, &error))?;
    if bytes.len() > limit {
        return Err(too_large("a file with keys", name, limit, "bytes"));
    }
    Ok(Some(bytes))
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    Error::SecretKey(format!("cannot read {}: {error}", path.display()))
}

fn too_large(what: &'static str, name: &'static str, limit: usize, unit: &'static str) -> Error {
    Error::TooLarge { what, name, limit, unit }
}
