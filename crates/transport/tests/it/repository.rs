//! Repositories of registries as destinations.

use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{Client, ClientOptions};
use vmroot_testkit::registry::{Fault, Registry, Rule};
use vmroot_transport::{ImageDestination as _, RegistryDestination, Reuse};

/// Some registries serve no HEAD requests, and some accounts may only push. Docker and skopeo do not ask all of these
/// questions.
#[test]
fn a_registry_may_refuse_to_say_what_it_has() {
    for status in [400, 401, 403, 404, 405, 500, 501] {
        let registry = Registry::start();
        registry.misbehave(Rule::on("/a/b/").method("HEAD").fault(Fault::Status(status, vec![], String::new())));
        let reference = Reference::parse(&format!("{}/a/b:v1", registry.host())).unwrap();
        let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).unwrap();
        let destination = RegistryDestination::new(client, reference);
        let blob = Descriptor::of(MediaType::OCI_LAYER, b"layer");
        assert_eq!(destination.current().unwrap(), None, "{status}");
        assert!(!destination.has_manifest(&Digest::of(b"manifest")).unwrap(), "{status}");
        assert!(matches!(destination.reuse_blob(&blob, &[]).unwrap(), Reuse::Absent), "{status}");
        assert!(registry.count("/a/b/") >= 3, "{status}");
    }
}
