//! Encrypted private keys of sigstore: scrypt and NaCl's secretbox around PKCS #8.

use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305};
use rsa::rand_core::{OsRng, RngCore as _};
use serde_json::json;
use zeroize::Zeroizing;

use super::private::PRIVATE_KEY_LIMIT;
use crate::encoding::{standard, to_standard};
use crate::error::{Error, Result};
use crate::strict_json;

/// The accepted costs N of scrypt, with r = 8 and p = 1. They take 32, 64 and 128 MiB of memory.
pub const SCRYPT_N: [u32; 3] = [1 << 15, 1 << 16, 1 << 17];

/// The cost for a new key, as cosign has it.
const NEW_N: u32 = 1 << 16;
const R: u32 = 8;
const P: u32 = 1;
const SALT_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;

/// Decrypts the JSON of a private key, and returns its PKCS #8.
pub(super) fn decrypt(json: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = strict_json::parse_object(json, "encrypted private key", PRIVATE_KEY_LIMIT)?;
    let mut kdf = file.object("kdf")?;
    expect(&kdf.string("name")?, "scrypt", "its key derivation")?;
    let mut params = kdf.object("params")?;
    let (n, r, p) = (params.integer("N")?, params.integer("r")?, params.integer("p")?);
    params.finish()?;
    let salt = standard(&kdf.string("salt")?, "salt of the private key")?;
    kdf.finish()?;
    let mut cipher = file.object("cipher")?;
    expect(&cipher.string("name")?, "nacl/secretbox", "its cipher")?;
    let nonce = standard(&cipher.string("nonce")?, "nonce of the private key")?;
    cipher.finish()?;
    let ciphertext = standard(&file.string("ciphertext")?, "ciphertext of the private key")?;
    file.finish()?;

    let n = SCRYPT_N.into_iter().find(|accepted| i64::from(*accepted) == n && r == i64::from(R) && p == i64::from(P));
    let n = n.ok_or_else(|| Error::Key("its scrypt parameters are not those of cosign".to_owned()))?;
    if salt.len() != SALT_LENGTH || nonce.len() != NONCE_LENGTH {
        return Err(Error::Key("its salt or nonce has a wrong length".to_owned()));
    }
    let plain = secretbox(passphrase, &salt, n).decrypt(Nonce::from_slice(&nonce), ciphertext.as_slice());
    plain.map(Zeroizing::new).map_err(|_| Error::PassphraseWrong)
}

/// Encrypts PKCS #8, and returns the JSON.
pub(super) fn encrypt(pkcs8: &[u8], passphrase: &[u8]) -> String {
    let (mut salt, mut nonce) = ([0; SALT_LENGTH], [0; NONCE_LENGTH]);
    OsRng.fill_bytes(&mut salt);
    OsRng.fill_bytes(&mut nonce);
    let ciphertext = secretbox(passphrase, &salt, NEW_N).encrypt(Nonce::from_slice(&nonce), pkcs8);
    let ciphertext = ciphertext.expect("a private key is shorter than the cipher's limit");
    let params = json!({"N": NEW_N, "r": R, "p": P});
    json!({
        "kdf": {"name": "scrypt", "params": params, "salt": to_standard(&salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": to_standard(&nonce)},
        "ciphertext": to_standard(&ciphertext),
    })
    .to_string()
}

fn secretbox(passphrase: &[u8], salt: &[u8], n: u32) -> XSalsa20Poly1305 {
    let mut key = Zeroizing::new([0; 32]);
    let log_n = n.trailing_zeros() as u8;
    let params = scrypt::Params::new(log_n, R, P, key.len()).expect("the parameters are constants");
    scrypt::scrypt(passphrase, salt, &params, key.as_mut()).expect("the length of the key is a constant");
    XSalsa20Poly1305::new(crypto_secretbox::Key::from_slice(key.as_ref()))
}

fn expect(found: &str, expected: &str, subject: &str) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::Key(format!("{subject} is not {expected:?}"))) }
}
