//! The options of transports, and the sources that need them.

use std::path::PathBuf;

use vmroot_image_store::Fallback;
use vmroot_model::{Platform, Reference};
use vmroot_transport::{
    Archive, Format, ImageName, ImageSource, StorageOptions, TarballOptions, open_sif, open_storage, open_tarball,
};

use super::Client;
use crate::Result;

/// Options of the transports that are no registry and no archive.
#[derive(Debug, Clone, Default)]
pub struct TransportOptions {
    /// The address of the Docker engine of `docker-daemon:`, such as `unix:///var/run/docker.sock`, which is the
    /// default.
    pub daemon_host: Option<String>,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem` for the Docker engine.
    pub daemon_cert_dir: Option<PathBuf>,
    /// Whether the engine's certificate is not verified.
    pub daemon_insecure: bool,
    /// The store of `containers-storage:`. Without it, the name must have the store's directory.
    pub storage: Option<StorageOptions>,
    /// Finds the store of `containers-storage:`, if [`Self::storage`] does not name it. It is called when an image in
    /// such a store is opened, so that a malformed file of the store's configuration prevents no other work.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// use std::path::Path;
    /// use vmroot::transport::{StorageConfig, StorageOptions, StorageUser};
    /// use vmroot::{Client, ClientOptions, ErrorKind, TransportOptions};
    ///
    /// fn storage() -> vmroot::Result<StorageOptions> {
    ///     let text = "[storage]\ndriver = 'overlay'\ngraphroot = '/nonexistent'\n";
    ///     let user = StorageUser { uid: 0, home: "/root".into(), data_home: None, runtime_dir: None };
    ///     Ok(StorageConfig::parse(text, Path::new("storage.conf"))?.locate(&user, false))
    /// }
    ///
    /// let transports = TransportOptions { find_storage: Some(storage), ..TransportOptions::default() };
    /// let client = Client::new(ClientOptions { transports, ..ClientOptions::new(directory.path().join("cache")) })?;
    /// let error = client.raw_manifest("containers-storage:alpine").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    pub find_storage: Option<fn() -> Result<StorageOptions>>,
    /// A directory with the blobs of the OCI layouts that are read, instead of the layout's own `blobs`.
    pub shared_blob_dir: Option<PathBuf>,
}

impl Client {
    /// Returns a clone with other options of transports.
    #[must_use]
    pub fn with_transports(&self, transports: TransportOptions) -> Self {
        Self { transports, ..self.clone() }
    }

    /// Returns the source of an image in a transport, and its references. `platform` selects an image of the cache. Without
    /// one, that is the client's platform, or the image is one for any platform if there is only one.
    pub(super) fn source_of(
        &self,
        name: &ImageName,
        platform: Option<&Platform>,
    ) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        let without_names = |source| Ok((source, Vec::new()));
        match name {
            ImageName::Docker(reference) => self.repository(reference.clone()),
            ImageName::Untagged(_) => Err(vmroot_transport::Error::InvalidName {
                name: name.to_string(),
                reason: "an image without a tag and a digest can be written, but not read".to_owned(),
            }
            .into()),
            ImageName::Archive { format, path, selector } => {
                let mut archive = Archive::open_as(*format, path, &self.archive_options())?;
                if let Some(blobs) = self.transports.shared_blob_dir.as_ref().filter(|_| *format == Format::OciLayout) {
                    archive = archive.with_shared_blobs(blobs);
                }
                #[cfg(feature = "registry")]
                {
                    let client = self.registries.named.clone();
                    archive = archive.with_foreign_layers(vmroot_transport::ForeignLayers::by_http(client));
                }
                let image = archive.select(selector)?;
                let source = archive.source(&image)?;
                Ok((source, image.references))
            }
            ImageName::Cache(name) => {
                let image = self.find_or(name, platform.or(self.platform.as_ref()), Fallback::Only)?;
                let references = image.record().reference.clone().into_iter().collect();
                Ok((Box::new(self.store.source(&image)), references))
            }
            ImageName::Storage(name) => without_names(open_storage(name, &self.storage_options()?)?),
            ImageName::Tarball(name) => {
                let platform = self.platform.clone().unwrap_or_else(Platform::host);
                let options = TarballOptions { archive: self.archive_options(), platform, created: None };
                without_names(open_tarball(name.files(), &options)?)
            }
            ImageName::Sif(path) => without_names(open_sif(path, &self.archive_options())?),
            #[cfg(feature = "registry")]
            ImageName::Daemon(name) => {
                let source = vmroot_transport::open_daemon(name, &self.daemon_options())?;
                let references = match name {
                    vmroot_transport::DaemonName::Reference(reference) => vec![reference.clone()],
                    vmroot_transport::DaemonName::Id(_) => Vec::new(),
                };
                Ok((source, references))
            }
            name => Err(vmroot_transport::Error::InvalidName {
                name: name.to_string(),
                reason: "this build cannot read this transport".to_owned(),
            }
            .into()),
        }
    }

    fn storage_options(&self) -> Result<StorageOptions> {
        let limits = self.store.options().limits;
        let options = match (&self.transports.storage, self.transports.find_storage) {
            (Some(options), _) => options.clone(),
            (None, Some(find)) => find()?,
            (None, None) => StorageOptions::new("/var/lib/containers/storage"),
        };
        Ok(StorageOptions { limits, ..options })
    }

    #[cfg(feature = "registry")]
    pub(super) fn daemon_options(&self) -> vmroot_transport::DaemonOptions {
        let TransportOptions { daemon_host, daemon_cert_dir, daemon_insecure, .. } = &self.transports;
        let mut options = vmroot_transport::DaemonOptions::new(self.archive_options());
        if let Some(host) = daemon_host {
            options.host.clone_from(host);
        }
        options.cert_dir.clone_from(daemon_cert_dir);
        options.insecure = *daemon_insecure;
        options.tls = self.registry().options().tls.clone();
        options.cancel = self.cancel().clone();
        options
    }
}
