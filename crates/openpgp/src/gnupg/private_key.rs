//! A file of `private-keys-v1.d` (`agent/keyformat.txt` of GnuPG).

use aes::Aes128;
use ocb3::Ocb3;
use ocb3::aead::consts::U12;
use ocb3::aead::{AeadInPlace as _, KeyInit as _};
use sha1::{Digest as _, Sha1};

use crate::{Error, Result};

use super::expression::Expression;

/// The most bytes that are hashed to derive a key from a passphrase. GnuPG chooses a number that takes it a tenth of a
/// second, such as 300 million.
const S2K_COUNT_LIMIT: usize = 1 << 30;

/// The length of the authentication tag in bytes.
const TAG: usize = 16;

/// A secret key whose numbers may be encrypted.
#[derive(Debug, Clone)]
pub(super) struct PrivateKey {
    /// The list of the algorithm with its numbers.
    numbers: Expression,
    is_protected: bool,
}

impl PrivateKey {
    /// Reads a file: an S-expression, or lines `Name: value` of which `Key` has it.
    pub(super) fn parse(file: &[u8]) -> Option<Self> {
        let key = if file.trim_ascii_start().starts_with(b"(") { file.to_vec() } else { extended(file)? };
        let key = Expression::parse(&key)?;
        let [head, numbers @ Expression::List(_), ..] = key.list()? else { return None };
        let is_protected = match head.atom()? {
            b"private-key" => false,
            b"protected-private-key" => true,
            // A key on a card.
            _ => return None,
        };
        Some(Self { numbers: numbers.clone(), is_protected })
    }

    /// Returns the number of the public key that identifies it: the modulus, the point, or `y` of DSA.
    pub(super) fn public_number(&self) -> Option<&[u8]> {
        ["n", "q", "y"].into_iter().filter(|name| self.has_algorithm(name)).find_map(|name| self.numbers.value(name))
    }

    /// Returns whether the algorithm has the public number of this name. The `q` of DSA is another one.
    fn has_algorithm(&self, name: &str) -> bool {
        let algorithm = self.numbers.list().and_then(|list| list.first()).and_then(Expression::atom);
        match algorithm {
            Some(b"rsa") => name == "n",
            Some(b"dsa") => name == "y",
            Some(b"ecc" | b"ecdsa" | b"eddsa") => name == "q",
            _ => false,
        }
    }

    /// Returns the secret numbers in the order of a secret key packet, as numbers of OpenPGP.
    pub(super) fn secret_numbers(&self, passphrase: Option<&[u8]>) -> Result<Vec<u8>> {
        let numbers = if self.is_protected { self.decrypt(passphrase)? } else { self.numbers.clone() };
        let names: &[&str] = match self.public_name() {
            Some("n") => &["d", "p", "q", "u"],
            Some("y") => &["x"],
            _ => &["d"],
        };
        let mut bytes = Vec::new();
        for name in names {
            let number =
                numbers.value(name).ok_or_else(|| Error::SecretKey(format!("its number {name} is missing")))?;
            write_number(&mut bytes, number);
        }
        Ok(bytes)
    }

    fn public_name(&self) -> Option<&'static str> {
        ["n", "q", "y"].into_iter().find(|name| self.has_algorithm(name))
    }

    fn decrypt(&self, passphrase: Option<&[u8]>) -> Result<Expression> {
        let passphrase = passphrase.ok_or(Error::Passphrase("missing"))?;
        let protection = self.numbers.find("protected").and_then(Protection::read);
        let protection = protection.ok_or_else(|| Error::SecretKey("its protection is unknown".to_owned()))?;
        let cipher = Ocb3::<Aes128, U12>::new(&derive_key(passphrase, protection.salt, protection.count).into());
        // The public numbers and the time of the protection are authenticated too.
        let associated = self.numbers.without("protected").canonical();
        let (data, tag) = protection
            .encrypted
            .split_at_checked(protection.encrypted.len().saturating_sub(TAG))
            .ok_or(Error::Passphrase("wrong"))?;
        let tag: [u8; TAG] = tag.try_into().map_err(|_| Error::SecretKey("its protection is cut off".to_owned()))?;
        let mut plain = data.to_vec();
        cipher
            .decrypt_in_place_detached(&protection.nonce.into(), &associated, &mut plain, &tag.into())
            .map_err(|_| Error::Passphrase("wrong"))?;
        let plain = Expression::parse(&plain);
        let numbers = plain.as_ref().and_then(Expression::list).and_then(|list| list.first());
        numbers.cloned().ok_or_else(|| Error::SecretKey("its decrypted part is damaged".to_owned()))
    }
}

/// `(protected openpgp-s2k3-ocb-aes ((sha1 SALT COUNT) NONCE) ENCRYPTED)`.
struct Protection<'a> {
    salt: [u8; 8],
    count: usize,
    nonce: [u8; 12],
    encrypted: &'a [u8],
}

impl<'a> Protection<'a> {
    fn read(list: &'a [Expression]) -> Option<Self> {
        let [_, mode, parameters, encrypted] = list else { return None };
        let [derivation, nonce] = parameters.list()? else { return None };
        let [hash, salt, count] = derivation.list()? else { return None };
        if mode.atom()? != b"openpgp-s2k3-ocb-aes" || hash.atom()? != b"sha1" {
            return None;
        }
        let count: usize = std::str::from_utf8(count.atom()?).ok()?.parse().ok()?;
        // A number below 256 is in the encoding of OpenPGP (RFC 9580, section 3.7.1.3).
        let count = if count < 256 { (16 + (count & 15)) << ((count >> 4) + 6) } else { count };
        let (salt, nonce) = (salt.atom()?.try_into().ok()?, nonce.atom()?.try_into().ok()?);
        (count <= S2K_COUNT_LIMIT).then_some(Self { salt, count, nonce, encrypted: encrypted.atom()? })
    }
}

/// Derives a key of 16 bytes: iterated and salted (RFC 9580, section 3.7.1.3) with SHA-1.
fn derive_key(passphrase: &[u8], salt: [u8; 8], count: usize) -> [u8; 16] {
    let round = [&salt[..], passphrase].concat();
    let mut left = count.max(round.len());
    let mut hasher = Sha1::new();
    while left > 0 {
        let part = &round[..left.min(round.len())];
        hasher.update(part);
        left -= part.len();
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize()[..16]);
    key
}

/// Returns the value of `Key` in the extended format. Lines that start with a space continue it. The break and the space
/// are not part of it, and may be inside a word.
fn extended(file: &[u8]) -> Option<Vec<u8>> {
    let mut value: Option<Vec<u8>> = None;
    for line in file.split(|&byte| byte == b'\n') {
        match (&mut value, line) {
            (Some(value), [b' ' | b'\t', rest @ ..]) => value.extend_from_slice(rest),
            (Some(_), _) => break,
            (None, line) => value = line.strip_prefix(b"Key:").map(<[u8]>::to_vec),
        }
    }
    value
}

/// Writes a number of OpenPGP: its length in bits, and its bytes without zeros before them.
fn write_number(bytes: &mut Vec<u8>, number: &[u8]) {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let number = &number[start..];
    let zeros = number.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = u16::try_from(number.len() * 8 - zeros).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&bits.to_be_bytes());
    bytes.extend_from_slice(number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_continued_inside_words() {
        let file = b"Created: 1\nKey: (priv\n ate-key (rsa (n\n  #0\n 0AB#)))\nOther: x\n";
        let key = PrivateKey::parse(file).unwrap();
        assert_eq!(key.public_number(), Some(&[0, 0xab][..]));
        assert!(!key.is_protected);
    }

    #[test]
    fn numbers_have_their_length_in_bits() {
        let mut bytes = Vec::new();
        for number in [&[0, 1][..], &[0x80, 0], &[0]] {
            write_number(&mut bytes, number);
        }
        assert_eq!(bytes, [0, 1, 1, 0, 16, 0x80, 0, 0, 0]);
    }
}
