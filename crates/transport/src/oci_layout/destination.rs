//! Writing of images into OCI layouts in directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vmroot_model::{Algorithm, Descriptor, Digest, MediaType, Reference};
use vmroot_output::{TemporaryFile, sync_directory};
use vmroot_signatures::Signature;

use super::INDEX_JSON;
use super::directory::{BLOBS, Lock, blob_path, check, ensure, read_index, write_index};
use super::new_signatures::{Documents, NewSignatures};
use crate::blob_file::{is_file_of_size, read_document, sweep, write_blob, write_document};
use crate::instances::Instances;
use crate::referrers;
use crate::whole::{Parts, is_whole};
use crate::{Accepts, DestinationOptions, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse};

/// An image of an OCI layout, to be written.
///
/// Each blob gets its name when it is whole and on disk. The index is changed last, under a lock. So processes that
/// write to one layout at once keep each other's images, and a process that is killed leaves a valid layout.
#[derive(Debug)]
pub(crate) struct OciLayoutDestination {
    path: PathBuf,
    name: Option<String>,
    /// The directory with a directory of blobs for each algorithm.
    blobs: PathBuf,
    /// The directory of temporary files, on the file system of the blobs but not among them: some tools take every file
    /// there for a blob.
    temporary: PathBuf,
    layers: LayerForm,
    instances: Instances,
    top: Mutex<Option<Descriptor>>,
    /// Documents that refer to the image. They are entries of the index, too.
    referrers: Mutex<Vec<Descriptor>>,
    signatures: NewSignatures,
    /// Keeps the blobs that are there, until the image is written. `None` for a dry run.
    _no_removal: Option<Lock>,
}

/// Returns the forms of images that a layout can hold. Containers/image accepts the same.
pub(crate) fn accepts(layers: LayerForm) -> Accepts {
    let documents = vec![MediaType::OCI_MANIFEST, MediaType::OCI_INDEX];
    Accepts { documents, layers, foreign_layers: true, digest: None }
}

/// Returns the treatment of layers in a layout.
pub(crate) fn layer_form(options: &DestinationOptions) -> LayerForm {
    if options.accept_uncompressed_layers { LayerForm::Keep } else { LayerForm::Compress }
}

/// Returns whether a layout can hold a document of this type. Containers/image writes the types of Docker into layouts
/// too, if a user asks for them, and reads them.
pub(crate) fn can_hold(media_type: &MediaType) -> bool {
    MediaType::DOCUMENTS.iter().any(|known| media_type.matches(known))
}

/// Fails if a layout cannot hold a document of this type.
pub(crate) fn check_media_type(place: String, media_type: &MediaType) -> Result<()> {
    if can_hold(media_type) {
        return Ok(());
    }
    let reason = "a layout has manifests and indexes of OCI, or of Docker's schema 2".to_owned();
    Err(Error::Refused { place, media_type: media_type.to_string(), reason })
}

/// Creates the directory of the blobs, removes temporary files of writers that were killed, and keeps the blobs.
fn prepare(path: &Path, blobs: &Path, temporary: &Path) -> Result<Lock> {
    fs::create_dir_all(blobs).map_err(Error::io("create the directory", blobs))?;
    let no_removal = Lock::share(&path.join(BLOBS))?;
    sweep(path);
    if temporary != path {
        sweep(temporary);
    }
    Ok(no_removal)
}

impl OciLayoutDestination {
    /// Creates the layout if it does not exist, unless it is a dry run.
    pub(crate) fn open(path: &Path, name: Option<String>, options: &DestinationOptions) -> Result<Self> {
        if options.dry_run {
            check(path)?;
        } else {
            ensure(path)?;
        }
        let (blobs, temporary) = match &options.shared_blob_dir {
            Some(shared) => (shared.clone(), shared.clone()),
            None => (path.join(BLOBS), path.to_owned()),
        };
        let no_removal = match options.dry_run {
            true => None,
            false => Some(prepare(path, &blobs, &temporary)?),
        };
        Ok(Self {
            path: path.to_owned(),
            name,
            blobs,
            temporary,
            layers: layer_form(options),
            instances: Instances::default(),
            top: Mutex::new(None),
            referrers: Mutex::new(Vec::new()),
            signatures: NewSignatures::default(),
            _no_removal: no_removal,
        })
    }

    /// Gives a synced file the name of its digest.
    fn publish(&self, file: TemporaryFile, digest: &Digest) -> Result<()> {
        let path = blob_path(&self.blobs, digest);
        let directory = self.blobs.join(digest.algorithm().name());
        fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
        Ok(file.rename(&path)?)
    }

    fn put_document(&self, bytes: &[u8], digest: &Digest) -> Result<()> {
        self.publish(write_document(&self.temporary, &self.path, bytes)?, digest)
    }

    /// Makes the names of the blobs durable, before the index refers to them.
    fn sync_blobs(&self) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = self.blobs.join(algorithm.name());
            if directory.is_dir() {
                sync_directory(&directory)?;
            }
        }
        Ok(sync_directory(&self.blobs)?)
    }
}

impl Parts for OciLayoutDestination {
    fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        read_document(&blob_path(&self.blobs, digest)).filter(|bytes| digest.is_of(bytes))
    }

    fn has_blob(&self, blob: &Descriptor) -> bool {
        matches!(is_file_of_size(&blob_path(&self.blobs, &blob.digest), blob.size), Ok(true))
    }
}

impl Documents for OciLayoutDestination {
    fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.document(digest)
    }

    fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.put_document(bytes, digest)
    }
}

impl ImageDestination for OciLayoutDestination {
    fn name(&self) -> String {
        match &self.name {
            Some(name) => format!("oci:{}:{name}", self.path.display()),
            None => format!("oci:{}", self.path.display()),
        }
    }

    fn accepts(&self) -> Accepts {
        accepts(self.layers)
    }

    fn can_hold(&self, media_type: &MediaType) -> bool {
        can_hold(media_type)
    }

    fn current(&self) -> Result<Option<Digest>> {
        let index = read_index(&self.path)?;
        let found = index.and_then(|index| index.find(self.name.as_deref()));
        Ok(found.filter(|digest| is_whole(self, digest)))
    }

    fn is_current_whole(&self) -> bool {
        true
    }

    fn reuse_blob(&self, blob: &Descriptor, _origins: &[Reference]) -> Result<Reuse> {
        let present = is_file_of_size(&blob_path(&self.blobs, &blob.digest), blob.size)?;
        Ok(if present { Reuse::Present } else { Reuse::Absent })
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        let (file, descriptor) = write_blob(&self.temporary, &self.path, blob)?;
        self.publish(file, &descriptor.digest)
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        check_media_type(self.name(), media_type)?;
        match place {
            ManifestPlace::Instance => self.put_document(bytes, &self.instances.add(bytes)),
            ManifestPlace::Referrer => {
                let referrer = referrers::describe(bytes, media_type);
                self.put_document(bytes, &referrer.digest)?;
                self.referrers.lock().unwrap_or_else(PoisonError::into_inner).push(referrer);
                Ok(())
            }
            ManifestPlace::Top => {
                for (other, sha256) in self.instances.other_names(bytes, media_type) {
                    let path = blob_path(&self.blobs, &sha256);
                    let instance = fs::read(&path).map_err(Error::io("read", &path))?;
                    self.put_document(&instance, &other)?;
                }
                let top = Descriptor::of(MediaType::new(media_type.essence()), bytes);
                self.put_document(bytes, &top.digest)?;
                *self.top.lock().unwrap_or_else(PoisonError::into_inner) = Some(top);
                Ok(())
            }
        }
    }

    fn signatures_refusal(&self) -> Option<String> {
        None
    }

    fn put_signatures(&self, manifest: &Digest, _place: ManifestPlace, signatures: &[Signature]) -> Result<()> {
        self.signatures.add(self.name(), self, manifest, signatures)
    }

    /// Without an image, only referrers are added: the image is there already.
    fn commit(&self) -> Result<()> {
        let top = self.top.lock().unwrap_or_else(PoisonError::into_inner);
        let referrers = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        if top.is_none() && referrers.is_empty() {
            return Err(Error::NoManifest { place: self.name() });
        }
        let _lock = Lock::take(&self.path)?;
        let missing = || Error::Missing { path: self.path.clone(), role: "index", member: INDEX_JSON.to_owned() };
        let mut index = read_index(&self.path)?.ok_or_else(missing)?;
        let invalid = |error| Error::member(&self.path, INDEX_JSON, format!("cannot be changed: {error}"));
        let mut change = || {
            referrers.iter().try_for_each(|referrer| index.add_unnamed(referrer))?;
            let Some(mut top) = top.clone() else { return Ok(()) };
            self.signatures.mark(&mut top);
            index.set(&top, self.name.as_deref())
        };
        change().map_err(invalid)?;
        self.signatures.enter(&mut index, self, invalid)?;
        self.sync_blobs()?;
        write_index(&self.path, &index)
    }
}
