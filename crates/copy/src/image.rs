//! Copying one image or artifact.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use vmroot_compress::{Compression, Target};
use vmroot_model::{
    CONFIG_LIMIT, Converted, Descriptor, Digest, EncryptionChange, ImageConfig, LayerCompression, Manifest,
    ManifestFormat, MediaType, WrittenLayer, manifest_digest,
};
use vmroot_transport::{BlobRole, ManifestPlace, NewBlob, Reuse};

use crate::blobs::Task;
use crate::copier::{Copied, Job};
use crate::ledger::{Key, lock};
use crate::{Error, Result, Selection, plan};

/// The remedy if the destination's transport cannot hold the image.
const OTHER_TRANSPORT: &str = "copy to another transport";

impl Job<'_> {
    /// Returns whether a manifest must stay as it is.
    pub(crate) fn is_fixed(&self, digest: &Digest, place: ManifestPlace) -> bool {
        self.options().preserve_digests
            || self.is_signed(digest)
            || place == ManifestPlace::Referrer
            || self.destination.accepts().digest.is_some()
    }

    /// Notes that an image which is no list is for another platform than the chosen one. Its name selects it for any.
    pub(crate) fn note_platform(&self, manifest: &Manifest) -> Result<()> {
        let Selection::Platform(wanted) = &self.options().selection else { return Ok(()) };
        if !manifest.is_image() {
            return Ok(());
        }
        // A config that cannot be parsed is an error of the copy, if it matters there.
        let Ok(config) = ImageConfig::parse(self.read_config(manifest)?.to_vec()) else { return Ok(()) };
        let (own, wanted) = (config.platform().normalised(), wanted.normalised());
        if !own.architecture.is_empty() && (&own.os, &own.architecture) != (&wanted.os, &wanted.architecture) {
            self.tally.lose(format!("{} is for {own}, not for {wanted}", self.source.name()));
        }
        Ok(())
    }

    /// Copies the blobs of a manifest, and the manifest, in the first format that the destination takes.
    pub(crate) fn copy_image(&self, manifest: &Manifest, place: ManifestPlace) -> Result<Copied> {
        self.prepare(manifest.raw(), manifest.digest(), place)?;
        let copied = self.copy_prepared(manifest, place)?;
        self.put_signatures(manifest.digest(), &copied, place)?;
        Ok(copied)
    }

    fn copy_prepared(&self, manifest: &Manifest, place: ManifestPlace) -> Result<Copied> {
        if place != ManifestPlace::Top && self.is_unchanged_present(manifest)? {
            return Ok(Copied { descriptor: manifest.descriptor(), unchanged: vec![*manifest.digest()] });
        }
        // An image for a name with a digest stays as it is, so its digest is known before the blobs are copied.
        self.check_digest(manifest.raw(), &manifest.descriptor().media_type, place)
            .map_err(|error| self.destination_error(error))?;
        let config = match manifest.is_image() {
            true => Some(self.read_config(manifest)?),
            false => None,
        };
        self.note_compression(manifest, place);
        let mut first = None;
        for format in plan::formats(manifest, self.destination, self.options(), self.is_fixed(manifest.digest(), place))
        {
            match self.copy_image_as(manifest, config.as_ref().map(|it| it.as_slice()), format, place) {
                Err(error) if is_refusal(&error) => {
                    self.copier.progress.message(&format!("the destination refuses {format}; trying another format"));
                    first.get_or_insert(error);
                }
                // The reason for the conversion says more than its failure.
                Err(error) if first.is_some() && is_conversion(&error) => {}
                copied => return copied,
            }
        }
        Err(first.unwrap_or_else(|| self.no_format(manifest, place)))
    }

    /// Returns whether the destination has a manifest, and the options ask for no change of it.
    fn is_unchanged_present(&self, manifest: &Manifest) -> Result<bool> {
        if self.options().change_images() {
            return Ok(false);
        }
        self.destination.has_manifest(manifest.digest()).map_err(|error| self.destination_error(error))
    }

    /// Says why the compression that the options ask for is not used.
    fn note_compression(&self, manifest: &Manifest, place: ManifestPlace) {
        if self.options().compression.is_none() {
            return;
        }
        let is_used = plan::requested(&self.destination.accepts(), self.options()).is_some();
        if !is_used {
            self.tally
                .lose(format!("{} does not compress layers, so the compression is not used", self.destination.name()));
        } else if self.is_fixed(manifest.digest(), place) && place != ManifestPlace::Referrer {
            self.tally.lose("digests are preserved, so the compression is not used".to_owned());
        }
    }

    /// Says that zstd layers become gzip layers although the options do not ask for it.
    fn note_gzip(&self, tasks: &[Task], format: ManifestFormat) {
        let becomes_gzip = |task: &Task| {
            matches!(task.change, Some(Target::Gzip { .. }))
                && task.blob.media_type.layer_compression() == Some(LayerCompression::Zstd)
        };
        if self.options().compression.is_none() && tasks.iter().any(becomes_gzip) {
            self.tally.lose(format!("zstd layers become gzip layers: {format} cannot have zstd layers"));
        }
    }

    /// Returns the error for a manifest that the destination does not take.
    pub(crate) fn refused(&self, media_type: &MediaType, reason: String, remedy: Option<&'static str>) -> Error {
        let (place, media_type) = (self.destination.name(), media_type.to_string());
        self.cancelled().unwrap_or(Error::Refused { place, media_type, reason, remedy })
    }

    fn no_format(&self, manifest: &Manifest, place: ManifestPlace) -> Error {
        let types = self.destination.accepts().documents;
        let types: Vec<&str> = types.iter().map(MediaType::as_str).collect();
        let (why, remedy) = match self.options().format {
            _ if !manifest.is_image() => (", and only OCI manifests describe artifacts", OTHER_TRANSPORT),
            _ if self.is_fixed(manifest.digest(), place) => (", and the image would have to change", OTHER_TRANSPORT),
            _ if plan::needs_oci(self.options()) => plan::needs_oci_reason(self.options()),
            Some(_) => ("", "leave out --format, or copy to another transport"),
            None => ("", OTHER_TRANSPORT),
        };
        let reason = format!("it holds {} only{why}", types.join(", "));
        self.refused(manifest.media_type(), reason, Some(remedy))
    }

    pub(crate) fn read_config(&self, manifest: &Manifest) -> Result<Arc<Vec<u8>>> {
        let read = || self.source.read_blob(manifest.config(), CONFIG_LIMIT).map_err(|error| self.source_error(error));
        self.copier.ledger.config(&manifest.config().digest, read)
    }

    fn copy_image_as(
        &self,
        manifest: &Manifest,
        config: Option<&[u8]>,
        format: ManifestFormat,
        place: ManifestPlace,
    ) -> Result<Copied> {
        let tasks = self.layer_tasks(manifest, config, format, place)?;
        self.check_unchanged(manifest, &tasks, format, place)?;
        self.note_gzip(&tasks, format);
        let copied = self.copy_blobs(&tasks)?;
        let layers: Vec<WrittenLayer> = tasks.iter().zip(&copied).map(|(task, copied)| written(task, copied)).collect();
        let config_bytes = config.unwrap_or_default();
        let converted = match format {
            ManifestFormat::Schema1 => manifest.to_schema1(config_bytes, &layers, self.destination.repository()),
            format => manifest.convert(format, config_bytes, &layers),
        };
        let converted: Converted = converted.map_err(|error| self.document_error(error))?;
        converted.losses.iter().for_each(|loss| self.tally.lose(loss.to_string()));
        for extra in &converted.extra_blobs {
            self.put_bytes(&extra.descriptor, BlobRole::Layer, &extra.bytes)?;
        }
        match &converted.config {
            Some(new) => self.put_bytes(&Descriptor::of(MediaType::OCI_CONFIG, new), BlobRole::Config, new)?,
            None => self.copy_config(manifest, config)?,
        }
        self.finish_manifest(&converted, manifest.digest(), place)
    }

    /// Writes the manifest of an image whose digest in the source is `old`.
    pub(crate) fn finish_manifest(&self, converted: &Converted, old: &Digest, place: ManifestPlace) -> Result<Copied> {
        let Converted { manifest: bytes, media_type, .. } = converted;
        self.put_manifest(bytes, media_type, place).map_err(|error| self.destination_error(error))?;
        let digest = manifest_digest(bytes).map_err(|error| self.document_error(error))?;
        let descriptor = Descriptor::new(media_type.clone(), digest, bytes.len() as u64);
        Ok(Copied { unchanged: (digest == *old).then_some(digest).into_iter().collect(), descriptor })
    }

    /// Fails if an image would change that must not.
    fn check_unchanged(
        &self,
        manifest: &Manifest,
        tasks: &[Task],
        format: ManifestFormat,
        place: ManifestPlace,
    ) -> Result<()> {
        let changed = tasks.iter().find_map(|task| Some((task.blob.digest, plan::compression(task.change?))));
        let reason = match changed {
            _ if !self.is_fixed(manifest.digest(), place) => return Ok(()),
            _ if format != manifest.format() => {
                format!("its manifest would become {format}")
            }
            Some((digest, compression)) => format!("layer {digest} would be {compression}"),
            None => match tasks.iter().find_map(|task| Some((task.blob.digest, task.encryption?))) {
                Some((digest, EncryptionChange::Encrypted)) => format!("layer {digest} would be encrypted"),
                Some((digest, EncryptionChange::Decrypted)) => format!("layer {digest} would be decrypted"),
                None => return Ok(()),
            },
        };
        let reason = if self.is_signed(manifest.digest()) { invalidates(&reason) } else { reason };
        Err(Error::MustNotChange { from: self.source.name(), to: self.destination.name(), reason })
    }

    fn layer_tasks(
        &self,
        manifest: &Manifest,
        config: Option<&[u8]>,
        format: ManifestFormat,
        place: ManifestPlace,
    ) -> Result<Vec<Task>> {
        let accepts = self.destination.accepts();
        let is_fixed = self.is_fixed(manifest.digest(), place);
        // A config that cannot be parsed has no diff ids to check.
        let config = config.and_then(|bytes| ImageConfig::parse(bytes.to_vec()).ok());
        let diff_ids = config.as_ref().filter(|it| it.check_layers(manifest).is_ok()).map(ImageConfig::diff_ids);
        let encryption = self.encryption_changes(manifest, place)?;
        let task = |(number, blob): (usize, &Descriptor)| {
            let encryption = encryption[number];
            let own = self.compression_of(blob, encryption)?;
            let change = match place {
                // A referrer is about certain bytes, so it stays as it is.
                ManifestPlace::Referrer => None,
                _ => plan::change(blob, own, format, &accepts, self.options(), is_fixed),
            };
            let change = change.map(|target| plan::encryptable(target, encryption));
            let diff_id = diff_ids.and_then(|diff_ids| diff_ids.get(number)).copied();
            Ok(Task { blob: blob.clone(), role: BlobRole::Layer, change, encryption, diff_id })
        };
        manifest.layers().iter().enumerate().map(task).collect()
    }

    /// Returns the compression of a layer: by its bytes if the source reads these at little cost, else by its media type.
    fn compression_of(
        &self,
        blob: &Descriptor,
        encryption: Option<EncryptionChange>,
    ) -> Result<Option<LayerCompression>> {
        if encryption == Some(EncryptionChange::Decrypted) {
            // The first bytes are those of the ciphertext.
            return Ok(blob.media_type.to_decrypted_layer().and_then(|it| it.layer_compression()));
        }
        let Some(stated) = blob.media_type.layer_compression() else { return Ok(None) };
        Ok(match self.source.sniff(blob).map_err(|error| self.source_error(error))? {
            Some(Compression::None) => Some(LayerCompression::None),
            Some(Compression::Gzip) => Some(LayerCompression::Gzip),
            Some(Compression::Zstd) => Some(LayerCompression::Zstd),
            _ => Some(stated),
        })
    }

    /// Copies an unchanged config. That of an artifact can be large, so it is copied like a layer.
    fn copy_config(&self, manifest: &Manifest, config: Option<&[u8]>) -> Result<()> {
        let descriptor = manifest.config();
        match config {
            Some(bytes) => self.put_bytes(descriptor, BlobRole::Config, bytes),
            None => {
                let task = Task {
                    blob: descriptor.clone(),
                    role: BlobRole::Config,
                    change: None,
                    encryption: None,
                    diff_id: None,
                };
                self.copy_blobs(&[task]).map(drop)
            }
        }
    }

    /// Writes a short blob from memory, unless the destination has it.
    pub(crate) fn put_bytes(&self, blob: &Descriptor, role: BlobRole, bytes: &[u8]) -> Result<()> {
        if self.options().dry_run {
            return Ok(());
        }
        self.options().cancel.check()?;
        // Images share configs. Two uploads of one blob at once confuse some registries, so the others wait for the first.
        let key = Key { scope: self.destination.blob_scope(), digest: blob.digest, target: None, encryption: None };
        let slot = self.copier.ledger.slot(key);
        let mut copied = lock(&slot);
        if copied.is_some() {
            return Ok(());
        }
        let origins = self.origins(&blob.digest);
        let write = || {
            if self.destination.reuse_blob(blob, &origins)? != Reuse::Absent {
                return Ok(());
            }
            self.destination.put_blob(&mut NewBlob::known(blob, role, Cursor::new(bytes)))
        };
        self.retry(|| write().map_err(|error| self.destination_error(error)))?;
        *copied = Some(blob.clone());
        self.copier.ledger.add_place(blob.digest, self.destination.repository());
        Ok(())
    }
}

/// Returns the reason for which a change of a signed document is refused.
pub(crate) fn invalidates(reason: &str) -> String {
    format!("{reason}, which would invalidate its signatures")
}

/// Returns a layer as it is in the destination.
pub(crate) fn written(task: &Task, copied: &Descriptor) -> WrittenLayer {
    let is_changed = task.change.is_some() || task.encryption.is_some();
    WrittenLayer {
        compression: task.change.map(plan::compression),
        annotations: if is_changed { copied.annotations.clone() } else { BTreeMap::new() },
        diff_id: task.diff_id,
        encryption: task.encryption,
        ..WrittenLayer::unchanged(copied)
    }
}

pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused { .. })
}

pub(crate) fn is_conversion(error: &Error) -> bool {
    matches!(error, Error::Document { source, .. } if matches!(**source, vmroot_model::Error::Conversion { .. }))
}
