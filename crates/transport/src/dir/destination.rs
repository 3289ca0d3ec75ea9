//! Writing of `dir:` directories.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vmroot_model::{Algorithm, Descriptor, Digest, MediaType, Reference};
use vmroot_output::{TemporaryDirectory, directory_of, sync_directory, write_atomically};
use vmroot_signatures::Signature;

use super::version::{Version, VersionFile};
use super::{SIGNATURE, VERSION, instance_name, signature_prefix, stem};
use crate::blob_file::{READABLE, is_file_of_size, is_temporary, read_document, sweep, write_blob, write_document};
use crate::docker_archive::MANIFEST_JSON;
use crate::instances::Instances;
use crate::oci_layout::Lock;
use crate::whole::{Parts, is_whole};
use crate::{
    Accepts, DestinationOptions, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse,
    signature_files,
};

/// A directory with one image, to be written. It replaces an older image.
///
/// The image is written into a staging directory. A new directory is renamed from it. In an existing one, which keeps
/// its owner and mode, the new files are put beside the old ones, then `manifest.json` is replaced, and then the old
/// files are removed: a directory with a manifest has everything else.
#[derive(Debug)]
pub(crate) struct DirDestination {
    path: PathBuf,
    layers: LayerForm,
    /// Whether the directory existed before.
    is_existing: bool,
    /// `None` for a dry run.
    staging: Option<TemporaryDirectory>,
    instances: Instances,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    has_manifest: bool,
    /// Whether a file is named by another digest than SHA-256.
    has_other_digests: bool,
}

impl DirDestination {
    /// Prepares to write into a new directory, an empty one, or one that a `dir:` destination wrote.
    pub(crate) fn open(path: &Path, options: &DestinationOptions) -> Result<Self> {
        let is_existing = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => true,
            Ok(_) => {
                return Err(Error::Occupied { path: path.to_owned(), reason: "it is not a directory" });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::io("stat", path)(error)),
        };
        if is_existing {
            check_replaceable(path)?;
        }
        let staging = match options.dry_run {
            true => None,
            false => Some(create_staging(path, is_existing)?),
        };
        let layers = options.dir_layers;
        let destination = Self {
            path: path.to_owned(),
            layers,
            is_existing,
            staging,
            instances: Instances::default(),
            state: Mutex::new(State::default()),
        };
        if destination.staging.is_some() {
            // The staging directory is for its owner only. This one gets the usual permissions.
            let image = destination.image();
            fs::create_dir(&image).map_err(Error::io("create a directory for", path))?;
        }
        Ok(destination)
    }

    /// Returns the directory with the files of the new image. It does not exist in a dry run.
    fn image(&self) -> PathBuf {
        self.staging.as_ref().map_or(&*self.path, TemporaryDirectory::path).join("image")
    }

    fn note_digest(&self, digest: &Digest) {
        if digest.algorithm() != Algorithm::Sha256 {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).has_other_digests = true;
        }
    }

    fn put_document(&self, bytes: &[u8], name: &str) -> Result<()> {
        let image = self.image();
        Ok(write_document(&image, &self.path, bytes)?.rename(&image.join(name))?)
    }

    /// Replaces the old image by the new one.
    ///
    /// The names of blobs and instances are digests, so the files of both images can be in the directory at once. The
    /// directory has the old image until the new `manifest.json` gets its name, and then the new one. A process that is
    /// killed leaves files of the other image at most, which the next copy removes.
    ///
    /// Two processes at once replace the directory one after the other, under its lock. The last one's image stays.
    fn replace(&self, version: Version) -> Result<()> {
        let _lock = Lock::take(&self.path)?;
        let image = self.image();
        let new = names(&image)?;
        let move_file = |name: &OsStr| {
            let target = self.path.join(name);
            fs::rename(image.join(name), &target).map_err(Error::io("rename to", &target))
        };
        let is_last = |name: &OsStr| name == VERSION || name == MANIFEST_JSON;
        // A directory without a version cannot be replaced after a crash. The newest version describes both images.
        if version == Version::WITH_OTHER_DIGESTS || !self.path.join(VERSION).exists() {
            self.write_version(version)?;
        }
        for name in new.iter().filter(|name| !is_last(name) && !is_signature(name)) {
            move_file(name)?;
        }
        // The signatures of the old image do not have digests as names.
        self.remove(is_signature)?;
        for name in new.iter().filter(|name| is_signature(name)) {
            move_file(name)?;
        }
        sync_directory(&self.path)?;
        move_file(OsStr::new(MANIFEST_JSON))?;
        self.write_version(version)?;
        sync_directory(&self.path)?;
        // Temporary files are this writer's, or those of another one that has not been killed.
        self.remove(|name| !is_last(name) && !is_temporary(name) && !new.iter().any(|it| it == name))?;
        Ok(sync_directory(&self.path)?)
    }

    fn write_version(&self, version: Version) -> Result<()> {
        Ok(write_atomically(&self.path.join(VERSION), READABLE, version.to_string().as_bytes())?)
    }

    /// Removes the files of the directory that `is_old` selects.
    fn remove(&self, is_old: impl Fn(&OsStr) -> bool) -> Result<()> {
        for name in names(&self.path)?.iter().filter(|name| is_old(name)) {
            let path = self.path.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path)(error)),
                _ => (),
            }
        }
        Ok(())
    }
}

/// Creates the staging directory, in the image's directory or beside it.
fn create_staging(path: &Path, is_existing: bool) -> Result<TemporaryDirectory> {
    if is_existing {
        sweep(path);
        return Ok(TemporaryDirectory::create_in(path)?);
    }
    let parent = directory_of(path);
    fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
    Ok(TemporaryDirectory::create_in(parent)?)
}

fn is_signature(name: &OsStr) -> bool {
    name.as_encoded_bytes().windows(SIGNATURE.len()).any(|part| part == SIGNATURE)
}

/// Fails if a directory has files but not the version of a `dir:` image.
fn check_replaceable(path: &Path) -> Result<()> {
    let is_empty = names(path)?.iter().all(|name| is_temporary(name));
    match VersionFile::read_in(path)? {
        Some(file) => file.check(path).map(drop),
        None if is_empty => Ok(()),
        None => Err(Error::Occupied {
            path: path.to_owned(),
            reason: "it has files, and is not a directory that a dir: destination wrote",
        }),
    }
}

fn names(path: &Path) -> Result<Vec<OsString>> {
    let list = || fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>();
    list().map_err(Error::io("list", path))
}

/// The parts of the old image.
impl Parts for DirDestination {
    fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let names = [instance_name(digest), MANIFEST_JSON.to_owned()];
        let mut documents = names.iter().filter_map(|name| read_document(&self.path.join(name)));
        documents.find(|bytes| digest.is_of(bytes))
    }

    fn has_blob(&self, blob: &Descriptor) -> bool {
        matches!(is_file_of_size(&self.path.join(stem(&blob.digest)), blob.size), Ok(true))
    }
}

impl ImageDestination for DirDestination {
    fn name(&self) -> String {
        format!("dir:{}", self.path.display())
    }

    fn accepts(&self) -> Accepts {
        Accepts { documents: Vec::new(), layers: self.layers, foreign_layers: false, digest: None }
    }

    fn current(&self) -> Result<Option<Digest>> {
        if !self.is_existing {
            return Ok(None);
        }
        let top = read_document(&self.path.join(MANIFEST_JSON)).map(|bytes| Digest::of(&bytes));
        Ok(top.filter(|digest| is_whole(self, digest)))
    }

    fn is_current_whole(&self) -> bool {
        true
    }

    fn reuse_blob(&self, blob: &Descriptor, _origins: &[Reference]) -> Result<Reuse> {
        let present = is_file_of_size(&self.image().join(stem(&blob.digest)), blob.size)?;
        Ok(if present { Reuse::Present } else { Reuse::Absent })
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        let image = self.image();
        let (file, descriptor) = write_blob(&image, &self.path, blob)?;
        self.note_digest(&descriptor.digest);
        Ok(file.rename(&image.join(stem(&descriptor.digest)))?)
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        match place {
            ManifestPlace::Instance | ManifestPlace::Referrer => {
                self.put_document(bytes, &instance_name(&self.instances.add(bytes)))
            }
            ManifestPlace::Top => {
                for (other, sha256) in self.instances.other_names(bytes, media_type) {
                    let path = self.image().join(instance_name(&sha256));
                    let instance = fs::read(&path).map_err(Error::io("read", &path))?;
                    self.put_document(&instance, &instance_name(&other))?;
                    self.note_digest(&other);
                }
                self.put_document(bytes, MANIFEST_JSON)?;
                self.state.lock().unwrap_or_else(PoisonError::into_inner).has_manifest = true;
                Ok(())
            }
        }
    }

    fn signatures_refusal(&self) -> Option<String> {
        None
    }

    fn put_signatures(&self, manifest: &Digest, place: ManifestPlace, signatures: &[Signature]) -> Result<()> {
        signature_files::write(&self.image(), &signature_prefix(manifest, place == ManifestPlace::Top), signatures)
    }

    fn commit(&self) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.has_manifest {
            return Err(Error::NoManifest { place: self.name() });
        }
        let version = if state.has_other_digests { Version::WITH_OTHER_DIGESTS } else { Version::USUAL };
        if self.is_existing {
            return self.replace(version);
        }
        let image = self.image();
        write_atomically(&image.join(VERSION), READABLE, version.to_string().as_bytes())?;
        sync_directory(&image)?;
        match fs::rename(&image, &self.path) {
            Ok(()) => Ok(sync_directory(directory_of(&self.path))?),
            // Another process was faster.
            Err(_) if self.path.is_dir() => {
                check_replaceable(&self.path)?;
                self.replace(version)
            }
            Err(error) => Err(Error::io("create the directory", &self.path)(error)),
        }
    }
}
