//! The manifests of a repository with their sizes and times.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, Document, ImageConfig, Manifest, Reference};
use vmroot_registry::TagList;
use vmroot_transport::{ImageSource, RegistrySource};

use super::Client;
use crate::{ErrorKind, Result};

/// A manifest or index of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageInstance {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes: that of the manifest, the config and the layers. For an index, that of its images together.
    pub size: u64,
    /// The tags, sorted.
    pub tags: Vec<String>,
    /// The time at which the image was created, by its config. For an index, the latest of its images.
    pub created: Option<SystemTime>,
    /// The time at which it was uploaded. Only Google's registries state it.
    pub uploaded: Option<SystemTime>,
}

impl Client {
    /// Returns the manifests and indexes of a repository, sorted by the time of creation, the time of the upload, the
    /// size and the digest.
    ///
    /// Google's registries list all of them. For other registries, those with tags are read one by one, and their
    /// configs for the times; layers are not read.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.put_layout("../../testdata/demo".as_ref(), "team/app").unwrap();
    /// # let name = format!("{}/team/app", registry.host());
    /// use vmroot::Reference;
    ///
    /// let instances = client.list_instances(&Reference::parse(&name)?)?;
    /// assert_eq!(instances[0].tags, ["latest"]);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::list_tags`].
    pub fn list_instances(&self, reference: &Reference) -> Result<Vec<ImageInstance>> {
        let list = self.registry().tags(reference)?;
        let mut instances = match list.instances.is_empty() {
            true => self.read_instances(reference, &list)?,
            false => listed(list),
        };
        for instance in &mut instances {
            instance.tags.sort_unstable();
        }
        // A missing time is the oldest, as the zero time of Google's lists.
        instances.sort_by_key(|instance| (instance.created, instance.uploaded, instance.size, instance.digest));
        Ok(instances)
    }

    fn read_instances(&self, reference: &Reference, list: &TagList) -> Result<Vec<ImageInstance>> {
        let mut by_digest: BTreeMap<Digest, ImageInstance> = BTreeMap::new();
        for tag in &list.tags {
            let tagged = reference.with_tag(tag)?;
            let digest = match self.get_digest(&tagged) {
                Ok(digest) => digest,
                // The tag was deleted since the list was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Some(instance) = by_digest.get_mut(&digest) {
                instance.tags.push(tag.clone());
                continue;
            }
            let mut instance = self.read_instance(&tagged, digest)?;
            instance.tags.push(tag.clone());
            by_digest.insert(digest, instance);
        }
        Ok(by_digest.into_values().collect())
    }

    fn read_instance(&self, reference: &Reference, digest: Digest) -> Result<ImageInstance> {
        let source = RegistrySource::new(self.registry().clone(), reference.clone());
        let mut instance = ImageInstance { digest, size: 0, tags: Vec::new(), created: None, uploaded: None };
        let raw = source.manifest(Some(&digest))?;
        instance.size = raw.bytes.len() as u64;
        match Document::parse(raw.bytes, raw.media_type.as_deref())? {
            Document::Manifest(manifest) => instance.add(&source, &manifest)?,
            Document::Index(index) => {
                for entry in index.manifests() {
                    instance.add_entry(&source, entry)?;
                }
            }
        }
        Ok(instance)
    }
}

impl ImageInstance {
    /// Adds an image of an index. Indexes in indexes are only counted with their own size.
    fn add_entry(&mut self, source: &dyn ImageSource, entry: &Descriptor) -> Result<()> {
        let raw = match source.manifest(Some(&entry.digest)) {
            Ok(raw) => raw,
            // A sparse index lacks some of its images.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.size = self.size.saturating_add(raw.bytes.len() as u64);
        match Document::parse(raw.bytes, raw.media_type.as_deref())? {
            Document::Manifest(manifest) => self.add(source, &manifest),
            Document::Index(_) => Ok(()),
        }
    }

    /// Adds the blobs of a manifest, and the time of its config.
    fn add(&mut self, source: &dyn ImageSource, manifest: &Manifest) -> Result<()> {
        let blobs = manifest.layers().iter().chain([manifest.config()]);
        self.size = blobs.fold(self.size, |size, blob| size.saturating_add(blob.size));
        if manifest.is_image() {
            let config = source.read_blob(manifest.config(), CONFIG_LIMIT)?;
            let created = ImageConfig::parse(config)?.created().and_then(parse_time);
            self.created = self.created.max(created);
        }
        Ok(())
    }
}

/// Returns the instances that the registry lists itself.
fn listed(list: TagList) -> Vec<ImageInstance> {
    let instances = list.instances.into_iter().map(|(digest, listed)| ImageInstance {
        digest,
        size: listed.size.unwrap_or_default(),
        tags: listed.tags,
        created: listed.created,
        uploaded: listed.uploaded,
    });
    instances.collect()
}

/// Parses a time of RFC 3339. Times before 1970 are none.
fn parse_time(text: &str) -> Option<SystemTime> {
    let seconds = vmroot_go_template::Time::parse(text)?.unix();
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}
