//! The form of `docker save` up to version 24.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rayon::prelude::*;
use vmroot_compress::pipelined;
use vmroot_model::{Digest, Hasher};
use vmroot_transport::{LEGACY_VERSION, TarWriter, describe_legacy_layers};

use super::MODE;
use super::blobs::{CachedBlob, damaged};
use super::lists::{ListedImage, Repositories, add, add_repositories, add_repository, json_line};
use super::names::{Parents, Selected};
use crate::progress::WorkMeter;
use crate::{Error, LayerRecord, Progress, Record, Result, Store, Work};

/// The bytes that are decoded at a time.
const READ_SIZE: usize = 256 << 10;

/// Writes the images and the lists.
///
/// The length of a layer's tar comes before it. In `file`, the regular file that `tar` writes to, it is written
/// afterwards. Without one, each layer is decoded twice.
pub(super) fn write(
    store: &Store,
    selected: &[Selected],
    parents: &Parents,
    tar: &mut TarWriter<&mut dyn Write>,
    file: Option<&File>,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    let layers = distinct_layers(selected);
    // Each blob is read once or twice.
    let passes = if file.is_some() { 1 } else { 2 };
    let total = layers.iter().map(|(_, layer)| layer.size).fold(0, u64::saturating_add).saturating_mul(passes);
    let meter = WorkMeter::start(progress, Work::Save, Some(total));
    let sizes = if file.is_some() { HashMap::new() } else { measure(store, &layers, &meter)? };
    let mut archive = LegacyArchive { store, tar, file, sizes, meter, written: HashSet::new(), layers: HashMap::new() };
    let (mut images, mut repositories) = (Vec::<ListedImage>::new(), Repositories::new());
    for image in selected {
        for (number, record) in image.records().enumerate() {
            let (mut listed, top_layer) = archive.add_image(record)?;
            listed.parent = parents.get(record.id()).copied();
            if number == 0 {
                image.references().for_each(|reference| {
                    listed.add_tag(&reference);
                    add_repository(&mut repositories, &reference, top_layer.as_deref());
                });
            }
            match images.iter_mut().find(|known| known.config == listed.config) {
                Some(known) => known.repo_tags.get_or_insert_default().extend(listed.repo_tags.unwrap_or_default()),
                None => images.push(listed),
            }
        }
    }
    add(tar, "manifest.json", &json_line(&images))?;
    add_repositories(tar, &repositories)
}

struct LegacyArchive<'a, 'w> {
    store: &'a Store,
    tar: &'a mut TarWriter<&'w mut dyn Write>,
    file: Option<&'a File>,
    /// The lengths of the layers' tars, unless there is a file.
    sizes: HashMap<Digest, u64>,
    meter: Arc<WorkMeter>,
    /// The members that were written.
    written: HashSet<String>,
    /// The directory with the tar of each layer.
    layers: HashMap<Digest, String>,
}

impl LegacyArchive<'_, '_> {
    /// Writes an image. Returns its entry in the list and the id of its top layer.
    fn add_image(&mut self, record: &Record) -> Result<(ListedImage, Option<String>)> {
        let config = self.store.saved_config(record)?;
        let described = describe_legacy_layers(config.diff_ids(), config.raw()).map_err(|error| Error::Blob {
            image: record.id().to_string(),
            digest: *record.id(),
            reason: format!("is not the config of an image: {error}"),
        })?;
        let config_member = format!("{}.json", record.id().hex());
        if self.written.insert(config_member.clone()) {
            add(self.tar, &config_member, config.raw())?;
        }
        let mut layers = Vec::new();
        for (layer, stored) in described.iter().zip(&record.layers) {
            layers.push(format!("{}/layer.tar", layer.id));
            if !self.written.insert(layer.id.clone()) {
                continue;
            }
            self.tar.directory(&layer.id).map_err(Error::write_archive)?;
            add(self.tar, &format!("{}/VERSION", layer.id), LEGACY_VERSION.as_bytes())?;
            add(self.tar, &format!("{}/json", layer.id), layer.json.as_bytes())?;
            let member = format!("{}/layer.tar", layer.id);
            match self.layers.get(&stored.diff_id) {
                Some(other) => {
                    self.tar.symlink(&member, &format!("../{other}/layer.tar")).map_err(Error::write_archive)?;
                }
                None => {
                    let blob = self.store.cached_blob(record, &stored.digest)?;
                    self.add_layer(&member, &blob, &stored.diff_id)?;
                    self.layers.insert(stored.diff_id, layer.id.clone());
                }
            }
        }
        let top_layer = described.last().map(|layer| layer.id.clone());
        let listed = ListedImage {
            config: config_member,
            repo_tags: None,
            layers,
            parent: None,
            layer_sources: Default::default(),
        };
        Ok((listed, top_layer))
    }

    /// Writes the uncompressed tar of a layer.
    fn add_layer(&mut self, member: &str, blob: &CachedBlob, diff_id: &Digest) -> Result<()> {
        let mut layer = PlainLayer::open(self.store, blob, diff_id, &self.meter)?;
        let written = match (self.file, self.sizes.get(diff_id)) {
            (None, Some(&size)) => self.tar.file(member, MODE, size, &mut layer),
            (Some(file), _) => self
                .tar
                .file_of_unknown_size(member, MODE, &mut layer, |header, offset| file.write_all_at(header, offset)),
            (None, None) => unreachable!("all layers were measured"),
        };
        layer.finish(written)
    }
}

/// Returns the layers of the images with their records, each layer once.
fn distinct_layers(selected: &[Selected]) -> Vec<(&Record, &LayerRecord)> {
    let mut layers: Vec<_> = selected
        .iter()
        .flat_map(Selected::records)
        .flat_map(|record| record.layers.iter().map(move |layer| (record, layer)))
        .collect();
    layers.sort_by_key(|(_, layer)| layer.diff_id);
    layers.dedup_by_key(|(_, layer)| layer.diff_id);
    layers
}

/// Returns the lengths of the uncompressed tars of layers, by their diff ids. Several are decoded at once.
fn measure(store: &Store, layers: &[(&Record, &LayerRecord)], meter: &Arc<WorkMeter>) -> Result<HashMap<Digest, u64>> {
    let length = |(record, layer): &(&Record, &LayerRecord)| {
        let blob = store.cached_blob(record, &layer.digest)?;
        let mut plain = PlainLayer::open(store, &blob, &layer.diff_id, meter)?;
        let mut buffer = vec![0; READ_SIZE];
        while plain.read(&mut buffer).is_ok_and(|count| count > 0) {}
        let length = plain.length;
        plain.finish(Ok(()))?;
        Ok((layer.diff_id, length))
    };
    layers.par_iter().map(length).collect()
}

/// Reads the uncompressed tar of a layer and hashes it.
struct PlainLayer<'a> {
    store: &'a Store,
    blob: &'a CachedBlob,
    diff_id: Digest,
    stream: Box<dyn Read>,
    hasher: Hasher,
    length: u64,
    failure: Option<Error>,
}

impl<'a> PlainLayer<'a> {
    fn open(store: &'a Store, blob: &'a CachedBlob, diff_id: &Digest, meter: &Arc<WorkMeter>) -> Result<Self> {
        let file = File::open(&blob.path).map_err(vmroot_output::Error::on("open", &blob.path))?;
        let stream = Box::new(pipelined(meter.reader(file), &store.options().limits));
        let hasher = Hasher::new(diff_id.algorithm());
        Ok(Self { store, blob, diff_id: *diff_id, stream, hasher, length: 0, failure: None })
    }

    /// Returns the error of the layer, or that of the writer, or checks the digest.
    fn finish(self, written: io::Result<()>) -> Result<()> {
        match (self.failure, written) {
            (Some(error), _) => Err(error),
            (None, Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(self.blob)),
            (None, Err(error)) => Err(Error::write_archive(error)),
            (None, Ok(())) if self.hasher.finish() != self.diff_id => Err(damaged(self.blob)),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Read for PlainLayer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.store.check_cancelled().and_then(|()| {
            let digest = self.blob.digest;
            self.stream.read(buffer).map_err(|error| Error::Decompress { digest, source: Box::new(error.into()) })
        });
        match read {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                self.length += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("the layer cannot be read"))
            }
        }
    }
}
