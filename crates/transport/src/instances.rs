//! The digests of instances: a list may refer to an instance by another algorithm than SHA-256.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use vmroot_model::{Algorithm, Digest, Document, Hasher, MediaType};

/// The instances that a destination has been given. Their files are named by SHA-256.
#[derive(Debug, Default)]
pub(crate) struct Instances(Mutex<HashMap<Digest, Digest>>);

impl Instances {
    /// Records an instance. Returns its SHA-256, which names its file.
    pub(crate) fn add(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hasher.finish(), digest);
        digest
    }

    /// Returns the instances that a list refers to by SHA-512, each with its SHA-256. None if `bytes` is not a list.
    pub(crate) fn other_names(&self, bytes: &[u8], media_type: &MediaType) -> Vec<(Digest, Digest)> {
        if !media_type.is_index() {
            return Vec::new();
        }
        let Ok(Document::Index(index)) = Document::parse(bytes.to_vec(), Some(media_type.as_str())) else {
            return Vec::new();
        };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = index.manifests().iter().map(|entry| entry.digest);
        let named = named.filter(|digest| digest.algorithm() == Algorithm::Sha512);
        named.filter_map(|digest| Some((digest, *known.get(&digest)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_name_instances_by_sha512() {
        let instances = Instances::default();
        let sha256 = instances.add(b"instance");
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"instance");
        let sha512 = hasher.finish();
        let entry = |digest| format!(r#"{{"mediaType":"{}","digest":"{digest}","size":8}}"#, MediaType::OCI_MANIFEST);
        let list = format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, entry(sha256), entry(sha512));
        assert_eq!(instances.other_names(list.as_bytes(), &MediaType::OCI_INDEX), [(sha512, sha256)]);
        assert_eq!(instances.other_names(list.as_bytes(), &MediaType::OCI_MANIFEST), []);
    }
}
