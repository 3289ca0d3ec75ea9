//! Saving and loading of images as archives.

use std::io::Write;
use std::path::Path;

use vmroot_image_store::{LoadOptions, LoadReport, Record, SaveOptions};
use vmroot_model::Reference;
use vmroot_output::OutputFile;
use vmroot_transport::{ArchiveLists, ImageName};

use super::Client;
use crate::Result;

impl Client {
    /// Writes images into one archive, as a stream. By default it is a docker save archive and an OCI layout at once:
    /// Docker, podman, skopeo and buildah load it, with the same ids and digests.
    ///
    /// A name is a reference, an id, the beginning of an id, or `TRANSPORT:details` as for [`Self::find`]. `NAME:TAG` is saved under that name, `NAME` under each tag
    /// that the cache has, and an id or `NAME@DIGEST` without a name. An image is saved for each platform that the cache
    /// has, or for those of the options. The form of Docker 24 has one platform of a name: the host's, if the cache has it.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::{LoadOptions, SaveOptions};
    ///
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// let archive = cache.path().join("demo.tar");
    /// client.save_to(&["demo"], &archive, &SaveOptions::default())?;
    ///
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let other = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let loaded = other.load_archives(&[&archive], &LoadOptions::default())?;
    /// assert_eq!(loaded.images[0].image.id(), image.id());
    /// assert_eq!(loaded.messages(), ["Loaded image: demo:latest"]);
    /// let mut again = Vec::new();
    /// other.save(&["demo"], &mut again, &SaveOptions::default())?;
    /// assert!(again == std::fs::read(&archive).unwrap());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image, or not for a platform.
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): a name is malformed.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a file of an image is missing or damaged.
    /// - [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace): the writer has no space left.
    /// - The writer fails, or the call is cancelled.
    pub fn save<N: AsRef<str>>(&self, names: &[N], writer: &mut dyn Write, options: &SaveOptions) -> Result<()> {
        Ok(self.store.save(&self.stored_names(names)?, options, writer, &self.progress)?)
    }

    /// Writes images into a file, which appears when it is complete. Otherwise as [`Self::save`].
    ///
    /// # Errors
    /// As [`Self::save`]. The message names the file.
    pub fn save_to<N: AsRef<str>>(&self, names: &[N], path: &Path, options: &SaveOptions) -> Result<()> {
        let names = self.stored_names(names)?;
        Ok(self.store.save_to_file(&names, options, OutputFile::create(path)?, &self.progress)?)
    }

    fn stored_names<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<String>> {
        names.iter().map(|name| self.name_in_cache(name.as_ref())).collect()
    }

    /// Returns the name under which the cache has an image that [`Self::find`] finds by `name`: a short name is completed,
    /// and a transport removed. A name without a tag also finds other tags than `latest`. A name that the cache does not
    /// have is returned as it is, and so is an id.
    ///
    /// # Errors
    /// The name is malformed, the records cannot be listed, or the file after `TRANSPORT:` cannot be read.
    pub fn name_in_cache(&self, name: &str) -> Result<String> {
        if !ImageName::has_transport(name) {
            let candidates = self.names_in_cache(name)?;
            // Only short names have other meanings.
            let records = if candidates.len() > 1 { self.images()? } else { Vec::new() };
            let is_prefix = |record: &Record| record.id().hex().starts_with(name);
            let is_here = |candidate: &String| {
                records.iter().any(|record| has_name(record, candidate) || candidate == name && is_prefix(record))
            };
            return Ok(candidates.into_iter().find(is_here).unwrap_or_else(|| name.to_owned()));
        }
        match ImageName::parse(name)? {
            ImageName::Docker(reference) => Ok(reference.to_string()),
            ImageName::Cache(name) => self.name_in_cache(&name),
            _ => {
                let image = self.find(name, None)?;
                Ok(image.record().reference.as_ref().map_or_else(|| image.id().to_string(), ToString::to_string))
            }
        }
    }

    /// Loads the images of archives, OCI layouts and directories under their names there: all of them, or none.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn load_archives<P: AsRef<Path>>(&self, paths: &[P], options: &LoadOptions) -> Result<LoadReport> {
        let open = |path: &P| ArchiveLists::open(path.as_ref(), &self.archive_options());
        let archives = paths.iter().map(open).collect::<std::result::Result<Vec<_>, _>>()?;
        let admission = options.admission.clone().or_else(|| self.policy.clone());
        let options = LoadOptions { admission, ..options.clone() };
        Ok(self.store.load(&archives, &options, &self.progress)?)
    }
}

/// Returns whether a record is that of a name. Without a tag and a digest, the name is that of its repository.
fn has_name(record: &Record, name: &str) -> bool {
    let (Ok(wanted), Some(own)) = (Reference::parse(name), &record.reference) else { return false };
    own.name() == wanted.name()
        && match (wanted.tag(), wanted.digest()) {
            (None, None) => true,
            (_, Some(digest)) => [&record.digest, &record.manifest.digest].contains(&digest),
            (tag, None) => own.digest().is_none() && own.tag_or_default() == tag,
        }
}
