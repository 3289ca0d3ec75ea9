//! The manifest and the config of an image whose source keeps or creates them as a whole.

use vmroot_model::{Descriptor, Digest, MediaType};

use crate::source::{BlobBody, RawManifest};
use crate::{Error, Result};

/// The manifest and the config of the one image of a source, in memory.
pub(crate) struct ImageDocuments {
    name: String,
    manifest: Vec<u8>,
    media_type: MediaType,
    config: Vec<u8>,
    config_digest: Digest,
}

impl ImageDocuments {
    /// Takes the documents of an image: the manifest, its media type, and the config. `name` is the name of the source.
    pub(crate) fn new(name: String, (manifest, media_type): (Vec<u8>, MediaType), config: Vec<u8>) -> Self {
        let config_digest = Digest::of(&config);
        Self { name, manifest, media_type, config, config_digest }
    }

    /// Replaces the name of the source.
    #[cfg(feature = "daemon")]
    pub(crate) fn with_name(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Returns the name of the source.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the manifest. It is an error if `digest` is not the manifest's.
    pub(crate) fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        match digest.filter(|digest| !digest.is_of(&self.manifest)) {
            Some(other) => Err(self.unknown(other)),
            None => Ok(RawManifest { bytes: self.manifest.clone(), media_type: Some(self.media_type.to_string()) }),
        }
    }

    /// Returns the body of the config from `offset` on, if the descriptor is the config's.
    pub(crate) fn config(&self, descriptor: &Descriptor, offset: u64) -> Option<BlobBody> {
        (descriptor.digest == self.config_digest).then(|| BlobBody::of_bytes(self.config.clone(), offset))
    }

    /// Returns the error for a document or blob that the image does not have.
    pub(crate) fn unknown(&self, digest: &Digest) -> Error {
        Error::Unknown { place: self.name.clone(), digest: *digest }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use vmroot_model::{Algorithm, Hasher};

    use super::*;

    #[test]
    fn only_the_own_documents_are_found() {
        let manifest = (b"manifest".to_vec(), MediaType::OCI_MANIFEST);
        let documents = ImageDocuments::new("archive".to_owned(), manifest, b"config".to_vec());
        let mut sha512 = Hasher::new(Algorithm::Sha512);
        sha512.update(b"manifest");
        for digest in [None, Some(Digest::of(b"manifest")), Some(sha512.finish())] {
            assert_eq!(documents.manifest(digest.as_ref()).unwrap().bytes, b"manifest");
        }
        let error = documents.manifest(Some(&Digest::of(b"other"))).unwrap_err();
        assert!(matches!(&error, Error::Unknown { place, digest }
            if place == "archive" && *digest == Digest::of(b"other")));
        assert!(documents.config(&Descriptor::of(MediaType::OCI_CONFIG, b"manifest"), 0).is_none());
        for (asked, offset, rest) in [(0, 0, "config"), (4, 4, "ig"), (6, 6, ""), (u64::MAX, 6, "")] {
            let mut body = documents.config(&Descriptor::of(MediaType::OCI_CONFIG, b"config"), asked).unwrap();
            assert_eq!((body.offset, body.size), (offset, Some(6)));
            let mut bytes = String::new();
            body.reader.read_to_string(&mut bytes).unwrap();
            assert_eq!(bytes, rest);
        }
    }
}
