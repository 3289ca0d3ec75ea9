//! The documents of an image, as its source stores them.

use std::sync::Arc;

use vmroot_image_store::{ChosenImage, Fallback, choose};
use vmroot_model::{Document, ImageConfig, Manifest, Platform, Reference, Schema1};
use vmroot_transport::ImageName;

use super::Client;
use crate::Result;

/// The documents of an image. [`Client::documents`] reads them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImageDocuments {
    /// The document that the name resolves to: an index, or the manifest itself.
    pub top: Document,
    /// The manifest of the image for the platform.
    pub manifest: Manifest,
    /// The config of the image.
    pub config: ImageConfig,
    /// The names of the image, as far as its source has any.
    pub references: Vec<Reference>,
}

impl Client {
    /// Reads the document that a name resolves to: the exact bytes of an index, a manifest or an artifact. Nothing is
    /// pulled or checked, except for the digest of the name. For an image of `containers-storage:`, it is the manifest
    /// that was stored, although the store has only plain layers.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let bytes = client.raw_manifest("oci:../../testdata/demo:demo")?;
    /// assert!(bytes.starts_with(b"{"));
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the image or the file does not exist.
    /// - [`ErrorKind::Authentication`](crate::ErrorKind::Authentication),
    ///   [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) or
    ///   [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited): the registry refused, or failed.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the bytes do not have the digest of the name.
    pub fn raw_manifest(&self, name: &str) -> Result<Vec<u8>> {
        self.try_sources(name, None, |source, _| match source.original_manifest() {
            Some(original) => Ok(original.bytes),
            None => Ok(source.manifest(None)?.bytes),
        })
    }

    /// Reads an image's manifest in Docker's obsolete schema 1, and the names of the image. Layers are not read. Only
    /// [`Self::copy`] takes such an image too, and converts it.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(directory.path().join("cache")))?;
    /// # let image = directory.path().join("image");
    /// # std::fs::create_dir(&image).unwrap();
    /// # let (id, layer) = (format!("{:064}", 1), format!("sha256:{:064}", 2));
    /// # let history = format!(r#"{{\"id\":\"{id}\",\"architecture\":\"amd64\",\"os\":\"linux\"}}"#);
    /// # let text = format!(
    /// #     r#"{{"schemaVersion":1,"name":"team/app","tag":"v1","architecture":"amd64",
    /// #     "fsLayers":[{{"blobSum":"{layer}"}}],"history":[{{"v1Compatibility":"{history}"}}]}}"#
    /// # );
    /// # std::fs::write(image.join("manifest.json"), text).unwrap();
    /// # std::fs::write(image.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    /// let name = format!("dir:{}", image.display());
    /// assert!(client.documents(&name, None).unwrap_err().is_schema1());
    /// let (manifest, names) = client.schema1(&name)?;
    /// assert_eq!(manifest.config()?.platform().architecture, "amd64");
    /// assert!(names.is_empty());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::raw_manifest`], and [`ErrorKind::Integrity`](crate::ErrorKind::Integrity) for a manifest that is not
    /// in schema 1.
    pub fn schema1(&self, name: &str) -> Result<(Schema1, Vec<Reference>)> {
        self.try_sources(name, None, |source, references| {
            Ok((Schema1::parse(source.manifest(None)?.bytes)?, references))
        })
    }

    /// Reads the manifest and the config of an image, without its layers.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let documents = client.documents("oci:../../testdata/demo:demo", None)?;
    /// assert_eq!(documents.manifest.config().digest, *documents.config.digest());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::raw_manifest`], and:
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the image is not for the platform.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the name resolves to an artifact that is no image, or to an image
    ///   in Docker's schema 1 ([`Error::is_schema1`](crate::Error::is_schema1)), which [`Self::schema1`] reads.
    pub fn documents(&self, name: &str, platform: Option<&Platform>) -> Result<ImageDocuments> {
        let is_single = ImageName::is_archive(name) || matches!(ImageName::parse(name), Ok(ImageName::Cache(_)));
        let named = platform;
        let (platform, fallback) = self.platform(platform, if is_single { Fallback::Only } else { Fallback::Single });
        self.try_sources(name, named, |source, references| {
            let ChosenImage { top, manifest, config, .. } = choose(&*source, &platform, fallback)?;
            let original = source.original_manifest();
            let original = original.map(|raw| Document::parse(raw.bytes, raw.media_type.as_deref())).transpose()?;
            Ok(match original {
                Some(Document::Manifest(original)) => {
                    ImageDocuments { top: Document::Manifest(original.clone()), manifest: original, config, references }
                }
                Some(top @ Document::Index(_)) => ImageDocuments { top, manifest, config, references },
                _ => ImageDocuments { top: Arc::unwrap_or_clone(top), manifest, config, references },
            })
        })
    }
}
