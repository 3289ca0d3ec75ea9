//! The API of a build without the feature `ciphers`.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::marker::PhantomData;

use crate::annotations::schemes;
use crate::{Error, Result};

/// Keys that decrypt layers. This build can have none.
#[derive(Debug, Default)]
pub struct DecryptionKeys {
    _private: (),
}

impl DecryptionKeys {
    /// Returns no keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether there are no keys, as always.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Fails, because this build cannot decrypt.
    ///
    /// # Errors
    /// [`Error::UnsupportedScheme`]
    pub fn layer_key(&self, annotations: &BTreeMap<String, String>) -> Result<LayerKey> {
        Err(Error::UnsupportedScheme { schemes: schemes(annotations) })
    }
}

/// The key of a layer, which this build cannot have.
#[derive(Debug)]
pub enum LayerKey {}

impl LayerKey {
    /// Checks the HMAC of a ciphertext.
    ///
    /// # Errors
    /// None, because there is no key.
    pub fn verify(&self, _ciphertext: impl Read) -> Result<u64> {
        match *self {}
    }

    /// Returns a reader of the plain bytes of a ciphertext.
    pub fn decrypt<R: Read>(&self, _ciphertext: R) -> Decrypting<R> {
        match *self {}
    }
}

/// A reader of plain bytes, which this build cannot have.
#[derive(Debug)]
pub struct Decrypting<R> {
    never: LayerKey,
    _reader: PhantomData<R>,
}

impl<R> Read for Decrypting<R> {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.never {}
    }
}

/// The recipients of encrypted layers. This build can have none.
#[derive(Debug, Clone, Default)]
pub struct Recipients {
    _private: (),
}

impl Recipients {
    /// Returns no recipients.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether there are no recipients, as always.
    pub fn is_empty(&self) -> bool {
        true
    }
}

/// A reader that fails, because this build cannot encrypt.
#[derive(Debug)]
pub struct Encrypting<R> {
    _reader: R,
}

/// The result of [`Encrypting::finish`].
#[derive(Debug)]
#[non_exhaustive]
pub struct EncryptedLayer<R> {
    /// The annotations of the layer's descriptor.
    pub annotations: BTreeMap<String, String>,
    /// The reader of the plain bytes.
    pub reader: R,
}

impl<R: Read> Encrypting<R> {
    /// Returns a reader that fails.
    pub fn new(plain: R) -> Self {
        Self { _reader: plain }
    }

    /// Fails, because there are no recipients.
    ///
    /// # Errors
    /// [`Error::NoRecipients`]
    pub fn finish(self, _recipients: &Recipients) -> Result<EncryptedLayer<R>> {
        Err(Error::NoRecipients)
    }
}

impl<R: Read> Read for Encrypting<R> {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(Error::NoRecipients.into_io())
    }
}
