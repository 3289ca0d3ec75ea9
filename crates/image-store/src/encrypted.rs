//! Decrypting layers.
//!
//! The cache has the ciphertext under the blob's digest, as the manifest says. The plain bytes only flow into the index
//! and the contents of the layer, once the HMAC of the whole ciphertext is right.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::sync::Arc;

use vmroot_encryption::LayerKey;

use crate::layer::Layer;
use crate::{Error, Result, Store};

impl Store {
    /// Returns the layers with the keys of those that are encrypted and missing, before any of them is fetched.
    ///
    /// # Errors
    /// [`Error::Encrypted`]: a key cannot be unwrapped with the keys of the store.
    pub(crate) fn with_keys(&self, layers: &[Layer], missing: &[usize]) -> Result<Vec<Layer>> {
        let mut layers = layers.to_vec();
        for &number in missing {
            let layer = &mut layers[number];
            if layer.is_encrypted() && layer.key.is_none() {
                layer.key = Some(self.key_of(layer)?);
            }
        }
        Ok(layers)
    }

    /// Returns the key of an encrypted layer.
    fn key_of(&self, layer: &Layer) -> Result<Arc<LayerKey>> {
        match &layer.key {
            Some(key) => Ok(Arc::clone(key)),
            None => {
                let key = self.options.decryption_keys.layer_key(&layer.descriptor.annotations);
                key.map(Arc::new).map_err(|error| encrypted(layer, error))
            }
        }
    }

    /// Checks the HMAC of an encrypted layer's file, and returns a reader of its plain bytes. The reader checks the HMAC
    /// again, because the file could change meanwhile.
    pub(crate) fn decrypted(&self, layer: &Layer, mut file: File) -> Result<Box<dyn Read + Send>> {
        let key = self.key_of(layer)?;
        let verified = key.verify(self.options.cancel.reader(&file));
        self.check_cancelled()?;
        verified.map_err(|error| encrypted(layer, error))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| encrypted(layer, vmroot_encryption::Error::Io(error)))?;
        Ok(Box::new(key.decrypt(file)))
    }
}

fn encrypted(layer: &Layer, error: vmroot_encryption::Error) -> Error {
    Error::Encrypted { digest: layer.descriptor.digest, source: Box::new(error) }
}
