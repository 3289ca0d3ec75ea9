//! The form of `docker save` up to version 24.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};

use vmroot_compress::pipelined;
use vmroot_model::{Digest, Hasher};
use vmroot_transport::{LEGACY_VERSION, TarWriter, describe_legacy_layers};

use super::MODE;
use super::blobs::{CachedBlob, damaged};
use super::lists::{ListedImage, Repositories, add, add_repositories, add_repository, json_line};
use super::names::Selected;
use crate::{Error, Record, Result, Store};

/// The bytes that are decoded at a time.
const READ_SIZE: usize = 256 << 10;

/// Writes the images and the lists.
pub(super) fn write(store: &Store, selected: &[Selected], tar: &mut TarWriter<&mut dyn Write>) -> Result<()> {
    let mut archive = LegacyArchive { store, tar, written: HashSet::new(), layers: HashMap::new() };
    let (mut images, mut repositories) = (Vec::<ListedImage>::new(), Repositories::new());
    for image in selected {
        for (number, record) in image.records().enumerate() {
            let (mut listed, top_layer) = archive.add_image(record)?;
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
        let listed = ListedImage { config: config_member, repo_tags: None, layers, layer_sources: Default::default() };
        Ok((listed, top_layer))
    }

    /// Writes the uncompressed tar of a layer. It is decoded twice, because its size comes before it.
    fn add_layer(&mut self, member: &str, blob: &CachedBlob, diff_id: &Digest) -> Result<()> {
        let mut size = 0;
        self.decode(blob, diff_id, |bytes| {
            size += bytes.len() as u64;
            Ok(())
        })?;
        let mut reader = PlainLayer { stream: self.open(blob)?, failure: None };
        let written = self.tar.file(member, MODE, size, &mut reader);
        match (reader.failure, written) {
            (Some(error), _) => Err(decode_error(blob, error)),
            (None, Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(blob)),
            (None, written) => written.map_err(Error::write_archive),
        }
    }

    fn open(&self, blob: &CachedBlob) -> Result<Box<dyn Read>> {
        let file = File::open(&blob.path).map_err(vmroot_output::Error::on("open", &blob.path))?;
        Ok(Box::new(pipelined(file, &self.store.options().limits)))
    }

    fn decode(&self, blob: &CachedBlob, diff_id: &Digest, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        let mut stream = self.open(blob)?;
        let mut hasher = Hasher::new(diff_id.algorithm());
        let mut buffer = vec![0; READ_SIZE];
        loop {
            self.store.check_cancelled()?;
            let count = stream.read(&mut buffer).map_err(|error| decode_error(blob, error))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            take(&buffer[..count]).map_err(Error::write_archive)?;
        }
        if hasher.finish() == *diff_id { Ok(()) } else { Err(damaged(blob)) }
    }
}

fn decode_error(blob: &CachedBlob, error: io::Error) -> Error {
    Error::Decompress { digest: blob.digest, source: Box::new(error.into()) }
}

/// Reads the uncompressed tar of a layer, and keeps its error.
struct PlainLayer {
    stream: Box<dyn Read>,
    failure: Option<io::Error>,
}

impl Read for PlainLayer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            kind.into()
        })
    }
}
