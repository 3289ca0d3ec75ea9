//! The encryption of private keys in PEM headers (RFC 1423), as `openssl rsa -traditional` writes it.

use aes::cipher::{BlockDecryptMut, KeyIvInit, block_padding::Pkcs7};
use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use des::{Des, TdesEde3};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::pem::Block;
use crate::{Error, Result};

/// The bytes of the salt, which begin the initialisation vector.
const SALT: usize = 8;

/// Returns whether a block is encrypted by its headers.
pub(super) fn is_encrypted(block: &Block) -> bool {
    block.header("DEK-Info").is_some()
}

/// Decrypts a block.
///
/// # Errors
/// - [`Error::PasswordMissing`], [`Error::PasswordWrong`]
/// - [`Error::Key`]: the cipher is unknown, or the headers are malformed.
pub(super) fn decrypt(block: &Block, password: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>> {
    let malformed = || Error::key("its DEK-Info header is malformed");
    let (cipher, iv) = block.header("DEK-Info").and_then(|info| info.split_once(',')).ok_or_else(malformed)?;
    let iv = hexadecimal(iv.trim()).ok_or_else(malformed)?;
    let password = password.ok_or(Error::PasswordMissing)?;
    match cipher.trim() {
        "AES-128-CBC" => decrypt_with::<Aes128>(block, password, &iv, 16),
        "AES-192-CBC" => decrypt_with::<Aes192>(block, password, &iv, 24),
        "AES-256-CBC" => decrypt_with::<Aes256>(block, password, &iv, 32),
        "DES-EDE3-CBC" => decrypt_with::<TdesEde3>(block, password, &iv, 24),
        "DES-CBC" => decrypt_with::<Des>(block, password, &iv, 8),
        other => Err(Error::key(format!("it is encrypted with {other:?}, which is not supported"))),
    }
}

fn decrypt_with<C>(block: &Block, password: &[u8], iv: &[u8], key_length: usize) -> Result<Zeroizing<Vec<u8>>>
where
    C: BlockDecryptMut + aes::cipher::BlockCipher,
    Decryptor<C>: KeyIvInit + BlockDecryptMut,
{
    let salt = iv.get(..SALT).ok_or_else(|| Error::key("its initialisation vector is too short"))?;
    let key = derive(password, salt, key_length);
    let decryptor = <Decryptor<C> as KeyIvInit>::new_from_slices(&key, iv);
    let decryptor = decryptor.map_err(|_| Error::key("its initialisation vector has a wrong length"))?;
    // A wrong password gives wrong padding, or bytes that are no key.
    let plain = decryptor.decrypt_padded_vec_mut::<Pkcs7>(&block.bytes).map_err(|_| Error::PasswordWrong)?;
    Ok(Zeroizing::new(plain))
}

/// Derives a key with MD5, as `EVP_BytesToKey` of OpenSSL does with one round.
fn derive(password: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut previous: Vec<u8> = Vec::new();
    while key.len() < length {
        previous = Md5::new().chain_update(&previous).chain_update(password).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&previous);
    }
    key.truncate(length);
    key
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
