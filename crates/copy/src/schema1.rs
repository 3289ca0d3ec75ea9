//! Copying an image in Docker's schema 1, as it is or converted.

use std::io::BufRead as _;

use vmroot_compress::{Decoder, Error as CompressError};
use vmroot_model::{
    Algorithm, Converted, Descriptor, Digest, EncryptionChange, Hasher, LayerCompression, ManifestFormat, MediaType,
    Schema1, WrittenLayer,
};
use vmroot_transport::{BlobRole, ManifestPlace, NewBlob};

use crate::blobs::Task;
use crate::copier::{Copied, Job};
use crate::image::{is_conversion, is_refusal, written};
use crate::{Error, Result, plan};

impl Job<'_> {
    /// Copies an image, in the first format that the destination takes.
    pub(crate) fn copy_schema1(&self, image: &Schema1) -> Result<Copied> {
        let is_fixed = self.is_fixed(image.digest(), ManifestPlace::Top);
        if is_fixed && self.options().encryption.is_some() {
            let (from, to) = (self.source.name(), self.destination.name());
            return Err(Error::MustNotChange { from, to, reason: "its layers would be encrypted".to_owned() });
        }
        let is_exact = is_fixed || self.options().format.is_some();
        let accepts = self.destination.accepts();
        let wanted = match self.options().format {
            _ if is_fixed => vec![ManifestFormat::Schema1],
            Some(format) => vec![format],
            None if plan::needs_oci(self.options()) => vec![ManifestFormat::Oci],
            None => vec![ManifestFormat::Schema1, ManifestFormat::Schema2, ManifestFormat::Oci],
        };
        let mut first = None;
        for format in wanted {
            let media_type = if format == ManifestFormat::Schema1 { image.media_type() } else { format.media_type() };
            let has_no_zstd = !is_fixed && format != ManifestFormat::Oci && plan::needs_oci(self.options());
            let is_taken = match is_exact {
                true => self.destination.can_hold(&media_type),
                false => accepts.accepts(&media_type),
            };
            if has_no_zstd || !is_taken {
                continue;
            }
            match self.copy_schema1_as(image, format) {
                Err(error) if is_refusal(&error) => {
                    self.copier.progress.message(&format!("the destination refuses {format}; trying another format"));
                    first.get_or_insert(error);
                }
                Err(error) if first.is_some() && is_conversion(&error) => {}
                copied => return copied,
            }
        }
        Err(first.unwrap_or_else(|| {
            let (why, remedy) = match plan::needs_oci(self.options()) {
                true => {
                    let (why, remedy) = plan::needs_oci_reason(self.options());
                    (why, Some(remedy))
                }
                false => ("", None),
            };
            self.refused(&image.media_type(), format!("it takes no form of the image{why}"), remedy)
        }))
    }

    fn copy_schema1_as(&self, image: &Schema1, format: ManifestFormat) -> Result<Copied> {
        let is_fixed = self.is_fixed(image.digest(), ManifestPlace::Top);
        let tasks = self.schema1_tasks(image, format, is_fixed)?;
        let copied = self.copy_blobs(&tasks)?;
        let layers: Vec<WrittenLayer> = tasks.iter().zip(&copied).map(|(task, copied)| written(task, copied)).collect();
        let name = self.destination.repository().filter(|_| !is_fixed);
        let converted: Converted = match format {
            ManifestFormat::Schema1 => image.with_layers(&layers, name),
            format => image.convert(format, &layers),
        }
        .map_err(|error| self.document_error(error))?;
        converted.losses.iter().for_each(|loss| self.tally.lose(loss.to_string()));
        for extra in &converted.extra_blobs {
            self.put_bytes(&extra.descriptor, BlobRole::Layer, &extra.bytes)?;
        }
        if let Some(config) = &converted.config {
            self.put_bytes(&Descriptor::of(MediaType::OCI_CONFIG, config), BlobRole::Config, config)?;
        }
        self.finish_manifest(&converted, image.digest(), ManifestPlace::Top)
    }

    /// Returns the layers to copy. Newer formats need their diff ids, so the layers are read for these first.
    fn schema1_tasks(&self, image: &Schema1, format: ManifestFormat, is_fixed: bool) -> Result<Vec<Task>> {
        let accepts = self.destination.accepts();
        let mut tasks: Vec<Task> = Vec::new();
        for layer in image.layers_in(format) {
            if let Some(same) = tasks.iter().find(|task| task.blob.digest == *layer.digest()) {
                tasks.push(same.clone());
                continue;
            }
            let size = self.source.blob_size(layer.digest()).map_err(|error| self.source_error(error))?;
            let blob = Descriptor::new(MediaType::DOCKER_LAYER_GZIP, *layer.digest(), size);
            let diff_id = match format {
                ManifestFormat::Schema1 => None,
                _ if self.options().dry_run => Some(blob.digest),
                _ => Some(self.diff_id(&blob)?),
            };
            let own = Some(LayerCompression::Gzip);
            let change = plan::change(&blob, own, format, &accepts, self.options(), is_fixed);
            tasks.push(Task { blob, role: BlobRole::Layer, change, encryption: None, diff_id });
        }
        let selected = self.layers_to_encrypt(tasks.len(), image.digest())?;
        for (task, is_selected) in tasks.iter_mut().zip(selected) {
            task.encryption = is_selected.then_some(EncryptionChange::Encrypted);
            task.change = task.change.map(|target| plan::encryptable(target, task.encryption));
        }
        Ok(tasks)
    }

    /// Reads a layer, and returns the digest of its decompressed bytes.
    fn diff_id(&self, blob: &Descriptor) -> Result<Digest> {
        let failed = |error: CompressError| self.compress_error(blob, error);
        let body = self.source.blob(blob, 0).map_err(|error| self.source_error(error))?;
        let reader = NewBlob::known(blob, BlobRole::Layer, body.reader);
        let mut decoder = Decoder::new(reader, &self.options().limits).map_err(failed)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        loop {
            self.options().cancel.check()?;
            let piece = decoder.fill_buf().map_err(|error| failed(error.into()))?;
            if piece.is_empty() {
                return Ok(hasher.finish());
            }
            hasher.update(piece);
            let length = piece.len();
            decoder.consume(length);
        }
    }
}
