//! Copies from sources to destinations, without conversions.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_model::{Descriptor, Digest, Document, MediaType};
use vmroot_transport::{
    Archive, BlobRole, DestinationOptions, Error, ImageDestination, ImageName, ImageSource, ManifestPlace, NewBlob,
    Reuse, open_destination,
};

use crate::builder::{Image, entry, file, gzip, oci_layout, unpack};
use crate::pull::options;

/// A directory with an image, a list and an artifact, as layouts and directories, and places for copies.
pub(crate) struct Workplace(TempDir);

/// The kinds of images that [`Workplace`] has in `oci:source`, each with its name.
pub(crate) const KINDS: [&str; 3] = ["image", "list", "artifact"];

impl Workplace {
    pub(crate) fn new() -> Self {
        let workplace = Self(tempfile::tempdir().unwrap());
        let images = [Image::new(1, 3), Image::new(2, 2)];
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        for image in &images {
            let stored = image.blobs(&MediaType::OCI_LAYER_GZIP, gzip);
            manifests.push(stored.last().unwrap().clone());
            blobs.extend(stored);
        }
        let platform = |architecture: &str| json!({ "platform": { "os": "linux", "architecture": architecture } });
        let instances: Vec<Value> = ["arm64", "amd64"]
            .iter()
            .zip(&manifests)
            .map(|(architecture, manifest)| entry(&MediaType::OCI_MANIFEST, manifest, &platform(architecture)))
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": instances });
        let index = index.to_string().into_bytes();
        let (empty, content) = (b"{}".to_vec(), b"the content of an artifact".to_vec());
        let artifact = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "artifactType": "application/x-example",
            "config": entry(&MediaType::OCI_EMPTY, &empty, &json!({})),
            "layers": [entry(&MediaType::new("text/plain"), &content, &json!({ "annotations": { "a": "b" } }))],
        });
        let artifact = artifact.to_string().into_bytes();
        let named = |media_type: &MediaType, bytes: &[u8], name: &str| {
            entry(media_type, bytes, &json!({ "annotations": { "org.opencontainers.image.ref.name": name } }))
        };
        let entries = [
            named(&MediaType::OCI_MANIFEST, &manifests[0], "image"),
            named(&MediaType::OCI_INDEX, &index, "list"),
            named(&MediaType::OCI_MANIFEST, &artifact, "artifact"),
        ];
        blobs.extend([index, empty, content, artifact]);
        unpack(&oci_layout(&blobs, &entries), &workplace.path("source"));
        workplace.add_docker_image(&Image::of(vec![
            images[0].layers[0].clone(),
            images[1].layers[1].clone(),
            images[0].layers[0].clone(),
        ]));
        workplace
    }

    /// Writes an image with a schema 2 manifest and plain layers, one of them twice, as `dir:plain`.
    fn add_docker_image(&self, image: &Image) {
        let descriptor = |media_type: &MediaType, blob: &[u8]| entry(media_type, blob, &json!({}));
        let layers: Vec<Value> = image.layers.iter().map(|blob| descriptor(&MediaType::DOCKER_LAYER, blob)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::DOCKER_MANIFEST,
            "config": descriptor(&MediaType::DOCKER_CONFIG, &image.config),
            "layers": layers,
        });
        let mut members = vec![
            file("version", "Directory Transport Version: 1.1\n"),
            file("manifest.json", manifest.to_string()),
            file(image.id().hex(), image.config.clone()),
        ];
        members.extend(image.layers.iter().map(|layer| file(Digest::of(layer).hex(), layer.clone())));
        unpack(&members, &self.path("plain"));
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Returns `TRANSPORT:PATH`, or with a name `TRANSPORT:PATH:NAME`. The path is relative to the workplace.
    pub(crate) fn name(&self, name: &str) -> String {
        let (transport, path) = name.split_once(':').unwrap();
        format!("{transport}:{}", self.path(path).display())
    }

    pub(crate) fn source(&self, name: &str) -> Box<dyn ImageSource> {
        source(&self.name(name), self.directory()).unwrap()
    }

    pub(crate) fn options(&self) -> DestinationOptions {
        DestinationOptions::new(self.directory())
    }

    pub(crate) fn destination(&self, name: &str) -> Box<dyn ImageDestination> {
        destination(&self.name(name), &self.options()).unwrap()
    }

    /// Copies between two names that are relative to the workplace.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        copy(&*self.source(from), &*self.destination(to)).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    }

    /// Reads a member of a directory of the workplace.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn destination(name: &str, options: &DestinationOptions) -> Result<Box<dyn ImageDestination>, Error> {
    open_destination(&ImageName::parse(name).unwrap(), options)
}

pub(crate) fn source(name: &str, spool: &Path) -> Result<Box<dyn ImageSource>, Error> {
    let ImageName::Archive { format, path, selector } = ImageName::parse(name).unwrap() else { panic!("{name}") };
    let archive = Archive::open_as(format, &path, &options(spool))?;
    archive.source(&archive.select(&selector)?)
}

/// Copies an image or a list with all instances. Blobs are copied by several threads.
pub(crate) fn copy(source: &dyn ImageSource, destination: &dyn ImageDestination) -> Result<(), Error> {
    let top = source.manifest(None)?;
    match Document::parse(top.bytes, top.media_type.as_deref()).unwrap() {
        Document::Manifest(manifest) => {
            copy_blobs(source, destination, manifest.config(), manifest.layers())?;
            destination.put_manifest(manifest.raw(), manifest.media_type(), ManifestPlace::Top)?;
        }
        Document::Index(index) => {
            for instance in index.manifests() {
                let raw = source.manifest(Some(&instance.digest))?;
                let Document::Manifest(manifest) = Document::parse(raw.bytes, None).unwrap() else {
                    panic!("a list in a list")
                };
                copy_blobs(source, destination, manifest.config(), manifest.layers())?;
                destination.put_manifest(manifest.raw(), manifest.media_type(), ManifestPlace::Instance)?;
            }
            destination.put_manifest(index.raw(), index.media_type(), ManifestPlace::Top)?;
        }
    }
    destination.commit()
}

fn copy_blobs(
    source: &dyn ImageSource,
    destination: &dyn ImageDestination,
    config: &Descriptor,
    layers: &[Descriptor],
) -> Result<(), Error> {
    let put = |descriptor: &Descriptor, role| -> Result<(), Error> {
        if destination.reuse_blob(descriptor, &[])? != Reuse::Absent {
            return Ok(());
        }
        let body = source.blob(descriptor, 0)?;
        destination.put_blob(&mut NewBlob::known(descriptor, role, body.reader))?;
        assert_eq!(destination.reuse_blob(descriptor, &[]).unwrap(), Reuse::Present);
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = layers.iter().map(|layer| scope.spawn(|| put(layer, BlobRole::Layer))).collect();
        put(config, BlobRole::Config)?;
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

/// Reads all documents and blobs of an image, checks their digests and sizes, and returns the bytes in a fixed order.
pub(crate) fn read_all(source: &dyn ImageSource) -> Vec<Vec<u8>> {
    let top = source.manifest(None).unwrap();
    let mut read = vec![top.bytes.clone()];
    let mut pending = vec![Document::parse(top.bytes, top.media_type.as_deref()).unwrap()];
    while let Some(document) = pending.pop() {
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                for instance in index.manifests() {
                    let raw = source.manifest(Some(&instance.digest)).unwrap();
                    read.push(raw.bytes.clone());
                    pending.push(Document::parse(raw.bytes, None).unwrap());
                }
                continue;
            }
        };
        for descriptor in [manifest.config()].into_iter().chain(manifest.layers()) {
            let mut bytes = Vec::new();
            source.blob(descriptor, 0).unwrap().reader.read_to_end(&mut bytes).unwrap();
            assert!(descriptor.digest.is_of(&bytes) && descriptor.size == bytes.len() as u64, "{}", descriptor.digest);
            read.push(bytes);
        }
    }
    read
}
