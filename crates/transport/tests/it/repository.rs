//! Repositories of registries.

use vmroot_compress::Compression;
use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{Client, ClientOptions};
use vmroot_testkit::registry::{Fault, Registry, Rule};
use vmroot_transport::{ImageDestination as _, ImageSource as _, RegistryDestination, RegistrySource, Reuse};

use crate::builder::gzip;

/// Without this, compressed bytes would be compressed again, or be written to an archive as a plain layer.
#[test]
fn a_layer_that_claims_to_be_plain_is_looked_at() {
    let registry = Registry::start();
    let reference = Reference::parse(&format!("{}/a/b:v1", registry.host())).unwrap();
    let source = RegistrySource::new(Client::new(ClientOptions::default()).unwrap(), reference);
    let sniff = |media_type: MediaType, bytes: &[u8]| {
        registry.put_blob(bytes.to_vec());
        source.sniff(&Descriptor::of(media_type, bytes)).unwrap()
    };
    assert_eq!(sniff(MediaType::OCI_LAYER, &gzip(b"layer")), Some(Compression::Gzip));
    assert_eq!(sniff(MediaType::DOCKER_LAYER, b"plain layer"), Some(Compression::None));
    assert_eq!(sniff(MediaType::OCI_LAYER, b""), Some(Compression::None));
    registry.clear_requests();
    assert_eq!(sniff(MediaType::OCI_LAYER_GZIP, b"plain layer"), None);
    assert_eq!(registry.count(""), 0);
}

/// Some registries serve no HEAD requests, and some accounts may only push. Docker and skopeo do not ask all of these
/// questions.
#[test]
fn a_registry_may_refuse_to_say_what_it_has() {
    for status in [400, 401, 403, 404, 405, 500, 501] {
        let registry = Registry::start();
        for method in ["HEAD", "POST"] {
            registry.misbehave(Rule::on("/a/b/").method(method).fault(Fault::Status(status, vec![], String::new())));
        }
        let reference = Reference::parse(&format!("{}/a/b:v1", registry.host())).unwrap();
        let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).unwrap();
        let origin = Reference::parse(&format!("{}/c", registry.host())).unwrap();
        let destination = RegistryDestination::new(client, reference);
        let blob = Descriptor::of(MediaType::OCI_LAYER, b"layer");
        assert_eq!(destination.current().unwrap(), None, "{status}");
        assert!(!destination.has_manifest(&Digest::of(b"manifest")).unwrap(), "{status}");
        assert!(matches!(destination.reuse_blob(&blob, &[origin]).unwrap(), Reuse::Absent), "{status}");
        assert!(registry.count("/a/b/") >= 4, "{status}");
    }
}
