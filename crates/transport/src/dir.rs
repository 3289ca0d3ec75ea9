//! `dir:` directories, as `skopeo copy … dir:PATH` writes them: one image, with a file for each part.

use std::sync::Arc;

use vmroot_model::{Algorithm, Descriptor, Digest, MANIFEST_LIMIT};

use crate::bundle::Bundle;
use crate::docker_archive::MANIFEST_JSON;
use crate::source::{BlobBody, ImageSource, RawManifest};
use crate::{Error, Result};

/// The member with the version.
const VERSION: &str = "version";

/// The start of the version file of all supported versions. Version 1.2 added names with an algorithm.
const VERSION_STARTS: &str = "Directory Transport Version: 1.";

/// The maximum length of the version file, in bytes.
const VERSION_LIMIT: u64 = 4 << 10;

/// The image of a `dir:` directory.
#[derive(Debug, Clone)]
pub(crate) struct DirImage {
    bundle: Arc<dyn Bundle>,
}

impl DirImage {
    /// Checks the version if there is one, and that a manifest exists.
    pub(crate) fn open(bundle: Arc<dyn Bundle>) -> Result<Self> {
        if let Some(section) = bundle.find(VERSION)? {
            let version = bundle.read(VERSION, section, VERSION_LIMIT)?;
            if !version.starts_with(VERSION_STARTS.as_bytes()) {
                let reason = format!("does not start with {VERSION_STARTS:?}");
                return Err(Error::member(bundle.path(), VERSION, reason));
            }
        }
        bundle.require(MANIFEST_JSON, "manifest")?;
        Ok(Self { bundle })
    }

    fn read(&self, member: &str) -> Result<RawManifest> {
        let section = self.bundle.require(member, "manifest")?;
        let bytes = self.bundle.read(member, section, MANIFEST_LIMIT)?;
        Ok(RawManifest { bytes, media_type: None })
    }
}

/// Returns the file name for a digest, without an ending.
fn stem(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex(),
        Algorithm::Sha512 => format!("sha512-{}", digest.hex()),
    }
}

impl ImageSource for DirImage {
    fn name(&self) -> String {
        format!("dir:{}", self.bundle.path().display())
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let Some(digest) = digest else { return self.read(MANIFEST_JSON) };
        let instance = format!("{}.manifest.json", stem(digest));
        let member = if self.bundle.find(&instance)?.is_some() { &*instance } else { MANIFEST_JSON };
        let manifest = self.read(member)?;
        self.bundle.check_digest(member, &manifest.bytes, digest)?;
        Ok(manifest)
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        Ok(self.bundle.require(&stem(&descriptor.digest), "blob")?.into_body(offset))
    }
}
