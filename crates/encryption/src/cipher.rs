//! The cipher of layers: AES-256 in counter mode, and HMAC-SHA256 of the ciphertext with the same key.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Read};

use aes::Aes256;
use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use ctr::Ctr128BE;
use hmac::{Hmac, Mac as _};
use sha2_of_keys::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::encoding::random;
use crate::options::{self, HMAC_LENGTH, KEY_LENGTH, NONCE_LENGTH};
use crate::{Error, Recipients, Result, annotations};

/// The bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// The unwrapped key of a layer, with its nonce and the HMAC of the ciphertext.
pub struct LayerKey {
    pub(crate) key: Zeroizing<[u8; KEY_LENGTH]>,
    pub(crate) nonce: [u8; NONCE_LENGTH],
    pub(crate) hmac: [u8; HMAC_LENGTH],
}

impl LayerKey {
    /// Reads a ciphertext to its end and checks its HMAC. Returns its length in bytes.
    ///
    /// # Errors
    /// - [`Error::WrongHmac`]: the ciphertext has another HMAC.
    /// - [`Error::Io`]: it cannot be read.
    pub fn verify(&self, mut ciphertext: impl Read) -> Result<u64> {
        let mut mac = new_mac(&self.key);
        let mut buffer = vec![0; BUFFER];
        let mut length = 0;
        loop {
            match ciphertext.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    mac.update(&buffer[..count]);
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
        mac.verify_slice(&self.hmac).map_err(|_| Error::WrongHmac)?;
        Ok(length)
    }

    /// Returns a reader of the plain bytes of a ciphertext.
    ///
    /// The HMAC is checked at the end, so the bytes before the end can be forged. A caller that uses them earlier calls
    /// [`Self::verify`] first.
    pub fn decrypt<R: Read>(&self, ciphertext: R) -> Decrypting<R> {
        let state = Stream::new(&self.key, &self.nonce);
        Decrypting { reader: ciphertext, state: Some(state), expected: self.hmac }
    }
}

impl fmt::Debug for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerKey").finish_non_exhaustive()
    }
}

/// The state of encrypting or decrypting.
struct Stream {
    cipher: Ctr128BE<Aes256>,
    mac: Hmac<Sha256>,
}

impl Stream {
    fn new(key: &[u8; KEY_LENGTH], nonce: &[u8; NONCE_LENGTH]) -> Self {
        Self { cipher: Ctr128BE::new(key.into(), nonce.into()), mac: new_mac(key) }
    }
}

fn new_mac(key: &[u8; KEY_LENGTH]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// A reader of the plain bytes of an encrypted layer. Created by [`LayerKey::decrypt`].
///
/// A wrong HMAC is an error of kind `InvalidData` at the end, with [`Error::WrongHmac`] in it.
pub struct Decrypting<R> {
    reader: R,
    /// `None` after the end.
    state: Option<Stream>,
    expected: [u8; HMAC_LENGTH],
}

impl<R> Decrypting<R> {
    /// Returns the reader of the ciphertext.
    pub fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(state) = self.state.as_mut().filter(|_| !buffer.is_empty()) else { return Ok(0) };
        let count = self.reader.read(buffer)?;
        if count == 0 {
            let verified = state.mac.clone().verify_slice(&self.expected);
            // After a failure, each further read fails, too.
            verified.map_err(|_| Error::WrongHmac.into_io())?;
            self.state = None;
            return Ok(0);
        }
        let bytes = &mut buffer[..count];
        state.mac.update(bytes);
        state.cipher.apply_keystream(bytes);
        Ok(count)
    }
}

impl<R> fmt::Debug for Decrypting<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypting").finish_non_exhaustive()
    }
}

/// A reader that encrypts a layer with a new random key.
///
/// [`Self::finish`] returns the annotations of the layer once it was read to its end.
pub struct Encrypting<R> {
    reader: R,
    key: Zeroizing<[u8; KEY_LENGTH]>,
    nonce: [u8; NONCE_LENGTH],
    state: Stream,
    plain: Sha256,
    is_at_end: bool,
}

/// The result of [`Encrypting::finish`].
#[derive(Debug)]
#[non_exhaustive]
pub struct EncryptedLayer<R> {
    /// The annotations of the layer's descriptor: the wrapped keys and the public options.
    pub annotations: BTreeMap<String, String>,
    /// The reader of the plain bytes, which is at its end.
    pub reader: R,
}

impl<R: Read> Encrypting<R> {
    /// Returns a reader of the ciphertext of a layer, which is usually compressed.
    pub fn new(plain: R) -> Self {
        let (key, nonce) = (Zeroizing::new(random()), random());
        let state = Stream::new(&key, &nonce);
        Self { reader: plain, key, nonce, state, plain: Sha256::new(), is_at_end: false }
    }

    /// Wraps the key of the layer for the recipients.
    ///
    /// # Errors
    /// - [`Error::Incomplete`]: the layer was not read to its end.
    /// - [`Error::NoRecipients`]
    /// - [`Error::Wrap`]: the key cannot be wrapped for a recipient.
    pub fn finish(self, recipients: &Recipients) -> Result<EncryptedLayer<R>> {
        if !self.is_at_end {
            return Err(Error::Incomplete);
        }
        let digest = self.plain.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let private = options::write_private(&self.key, &self.nonce, &digest);
        let public = options::write_public(&self.state.mac.finalize().into_bytes().into());
        let annotations = annotations::write(public, recipients.wrap(&private)?);
        Ok(EncryptedLayer { annotations, reader: self.reader })
    }
}

impl<R: Read> Read for Encrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let bytes = &mut buffer[..count];
        self.is_at_end |= bytes.is_empty() && !buffer.is_empty();
        let bytes = &mut buffer[..count];
        self.plain.update(&*bytes);
        self.state.cipher.apply_keystream(bytes);
        self.state.mac.update(bytes);
        Ok(count)
    }
}

impl<R> fmt::Debug for Encrypting<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(key: [u8; 32], nonce: [u8; 16], plain: &[u8]) -> (LayerKey, Vec<u8>) {
        let mut bytes = plain.to_vec();
        let mut stream = Stream::new(&key, &nonce);
        stream.cipher.apply_keystream(&mut bytes);
        stream.mac.update(&bytes);
        let hmac = stream.mac.finalize().into_bytes().into();
        (LayerKey { key: Zeroizing::new(key), nonce, hmac }, bytes)
    }

    fn decrypted(key: &LayerKey, ciphertext: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        key.decrypt(ciphertext).read_to_end(&mut plain).map(|_| plain)
    }

    /// The vector F.5.5 of NIST SP 800-38A.
    #[test]
    fn the_cipher_is_that_of_nist() {
        let key = *b"\x60\x3d\xeb\x10\x15\xca\x71\xbe\x2b\x73\xae\xf0\x85\x7d\x77\x81\x1f\x35\x2c\x07\x3b\x61\x08\xd7\x2d\x98\x10\xa3\x09\x14\xdf\xf4";
        let nonce: [u8; 16] = std::array::from_fn(|number| 0xf0 + number as u8);
        let plain = b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51";
        let cipher = b"\x60\x1e\xc3\x13\x77\x57\x89\xa5\xb7\xa7\xf5\x04\xbb\xf3\xd2\x28\xf4\x43\xe3\xca\x4d\x62\xb5\x9a\xca\x84\xe9\x90\xca\xca\xf5\xc5";
        let (key, bytes) = encrypted(key, nonce, plain);
        assert_eq!(bytes, cipher);
        assert_eq!(decrypted(&key, &bytes).unwrap(), plain);
    }

    #[test]
    fn the_counter_wraps_around() {
        let plain = vec![5; 100];
        let (key, bytes) = encrypted([3; 32], [0xff; 16], &plain);
        assert_eq!(decrypted(&key, &bytes).unwrap(), plain);
        let (_, from_zero) = encrypted([3; 32], [0; 16], &plain);
        assert_eq!(bytes[16..100], from_zero[..84]);
    }

    #[test]
    fn layers_of_all_lengths_come_back_in_pieces() {
        for length in [0, 1, 15, 16, 17, 4095, 70_000] {
            let plain: Vec<u8> = (0..length).map(|number: u32| number as u8).collect();
            let (key, bytes) = encrypted([1; 32], [2; 16], &plain);
            assert_eq!(key.verify(&bytes[..]).unwrap(), u64::from(length));
            let mut reader = key.decrypt(&bytes[..]);
            let mut back = Vec::new();
            let mut piece = [0; 7];
            loop {
                match reader.read(&mut piece).unwrap() {
                    0 => break,
                    count => back.extend_from_slice(&piece[..count]),
                }
            }
            assert_eq!(back, plain);
            assert_eq!(reader.read(&mut piece).unwrap(), 0);
        }
    }

    #[test]
    fn each_flipped_byte_and_each_cut_is_found() {
        let (key, bytes) = encrypted([1; 32], [2; 16], b"a layer of a few bytes");
        for number in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[number] ^= 1;
            for damaged in [&damaged[..], &bytes[..number]] {
                assert!(matches!(key.verify(damaged), Err(Error::WrongHmac)));
                let error = decrypted(&key, damaged).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert_eq!(error.to_string(), Error::WrongHmac.to_string());
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(key.verify(&longer[..]), Err(Error::WrongHmac)));
    }

    #[test]
    fn a_wrong_hmac_stays_an_error() {
        let (mut key, bytes) = encrypted([1; 32], [2; 16], b"");
        key.hmac[0] ^= 1;
        let mut reader = key.decrypt(&bytes[..]);
        for _ in 0..3 {
            assert!(reader.read(&mut [0; 8]).is_err());
        }
    }
}
