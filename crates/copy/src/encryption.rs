//! Encrypting and decrypting layers on their way.

use std::io::Read;
use std::sync::{Arc, Mutex};

use vmroot_compress::{RecompressOptions, Target, recompress};
use vmroot_encryption::{Encrypting, LayerKey};
use vmroot_model::{Algorithm, Descriptor, Digest, EncryptionChange, Hasher, Manifest, MediaType};
use vmroot_transport::{ManifestPlace, NewBlob};

use crate::blobs::Task;
use crate::copier::Job;
use crate::ledger::lock;
use crate::{Error, Result};

impl Job<'_> {
    /// Returns the change of each layer's encryption. As in skopeo, an encrypted layer is not encrypted again.
    pub(crate) fn encryption_changes(
        &self,
        manifest: &Manifest,
        place: ManifestPlace,
    ) -> Result<Vec<Option<EncryptionChange>>> {
        let layers = manifest.layers();
        // A referrer is about certain bytes, so it stays as it is.
        if place == ManifestPlace::Referrer {
            return Ok(vec![None; layers.len()]);
        }
        let selected = self.layers_to_encrypt(layers.len(), manifest.digest())?;
        Ok(layers.iter().zip(selected).map(|(layer, is_selected)| self.encryption_change(layer, is_selected)).collect())
    }

    fn encryption_change(&self, layer: &Descriptor, is_selected: bool) -> Option<EncryptionChange> {
        if layer.media_type.is_encrypted_layer() {
            return self.options().decryption_keys.as_ref().map(|_| EncryptionChange::Decrypted);
        }
        if is_selected && layer.media_type.to_oci_layer().is_none() {
            // Readers would not know how to decrypt a part of an artifact.
            let (digest, media_type) = (layer.digest, &layer.media_type);
            self.tally.lose(format!(
                "{digest} is not encrypted: only layers of images are, and it has the type {media_type}"
            ));
            return None;
        }
        is_selected.then_some(EncryptionChange::Encrypted)
    }

    /// Returns whether each layer of an image shall be encrypted.
    pub(crate) fn layers_to_encrypt(&self, count: usize, image: &Digest) -> Result<Vec<bool>> {
        let Some(encryption) = &self.options().encryption else { return Ok(vec![false; count]) };
        if encryption.layers.is_empty() {
            return Ok(vec![true; count]);
        }
        let mut selected = vec![false; count];
        for &position in &encryption.layers {
            let length = i64::try_from(count).unwrap_or(i64::MAX);
            let from_start = if position < 0 { length.saturating_add(position) } else { position };
            let found = usize::try_from(from_start).ok().and_then(|number| selected.get_mut(number));
            let missing = || Error::NoLayer { place: self.source.name(), image: *image, position, count };
            *found.ok_or_else(missing)? = true;
        }
        Ok(selected)
    }

    /// Copies a layer that is encrypted or decrypted, and perhaps compressed anew.
    ///
    /// The bytes of a decrypted layer can be forged until its end, where its HMAC is checked. The destination then gets
    /// an error, and the blob does not exist there.
    pub(crate) fn copy_encrypted(&self, task: &Task) -> Result<Descriptor> {
        let key = match task.encryption {
            Some(EncryptionChange::Decrypted) => Some(self.layer_key(task)?),
            _ => None,
        };
        self.transfer(task, |reader| {
            let verified = NewBlob::known(&task.blob, task.role, reader);
            let plain: Box<dyn Read + Send> = match &key {
                Some(key) => Box::new(key.decrypt(verified)),
                None => Box::new(verified),
            };
            match task.change {
                None => self.put_layer(task, plain),
                Some(target) => self.put_recompressed(task, target, plain),
            }
        })
    }

    fn layer_key(&self, task: &Task) -> Result<LayerKey> {
        let keys = self.options().decryption_keys.clone().unwrap_or_default();
        keys.layer_key(&task.blob.annotations).map_err(|error| self.encryption_error(task, error))
    }

    fn put_recompressed(&self, task: &Task, target: Target, plain: Box<dyn Read + Send>) -> Result<Descriptor> {
        let hasher = Arc::new(Mutex::new(Hasher::new(Algorithm::Sha256)));
        let tap = Arc::clone(&hasher);
        let options = RecompressOptions { limits: self.options().limits, ..RecompressOptions::new(target) };
        let _recompression = self.copier.recompressions.acquire();
        let changed = recompress(plain, &options, move |bytes| lock(&tap).update(bytes));
        let mut changed = changed.map_err(|error| self.compress_error(&task.blob, error))?;
        let written = self.put_layer(task, &mut changed)?;
        let finished = changed.finish().map_err(|error| self.compress_error(&task.blob, error))?;
        self.check_diff_id(task, lock(&hasher).clone().finish())?;
        let mut annotations = finished.annotations;
        annotations.extend(written.annotations);
        Ok(Descriptor { annotations, ..written })
    }

    /// Writes a layer, encrypted if the task says so. Returns its descriptor with the annotations about the encryption.
    fn put_layer(&self, task: &Task, plain: impl Read + Send) -> Result<Descriptor> {
        match &self.options().encryption {
            Some(encryption) if task.encryption == Some(EncryptionChange::Encrypted) => {
                let mut encrypting = Encrypting::new(plain);
                let written = self.put_new(task, &mut encrypting)?;
                let finished = encrypting.finish(&encryption.recipients);
                let annotations = finished.map_err(|error| self.encryption_error(task, error))?.annotations;
                Ok(Descriptor { annotations, ..written })
            }
            _ => self.put_new(task, plain),
        }
    }

    fn put_new(&self, task: &Task, bytes: impl Read + Send) -> Result<Descriptor> {
        // The type of the upload says nothing about the layer. That in the manifest depends on the manifest's format.
        let mut new = NewBlob::unknown(MediaType::OCI_LAYER, task.role, bytes);
        self.destination.put_blob(&mut new).map_err(|error| self.blob_error(task, error))?;
        new.finished().ok_or_else(|| self.not_read(task))
    }

    fn encryption_error(&self, task: &Task, error: vmroot_encryption::Error) -> Error {
        Error::Encryption { place: self.source.name(), digest: task.blob.digest, source: Box::new(error) }
    }
}
