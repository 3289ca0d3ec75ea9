//! Tests of cancelled clients.

use vmroot::{Client, ClientOptions, ErrorKind, RegistryOptions};
use vmroot_testkit::registry::Registry;

/// The options of registries have a flag of their own, which a caller replaces together with them.
#[test]
fn one_flag_cancels_requests_with_any_registry_options() {
    let registry = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    let mut options = ClientOptions::new(directory.path());
    options.registry = RegistryOptions { retries: 0, ..RegistryOptions::default() };
    let cancel = options.cancel();
    let client = Client::new(options).unwrap();
    let name = format!("{}/test/image:v1", registry.host());
    assert_eq!(client.validate_remote(&name).unwrap_err().kind(), ErrorKind::NotFound);
    cancel.cancel();
    assert_eq!(client.validate_remote(&name).unwrap_err().kind(), ErrorKind::Cancelled);
}
