//! Commits: child images of images in the store, with one more step.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use vmroot_cache::{LockName, PUBLISHED_MODE};
use vmroot_compress::{Compression, RecompressOptions, Target, pipelined, recompress};
use vmroot_layer_index::{BuildOptions, BuiltLayer, build};
use vmroot_model::{
    Algorithm, ChildImage, Descriptor, Digest, Document, EMPTY_LAYER, Hasher, ImageConfig, MANIFEST_LIMIT, Manifest,
    MediaType, NewManifest, Reference,
};
use vmroot_output::TemporaryFile;

use crate::progress::WorkMeter;
use crate::record::COMMIT_OF;
use crate::{Error, Image, LayerRecord, Progress, Record, Result, Store, Work};

/// The bytes that are read and written at a time.
const READ_SIZE: usize = 256 << 10;

/// A new image: a child of one in the store.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The names of the new image. If there are none, it has only its id.
    pub references: Vec<Reference>,
    /// The step. Its diff id is set by the commit.
    pub step: ChildImage,
    /// The compression of the layer's blob. `None` keeps gzip and zstd as they are, and makes gzip of all others.
    pub compression: Option<Target>,
}

/// The layer of a commit.
pub struct NewLayer {
    /// The file or directory, for messages.
    pub name: String,
    /// A tar in any [`Compression`].
    pub reader: Box<dyn Read + Send>,
}

impl std::fmt::Debug for NewLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewLayer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A layer that is complete under temporary names.
pub(crate) struct WrittenLayer {
    blob: TemporaryFile,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
    pub(crate) built: BuiltLayer,
}

impl Store {
    /// Makes a child image of `parent`, with the layer on top, and records its names. The root is merged at once.
    ///
    /// A layer without entries adds only a line to the history, as no layer does. The manifest has the parent's format,
    /// except that a zstd layer needs an OCI manifest.
    ///
    /// # Errors
    /// - [`Error::NewLayer`] or [`Error::NewLayerEntry`] if the layer cannot be read, decoded or applied.
    /// - [`Error::Image`] if a change of the config is not possible, or the child exceeds a limit.
    /// - [`Error::Damaged`] if the parent is damaged and cannot be rebuilt.
    /// - [`Error::Cache`], [`Error::Index`] or [`Error::Root`] if files of the store cannot be read or written.
    /// - [`Error::Budget`] if the cache would be larger than [`StoreOptions::max_size`](crate::StoreOptions::max_size).
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn commit_image(
        &self,
        parent: &Image,
        layer: Option<NewLayer>,
        request: CommitRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<Image> {
        self.cache.check_writable()?;
        self.touch(parent.record());
        let layer = layer.map(|layer| self.write_layer(layer, request.compression, progress)).transpose()?;
        let layer = layer.filter(|layer| layer.built.diff_id().to_string() != EMPTY_LAYER);
        let step = ChildImage { diff_id: layer.as_ref().map(|layer| *layer.built.diff_id()), ..request.step };
        let of_parent = |source| Error::Image { image: parent.id().to_string(), source: Box::new(source) };
        let config = parent.config().new_child_image(&step).map_err(of_parent)?;
        let manifest = child_manifest(&self.manifest_of(parent)?, layer.as_ref(), &config);
        let record = child_record(parent, &manifest, &config, &step);
        // From here on no collection removes files of the image.
        let pin = self.in_use.pin(&record)?;
        let pin = self.within_budget(&record, pin, progress, || {
            if let Some(layer) = layer {
                self.publish_layer(layer, progress)?;
            }
            self.write_document(config.digest(), config.raw(), &**progress)?;
            self.write_document(&record.manifest.digest, &manifest.to_bytes(), &**progress)?;
            self.complete(&crate::image::layers(&record), progress).map_err(|error| error.of_image(parent.record()))
        })?;
        self.record_names(&record, &request.references, progress)?;
        Ok(Image::new(record.with_reference(request.references.first()), config, pin))
    }

    /// Reads the manifest of an image.
    fn manifest_of(&self, image: &Image) -> Result<Manifest> {
        let own = &image.record().manifest;
        let damaged = || Error::damaged(self.cache.layout().blob(&own.digest), own.digest).of_image(image.record());
        let bytes = self.read_document(&own.digest, MANIFEST_LIMIT).ok_or_else(damaged)?;
        let media_type = Some(own.media_type.as_str()).filter(|it| !it.is_empty());
        match Document::parse(bytes, media_type) {
            Ok(Document::Manifest(manifest)) => Ok(manifest),
            _ => Err(damaged()),
        }
    }

    /// Writes the blob, the index and the contents of a layer under temporary names.
    pub(crate) fn write_layer(
        &self,
        layer: NewLayer,
        compression: Option<Target>,
        progress: &Arc<dyn Progress>,
    ) -> Result<WrittenLayer> {
        let NewLayer { name, reader } = layer;
        let mut reader = WorkMeter::start(progress, Work::AddLayer, None).reader(reader);
        let failed = |source: io::Error| Error::NewLayer { name: name.clone(), source: Box::new(source.into()) };
        let mut start = Vec::new();
        reader.by_ref().take(Compression::SNIFF_LEN as u64).read_to_end(&mut start).map_err(failed)?;
        let given = Compression::sniff(&start);
        let reader = Cursor::new(start).chain(reader);
        let directory = self.cache.layout().blobs(Algorithm::Sha256);
        let blob = TemporaryFile::create_in(&directory, 0o600)?;
        let (target, compression) = match (compression, given) {
            (None, Compression::Gzip | Compression::Zstd) => (None, given),
            (None, _) => (Some(Target::Gzip { level: None }), Compression::Gzip),
            (Some(target), _) => (Some(target), target.compression()),
        };
        let copied = match target {
            None => self.copy_layer(reader, &blob, &failed)?,
            Some(target) => {
                let options = RecompressOptions { limits: self.options.limits, ..RecompressOptions::new(target) };
                let reader = self.options.cancel.reader(reader);
                let reader = recompress(reader, &options, |_| ());
                let of_level = |source| Error::NewLayer { name: name.clone(), source: Box::new(source) };
                self.copy_layer(reader.map_err(of_level)?, &blob, &failed)?
            }
        };
        let built = self.build_new(&name, &blob)?;
        Ok(WrittenLayer { blob, digest: copied.0, size: copied.1, compression, built })
    }

    /// Copies the bytes of a blob, and returns their digest and number.
    fn copy_layer(
        &self,
        mut reader: impl Read,
        blob: &TemporaryFile,
        failed: &impl Fn(io::Error) -> Error,
    ) -> Result<(Digest, u64)> {
        let (mut hasher, mut size) = (Hasher::new(Algorithm::Sha256), 0);
        let mut buffer = vec![0; READ_SIZE];
        loop {
            self.check_cancelled()?;
            match reader.read(&mut buffer) {
                Ok(0) => return Ok((hasher.finish(), size)),
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    let written = blob.file().write_all(&buffer[..count]);
                    written.map_err(vmroot_output::Error::on("write", blob.path()))?;
                    size += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.check_cancelled()?;
                    return Err(failed(error));
                }
            }
        }
    }

    /// Indexes a blob under its temporary name.
    fn build_new(&self, name: &str, blob: &TemporaryFile) -> Result<BuiltLayer> {
        let file = File::open(blob.path()).map_err(vmroot_output::Error::on("open", blob.path()))?;
        let stream = pipelined(self.options.cancel.reader(file), &self.options.limits);
        let options = BuildOptions { expected: None, ..self.options.build.clone() };
        build(stream, &self.cache.layout().layers(), &options).map_err(|error| match error {
            _ if self.options.cancel.is_cancelled() => Error::Cancelled,
            vmroot_layer_index::Error::Io { .. } => Error::Index(error),
            error => Error::NewLayerEntry { name: name.to_owned(), source: Box::new(error) },
        })
    }

    /// Gives a layer its names: first its blob, then its index. What is there already stays.
    pub(crate) fn publish_layer(&self, layer: WrittenLayer, progress: &Arc<dyn Progress>) -> Result<()> {
        let diff_id = *layer.built.diff_id();
        let _layer = self.lock(&LockName::Layer(diff_id), &**progress)?;
        {
            let _blob = self.lock(&LockName::Blob(layer.digest), &**progress)?;
            layer.blob.publish(&self.cache.layout().blob(&layer.digest), Some(PUBLISHED_MODE))?;
        }
        if self.open_layer(&diff_id).is_none() {
            layer.built.publish()?;
        }
        Ok(())
    }
}

/// Returns the manifest of a child.
fn child_manifest(parent: &Manifest, layer: Option<&WrittenLayer>, config: &ImageConfig) -> NewManifest {
    let compression = layer.map(|layer| layer.compression);
    let is_docker = parent.media_type().is_docker() && compression != Some(Compression::Zstd);
    let mut layers = parent.layers().to_vec();
    if !is_docker {
        for layer in &mut layers {
            layer.media_type = layer.media_type.to_oci_layer().unwrap_or_else(|| layer.media_type.clone());
        }
    }
    layers.extend(layer.map(|layer| {
        let media_type = match (layer.compression, is_docker) {
            (Compression::None, true) => MediaType::DOCKER_LAYER,
            (Compression::None, false) => MediaType::OCI_LAYER,
            (Compression::Zstd, _) => MediaType::OCI_LAYER_ZSTD,
            (_, true) => MediaType::DOCKER_LAYER_GZIP,
            (_, false) => MediaType::OCI_LAYER_GZIP,
        };
        Descriptor::new(media_type, layer.digest, layer.size)
    }));
    match is_docker {
        true => NewManifest::schema2(Descriptor::of(MediaType::DOCKER_CONFIG, config.raw()), layers),
        false => NewManifest::oci(Descriptor::of(MediaType::OCI_CONFIG, config.raw()), layers),
    }
}

/// Returns the record of a child, without a name.
fn child_record(parent: &Image, manifest: &NewManifest, config: &ImageConfig, step: &ChildImage) -> Record {
    let layers = manifest.layers.iter().zip(config.diff_ids());
    let written = Descriptor::of(manifest.media_type(), &manifest.to_bytes());
    let of_parent = parent.record();
    Record {
        reference: None,
        digest: written.digest,
        indexes: Vec::new(),
        manifest: written,
        config: manifest.config.clone(),
        layers: layers.map(|(layer, diff_id)| LayerRecord::new(layer, diff_id)).collect(),
        created: config.created().map(str::to_owned),
        pulled: step.created.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        // No registry has the image under its name.
        loaded_from: Some(format!("{COMMIT_OF}{}", of_parent.id())),
        signatures: None,
        shared_cache: None,
        ..of_parent.clone()
    }
}
